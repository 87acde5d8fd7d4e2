"""What is asked of a database before anything is changed: through an SSH connection, on real servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paramiko import Transport

from lab.process import wait_until
from mlflow_stack import database_check
from mlflow_stack.database_check import Unasked, problems
from mlflow_stack.on_host.database import mariadb_options, parse
from tests.servers import databases
from tests.servers.databases import PASSWORD, REPOSITORY, USER, Server, free_port
from tests.servers.ssh import forwarding
from tests.unit.defaults import settings


@dataclass
class Case:
    """A database of a server that is all right, and what settings say of it."""

    server: Server
    database: str
    directory: Path
    ask: Callable[..., list[str]]

    @property
    def address(self) -> str:
        return f"localhost:{self.server.port}"

    @property
    def title(self) -> str:
        return "MariaDB" if self.server.is_mysql else "PostgreSQL"

    def data(self, *, host: str = "localhost", port: int = 0, database: str = "", user: str = USER) -> dict[str, Any]:
        (self.directory / "password").write_text(PASSWORD)
        where = f"{host}:{port or self.server.port}/{database or self.database}"
        return {
            "tracking_database_uri": f"{self.server.scheme}://{user}@{where}",
            "tracking_database_password": f"file:{self.directory}/password",
            "tracking_database_ca_file": str(self.server.ca_file),
        }

    def problems(self, **data: Any) -> list[str]:
        """Return what is said about the case with other settings."""
        return self.ask(**{**self.data(), **data})


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """Ask through an SSH connection, as that of pyinfra with the host; the host itself is no part of it."""
    with forwarding() as transport:
        yield lambda **data: _ask(monkeypatch, transport, **data)


def _ask(monkeypatch: pytest.MonkeyPatch, transport: Transport | None, **data: Any) -> list[str]:
    monkeypatch.setattr(database_check, "transport_of", lambda _: transport)
    return problems(_Nobody(), settings(("tracking",), **data))  # type: ignore[arg-type]


class _Nobody:
    connector = None


@pytest.fixture(params=["mysql", "postgresql"])
def case(request: pytest.FixtureRequest, tmp_path: Path, ask: Callable[..., list[str]]) -> Case:
    server: Server = request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql")
    return Case(server, request.getfixturevalue(f"{request.param}_database"), tmp_path, ask)


def test_database_that_has_all_is_left_without_a_word(case: Case) -> None:
    before = case.server.sql("SHOW TABLES" if case.server.is_mysql else "SELECT tablename FROM pg_tables")

    assert case.problems() == []
    assert case.server.sql("SHOW TABLES" if case.server.is_mysql else "SELECT tablename FROM pg_tables") == before


def test_connection_does_not_stay_when_the_database_has_answered(case: Case) -> None:
    # Of the user: PostgreSQL's own processes look into a new database as well.
    sessions = (
        "SELECT count(*) FROM information_schema.processlist WHERE db = '{}' AND user = '{}'"
        if case.server.is_mysql
        else "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND usename = '{}'"
    ).format(case.database, USER)

    case.problems()

    assert wait_until(lambda: case.server.sql(sessions) == "0", 30)


def test_server_that_is_not_there_is_named(case: Case) -> None:
    port = free_port()

    assert case.problems(**case.data(port=port)) == [
        f"tracking_database_uri: localhost:{port} can't be reached from this host; check its name and port, and that "
        "it lets this host in (unreachable: Connect failed)"
    ]


def test_certificate_of_another_authority_is_refused(case: Case) -> None:
    (found,) = case.problems(tracking_database_ca_file=str(case.server.directory / "other.pem"))

    assert found.startswith(
        f"tracking_database_uri: {case.address} shows a certificate that is not from tracking_database_ca_file; give "
        "the file of this server's provider ("
    )
    assert "certificate verify failed" in found


def test_certificate_for_another_name_is_refused(case: Case) -> None:
    (found,) = case.problems(**case.data(host="127.0.0.1"))

    assert found.startswith(
        f"tracking_database_uri: 127.0.0.1:{case.server.port} shows a certificate for another name; name the server in "
        "tracking_database_uri as its certificate does ("
    )


def test_certificate_with_another_name_is_taken_where_the_uri_says_so_but_only_of_that_authority(case: Case) -> None:
    option = "ssl_check_hostname=false" if case.server.is_mysql else "sslmode=verify-ca"
    data = case.data(host="127.0.0.1")
    uri = f"{data['tracking_database_uri']}?{option}"

    assert case.problems(**data | {"tracking_database_uri": uri}) == []
    other = {"tracking_database_uri": uri, "tracking_database_ca_file": str(case.server.directory / "other.pem")}
    (found,) = case.problems(**data | other)
    assert "shows a certificate that is not from tracking_database_ca_file" in found


def test_programs_of_mariadb_look_at_the_authority_where_the_certificate_has_another_name(mariadb: Server) -> None:
    uri = f"mysql+pymysql://{USER}@127.0.0.1:{mariadb.port}/mysql?ssl_check_hostname=false&ssl_ca={mariadb.directory}"

    def status(authority: str) -> int:
        options = mariadb_options(parse(f"{uri}/{authority}"), str(mariadb.password_file))
        return subprocess.run(["mariadb", *options, "--execute=SELECT 1"], capture_output=True, check=False).returncode

    assert (status("ca.pem"), status("other.pem")) == (0, 1)


def test_wrong_password_is_told_and_not_shown(case: Case, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("hunter2")

    (found,) = case.problems(tracking_database_password=f"file:{tmp_path}/wrong")

    assert found.startswith(
        f"tracking_database_uri: {case.address} refuses user {USER}; check the user and tracking_database_password, "
        "and from where it may log in ("
    )
    assert "hunter2" not in found


def test_wrong_password_is_told_where_tls_may_be_left_out(case: Case, tmp_path: Path) -> None:
    """On the host itself libpq tries once more, without TLS, when it is refused: a second connection."""
    (tmp_path / "wrong").write_text("hunter2")

    (found,) = case.problems(tracking_database_password=f"file:{tmp_path}/wrong", tracking_database_ca_file="")

    assert found.startswith(f"tracking_database_uri: {case.address} refuses user {USER}; ")


def test_password_that_is_not_at_hand_is_told(case: Case) -> None:
    assert case.problems(tracking_database_password="env:NOBODY_HAS_SET_THIS") == [
        "tracking_database_password: the environment variable NOBODY_HAS_SET_THIS is not set; export it before running "
        "pyinfra"
    ]


def test_database_that_is_not_there_is_named(case: Case) -> None:
    (found,) = case.problems(**case.data(database="nothing"))

    assert found.startswith(
        f"tracking_database_uri: {case.address} has no database nothing for user {USER}; create it there, or name "
        "another in the URI ("
    )


def test_wrong_character_set_and_missing_rights_are_told_at_once(case: Case) -> None:
    server = case.server
    name, quoted = ("an-other", "`an-other`") if server.is_mysql else ("another", "another")
    if server.is_mysql:
        server.sql(
            f"CREATE DATABASE {quoted} CHARACTER SET latin1; GRANT SELECT, INSERT ON {quoted}.* TO {USER}@'127.0.0.1'"
        )
        expected = [
            f"its database {name} has the character set latin1, expected utf8mb4; while it is empty, ALTER DATABASE "
            f"{quoted} CHARACTER SET utf8mb4",
            f"user {USER}@127.0.0.1 has no right to UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, TRIGGER in "
            f"{name}; GRANT ALL PRIVILEGES ON {quoted}.* TO it",
        ]
    else:
        server.sql(f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        server.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC", name)  # as it is from PostgreSQL 15 on
        expected = [
            f"its database {name} has the encoding LATIN1, expected UTF8; make one with CREATE DATABASE … ENCODING "
            "'UTF8' TEMPLATE template0, and name that in the URI",
            f"user {USER} may not create tables in the schema public; GRANT CREATE ON SCHEMA public TO {USER}",
        ]
    try:
        found = case.problems(**case.data(database=name))
    finally:
        server.sql(f"DROP DATABASE {quoted}")

    assert found == [f"tracking_database_uri: {case.address}: {sentence}" for sentence in expected]


def test_server_that_is_too_old_is_told(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """No older server can be had here: the newest that would do is raised instead."""
    monkeypatch.setitem(database_check.faults.__globals__["OLDEST"], case.title, ("99.1", "a reason"))

    (found,) = case.problems()

    version = case.server.sql("SELECT version()" if case.server.is_mysql else "SHOW server_version").split("-")[0]
    assert found == (
        f"tracking_database_uri: {case.address}: it is {case.title} {version.split(' ')[0]}, expected 99.1 or newer (a "
        "reason); upgrade it"
    )


def test_server_that_can_only_be_read_is_told(case: Case) -> None:
    server, read_only = case.server, f"ALTER DATABASE {case.database} SET default_transaction_read_only = on"
    server.sql("SET GLOBAL read_only = 1" if server.is_mysql else read_only)
    try:
        found = case.problems()
    finally:
        if server.is_mysql:
            server.sql("SET GLOBAL read_only = 0")

    assert found == [
        f"tracking_database_uri: {case.address}: it can only be read, as a replica can; name the server that takes "
        "changes in the URI"
    ]


def test_tables_of_another_collation_or_owner_are_told(case: Case) -> None:
    server, name = case.server, case.database
    if server.is_mysql:
        server.sql("CREATE TABLE experiments (a TEXT) COLLATE utf8mb4_unicode_ci", name)
        expected = (
            "its tables have the collation utf8mb4_unicode_ci and the database utf8mb4_general_ci, so that new tables "
            f"can't refer to them; ALTER DATABASE {name} COLLATE utf8mb4_unicode_ci"
        )
    else:
        server.sql(f"CREATE TABLE alembic_version (version_num TEXT); GRANT SELECT ON alembic_version TO {USER}", name)
        expected = "its tables belong to postgres, who alone can upgrade them; name that user in the URI"

    assert case.problems() == [f"tracking_database_uri: {case.address}: {expected}"]


def test_mysql_that_lets_nobody_make_a_trigger_is_told_until_there_is_one(
    mariadb: Server, mysql_database: str, tmp_path: Path, ask: Callable[..., list[str]]
) -> None:
    case = Case(mariadb, mysql_database, tmp_path, ask)
    mariadb.sql("SET GLOBAL log_bin_trust_function_creators = 0")
    try:
        without = case.problems()
        mariadb.sql(
            "CREATE TABLE secrets (a INT); CREATE TRIGGER prevent_secrets_aad_mutation BEFORE UPDATE ON secrets "
            "FOR EACH ROW SET @a = 1",
            mysql_database,
        )
        with_one = case.problems()
    finally:
        mariadb.sql("SET GLOBAL log_bin_trust_function_creators = 1")

    assert without == [
        f"tracking_database_uri: {case.address}: it keeps a binary log and lets none but SUPER make a trigger, of "
        "which MLflow's schema has one; set log_bin_trust_function_creators = 1 there (of a provider's: a parameter, "
        "or flag, of the instance)"
    ]
    assert with_one == []


def test_mysql_that_wants_a_primary_key_in_each_table_is_told(
    mariadb: Server, mysql_database: str, tmp_path: Path, ask: Callable[..., list[str]]
) -> None:
    case = Case(mariadb, mysql_database, tmp_path, ask)
    mariadb.sql("SET GLOBAL innodb_force_primary_key = 1")  # MySQL has sql_require_primary_key
    try:
        found = case.problems()
    finally:
        mariadb.sql("SET GLOBAL innodb_force_primary_key = 0")

    assert found == [
        f"tracking_database_uri: {case.address}: its innodb_force_primary_key is on, and MLflow's migrations take "
        "primary keys away before they make others; switch it off until the schema is up to date"
    ]


def test_rights_to_change_a_schema_are_not_asked_for_when_it_is_up_to_date(
    mariadb: Server, mysql_database: str, tmp_path: Path, ask: Callable[..., list[str]]
) -> None:
    case = Case(mariadb, mysql_database, tmp_path, ask)
    target = database_check._target(settings())
    mariadb.sql(
        f"REVOKE ALL ON {mysql_database}.* FROM {USER}@'127.0.0.1';"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {mysql_database}.* TO {USER}@'127.0.0.1';"
        f"CREATE TABLE {mysql_database}.alembic_version (version_num TEXT);"
        f"INSERT INTO {mysql_database}.alembic_version VALUES ('{target}')"
    )

    assert case.problems() == []


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let loopback count as another host: only there TLS is a must."""
    monkeypatch.setattr("mlflow_stack.on_host.database.Server.is_local", False)


@pytest.mark.usefixtures("elsewhere")
def test_postgresql_without_tls_is_refused_where_nothing_else_is_said(
    postgresql: Server, postgresql_database: str, tmp_path: Path, ask: Callable[..., list[str]]
) -> None:
    case = Case(postgresql, postgresql_database, tmp_path, ask)
    tls = "SELECT pg_reload_conf(); SELECT pg_sleep(1); SHOW ssl"
    assert postgresql.sql(f"ALTER SYSTEM SET ssl = off; {tls}").endswith("off")
    try:
        found = case.problems(tracking_database_ca_file="")
    finally:
        postgresql.sql(f"ALTER SYSTEM RESET ssl; {tls}")

    assert found == [
        f"tracking_database_uri: {case.address} offers no TLS; switch it on there, or say in the URI that it is not "
        "wanted (sslmode=disable, ssl_disabled=true) (server does not support SSL, but SSL was required)"
    ]


@pytest.mark.usefixtures("server_programs", "elsewhere")
def test_mysql_without_tls_is_refused_where_nothing_else_is_said(tmp_path: Path, ask: Callable[..., list[str]]) -> None:
    with databases.mariadb(tls=False) as server:
        case = Case(server, "mysql", tmp_path, ask)
        refused = case.problems(tracking_database_ca_file="")
        uri = f"{case.data()['tracking_database_uri']}?ssl_disabled=true"
        (taken,) = case.problems(tracking_database_ca_file="", tracking_database_uri=uri)

    assert refused == [
        f"tracking_database_uri: {case.address} offers no TLS; switch it on there, or say in the URI that it is not "
        "wanted (sslmode=disable, ssl_disabled=true) (SSL is required but the server doesn't support it)"
    ]
    assert f"{case.address} refuses user {USER}; " in taken  # who is nobody there


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("postgresql+psycopg2://u@a,b/d", "as its URI names a,b"),
        ("postgresql+psycopg2://u@/d?host=/run/other", "as its URI names /run/other"),
        ("postgresql+psycopg2://u@/d", "as its URI names no host"),
        ("postgresql+psycopg2://u@db/d?sslmode=verify-full&sslrootcert=/x", "as its sslrootcert is a file of the host"),
        ("postgresql+psycopg2://u@db/d", "as the host's sshd forwards nothing"),
    ],
)
def test_where_nobody_can_look_from_here_it_is_said(monkeypatch: pytest.MonkeyPatch, uri: str, reason: str) -> None:
    with forwarding(forbids=True) as transport, pytest.raises(Unasked) as unasked:
        _ask(monkeypatch, transport, tracking_database_uri=uri)

    assert str(unasked.value) == (
        f"the database can't be asked from here, {reason}; it is looked at on the host, before the schema is touched"
    )


def test_host_without_ssh_is_left_to_look_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unasked) as unasked:
        _ask(monkeypatch, None, tracking_database_uri="mysql+pymysql://u@db/d")

    assert str(unasked.value) == (
        "the database can't be asked from here, as there is no SSH connection with the host; it is looked at on the "
        "host, before the schema is touched"
    )


IN_A_RUN = """
from gevent import monkey
monkey.patch_all()
import sys
from concurrent.futures import ThreadPoolExecutor
from tests.servers.ssh import forwarding
from tests.servers.test_database_check import _Nobody
from tests.unit.defaults import settings
from lab.process import wait_until
from mlflow_stack import database_check

def ask(uri):
    password, ca_file = sys.argv[1:3]
    data = {"tracking_database_password": f"file:{password}", "tracking_database_ca_file": ca_file}
    with forwarding() as transport:
        database_check.transport_of = lambda _: transport
        return database_check.problems(_Nobody(), settings(("tracking",), tracking_database_uri=uri, **data))

with ThreadPoolExecutor(2) as executor:
    print(list(executor.map(ask, sys.argv[3:])))
"""


def test_database_is_asked_amid_the_greenlets_of_a_run(case: Case) -> None:
    """pyinfra makes one thread of all (gevent): libpq, which is no Python, would keep the rest waiting, and itself."""
    data = case.data()
    arguments = [data["tracking_database_password"].removeprefix("file:"), data["tracking_database_ca_file"]]

    done = subprocess.run(
        [sys.executable, "-c", IN_A_RUN, *arguments, *[data["tracking_database_uri"]] * 2],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert (done.returncode, done.stdout) == (0, "[[], []]\n"), done.stderr
