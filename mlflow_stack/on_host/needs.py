"""What MLflow needs of its tracking database, asked before a run changes anything, and before a schema is made.

Nothing is changed by asking. A right on MySQL is tried by a statement that is refused for the lack of it before
anything else, and otherwise for a fault of its own: a column that is named twice, or a table that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol


class Database(Protocol):
    """What is needed of database.py, which the host and the machine that pyinfra runs on import by different names."""

    title: str
    takes_back: bool

    def rows(self, query: str, *arguments: object) -> list[tuple[Any, ...]]: ...
    def revision(self, table: str = ...) -> str | None: ...


class Server(Protocol):
    """Where a URI leads, as database.py reads it."""

    @property
    def address(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def database(self) -> str: ...


class Words(NamedTuple):
    """What is called by its name where somebody has to put it right."""

    uri: str
    password: str
    authority: str


SETTINGS = Words("tracking_database_uri", "tracking_database_password", "tracking_database_ca_file")

# The oldest server with all that MLflow's migrations use (3.17, store/db_migrations), and what that is. MariaDB has had
# it for longer than anybody looks after those versions: there it is the oldest that was tried (external-database.md).
OLDEST = {
    "PostgreSQL": ("12", "generated columns"),
    "MySQL": ("8.0.16", "CHECK constraints that can be dropped"),
    "MariaDB": ("10.5", "the oldest that MLflow's migrations were tried on"),
}
READ_ONLY = "it can only be read, as a replica can; name the server that takes changes in the URI"
DATA_RIGHTS = {
    "SELECT": "SELECT * FROM mlflow_stack_probe",
    "INSERT": "INSERT INTO mlflow_stack_probe VALUES (1)",
    "UPDATE": "UPDATE mlflow_stack_probe SET a = 1",
    "DELETE": "DELETE FROM mlflow_stack_probe",
}
SCHEMA_RIGHTS = {
    "CREATE": "CREATE TABLE mlflow_stack_probe (a INT, a INT)",
    "ALTER": "ALTER TABLE mlflow_stack_probe ADD COLUMN a INT",
    "DROP": "DROP TABLE mlflow_stack_probe",
    "INDEX": "CREATE INDEX i ON mlflow_stack_probe (a)",
    "REFERENCES": "CREATE TABLE mlflow_stack_probe (a INT, a INT, FOREIGN KEY (a) REFERENCES mlflow_stack_other (a))",
    "TRIGGER": "CREATE TRIGGER mlflow_stack_probe BEFORE UPDATE ON mlflow_stack_probe FOR EACH ROW SET @a = 1",
}
# MySQL's, and MariaDB's.
KEY_IS_FORCED = "variable_name IN ('sql_require_primary_key', 'innodb_force_primary_key')"
DENIED, BINARY_LOG = 1142, 1419  # ER_TABLEACCESS_DENIED_ERROR, ER_BINLOG_CREATE_ROUTINE_NEED_SUPER


def faults(database: Database, target: str) -> list[str]:
    """Return, a sentence each, what has to be put right; `target` is the revision that the schema is to have.

    Rights to change a schema are needed only where it is at another one. Raises DatabaseError.
    """
    migrates = database.revision() != target
    return list((_postgresql if database.takes_back else _mysql)(database, migrates))


def _postgresql(database: Database, migrates: bool) -> Iterator[str]:
    version, encoding, name, user, schema, creates, read_only = database.rows(
        "SELECT current_setting('server_version'), pg_encoding_to_char(encoding), datname, current_user::text, "
        "current_schema()::text, has_schema_privilege(current_schema(), 'CREATE'), "
        "current_setting('transaction_read_only') FROM pg_database WHERE datname = current_database()"
    )[0]
    yield from _age(database.title, version)
    if read_only == "on":
        yield READ_ONLY
    if encoding != "UTF8":
        yield (
            f"its database {name} has the encoding {encoding}, expected UTF8; make one with "
            f"CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name that in the URI"
        )
    if migrates and not creates:
        where = f"the schema {schema}" if schema else "its search_path, which names no schema that is there"
        yield f"user {user} may not create tables in {where}; GRANT CREATE ON SCHEMA {schema or 'public'} TO {user}"
    owners = database.rows(
        "SELECT tableowner::text FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'alembic_version' "
        "AND NOT pg_has_role(tableowner, 'USAGE')"
    )
    if migrates and owners:
        yield f"its tables belong to {owners[0][0]}, who alone can upgrade them; name that user in the URI"


def _mysql(database: Database, migrates: bool) -> Iterator[str]:
    yield from _age(database.title, str(database.rows("SELECT version()")[0][0]))
    if database.rows("SHOW VARIABLES WHERE variable_name = 'read_only' AND value <> 'OFF'"):
        yield READ_ONLY
    name, charset, collation = database.rows(
        "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata "
        "WHERE schema_name = database()"
    )[0]
    if charset != "utf8mb4":
        yield (
            f"its database {name} has the character set {charset}, expected utf8mb4; while it is empty, "
            f"ALTER DATABASE {_quoted(name)} CHARACTER SET utf8mb4"
        )
    used = database.rows(
        "SELECT table_collation FROM information_schema.tables WHERE table_schema = database() "
        "AND table_name = 'experiments'"
    )
    if migrates and used and used[0][0] != collation:
        yield (
            f"its tables have the collation {used[0][0]} and the database {collation}, so that new tables can't refer "
            f"to them; ALTER DATABASE {_quoted(name)} COLLATE {used[0][0]}"
        )
    yield from _rights(database, name, {**DATA_RIGHTS, **(SCHEMA_RIGHTS if migrates else {})})
    for variable, _ in database.rows(f"SHOW VARIABLES WHERE value = 'ON' AND {KEY_IS_FORCED}") if migrates else ():
        yield (
            f"its {variable} is on, and MLflow's migrations take primary keys away before they make others; switch it "
            "off until the schema is up to date"
        )


def _rights(database: Database, name: str, rights: Mapping[str, str]) -> Iterator[str]:
    answers = {right: _number(database, statement) for right, statement in rights.items()}
    if denied := [right for right, number in answers.items() if number == DENIED]:
        user = database.rows("SELECT current_user()")[0][0]
        grant = f"GRANT ALL PRIVILEGES ON {_quoted(name)}.* TO it"
        yield f"user {user} has no right to {', '.join(denied)} in {name}; {grant}"
    has_trigger = (
        "SELECT 1 FROM information_schema.triggers WHERE trigger_schema = database() "
        "AND trigger_name = 'prevent_secrets_aad_mutation'"
    )
    if BINARY_LOG in answers.values() and not database.rows(has_trigger):
        yield (
            "it keeps a binary log and lets none but SUPER make a trigger, of which MLflow's schema has one; set "
            "log_bin_trust_function_creators = 1 there (of a provider's: a parameter, or flag, of the instance)"
        )


def _quoted(name: str) -> str:
    """Return a name of MySQL as a statement has it."""
    return name if re.fullmatch(r"\w+", name) else f"`{name}`"


def _number(database: Database, statement: str) -> int:
    try:
        database.rows(statement)
    except Exception as error:  # database.py's own, whichever name it was imported by
        return int(getattr(error, "number", 0))
    return 0


def _age(title: str, version: str) -> Iterator[str]:
    oldest, reason = OLDEST[title]
    found = re.match(r"[\d.]*\d", version)
    if _numbers(found[0] if found else "0") < _numbers(oldest):
        yield f"it is {title} {found[0] if found else version}, expected {oldest} or newer ({reason}); upgrade it"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


# By what libpq or the server say, and by MySQL's numbers. What is not among them is passed on in their words.
_REFUSALS: tuple[tuple[str, tuple[int, ...], str], ...] = (
    (
        "does not match host name|doesn't match|Hostname mismatch|IP address mismatch",
        (),
        "{address} shows a certificate for another name; name the server in {uri} as its certificate does",
    ),
    (
        "certificate verify failed",
        (),
        "{address} shows a certificate that is not from {authority}; give the file of this server's provider",
    ),
    (
        "does not support SSL|SSL is required but",
        (),
        "{address} offers no TLS; switch it on there, or say in the URI that it is not wanted (sslmode=disable, "
        "ssl_disabled=true)",
    ),
    (
        "no pg_hba.conf entry|is not permitted to log in",
        (1130,),
        "{address} does not let user {user} in from this host; allow it there",
    ),
    (
        "password authentication failed|no password supplied",
        (1045, 1698),
        "{address} refuses user {user}; check the user and {password}, and from where it may log in",
    ),
    (
        'database "[^"]*" does not exist',
        (1044, 1049),
        "{address} has no database {database} for user {user}; create it there, or name another in the URI",
    ),
    (
        "Connection refused|could not translate|Name or service|No route|timed out|timeout expired|unreachable",
        (),
        "{address} can't be reached from this host; check its name and port, and that it lets this host in",
    ),
)


def refusal(error: Exception, server: Server, named: Words = SETTINGS) -> str:
    """Return a sentence for why nobody could connect."""
    words, number = str(error), getattr(error, "number", 0)
    names = {"address": server.address, "user": server.user, "database": server.database, **named._asdict()}
    for pattern, numbers, sentence in _REFUSALS:
        if number in numbers or re.search(pattern, words):
            return f"{sentence.format(**names)} ({words})"
    return f"{server.address} can't be used ({words})"
