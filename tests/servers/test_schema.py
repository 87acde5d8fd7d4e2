"""schema.py and dumps.py on real servers, with MLflow's own migrations; upgrades on hosts are in tests/e2e."""

from __future__ import annotations

import gzip
import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.databases import ON_HOST, USER, Server
from tests.servers.older import OLDER, TARGET, rows

MLFLOW = str(Path(sys.executable).with_name("mlflow"))


def upgrade(server: Server, uri: str, directory: Path) -> subprocess.CompletedProcess[str]:
    return server.run("schema.py", "upgrade", uri, TARGET, MLFLOW, str(directory))


def state(server: Server, uri: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(server.run("schema.py", "revision", uri).stdout)
    return found


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_empty_database_gets_the_schema_by_two_upgrades_at_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: Server = request.getfixturevalue("mariadb" if kind == "mysql" else "postgresql")
    uri = server.uri(request.getfixturevalue(f"{kind}_database"))
    before = server.run("schema.py", "check", uri, TARGET, "--refuse-upgrade")

    with ThreadPoolExecutor(2) as executor:
        both = list(executor.map(lambda _: upgrade(server, uri, tmp_path), range(2)))

    assert (before.returncode, before.stdout + before.stderr) == (3, "")
    assert [done.returncode for done in both] == [0, 0], both
    assert state(server, uri) == {"revision": TARGET, "known": True, "begun": None}
    assert server.run("schema.py", "check", uri, TARGET, "--refuse-upgrade").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_older_schema_on_mysql_is_upgraded_after_a_dump_that_restores_it(
    mariadb: Server, mysql_database: str, older_mysql: str, tmp_path: Path
) -> None:
    uri = older_mysql
    before = rows(mariadb, mysql_database)
    refused = mariadb.run("schema.py", "check", uri, TARGET, "--refuse-upgrade")
    allowed = mariadb.run("schema.py", "check", uri, TARGET, "--allow-upgrade")

    done = upgrade(mariadb, uri, tmp_path)

    (dump,) = tmp_path.iterdir()
    assert refused.returncode == 1
    assert refused.stderr == (
        f"the tracking database has schema revision {OLDER}, this MLflow has {TARGET}; it is upgraded with "
        "tracking_upgrade_database = True alone, and in a run that fails on no tracking host of the stack\n"
    )
    assert allowed.returncode == 3, allowed.stderr
    assert (done.returncode, done.stdout) == (0, f"dumped to {dump}\n"), done.stderr
    assert dump.stat().st_mode & 0o777 == 0o600
    assert state(mariadb, uri)["revision"] == TARGET
    restored = mariadb.run("schema.py", "restore", uri, str(dump))
    assert restored.stdout == f"{dump} is restored: the schema is at revision {OLDER}\n", restored.stderr
    assert rows(mariadb, mysql_database) == before
    assert "mlflow_stack" not in mariadb.sql("SHOW TABLES", mysql_database)
    assert "prevent_secrets_aad_mutation" in mariadb.sql("SHOW TRIGGERS", mysql_database)


def test_upgrade_of_mysql_that_fails_half_way_says_how_to_restore_the_dump_and_is_not_begun_again(
    mariadb: Server, mysql_database: str, older_mysql: str, tmp_path: Path
) -> None:
    uri = older_mysql
    before = rows(mariadb, mysql_database)
    mariadb.sql("CREATE TABLE guardrails (in_the_way INT)", mysql_database)  # a later migration makes this table

    done = upgrade(mariadb, uri, tmp_path)
    again = upgrade(mariadb, uri, tmp_path)
    checked = mariadb.run("schema.py", "check", uri, TARGET, "--allow-upgrade")

    (dump,) = tmp_path.iterdir()
    command = f"{sys.executable} -I {ON_HOST}/schema.py restore '{uri}' {dump}"
    message = (
        f"the upgrade of the tracking database to revision {TARGET} has begun and not ended, and MySQL takes nothing "
        "back: no server may be started on it. Put right what is said above, restore the dump as root on the host that "
        f"has it, and deploy again:\n{command}\n"
    )
    assert done.returncode == 4
    assert done.stderr.endswith(message)
    assert (again.returncode, again.stderr) == (4, message)
    assert (checked.returncode, checked.stderr) == (1, message)
    assert state(mariadb, uri)["begun"] == [TARGET, f"{dump} on the host that has it"]

    subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=120)

    assert state(mariadb, uri) == {"revision": OLDER, "known": True, "begun": None}
    assert rows(mariadb, mysql_database) == before


def test_first_upgrade_of_mysql_that_was_cut_short_is_begun_anew(
    mariadb: Server, mysql_database: str, older_mysql: str, tmp_path: Path
) -> None:
    uri = older_mysql
    mariadb.sql(
        "DELETE FROM spans; DELETE FROM trace_info; DELETE FROM experiments;"
        "CREATE TABLE guardrails (cut_short INT);"
        "CREATE TABLE alembic_mlflow_stack_upgrade (target VARCHAR(32), dump TEXT);"
        f"INSERT INTO alembic_mlflow_stack_upgrade VALUES ('{TARGET}', '')",
        mysql_database,
    )

    done = upgrade(mariadb, uri, tmp_path)

    assert done.returncode == 0, done.stderr
    assert state(mariadb, uri) == {"revision": TARGET, "known": True, "begun": None}


def test_first_upgrade_that_was_cut_short_is_left_alone_where_somebody_has_used_the_database(
    mariadb: Server, mysql_database: str, tmp_path: Path
) -> None:
    mariadb.sql(
        "CREATE TABLE experiments (name TEXT); INSERT INTO experiments VALUES ('used');"
        "CREATE TABLE alembic_mlflow_stack_upgrade (target VARCHAR(32), dump TEXT);"
        f"INSERT INTO alembic_mlflow_stack_upgrade VALUES ('{TARGET}', '')",
        mysql_database,
    )

    done = upgrade(mariadb, mariadb.uri(mysql_database), tmp_path)

    assert done.returncode == 1
    assert done.stderr == (
        "an upgrade of an empty database has not ended, and there are experiments in it; see "
        "alembic_mlflow_stack_upgrade there\n"
    )
    assert mariadb.sql("SELECT name FROM experiments", mysql_database) == "used"


def test_upgrade_of_postgresql_that_fails_leaves_all_as_it_was(
    postgresql: Server, postgresql_database: str, older_postgresql: str, tmp_path: Path
) -> None:
    uri = older_postgresql
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    postgresql.sql(f"SET ROLE {USER}; CREATE TABLE guardrails (in_the_way INT)", postgresql_database)
    before = rows(postgresql, postgresql_database), postgresql.sql(tables, postgresql_database)

    done = upgrade(postgresql, uri, tmp_path)

    assert done.returncode == 1
    assert done.stderr.endswith(f"the schema is at revision {OLDER} after the upgrade, expected {TARGET}\n")
    assert state(postgresql, uri) == {"revision": OLDER, "known": True, "begun": None}
    assert (rows(postgresql, postgresql_database), postgresql.sql(tables, postgresql_database)) == before


@pytest.mark.parametrize("damage", ["cut", "no last line"])
def test_dump_that_is_not_whole_is_not_restored(
    mariadb: Server, mysql_database: str, tmp_path: Path, damage: str
) -> None:
    mariadb.sql("CREATE TABLE kept (a INT)", mysql_database)
    dump = tmp_path / "dump.sql.gz"
    dump.write_bytes(gzip.compress(b"DROP TABLE kept;\n"))
    if damage == "cut":
        dump.write_bytes(dump.read_bytes()[:-4])

    done = mariadb.run("schema.py", "restore", mariadb.uri(mysql_database), str(dump))

    reason = (
        "Compressed file ended before the end-of-stream marker was reached"
        if damage == "cut"
        else "its last line is missing"
    )
    assert (done.returncode, done.stderr) == (1, f"{dump} is not whole ({reason}); no schema was changed\n")
    assert mariadb.sql("SHOW TABLES", mysql_database) == "kept"


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_python_without_the_driver_says_so(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    program = [sys.executable, "-I", "-S", str(ON_HOST / "schema.py"), "revision", server.uri("any")]

    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)

    driver = "pymysql" if server.is_mysql else "psycopg2"
    assert json.loads(done.stdout) == {
        "error": f"localhost:{server.port} can't be used (this Python has no {driver}, the driver of the database; "
        "build its environment, or the image, anew with the settings of this database)"
    }
