"""The tracking database by its URI, PostgreSQL or MySQL (MariaDB is MySQL to MLflow), and a connection to it.

A URI is SQLAlchemy's, and never holds a password: libpq reads that from the file that PGPASSFILE names, PyMySQL and
MariaDB's programs from the option file that the URI names (read_default_file), or OPTION_FILE where that is set.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

MYSQL = "mysql+pymysql"
# For a process that has a copy of the option file of its own: PyMySQL knows no such variable.
OPTION_FILE = "MLFLOW_DATABASE_OPTION_FILE"
# What a URI says of TLS, each driver's own words.
TLS_OPTIONS = {"sslmode", "ssl_disabled", "ssl_ca", "ssl_check_hostname"}
CONNECT_TIMEOUT_S = 20
# A lock is the connection's, which says nothing while a schema is upgraded; providers may end one after a minute.
SILENCE_S = 86400


class DatabaseError(Exception):
    """The database can't be asked; the message says why, in one line. `number`: MySQL's own for it."""

    def __init__(self, error: Exception | str) -> None:
        said = error if isinstance(error, str) else str(error.args[-1] if error.args else error)
        super().__init__("; ".join(line.strip() for line in said.splitlines() if line.strip()))
        first = error.args[0] if isinstance(error, Exception) and error.args else 0
        self.number = first if isinstance(first, int) else 0


@dataclass(frozen=True)
class Server:
    """Where a URI leads. `options` is its query, as SQLAlchemy gives it to the driver."""

    is_mysql: bool
    host: str
    port: int
    user: str
    database: str
    options: Mapping[str, str]

    @property
    def socket(self) -> str:
        """The Unix socket, in PyMySQL's words; libpq has it as the host. "" for none."""
        return self.options.get("unix_socket", "")

    @property
    def address(self) -> str:
        return self.socket or f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """True for one that is reached without any network."""
        named = self.host in ("", "localhost", "::1") or self.host.startswith(("/", "127."))
        return named or bool(self.socket)


def parse(uri: str) -> Server:
    """Return where a URI leads; ValueError when its port is no number."""
    parts = urlsplit(uri)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    is_mysql = parts.scheme == MYSQL
    return Server(
        is_mysql,
        options.get("host", parts.hostname or ""),
        int(options.get("port") or parts.port or (3306 if is_mysql else 5432)),
        unquote(parts.username or ""),
        unquote(parts.path.removeprefix("/")),
        options,
    )


def uri_fault(uri: str, mysql_options: Collection[str], instead: str) -> str:
    """Return what is wrong with a URI, "" for nothing; one of MySQL may have these options alone, `instead` of others.

    PyMySQL would guess at what is missing, and understands some options in another way than SQLAlchemy does.
    """
    try:
        server = parse(uri)
    except ValueError:
        return "expected a number as port"
    if not server.is_mysql:
        return ""
    if not (server.host and server.user and re.fullmatch(r"[A-Za-z0-9_$][A-Za-z0-9_$-]{0,63}", server.database)):
        return "expected mysql+pymysql://USER@HOST:PORT/DATABASE"
    if surplus := set(server.options) - set(mysql_options):
        return f"{min(surplus)} can't be given here; {instead}"
    if server.options.get("ssl_disabled", "true") != "true":
        return "expected ssl_disabled=true, or none of it: PyMySQL takes any other word for true as well"
    return ""


def extended(uri: str, *options: str) -> str:
    """Return a URI with what is missing of `options` ("name=value", several by &)."""
    wanted = [each for option in options for each in option.split("&")]
    missing = [each for each in wanted if f"{each.partition('=')[0]}=" not in uri]
    return "&".join([uri if "?" in uri else f"{uri}?", *missing]).replace("?&", "?")


def encrypted(uri: str) -> str:
    """Return a URI by which nobody goes to another host without TLS, unless it says what is wanted itself."""
    server = parse(uri)
    if server.is_local or TLS_OPTIONS & set(server.options):
        return uri
    return extended(uri, "ssl_check_hostname=false" if server.is_mysql else "sslmode=require")


def pgpass(password: str) -> str:
    """Return a libpq password file that gives `password` to any server (the URI names the only one)."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def password_fault(uri: str, password: str) -> str:
    """Return why a password can't be used; "" when it can. PyMySQL sends other characters in another encoding."""
    if uri.startswith(f"{MYSQL}:") and not (password.isascii() and password.isprintable()):
        return "holds a character that PyMySQL can't send; expected printable ones of ASCII for MySQL"
    return ""


def libpq_uri(uri: str) -> str:
    """Return a URI as PostgreSQL's own programs read it."""
    return uri.replace("postgresql+psycopg2://", "postgresql://", 1)


def mariadb_options(server: Server, option_file: str) -> list[str]:
    """Return what makes MariaDB's programs connect as PyMySQL does; `option_file` "" where there is no password."""
    options = server.options
    if "ssl_ca" in options:
        # Told to leave the name alone, those of 10.11 go on looking at whom the certificate is from (tests/servers).
        has_name = options.get("ssl_check_hostname") != "false"
        verify = "--ssl-verify-server-cert" if has_name else "--skip-ssl-verify-server-cert"
        tls = [f"--ssl-ca={options['ssl_ca']}", verify]
    elif "ssl_disabled" in options:
        tls = ["--skip-ssl"]
    else:  # MariaDB 11.4 would look at the certificate by itself
        tls = [*(["--ssl"] if "ssl_check_hostname" in options else []), "--skip-ssl-verify-server-cert"]
    return [
        f"--defaults-file={option_file}" if option_file else "--no-defaults",
        *("--protocol=tcp", f"--host={server.host}", f"--port={server.port}", f"--user={server.user}"),
        *tls,
    ]


def option_file(server: Server) -> str:
    """Return the option file for this process; "" for none."""
    return os.environ.get(OPTION_FILE) or server.options.get("read_default_file", "")


def own_uri(uri: str) -> str:
    """Return a URI for a program that this process starts: with the option file that this one has."""
    file = os.environ.get(OPTION_FILE)
    return re.sub(r"(?<=[?&]read_default_file=)[^&]*", lambda _: str(file), uri) if file else uri


class Database(ABC):
    """A connection, on which each statement is a transaction of its own.

    `title`: what to call the server. `takes_back`: what an upgrade that fails has changed is as before.
    """

    title = ""
    takes_back = False

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def close(self) -> None:
        self.connection.close()

    @abstractmethod
    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return what a query finds. Raises DatabaseError."""

    @abstractmethod
    def has_table(self, name: str) -> bool:
        """Return whether the database has a table of this name. Raises DatabaseError."""

    @abstractmethod
    def try_lock(self) -> bool:
        """Take the lock of schema upgrades, unless another connection has it; it is free when this one ends."""

    def revision(self, table: str = "alembic_version") -> str | None:
        """Return alembic's revision of the schema; None when MLflow has made no tables yet."""
        found = self.rows(f"SELECT version_num FROM {table}") if self.has_table(table) else []
        return str(found[0][0]) if found else None


class PostgreSQL(Database):
    """By psycopg2."""

    title = "PostgreSQL"
    takes_back = True

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        connection.autocommit = True

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(query, arguments or None)
                return list(cursor.fetchall()) if cursor.description else []
        except driver("psycopg2").Error as error:
            raise DatabaseError(error) from error

    def has_table(self, name: str) -> bool:
        return self.rows("SELECT to_regclass(%s)", name) != [(None,)]

    def try_lock(self) -> bool:
        return bool(self.rows("SELECT pg_try_advisory_lock(%s)", 0x6D6C666C6F77)[0][0])  # "mlflow"


class MySQL(Database):
    """By PyMySQL. MySQL commits each change of a schema by itself."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        connection.autocommit(True)
        self.version = str(self.rows("SELECT version()")[0][0])
        self.is_mariadb = "MariaDB" in self.version
        self.title = "MariaDB" if self.is_mariadb else "MySQL"
        self.rows(f"SET SESSION wait_timeout = {SILENCE_S}")

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(query, arguments or None)
                return list(cursor.fetchall())
        except driver("pymysql").Error as error:
            raise DatabaseError(error) from error

    def has_table(self, name: str) -> bool:
        query = "SELECT 1 FROM information_schema.tables WHERE table_schema = database() AND table_name = %s"
        return bool(self.rows(query, name))

    def try_lock(self) -> bool:
        # The name is for the whole server, which may have databases of others.
        return self.rows("SELECT get_lock(left(concat('mlflow:', database()), 64), 0)") == [(1,)]


def driver(name: str) -> Any:
    """Return a driver's module. Raises DatabaseError where this Python has none."""
    try:
        return import_module(name)
    except ImportError:
        raise DatabaseError(
            f"this Python has no {name}, the driver of the database; build its environment, or the image, anew with "
            "the settings of this database"
        ) from None


def mysql_arguments(server: Server) -> dict[str, Any]:
    """Return what SQLAlchemy's dialect makes of a URI for PyMySQL (create_connect_args), but for the option file.

    PyMySQL 1.2 looks at the certificate where there is a `ca`, and insists on TLS where `ssl` holds anything at all.
    """
    options, ssl = server.options, dict[str, Any]()
    if "ssl_ca" in options:
        ssl["ca"] = options["ssl_ca"]
    if "ssl_check_hostname" in options:
        ssl["check_hostname"] = options["ssl_check_hostname"] == "true"
    tls = {"ssl_disabled": True} if "ssl_disabled" in options else {"ssl": ssl} if ssl else {}
    where = {"host": server.host, "port": server.port, "user": server.user, "database": server.database}
    return {**where, **tls, **({"unix_socket": server.socket} if server.socket else {})}


def connect(uri: str) -> Database:
    """Connect as MLflow does. Raises DatabaseError; needs.refusal() has words for it."""
    server = parse(uri)
    module = driver("pymysql" if server.is_mysql else "psycopg2")
    try:
        if not server.is_mysql:
            return PostgreSQL(module.connect(libpq_uri(uri), connect_timeout=CONNECT_TIMEOUT_S))
        return MySQL(
            module.connect(
                **mysql_arguments(server),
                connect_timeout=CONNECT_TIMEOUT_S,
                read_default_file=option_file(server) or None,
                read_default_group=server.options.get("read_default_group"),
            )
        )
    except module.Error as error:
        raise DatabaseError(error) from error
