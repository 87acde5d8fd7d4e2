"""How an inventory is refused, for the tests of bad input."""

from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError

from mlflow_stack.inventory_check import HostEntry, check_inventory

REMOTE: dict[str, Any] = {"postgresql_client_networks": ["10.0.0.0/24"]}
# What several tracking servers of one stack need.
SEVERAL: dict[str, Any] = {
    "tracking_bind": "0.0.0.0",
    "tracking_public_name": "mlflow.example.com",
    "tracking_artifacts_shared": True,
}
MODEL = {"uri": "models:/diabetes@champion", "port": 5001}


def refusal(*entries: HostEntry, empty_groups: tuple[str, ...] = ()) -> str:
    """Return the message with which an inventory is refused."""
    with pytest.raises(DeployError) as refused:
        check_inventory(entries, empty_groups)
    return str(refused.value)


def one_problem(problem: str) -> str:
    return f"1 problem in the inventory and its settings; no host was changed\n  mlflow1: {problem}"
