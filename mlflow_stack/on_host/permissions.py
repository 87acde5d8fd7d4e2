"""MLflow's accounts and permissions, in its tables.

    permissions differences URI WANTED < KEY
    permissions apply URI WANTED TARGET BACKUP_DIR --allow-upgrade|--refuse-upgrade < KEY

Run with the Python of an MLflow environment (it needs psycopg2), as the tracking server's user. It is for PostgreSQL
alone: MLflow's own migrations of these tables fail on MySQL. The URI holds no password (libpq reads PGPASSFILE). KEY is
what the accounts' passwords follow from (accounts.py). WANTED is JSON:

    {"users": {NAME: true for one that may do everything}, "grants": [[NAME, TYPE, RESOURCE, PERMISSION], …]}

TYPE is "experiment" or "registered_model", RESOURCE a name or "*" for all. What is granted here is in roles of our own,
one for each user ("mlflow-stack:NAME"), so that what users grant each other is left as it is. Accounts are never
deleted, since their permissions would go with them; those that are not wanted lose their right to everything.

`differences` prints JSON: {"revision": "f1a2…", "known": true, "differences": [sentences], "waiting": [sentences]};
null and no differences without MLflow's tables for it, or {"error": "…"}. What waits is for an experiment that is not
there yet. `apply` makes MLflow's tables for it if they are not there. If they are at another revision than TARGET it
exits with 1, or dumps the database into BACKUP_DIR and migrates them. It holds the advisory lock of schema.py.

A password that nobody chose can't be guessed, so its hash need not be slow: MLflow computes one for each request.
"""

import hashlib
import hmac
import importlib.util
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # the type, which psycopg2 spells in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from accounts import password_of  # type: ignore[import-not-found]  # its neighbours on the host
from database import PostgreSQL, libpq_uri  # type: ignore[import-not-found]
from dumps import dump, dump_obstacle  # type: ignore[import-not-found]
from schema import take_lock  # type: ignore[import-not-found]

METHOD = "pbkdf2:sha256:1"  # as werkzeug.security spells it
PREFIX = "mlflow-stack:"
WORKSPACE = "default"

Grant = tuple[str, str, str, str]  # user, type, resource (an experiment by its ID), permission


class Found(NamedTuple):
    """Password's hash and right to everything by user, grants of ours, and whose each role of ours is."""

    users: dict[str, tuple[str, bool]]
    grants: set[Grant]
    members: set[tuple[str, str]]


def hashed(password: str, salt: str) -> str:
    """Return what MLflow stores for a password, as werkzeug.security.generate_password_hash does."""
    return f"{METHOD}${salt}${hashlib.pbkdf2_hmac('sha256', password.encode(), salt.encode(), 1).hex()}"


def is_right(stored: str, password: str) -> bool:
    method, _, rest = stored.partition("$")
    return method == METHOD and hmac.compare_digest(hashed(password, rest.partition("$")[0]), stored)


def revision_of(cursor: Cursor) -> str | None:
    cursor.execute("SELECT to_regclass('alembic_version_auth')")
    if cursor.fetchone()[0] is None:
        return None
    cursor.execute("SELECT version_num FROM alembic_version_auth")
    row = cursor.fetchone()
    return str(row[0]) if row else None


def is_known(revision: str | None) -> bool:
    """Return whether the MLflow of this Python has the revision among its migrations."""
    spec = importlib.util.find_spec("mlflow")
    folders = (spec.submodule_search_locations if spec else None) or []
    migrations = [file for folder in folders for file in Path(folder).glob("server/auth/db/migrations/versions/*.py")]
    return revision is None or any(f'\nrevision = "{revision}"\n' in file.read_text() for file in migrations)


def read(cursor: Cursor) -> Found:
    cursor.execute("SELECT username, password_hash, coalesce(is_admin, false) FROM users")
    users = {name: (stored or "", admin) for name, stored, admin in cursor}
    ours = f"FROM roles r JOIN {{}} x ON x.role_id = r.id WHERE r.name LIKE '{PREFIX}%' AND r.workspace = '{WORKSPACE}'"
    cursor.execute(f"SELECT r.name, resource_type, resource_pattern, permission {ours.format('role_permissions')}")
    grants = {(name.removeprefix(PREFIX), *rest) for name, *rest in cursor}
    cursor.execute(
        f"SELECT r.name, (SELECT username FROM users u WHERE u.id = x.user_id) {ours.format('user_role_assignments')}"
    )
    return Found(users, grants, {(name.removeprefix(PREFIX), user) for name, user in cursor})


def resolved(cursor: Cursor, grants: list[Grant]) -> tuple[set[Grant], list[str]]:
    """Return the grants with the IDs of experiments, and sentences about experiments that are not there."""
    cursor.execute("SELECT name, experiment_id::text FROM experiments WHERE workspace = %s", (WORKSPACE,))
    ids = {"*": "*", **dict(cursor)}
    absent = {resource for _, kind, resource, _ in grants if kind == "experiment" and resource not in ids}
    found = {
        (user, kind, ids[resource] if kind == "experiment" else resource, permission)
        for user, kind, resource, permission in grants
        if kind != "experiment" or resource in ids
    }
    return found, [f"there is no experiment {name!r} yet" for name in sorted(absent)]


def differences(found: Found, users: dict[str, bool], grants: set[Grant], key: bytes) -> list[str]:
    """Return what is not as wanted, in words."""
    sentences = []
    for name, admin in sorted(users.items()):
        stored, is_admin = found.users.get(name, ("", False))
        if not is_right(stored, password_of(key, name)):
            sentences.append(f"{name} has another password" if stored else f"{name} has no account")
        if is_admin != admin:
            sentences.append(f"{name} {'may' if is_admin else 'may not'} do everything")
    surplus = sorted(name for name, (_, is_admin) in found.users.items() if is_admin and name not in users)
    sentences += [f"{name} may do everything" for name in surplus]
    for sign, changed in (("no", grants - found.grants), ("surplus", found.grants - grants)):
        sentences += [f"{sign} {right} for {user} on {kind} {what}" for user, kind, what, right in sorted(changed)]
    if found.members != {(user, user) for user, *_ in grants}:
        sentences.append("roles of ours have other members")
    return sentences


def write(cursor: Cursor, users: dict[str, bool], grants: set[Grant], key: bytes, found: Found) -> None:
    for name, admin in users.items():
        password = password_of(key, name)
        stored = found.users.get(name, ("", False))[0]
        new = stored if is_right(stored, password) else hashed(password, secrets.token_hex(8))
        cursor.execute(
            "INSERT INTO users (username, password_hash, is_admin) VALUES (%s, %s, %s) ON CONFLICT (username) "
            "DO UPDATE SET password_hash = excluded.password_hash, is_admin = excluded.is_admin",
            (name, new, admin),
        )
    cursor.execute("UPDATE users SET is_admin = false WHERE is_admin AND NOT username = ANY(%s)", (list(users),))
    ours = f"(SELECT id FROM roles WHERE name LIKE '{PREFIX}%' AND workspace = '{WORKSPACE}')"
    for table, column in (("role_permissions", "role_id"), ("user_role_assignments", "role_id"), ("roles", "id")):
        cursor.execute(f"DELETE FROM {table} WHERE {column} IN {ours}")
    for user in sorted({user for user, *_ in grants}):
        cursor.execute(
            "INSERT INTO roles (name, workspace, description) VALUES (%s, %s, %s) RETURNING id",
            (f"{PREFIX}{user}", WORKSPACE, "Managed by MLflow Stack; changes are overwritten"),
        )
        role = cursor.fetchone()[0]
        cursor.execute(
            "INSERT INTO user_role_assignments (user_id, role_id) SELECT id, %s FROM users WHERE username = %s",
            (role, user),
        )
        for kind, what, permission in sorted(rest for name, *rest in grants if name == user):
            cursor.execute(
                "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission) "
                "VALUES (%s, %s, %s, %s)",
                (role, kind, what, permission),
            )


def report(uri: str, wanted: dict[str, Any], key: bytes) -> dict[str, Any]:
    revision, found, waiting = None, list[str](), list[str]()
    try:
        with psycopg2.connect(libpq_uri(uri), connect_timeout=20) as connection, connection.cursor() as cursor:
            revision = revision_of(cursor)
            if revision is not None:
                grants, waiting = resolved(cursor, [tuple(grant) for grant in wanted["grants"]])
                found = differences(read(cursor), wanted["users"], grants, key)
    except psycopg2.ProgrammingError:  # tables of another revision, which is what matters then
        pass
    except psycopg2.Error as error:
        return {"error": str(error).strip().replace("\n", "; ")}
    return {"revision": revision, "known": is_known(revision), "differences": found, "waiting": waiting}


def migrate(connection: Connection, uri: str, target: str, directory: str, upgrades: str) -> None:
    """Bring MLflow's tables to TARGET by its own program."""
    with connection.cursor() as cursor:
        revision = revision_of(cursor)
    if revision == target:
        return
    if revision is not None:
        found = f"the tables for accounts and permissions have schema revision {revision}"
        if not is_known(revision):
            sys.exit(f"{found}, which this MLflow does not know: a newer MLflow made it. Deploy that one")
        if upgrades != "--allow-upgrade":
            sys.exit(f"{found}, this MLflow has {target}; only with tracking_upgrade_database = True they are upgraded")
        database = PostgreSQL(connection)
        if obstacle := dump_obstacle(database):
            sys.exit(f"{found}; {obstacle}")
        print(f"dumped to {dump(database, uri, f'auth-{revision}', directory)}", flush=True)
    upgrade = [sys.executable, "-I", "-m", "mlflow.server.auth", "db", "upgrade", "--url", uri, "--revision", target]
    subprocess.run(upgrade, env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}, check=True)


def apply(uri: str, wanted: dict[str, Any], key: bytes, target: str, directory: str, upgrades: str) -> None:
    connection = psycopg2.connect(libpq_uri(uri), connect_timeout=20)
    connection.autocommit = True
    take_lock(PostgreSQL(connection))
    migrate(connection, uri, target, directory, upgrades)
    connection.autocommit = False
    with connection, connection.cursor() as cursor:
        grants, waiting = resolved(cursor, [tuple(grant) for grant in wanted["grants"]])
        found = read(cursor)
        if differences(found, wanted["users"], grants, key):
            write(cursor, wanted["users"], grants, key, found)
    for sentence in waiting:
        print(f"{sentence}; a later run gives its permissions")


def main() -> int:
    command, uri, wanted, *rest = sys.argv[1:]
    key = sys.stdin.read().strip().encode()
    if command == "apply":
        apply(uri, json.loads(wanted), key, *rest)
    else:
        print(json.dumps(report(uri, json.loads(wanted), key)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
