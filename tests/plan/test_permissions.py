"""What a plan shows of permissions: who is known to MLflow before it asks, in what order, and no secret."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mlflow_stack.domain.permissions import KEY_FILE
from mlflow_stack.domain.tracking_server import PASSWORD_FILE
from tests.plan.conftest import Plan, Planner, host

USERS = {"admin": "env:DB_PASSWORD", "ada": "env:DB_PASSWORD", "bob": "env:DB_PASSWORD"}
RULES = {
    "tracking_experiment_permissions": {"fraud": {"ada": "EDIT"}, "*": {"*": "READ", "bob": "DENY"}},
    "tracking_model_permissions": {"scoring": {"bob": "MANAGE"}},
}
ACCOUNTS = "Tracking | Give users their accounts and permissions"
WRITTEN = "Tracking | Write the unit and configuration of mlflow-tracking"
MODELS = {"diabetes": {"uri": "models:/diabetes@champion"}}


def permitting(**settings: Any) -> dict[str, list[Any]]:
    """Return the groups of one fresh host with everything on it, and permissions."""
    data = {"tracking_public_name": "mlflow.example.com", "tracking_permissions": True, "proxy_users": USERS, **RULES}
    everything = [host("mlflow1", **{**data, "production_models": MODELS, **settings})]
    return dict.fromkeys(("postgresql", "tracking", "production", "proxy"), everything)


@pytest.fixture(scope="module")
def fresh(plan: Planner) -> Plan:
    found = plan(**permitting())
    assert found.status == 0, found.output
    return found


def test_login_knows_users_before_mlflow_asks_for_them(fresh: Plan) -> None:
    order = [
        "Proxy | Run mlflow-proxy-login and see it refuse",
        "Tracking | Bring the database schema up to date",
        ACCOUNTS,
        WRITTEN,
        "Tracking | Run mlflow-tracking and see it work",
        "Proxy | Run mlflow-proxy and see it work",
        "Production | Release model diabetes",
    ]

    assert [name for name in fresh.operations if name in order] == order


def test_accounts_and_grants_are_those_of_the_settings_and_our_own(fresh: Plan) -> None:
    shown = fresh.of("mlflow1", ACCOUNTS)

    wanted = json.loads(re.search(r"'(\{.*\})'", shown)[1])  # type: ignore[index]
    assert wanted["users"] == {
        "admin": True,
        "ada": False,
        "bob": False,
        "mlflow-stack": True,
        "mlflow-health": False,
        "mlflow-production": False,
    }
    assert wanted["grants"] == [
        ["ada", "experiment", "*", "READ"],
        ["ada", "experiment", "fraud", "EDIT"],
        ["admin", "experiment", "*", "READ"],
        ["bob", "experiment", "*", "DENY"],
        ["bob", "registered_model", "scoring", "MANAGE"],
        ["mlflow-production", "experiment", "*", "READ"],
        ["mlflow-production", "registered_model", "*", "READ"],
    ]
    assert shown.endswith(f" /var/backups/mlflow --refuse-upgrade < {KEY_FILE}")


def test_server_asks_and_what_is_said_nowhere_is_forbidden(fresh: Plan) -> None:
    written = fresh.of("mlflow1", WRITTEN)

    assert "/bin/mlflow server --app-name basic-auth" in written
    assert '+MLFLOW_AUTH_CONFIG_PATH="/etc/mlflow/basic_auth.ini"' in written
    assert "    /etc/mlflow/basic_auth.ini (new, 640 root:mlflow)" in written
    assert "+default_permission = NO_PERMISSIONS" in written


def test_secrets_are_files_of_root_s_and_not_shown(fresh: Plan) -> None:
    login = fresh.of("mlflow1", "Proxy | Write the unit of mlflow-proxy-login")
    models = fresh.of("mlflow1", "Production | Write the units and configuration of mlflow-production")

    for path, text in ((KEY_FILE, login), (PASSWORD_FILE, models)):
        assert f"    {path} (new, 600 root:root)\n        the content is secret and not shown" in text
    assert "hunter2" not in fresh.output


def test_without_permissions_nothing_of_them_is_there(plan: Planner) -> None:
    found = plan(**permitting(tracking_permissions=False, **{rules: {} for rules in RULES}))

    assert found.status == 0, found.output
    assert ACCOUNTS not in found.operations
    assert "permissions-key" not in found.text
    assert "basic-auth" not in found.text
    first = found.operations.index("Proxy | Write the logins")
    assert first > found.operations.index("Tracking | Run mlflow-tracking and see it work")


def test_permissions_without_a_login_are_refused(plan: Planner) -> None:
    groups = permitting()
    del groups["proxy"]

    found = plan(**groups)

    assert found.status == 1
    assert (
        "tracking_permissions needs to know who somebody is, and it is the proxy that asks; put the host into the "
        "group proxy, or set tracking_permissions = False"
    ) in found.output
