"""MLflow's accounts and permissions: who there has to be, what they may do, and what the server is told."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.tracking_server import MODELS_USER

KEY_FILE = f"{layout.CREDENTIALS_DIR}/permissions-key"
CONFIGURATION = f"{layout.CONFIG_DIR}/basic_auth.ini"
# The reference to what the accounts' passwords follow from, and where it is kept below .secrets/.
KEY = ("generated", "tracking-permissions")
# The same as in on_host/accounts.py.
OWN_USER, HEALTH_USER = "mlflow-stack", "mlflow-health"
RESERVED = (OWN_USER, HEALTH_USER, MODELS_USER)

# By the name of an experiment or a model, "*" for all: the permission of each user, "*" for all of the proxy.
Rules = Mapping[str, Mapping[str, str]]


def password_of(key: str, user: str) -> str:
    """Return the password of an account; the same as in on_host/accounts.py."""
    return hmac.digest(key.encode(), user.encode(), "sha256").hex()


def key_file(key: str) -> ManagedFile:
    return ManagedFile(KEY_FILE, f"{key}\n", mode="600", is_secret=True)


def configuration(database_uri: str) -> str:
    """Return what `mlflow server --app-name basic-auth` reads (MLFLOW_AUTH_CONFIG_PATH).

    There is no password in it: the database's is in PGPASSFILE, and the administrator's account is there before the
    server is. What is said nowhere is forbidden.
    """
    lines = [
        "# Managed by MLflow Stack (mlflow_stack/domain/permissions.py); changes are overwritten.",
        "[mlflow]",
        "default_permission = NO_PERMISSIONS",
        f"database_uri = {database_uri.replace('%', '%%')}",  # configparser's own escape
        f"admin_username = {OWN_USER}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
    ]
    return "\n".join([*lines, ""])


def wanted(users: Iterable[str], admins: Iterable[str], experiments: Rules, models: Rules) -> str:
    """Return what on_host/permissions.py is to bring about, as JSON.

    Besides `users` there are accounts of our own. The hosts of models read everything: to tell what is not there from
    what they may not see, they have to be allowed to see it.
    """
    users = sorted(users)
    grants = [(MODELS_USER, kind, "*", "READ") for kind in ("experiment", "registered_model")]
    for kind, rules in (("experiment", experiments), ("registered_model", models)):
        for resource, permissions in rules.items():
            everybody = dict.fromkeys(users, permissions["*"]) if "*" in permissions else {}
            each = {**everybody, **{user: permission for user, permission in permissions.items() if user != "*"}}
            grants += [(user, kind, resource, permission) for user, permission in each.items()]
    accounts = {**dict.fromkeys([*users, *RESERVED], False), **dict.fromkeys([*admins, OWN_USER], True)}
    text = json.dumps({"users": accounts, "grants": sorted(grants)}, sort_keys=True)
    return text.replace("$", r"\u0024")  # systemd-run would put a variable there
