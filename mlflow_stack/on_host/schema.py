"""The tracking database's schema, and its upgrade.

    schema revision URI
    schema check URI TARGET --allow-upgrade|--refuse-upgrade
    schema upgrade URI TARGET MLFLOW BACKUP_DIR
    schema needs URI TARGET
    schema restore URI DUMP

Run with the Python of an MLflow environment (it needs the database's driver). The URI holds no password (database.py).

`revision` prints JSON: {"revision": "dc11…", "known": true, "begun": null}, where known says whether this MLflow can
come from there (else a newer one made it), and begun is the upgrade that was begun and not ended, as [TARGET, what to
restore]; null for a database without MLflow's tables, or {"error": "…"}.
`check` exits 0 when the schema is at TARGET, 3 when it has to be brought there and may be, and else 1 with the reason;
that includes a database that has not what MLflow needs (needs.py), and one that can't be dumped from here.
`upgrade` brings the schema to TARGET, alone: it holds a lock of the database, because two first starts at once make
one fail (mlflow.md 2.2). A database that has data is dumped first, and the dump is read through. On PostgreSQL an
upgrade is one transaction. MySQL commits each step: there a table of ours (BEGUN) says that one has begun, until it has
ended; when it fails the exit status is 4, and how to restore the dump is said. A database that was empty is emptied
again and begun anew by the next upgrade.
`needs` prints what MLflow misses, a sentence a line. `restore` puts a dump of MySQL in the place of all tables.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from database import DatabaseError, connect, own_uri, parse  # type: ignore[import-not-found]  # its neighbours on the host
from dumps import clear, dump, dump_obstacle, read_through, restore, restore_command  # type: ignore[import-not-found]
from needs import faults, refusal  # type: ignore[import-not-found]

LOCK_TIMEOUT_S = 600
NEEDS_UPGRADE, HALF_UPGRADED = 3, 4
# MLflow takes a database for empty in which the names of all tables begin so (mlflow.store.db.utils).
BEGUN = "alembic_mlflow_stack_upgrade"
# Noted in the place of a dump by containers, which can make none (migrate.py).
SNAPSHOT = "the snapshot that was made before"


def is_known(revision: str | None) -> bool:
    """Return whether the MLflow of this Python has the revision among its migrations."""
    spec = importlib.util.find_spec("mlflow")
    folders = (spec.submodule_search_locations if spec else None) or []
    migrations = [file for folder in folders for file in Path(folder).glob("store/db_migrations/versions/*.py")]
    return revision is None or any(f'\nrevision = "{revision}"\n' in file.read_text() for file in migrations)


def take_lock(database: Any) -> None:
    """Wait for the lock of upgrades; it is free when the connection closes, also by a crash."""
    end = time.monotonic() + LOCK_TIMEOUT_S
    while time.monotonic() < end:
        if database.try_lock():
            return
        time.sleep(1)
    sys.exit(f"another schema upgrade has held its lock for {LOCK_TIMEOUT_S} s; end it, then try again")


def begun(database: Any) -> list[str] | None:
    """Return the target and the dump ("" for none, of a database that was empty) of an upgrade that has not ended."""
    found = database.rows(f"SELECT target, dump FROM {BEGUN}") if database.has_table(BEGUN) else []
    return list(found[0]) if found and found[0][0] != database.revision() else None


def to_restore(dump: str) -> str:
    """Return in words what was made before an upgrade; "" for nothing."""
    return f"{dump} on the host that has it" if dump not in ("", SNAPSHOT) else dump


def upgrade(uri: str, target: str, mlflow: str, directory: str) -> int:
    database = connect(uri)
    take_lock(database)
    if unfinished := begun(database):
        if unfinished[1]:
            print(half_upgraded(uri, unfinished), file=sys.stderr)
            return HALF_UPGRADED
        empty_again(database)
    revision = database.revision()
    if revision == target:
        return 0
    path = str(dump(database, uri, revision, directory)) if revision is not None else ""
    if path:
        print(f"dumped to {path}", flush=True)
    if brought(database, uri, target, mlflow, path):
        return 0
    if path and not database.takes_back:
        print(half_upgraded(uri, [target, path]), file=sys.stderr)
        return HALF_UPGRADED
    return 1


def brought(database: Any, uri: str, target: str, mlflow: str, path: str) -> bool:
    """Let MLflow's own program migrate the schema, noted on MySQL while it does; return whether that is at `target`."""
    if not database.takes_back:
        mark(database, target, path)
    done = subprocess.run([mlflow, "db", "upgrade", own_uri(uri)], check=False)
    reached = database.revision()
    if done.returncode == 0 and reached == target:
        if not database.takes_back:
            database.rows(f"DROP TABLE {BEGUN}")
        return True
    print(f"the schema is at revision {reached} after the upgrade, expected {target}", file=sys.stderr)
    return False


def mark(database: Any, target: str, path: str) -> None:
    """Note in the database that its upgrade begins."""
    database.rows(f"DROP TABLE IF EXISTS {BEGUN}")
    database.rows(f"CREATE TABLE {BEGUN} (target VARCHAR(32) PRIMARY KEY, dump TEXT)")
    database.rows(f"INSERT INTO {BEGUN} VALUES (%s, %s)", target, path)


def empty_again(database: Any) -> None:
    """Remove the tables that the first upgrade of an empty database has made so far; nobody has used them."""
    if database.has_table("experiments") and database.rows("SELECT 1 FROM experiments LIMIT 1"):
        sys.exit(f"an upgrade of an empty database has not ended, and there are experiments in it; see {BEGUN} there")
    clear(database)


def half_upgraded(uri: str, unfinished: list[str]) -> str:
    target, path = unfinished
    said = (
        f"the upgrade of the tracking database to revision {target} has begun and not ended, and MySQL takes nothing "
        "back: no server may be started on it. Put right what"
    )
    if path == SNAPSHOT:
        return f"{said} the container's `migrate` said, restore {path}, and deploy again"
    return (
        f"{said} is said above, restore the dump as root on the host that has it, and deploy again:\n"
        f"{restore_command(uri, path)}"
    )


def read(uri: str) -> dict[str, Any]:
    try:
        database = connect(uri)
        revision, unfinished = database.revision(), begun(database)
    except DatabaseError as error:
        return {"error": refusal(error, parse(uri))}
    if unfinished:
        unfinished[1] = to_restore(unfinished[1])
    return {"revision": revision, "known": is_known(revision), "begun": unfinished}


def check(uri: str, target: str, upgrades: str) -> int:
    try:
        database = connect(uri)
        reason = obstacle(database, uri, target, upgrades)
        if not reason:
            return 0 if database.revision() == target else NEEDS_UPGRADE
    except DatabaseError as error:
        reason = f"the tracking database can't be read: {refusal(error, parse(uri))}"
    print(reason, file=sys.stderr)
    return 1


def obstacle(database: Any, uri: str, target: str, upgrades: str) -> str:
    """Return why the schema must not be brought to `target`; "" when it may be, or is there. Raises DatabaseError."""
    revision, unfinished = database.revision(), begun(database)
    found = f"the tracking database has schema revision {revision}"
    reason = ""
    if not is_known(revision):
        reason = f"{found}, which this MLflow does not know: a newer MLflow made it. Deploy that one"
    elif unfinished and unfinished[1]:
        reason = half_upgraded(uri, unfinished)
    elif revision != target and (missing := faults(database, target)):
        reason = "\n".join(f"the tracking database can't be used: {sentence}" for sentence in missing)
    elif revision in (None, target) or unfinished:
        reason = ""
    elif upgrades != "--allow-upgrade":
        reason = (
            f"{found}, this MLflow has {target}; it is upgraded with tracking_upgrade_database = True alone, and in a "
            "run that fails on no tracking host of the stack"
        )
    elif impossible := dump_obstacle(database):
        reason = f"{found}; {impossible}"
    return reason


def needs(uri: str, target: str) -> int:
    try:
        sentences = faults(connect(uri), target)
    except DatabaseError as error:
        sentences = [refusal(error, parse(uri))]
    print("".join(f"{sentence}\n" for sentence in sentences), end="")
    return 0


def restored(uri: str, path: str) -> int:
    read_through(Path(path))
    database = connect(uri)
    if database.takes_back:
        sys.exit("this is for MySQL; a dump of PostgreSQL is restored with pg_restore")
    take_lock(database)
    restore(database, uri, Path(path))
    print(f"{path} is restored: the schema is at revision {database.revision()}")
    return 0


def main() -> int:
    command, uri, *rest = sys.argv[1:]
    if command == "revision":
        print(json.dumps(read(uri)))
        return 0
    commands: dict[str, Callable[..., int]] = {"upgrade": upgrade, "check": check, "needs": needs, "restore": restored}
    return commands[command](uri, *rest)


if __name__ == "__main__":
    sys.exit(main())
