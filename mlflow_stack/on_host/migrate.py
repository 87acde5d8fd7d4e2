"""The schema of a container's tracking database, whichever server that is on; what hosts have is schema.py.

    migrate check URI TARGET
    migrate migrate URI TARGET --allow-upgrade|--refuse-upgrade

TARGET is the revision that this MLflow migrates to. Run with the Python of an MLflow environment. The URI holds no
password (database.py). A database that does not answer yet is waited for.

`check` exits 0 when the schema is at TARGET, so that a server may start: it would migrate an older one by itself,
silently and one-way (mlflow.md 2.1). `migrate` makes the schema of an empty database, and brings an older one up to
date where that is allowed, with the lock and the note in the database that hosts have. It makes no dump: a snapshot of
the platform's is what the database can be brought back from.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from database import DatabaseError, connect, parse  # type: ignore[import-not-found]  # its neighbours in the image
from needs import Words, faults, refusal  # type: ignore[import-not-found]
from schema import (  # type: ignore[import-not-found]
    SNAPSHOT,
    begun,
    brought,
    empty_again,
    is_known,
    take_lock,
    to_restore,
)

WAIT_S = 60
WORDS = Words(
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_DATABASE_PASSWORD",
    "MLFLOW_DATABASE_CA, or the file that sslrootcert (of MySQL: ssl_ca) in MLFLOW_BACKEND_STORE_URI names",
)


def patient(uri: str) -> Any:
    """Return a connection, for which it waits: a platform starts a database and its clients at the same time."""
    end, said = time.monotonic() + WAIT_S, ""
    while True:
        try:
            return connect(uri)
        except DatabaseError as error:
            reason = refusal(error, parse(uri), WORDS)
        if time.monotonic() > end:
            sys.exit(f"the tracking database: {reason}")
        if reason != said:
            print(f"the tracking database can't be used yet: {reason}", file=sys.stderr, flush=True)
            said = reason
        time.sleep(1)


def obstacle(database: Any, revision: str | None) -> str:
    """Return why neither a server may be started on a schema nor `migrate` touch it; "" for nothing."""
    if not is_known(revision):
        return (
            f"the tracking database has schema revision {revision}, which this MLflow does not know: a newer MLflow "
            "made it. Run an image of that MLflow"
        )
    target, dump = begun(database) or ("", "")
    if not dump:
        return ""
    return (
        f"the upgrade of the tracking database to revision {target} has begun and not ended, and MySQL takes nothing "
        f"back: no server may be started on it. Put right what made it fail, restore {to_restore(dump)}, and run "
        "`migrate` again"
    )


def refused(database: Any, revision: str | None, target: str, upgrades: str) -> str:
    """Return why a schema can't, or may not, be brought to `target`; "" when it can."""
    if missing := faults(database, target):
        return "\n".join(f"the tracking database can't be used: {sentence}" for sentence in missing)
    if revision is None or begun(database) or upgrades == "--allow-upgrade":
        return ""
    return (
        f"the tracking database has schema revision {revision}, this MLflow has {target}. An upgrade can't be undone: "
        "make a snapshot of the database, stop its servers, and run `migrate` with MLFLOW_UPGRADE_DATABASE=true"
    )


def check(uri: str, target: str) -> int:
    database = patient(uri)
    revision = database.revision()
    if revision == target:
        return 0
    found = f"has schema revision {revision}, this MLflow has {target}" if revision else "has no tables of MLflow's yet"
    first = f"the tracking database {found}; run this image with the command `migrate` first"
    sys.exit(obstacle(database, revision) or first)


def migrate(uri: str, target: str, upgrades: str) -> int:
    database = patient(uri)
    take_lock(database)
    revision = database.revision()
    if revision == target:
        print(f"the schema is at revision {target} already")
        return 0
    if reason := obstacle(database, revision) or refused(database, revision, target, upgrades):
        sys.exit(reason)
    if begun(database):
        empty_again(database)
        revision = None
    mlflow = str(Path(sys.executable).parent / "mlflow")
    if not brought(database, uri, target, mlflow, SNAPSHOT if revision else ""):
        sys.exit(obstacle(database, database.revision()) or 1)
    print(f"the schema is at revision {target}, it was at {revision}" if revision else f"made at revision {target}")
    return 0


def main() -> int:
    command, uri, *rest = sys.argv[1:]
    try:
        return check(uri, *rest) if command == "check" else migrate(uri, *rest)
    except DatabaseError as error:
        sys.exit(f"the tracking database: {refusal(error, parse(uri), WORDS)}")


if __name__ == "__main__":
    sys.exit(main())
