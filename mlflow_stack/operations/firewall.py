"""The firewall, where it is not wanted. Where it is, it is a file and a unit as others are."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.firewall import NFT, RULES_FILE, TABLE, UNIT
from mlflow_stack.facts.firewall import FirewallRemains
from mlflow_stack.look import look
from mlflow_stack.operations.commands import Remove


@operation()
def absent() -> Generator[StringCommand, None, None]:
    """Ensure that our unit, our table and our rules are gone; packages, tables and services of others stay as they are.

    The unit goes last: a run that was interrupted finds it again.
    """
    found = look(FirewallRemains)
    unit_file = f"{layout.UNIT_DIR}/{UNIT}"
    if not found:
        host.noop("there is no firewall of ours")
    if unit_file in found:
        yield StringCommand(f"systemctl disable --now --quiet {UNIT}")
    if "table" in found:
        yield StringCommand(f"{NFT} delete table {TABLE}")
    if RULES_FILE in found:
        yield Remove(RULES_FILE)
    if unit_file in found:
        yield Remove(unit_file)
        yield StringCommand("systemctl daemon-reload")
