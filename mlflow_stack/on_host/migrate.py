"""The schema of a container's tracking database, whichever server that is on.

    migrate check URI TARGET
    migrate migrate URI TARGET --allow-upgrade|--refuse-upgrade

TARGET is the revision that this MLflow migrates to. Run with the Python of an MLflow environment. The URI holds no
password. A database that does not answer yet is waited for.

`check` exits 0 when the schema is at TARGET, so that a server may start: it would migrate an older one by itself,
silently and one-way (mlflow.md 2.1). `migrate` makes the schema of an empty database, and brings an older one up to
date where that is allowed, alone: it holds a lock of the database's. It makes no backup: a snapshot of the platform's
is what the database can be brought back from.
"""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

# The same as hosts take. Each is true for the one who gets it, and ends with the connection.
LOCKS = {
    "postgresql": f"SELECT pg_try_advisory_lock({0x6D6C666C6F77})",  # "mlflow"
    "mysql": "SELECT get_lock(left(concat('mlflow:', database()), 64), 0)",
}
# A connection that holds a lock says nothing while the schema changes; providers may end one after a minute.
PATIENCE = {"postgresql": "SELECT 1", "mysql": "SET SESSION wait_timeout = 86400"}
LOCK_TIMEOUT_S = 600
WAIT_S = 60
CONNECT_TIMEOUT_S = 20


def connect(uri: str) -> Connection:
    """Return a connection on which each statement is a transaction; raise SQLAlchemyError when there is none."""
    options = {"connect_timeout": CONNECT_TIMEOUT_S}  # both drivers call it so
    return create_engine(uri, isolation_level="AUTOCOMMIT", connect_args=options).connect()


def patient(uri: str) -> Connection:
    """Return a connection, for which it waits: a platform starts a database and its clients at the same time."""
    end, said = time.monotonic() + WAIT_S, ""
    while True:
        try:
            return connect(uri)
        except SQLAlchemyError as error:
            reason = words(error)
        if time.monotonic() > end:
            sys.exit(f"the tracking database can't be reached: {reason}")
        if reason != said:
            print(f"the tracking database can't be reached yet: {reason}", file=sys.stderr, flush=True)
            said = reason
        time.sleep(1)


def words(error: SQLAlchemyError) -> str:
    """Return what the driver says, in one line."""
    return str(getattr(error, "orig", None) or error).strip().replace("\n", "; ")


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the schema, or None when MLflow has made no tables yet."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def is_known(revision: str) -> bool:
    """Return whether this MLflow has the revision among its migrations."""
    spec = find_spec("mlflow")
    folders = (spec and spec.submodule_search_locations) or []
    migrations = [file for folder in folders for file in Path(folder).glob("store/db_migrations/versions/*.py")]
    return any(f'\nrevision = "{revision}"\n' in file.read_text() for file in migrations)


def newer(revision: str) -> str:
    return (
        f"the tracking database has schema revision {revision}, which this MLflow does not know: a newer MLflow made "
        "it. Run an image of that MLflow"
    )


def check(uri: str, target: str) -> int:
    with patient(uri) as connection:
        revision = revision_of(connection)
    if revision == target:
        return 0
    if revision and not is_known(revision):
        sys.exit(newer(revision))
    found = f"has schema revision {revision}, this MLflow has {target}" if revision else "has no tables of MLflow's yet"
    sys.exit(f"the tracking database {found}; run this image with the command `migrate` first")


def migrate(uri: str, target: str, upgrades: str) -> int:
    with patient(uri) as connection:
        take_lock(connection)
        revision = revision_of(connection)
        if revision == target:
            print(f"the schema is at revision {target} already")
            return 0
        if revision and not is_known(revision):
            sys.exit(newer(revision))
        if revision and upgrades != "--allow-upgrade":
            sys.exit(
                f"the tracking database has schema revision {revision}, this MLflow has {target}. An upgrade can't be "
                "undone: make a snapshot of the database, stop its servers, and run `migrate` with "
                "MLFLOW_UPGRADE_DATABASE=true"
            )
        mlflow = Path(sys.executable).parent / "mlflow"
        variables = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        subprocess.run([mlflow, "db", "upgrade", uri], env=variables, check=True)
        reached = revision_of(connection)
    if reached != target:
        sys.exit(f"the schema is at revision {reached} after the upgrade, expected {target}")
    print(f"the schema is at revision {target}, it was at {revision}" if revision else f"made at revision {target}")
    return 0


def take_lock(connection: Connection) -> None:
    """Wait for the lock: two first starts at once make one fail (mlflow.md 2.2)."""
    end = time.monotonic() + LOCK_TIMEOUT_S
    connection.execute(text(PATIENCE[connection.dialect.name]))
    while not connection.scalar(text(LOCKS[connection.dialect.name])):
        if time.monotonic() > end:
            sys.exit(f"another migration has held its lock for {LOCK_TIMEOUT_S} s; end it, then migrate again")
        time.sleep(1)


def main() -> int:
    command, uri, *rest = sys.argv[1:]
    try:
        return check(uri, *rest) if command == "check" else migrate(uri, *rest)
    except SQLAlchemyError as error:
        sys.exit(f"the tracking database: {words(error)}")
    except subprocess.CalledProcessError as error:
        print(f"the migration ended with status {error.returncode}; MLflow says why above", file=sys.stderr)
        if uri.startswith("mysql"):  # PostgreSQL has taken back all of it
            print("MySQL takes nothing back: restore the snapshot, or empty the database again", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
