"""Facts about the firewall."""

from __future__ import annotations

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain import layout
from mlflow_stack.domain.firewall import NFT, RULES_FILE, TABLE, UNIT


class FirewallRemains(FactBase[set[str]]):
    """What there is of our firewall on a host that is to have none: the paths of its files, and "table"."""

    default = set

    def command(self) -> StringCommand:
        return StringCommand(
            f"ls -1d {RULES_FILE} {layout.UNIT_DIR}/{UNIT} 2>/dev/null; "
            f"{NFT} list table {TABLE} > /dev/null 2>&1 && echo table; true"
        )

    def process(self, output: list[str]) -> set[str]:
        return set(output)
