"""Facts about services."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain import layout
from mlflow_stack.domain.service import ServiceState, parse_state, read_command


class Service(FactBase[ServiceState]):
    """One unit: is it loaded, enabled, running, proved with what it runs on, and does it work right now?"""

    default = ServiceState

    def command(
        self, unit: str, files: Sequence[str], watched: Sequence[str], ready: str, only_if: str
    ) -> StringCommand:
        return StringCommand(read_command(unit, files, watched, ready, only_if))

    def process(self, output: list[str]) -> ServiceState:
        return parse_state(output)


class EnabledInstances(FactBase[set[str]]):
    """Instance names of a template that are started with an umbrella unit ("a" for NAME@a.service)."""

    default = set

    def command(self, umbrella: str) -> StringCommand:
        return StringCommand(f"ls -1 {layout.UNIT_DIR}/{umbrella}.service.wants 2>/dev/null || true")

    def process(self, output: list[str]) -> set[str]:
        return {line.split("@", 1)[1].removesuffix(".service") for line in output if "@" in line}
