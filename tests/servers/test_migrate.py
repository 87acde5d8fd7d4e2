"""migrate.py on real servers, as a container runs it; images that have it are in tests/image."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from mlflow_stack.on_host import entrypoint
from mlflow_stack.on_host.container import Database
from tests.servers.databases import ON_HOST, PASSWORD, USER, Server
from tests.servers.older import OLDER, TARGET, rows

NO_TABLES = "the tracking database has no tables of MLflow's yet; run this image with the command `migrate` first\n"
MADE = f"made at revision {TARGET}\n"
UNFINISHED = (
    f"the upgrade of the tracking database to revision {TARGET} has begun and not ended, and MySQL takes nothing back: "
    "no server may be started on it. Put right what made it fail, restore {}, and run `migrate` again\n"
)
NOTE = "CREATE TABLE alembic_mlflow_stack_upgrade (target VARCHAR(32), dump TEXT);"


def check(server: Server, uri: str) -> subprocess.CompletedProcess[str]:
    return server.run("migrate.py", "check", uri, TARGET)


def migrate(server: Server, uri: str, upgrades: str = "--refuse-upgrade") -> subprocess.CompletedProcess[str]:
    return server.run("migrate.py", "migrate", uri, TARGET, upgrades)


def test_empty_database_gets_the_schema_once(postgresql: Server, postgresql_database: str) -> None:
    uri = postgresql.uri(postgresql_database)

    before, made, again, after = (ask(postgresql, uri) for ask in (check, migrate, migrate, check))

    assert (before.returncode, before.stderr) == (1, NO_TABLES)
    assert (made.returncode, made.stdout) == (0, MADE), made.stderr
    assert (again.returncode, again.stdout) == (0, f"the schema is at revision {TARGET} already\n"), again.stderr
    assert (after.returncode, after.stdout, after.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_database_is_reached_by_its_unix_socket(kind: str, request: pytest.FixtureRequest) -> None:
    """As Cloud Run has it."""
    server: Server = request.getfixturevalue("mariadb" if kind == "mysql" else "postgresql")
    database = request.getfixturevalue(f"{kind}_database")
    uri = f"{server.scheme}://postgres@/{database}?host={server.directory}&port={server.port}"
    if server.is_mysql:
        uri = f"{server.scheme}://root@localhost/{database}?unix_socket={server.directory}/my.sock"

    assert check(server, uri).stderr == NO_TABLES


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_older_schema_is_upgraded_when_that_is_said(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue("mariadb" if kind == "mysql" else "postgresql")
    uri = request.getfixturevalue(f"older_{kind}")
    database = request.getfixturevalue(f"{kind}_database")
    before = rows(server, database)

    served, refused, upgraded = check(server, uri), migrate(server, uri), migrate(server, uri, "--allow-upgrade")

    assert (served.returncode, served.stderr) == (
        1,
        f"the tracking database has schema revision {OLDER}, this MLflow has {TARGET}; run this image with the command "
        "`migrate` first\n",
    )
    assert (refused.returncode, refused.stderr) == (
        1,
        f"the tracking database has schema revision {OLDER}, this MLflow has {TARGET}. An upgrade can't be undone: "
        "make a snapshot of the database, stop its servers, and run `migrate` with MLFLOW_UPGRADE_DATABASE=true\n",
    )
    assert (upgraded.returncode, upgraded.stdout) == (
        0,
        f"the schema is at revision {TARGET}, it was at {OLDER}\n",
    ), upgraded.stderr
    assert rows(server, database) == before
    notes = "SELECT count(*) FROM information_schema.tables WHERE table_name = 'alembic_mlflow_stack_upgrade'"
    assert server.sql(notes, database) == "0"


def test_schema_of_a_newer_mlflow_is_left_alone(postgresql: Server, postgresql_database: str) -> None:
    newer = "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('f1f1')"
    postgresql.sql(f"SET ROLE {USER}; {newer}", postgresql_database)
    uri = postgresql.uri(postgresql_database)

    assert {check(postgresql, uri).stderr, migrate(postgresql, uri, "--allow-upgrade").stderr} == {
        "the tracking database has schema revision f1f1, which this MLflow does not know: a newer MLflow made it. Run "
        "an image of that MLflow\n"
    }


def test_upgrade_of_mysql_that_fails_half_way_is_not_begun_again_before_the_snapshot_is_restored(
    mariadb: Server, mysql_database: str, older_mysql: str
) -> None:
    mariadb.sql("CREATE TABLE guardrails (in_the_way INT)", mysql_database)  # a later migration makes this table

    failed, again = (migrate(mariadb, older_mysql, "--allow-upgrade") for _ in range(2))
    served = check(mariadb, older_mysql)
    on_a_host = mariadb.run("schema.py", "check", older_mysql, TARGET, "--allow-upgrade")

    message = UNFINISHED.format("the snapshot that was made before")
    assert failed.returncode == 1
    assert failed.stderr.endswith(message)
    assert [(each.returncode, each.stderr) for each in (again, served)] == [(1, message)] * 2
    assert on_a_host.stderr == (
        f"the upgrade of the tracking database to revision {TARGET} has begun and not ended, and MySQL takes nothing "
        "back: no server may be started on it. Put right what the container's `migrate` said, restore the snapshot "
        "that was made before, and deploy again\n"
    )


def test_upgrade_that_a_host_has_begun_is_not_gone_on_with(mariadb: Server, mysql_database: str) -> None:
    dump = "/var/backups/mlflow/before-upgrade.sql.gz"
    mariadb.sql(
        f"{NOTE} INSERT INTO alembic_mlflow_stack_upgrade VALUES ('{TARGET}', '{dump}')",
        mysql_database,
    )

    done = migrate(mariadb, mariadb.uri(mysql_database), "--allow-upgrade")

    assert (done.returncode, done.stderr) == (1, UNFINISHED.format(f"{dump} on the host that has it"))


def test_first_migration_of_mysql_that_was_cut_short_is_begun_anew(mariadb: Server, mysql_database: str) -> None:
    mariadb.sql(
        f"CREATE TABLE guardrails (cut_short INT); {NOTE} INSERT INTO alembic_mlflow_stack_upgrade VALUES "
        f"('{TARGET}', '')",
        mysql_database,
    )

    done = migrate(mariadb, mariadb.uri(mysql_database))

    assert (done.returncode, done.stdout) == (0, MADE), done.stderr


def test_migration_of_postgresql_that_fails_leaves_all_as_it_was(
    postgresql: Server, postgresql_database: str, older_postgresql: str
) -> None:
    postgresql.sql(f"SET ROLE {USER}; CREATE TABLE guardrails (in_the_way INT)", postgresql_database)
    before = rows(postgresql, postgresql_database)

    done = migrate(postgresql, older_postgresql, "--allow-upgrade")

    assert done.returncode == 1
    assert done.stderr.endswith(f"the schema is at revision {OLDER} after the upgrade, expected {TARGET}\n")
    assert rows(postgresql, postgresql_database) == before


def test_all_that_mlflow_misses_is_said_before_anything_is_made(mariadb: Server, mysql_database: str) -> None:
    mariadb.sql(
        f"ALTER DATABASE {mysql_database} CHARACTER SET latin1; "
        f"REVOKE CREATE, TRIGGER ON {mysql_database}.* FROM {USER}@'127.0.0.1'"
    )

    done = migrate(mariadb, mariadb.uri(mysql_database))

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"the tracking database can't be used: its database {mysql_database} has the character set latin1, expected "
        f"utf8mb4; while it is empty, ALTER DATABASE {mysql_database} CHARACTER SET utf8mb4",
        f"the tracking database can't be used: user {USER}@127.0.0.1 has no right to CREATE, REFERENCES, TRIGGER in "
        f"{mysql_database}; GRANT ALL PRIVILEGES ON {mysql_database}.* TO it",
    ]
    assert mariadb.sql("SHOW TABLES", mysql_database) == ""


@contextmanager
def waiting(server: Server, uri: str) -> Iterator[IO[str]]:
    """What `check` says while it waits for a database that it can't use yet."""
    program = [sys.executable, "-I", str(ON_HOST / "migrate.py"), "check", uri, TARGET]
    variables = {**os.environ, "PGPASSFILE": str(server.password_file)}
    with subprocess.Popen(program, env=variables, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        yield process.stderr
        process.kill()


def test_database_that_is_not_there_yet_is_waited_for(postgresql: Server) -> None:
    with waiting(postgresql, postgresql.uri("mlflow_late")) as said:
        first = said.readline()
        postgresql.sql(f"CREATE DATABASE mlflow_late OWNER {USER}")
        last = said.read()
    postgresql.sql("DROP DATABASE mlflow_late")

    assert first.startswith(
        f"the tracking database can't be used yet: localhost:{postgresql.port} has no database mlflow_late for user "
        f"{USER}; create it there, or name another in the URI ("
    )
    assert last == NO_TABLES


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_database_has_to_prove_who_it_is_where_its_authority_is_given(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server: Server = request.getfixturevalue("mariadb" if kind == "mysql" else "postgresql")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    where = f"{server.port}/{request.getfixturevalue(f'{kind}_database')}"

    def told(authority: str, host: str) -> str:
        """Return the URI that the container's programs are given (the password of libpq is in its environment)."""
        text = (server.directory / authority).read_text()
        database = Database(f"{server.scheme}://{USER}@{host}:{where}", PASSWORD if server.is_mysql else "", text)
        return entrypoint.database_variables(database)["MLFLOW_BACKEND_STORE_URI"]

    with waiting(server, told("ca.pem", "localhost")) as said:
        right = said.readline()
    with waiting(server, told("other.pem", "localhost")) as said:
        other_authority = said.readline()
    with waiting(server, told("ca.pem", "127.0.0.1")) as said:
        other_name = said.readline()

    assert right.startswith("the tracking database has no tables of MLflow's yet; ")
    assert "shows a certificate that is not from MLFLOW_DATABASE_CA, or the file that" in other_authority
    assert "shows a certificate for another name" in other_name


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_what_has_to_be_put_right_is_called_as_a_container_knows_it(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue("mariadb" if kind == "mysql" else "postgresql")

    with waiting(server, server.uri("any").replace("ca.pem", "other.pem")) as said:
        authority = said.readline()
    with waiting(server, server.uri("any", user="nobody")) as said:
        user = said.readline()

    assert authority.startswith(
        f"the tracking database can't be used yet: localhost:{server.port} shows a certificate that is not from "
        "MLFLOW_DATABASE_CA, or the file that sslrootcert (of MySQL: ssl_ca) in MLFLOW_BACKEND_STORE_URI names; give "
        "the file of this server's provider ("
    )
    assert user.startswith(
        f"the tracking database can't be used yet: localhost:{server.port} refuses user nobody; check the user and "
        "MLFLOW_DATABASE_PASSWORD, and from where it may log in ("
    )
