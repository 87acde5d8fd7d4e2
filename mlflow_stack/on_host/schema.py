"""The tracking database's schema, and its upgrade.

    schema revision URI
    schema check URI TARGET --allow-upgrade|--refuse-upgrade
    schema upgrade URI TARGET MLFLOW BACKUP_DIR

Run with the Python of an MLflow environment (it needs psycopg2). The URI holds no password (libpq reads PGPASSFILE).

`revision` prints JSON: {"revision": "dc11…", "known": true}, where known says whether this MLflow can come from there
(else a newer one made it); null for a database without MLflow's tables, or {"error": "…"}.
`check` exits 0 when the schema is at TARGET, 3 when it has to be brought there and may be, and else 1 with the reason;
that includes a pg_dump that is older than the server, whose dump it would refuse to make.
`upgrade` brings the schema to TARGET, alone: it holds an advisory lock of the database, because two first starts at
once make one fail (mlflow.md 2.2). A database that has data is dumped first, and the dump is read through.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the type, which psycopg2 spells in lower case

LOCK_KEY = 0x6D6C666C6F77  # "mlflow"
LOCK_TIMEOUT_S = 600
NEEDS_UPGRADE = 3


def libpq_uri(uri: str) -> str:
    """Return a SQLAlchemy URI as libpq reads it."""
    return uri.replace("postgresql+psycopg2://", "postgresql://", 1)


def revision_of(connection: Connection) -> str | None:
    """Return the alembic revision of the schema, or None when MLflow has made no tables yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('alembic_version')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("SELECT version_num FROM alembic_version")
        row = cursor.fetchone()
        return str(row[0]) if row else None


def is_known(revision: str | None) -> bool:
    """Return whether the MLflow of this Python has the revision among its migrations."""
    spec = importlib.util.find_spec("mlflow")
    folders = (spec.submodule_search_locations if spec else None) or []
    migrations = [file for folder in folders for file in Path(folder).glob("store/db_migrations/versions/*.py")]
    return revision is None or any(f'\nrevision = "{revision}"\n' in file.read_text() for file in migrations)


def take_lock(connection: Connection) -> None:
    """Wait for the advisory lock; it is released when the connection closes, also by a crash."""
    end = time.monotonic() + LOCK_TIMEOUT_S
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (LOCK_KEY,))
            if cursor.fetchone()[0]:
                return
            time.sleep(1)
    sys.exit(f"another schema upgrade has held its lock for {LOCK_TIMEOUT_S} s; end it, then deploy again")


def server_version(uri: str) -> int:
    """Return the major version of the database's server."""
    with psycopg2.connect(libpq_uri(uri), connect_timeout=20) as connection:
        return int(connection.server_version) // 10000


def dump_obstacle(server: int) -> str:
    """Return why pg_dump can't dump a server of this major version; "" when it can, as with its own and older ones."""
    printed = subprocess.run(["pg_dump", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    found = re.search(r"\(PostgreSQL\) (\d+)", printed)
    if found and int(found[1]) >= server:
        return ""
    return (
        f"it can't be dumped before an upgrade: the server is PostgreSQL {server}, and on this host is {printed}; "
        f"install postgresql-client-{server} here. Nothing was changed on the database or the running server"
    )


def dump(uri: str, revision: str, directory: str) -> Path:
    """Dump the database and read the dump to its end; return its path."""
    os.umask(0o077)
    path = Path(directory) / f"before-upgrade-from-{revision}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.dump"
    part = path.with_suffix(".part")
    subprocess.run(["pg_dump", "--format=custom", "--no-privileges", f"--file={part}", libpq_uri(uri)], check=True)
    # pg_restore --list reads the table of contents only and passes a corrupted dump; this reads all of it.
    subprocess.run(["pg_restore", "--file=/dev/null", str(part)], check=True)
    part.rename(path)
    return path


def upgrade(uri: str, target: str, mlflow: str, directory: str) -> None:
    connection = psycopg2.connect(libpq_uri(uri), connect_timeout=20)
    connection.autocommit = True
    take_lock(connection)
    revision = revision_of(connection)
    if revision == target:
        return
    if revision is not None:
        print(f"dumped to {dump(uri, revision, directory)}", flush=True)
    subprocess.run([mlflow, "db", "upgrade", uri], check=True)
    reached = revision_of(connection)
    if reached != target:
        sys.exit(f"the schema is at revision {reached} after the upgrade, expected {target}")


def read(uri: str) -> dict[str, Any]:
    try:
        with psycopg2.connect(libpq_uri(uri), connect_timeout=20) as connection:
            revision = revision_of(connection)
    except psycopg2.Error as error:
        return {"error": str(error).strip().replace("\n", "; ")}
    return {"revision": revision, "known": is_known(revision)}


def check(uri: str, target: str, upgrades: str) -> int:
    state = read(uri)
    if "error" in state:
        print(f"the tracking database can't be read: {state['error']}", file=sys.stderr)
        return 1
    found = f"the tracking database has schema revision {state['revision']}"
    if not state["known"]:
        print(f"{found}, which this MLflow does not know: a newer MLflow made it. Deploy that one", file=sys.stderr)
        return 1
    if state["revision"] in (None, target):
        return 0 if state["revision"] else NEEDS_UPGRADE
    if upgrades != "--allow-upgrade":
        print(
            f"{found}, this MLflow has {target}; it is upgraded with tracking_upgrade_database = True alone, and in a "
            "run that fails on no tracking host of the stack",
            file=sys.stderr,
        )
        return 1
    if obstacle := dump_obstacle(server_version(uri)):
        print(f"{found}; {obstacle}", file=sys.stderr)
        return 1
    return NEEDS_UPGRADE


def main() -> int:
    command, uri, *rest = sys.argv[1:]
    if command == "upgrade":
        upgrade(uri, *rest)
        return 0
    if command == "check":
        return check(uri, *rest)
    print(json.dumps(read(uri)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
