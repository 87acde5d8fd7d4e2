"""A newer MLflow on the database of an older one, and the other way round: nothing happens without leave and a dump."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient

from tests.e2e.stack import Stack

OLD_MLFLOW = "3.10.1"
OLD_EXPERIMENT = "made before the upgrade"
UPGRADE = "Tracking | Bring the database schema up to date"
RUN_TRACKING = "Tracking | Run mlflow-tracking and see it work"
URI = "postgresql+psycopg2://mlflow_user@/mlflow_db?host=/var/run/postgresql&port=5432"
BACKUPS = "/var/backups/mlflow"
SCHEMA = "/opt/mlflow/libexec/schema.py"
UNTOUCHED = "Nothing was changed on the database or the running server"


def test_database_of_a_newer_mlflow_is_refused_even_when_upgrades_are_allowed(served: Stack) -> None:
    served.recovers()
    before, now = served.invocations(), revision(served)
    sql(served, "UPDATE alembic_version SET version_num = 'ffffffffffff'")

    run = served.deploy(tracking_upgrade_database=True)

    found = revision(served)
    sql(served, f"UPDATE alembic_version SET version_num = '{now}'")
    assert run.status == 1
    assert "Traceback" not in run.output
    assert (
        "the tracking database has schema revision ffffffffffff, which this MLflow does not know: a newer MLflow made "
        "it. Deploy that version or a newer one, or restore a dump of the older database; tracking_upgrade_database "
        f"never goes back. {UNTOUCHED}\n"
    ) in run.output
    assert found == "ffffffffffff"
    assert served.host.run(f"ls {BACKUPS}").stdout == ""
    assert served.restarted_since(before) == []


def test_two_upgrades_of_an_empty_database_at_once_both_end_well(served: Stack) -> None:
    target, environment = revision(served), environment_of(served)
    command = (
        f"runuser -u mlflow -- {environment}/bin/python -I {SCHEMA} upgrade '{URI}' {target} "
        f"{environment}/bin/mlflow {BACKUPS}"
    )
    with empty_database(served):
        done = served.host.run(
            f"{command} & first=$!; {command} & second=$!; wait $first; a=$?; wait $second; echo $a $?", timeout=300
        )

        assert done.stdout.splitlines()[-1] == "0 0", done.stderr
        assert revision(served) == target


@pytest.fixture(scope="module")
def older(served: Stack) -> Iterator[Stack]:
    """The host with a database that an older MLflow made, and an experiment in it."""
    python = "/opt/older/bin/python"
    packages = f"'mlflow=={OLD_MLFLOW}' psycopg2-binary 'sqlalchemy<2.1'"
    served.host.run(
        "uv=$(ls -d /opt/mlflow/tools/uv-*/bin/uv); export UV_CACHE_DIR=/opt/mlflow/cache/uv-root; "
        f"$uv venv -q --python /opt/mlflow/miniconda3/bin/python /opt/older && $uv pip install -q --python {python} "
        f"{packages} && chmod -R a+rX /opt/older",
        timeout=600,
    )
    program = (  # MLflow makes its tables at the first use of an empty database
        f"import mlflow; mlflow.set_tracking_uri('{URI}'); "
        f"mlflow.create_experiment('{OLD_EXPERIMENT}', 'mlflow-artifacts:/older')"
    )
    with empty_database(served):
        served.host.run(f'cd /tmp && runuser -u mlflow -- {python} -c "{program}"', timeout=300)
        yield served


def test_database_of_an_older_mlflow_is_refused_and_left_alone_without_leave(older: Stack) -> None:
    old, before = revision(older), contents(older)

    run = older.deploy()

    assert run.status == 1
    assert "Traceback" not in run.output
    target = re.search("this MLflow has ([0-9a-f]{12})", run.output)
    assert target
    assert (
        f"the tracking database has schema revision {old}, this MLflow has {target[1]}. An upgrade can't be undone; "
        "set tracking_upgrade_database = True to let this run dump the database and upgrade it, or deploy the MLflow "
        f"that it was made with. {UNTOUCHED}\n"
    ) in run.output
    assert contents(older) == before


def test_upgrade_that_could_not_be_dumped_is_refused_before_anything_is_stopped(older: Stack) -> None:
    old, before, program = revision(older), contents(older), "/usr/local/bin/pg_dump"
    older.host.put(program, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.0'\n")
    older.host.run(f"chmod 755 {program}")

    run = older.deploy(tracking_upgrade_database=True)

    older.host.run(f"rm {program}")
    assert run.status == 1
    assert "Traceback" not in run.output
    assert (
        f"the tracking database has schema revision {old}; it can't be dumped before an upgrade: the server is "
        "PostgreSQL 15, and on this host is pg_dump (PostgreSQL) 13.0; install postgresql-client-15 here. "
        f"{UNTOUCHED}\n"
    ) in run.output
    assert contents(older) == before


def test_upgrade_with_leave_dumps_the_old_database_and_keeps_what_is_in_it(older: Stack) -> None:
    old = revision(older)

    run = older.converge(tracking_upgrade_database=True)

    dump = older.host.run(f"ls {BACKUPS}").stdout.strip()
    mode = older.host.run(f"stat -c '%a %U' {BACKUPS}/{dump}").stdout
    older.host.run(
        "set -e; cd /; runuser -u postgres -- createdb -O mlflow_user restored; "
        f"runuser -u postgres -- pg_restore --exit-on-error -d restored < {BACKUPS}/{dump}"
    )
    assert run.changed == [UPGRADE, RUN_TRACKING]
    assert re.fullmatch(rf"before-upgrade-from-{old}-\d{{8}}T\d{{6}}Z\.dump", dump)
    assert mode == "600 mlflow\n"
    assert revision(older, "restored") == old
    assert sql(older, f"SELECT count(*) FROM experiments WHERE name = '{OLD_EXPERIMENT}'", "restored") == "1"
    assert revision(older) != old
    assert MlflowClient(older.url).get_experiment_by_name(OLD_EXPERIMENT) is not None
    assert older.converge(tracking_upgrade_database=True).changed == []


def sql(stack: Stack, statement: str, database: str = "mlflow_db") -> str:
    psql = f"cd /; runuser -u postgres -- psql -X -A -t -q -v ON_ERROR_STOP=1 -d {database}"
    return stack.host.run(f'{psql} -c "{statement}"').stdout.strip()


def revision(stack: Stack, database: str = "mlflow_db") -> str:
    return sql(stack, "SELECT version_num FROM alembic_version", database)


def contents(stack: Stack) -> str:
    """Return a checksum of all that is in the database. (pg_dump puts random words into its restrict commands.)"""
    dump = "cd /; runuser -u postgres -- pg_dump --no-privileges mlflow_db"
    return stack.host.run(f"{dump} | grep -v restrict | sha256sum").stdout


def environment_of(stack: Stack) -> str:
    unit = stack.host.run("cat /etc/systemd/system/mlflow-tracking.service").stdout
    return re.findall("/opt/mlflow/envs/mlflow-[0-9a-f]+", unit)[0]


@contextmanager
def empty_database(stack: Stack) -> Iterator[None]:
    """Put an empty database in the place of the real one, which comes back afterwards."""
    stack.host.run("systemctl stop mlflow-tracking")
    sql(stack, "ALTER DATABASE mlflow_db RENAME TO kept", "postgres")
    sql(stack, "CREATE DATABASE mlflow_db OWNER mlflow_user TEMPLATE template0 ENCODING 'UTF8'", "postgres")
    sql(stack, "REVOKE CONNECT, TEMPORARY ON DATABASE mlflow_db FROM PUBLIC", "postgres")
    try:
        yield
    finally:
        stack.host.run("systemctl stop mlflow-tracking")
        sql(stack, "ALTER DATABASE mlflow_db RENAME TO used", "postgres")
        sql(stack, "ALTER DATABASE kept RENAME TO mlflow_db", "postgres")
        sql(stack, "DROP DATABASE used", "postgres")
        stack.host.run("systemctl start mlflow-tracking")
