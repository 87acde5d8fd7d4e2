"""Facts about the artifact store."""

from __future__ import annotations

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain.artifacts import StoreState, parse_state, read_command


class ArtifactStore(FactBase[StoreState]):
    """The artifact directory as the tracking server's user finds it, and the mark that tells stores apart."""

    default = StoreState

    def command(self, directory: str) -> StringCommand:
        return StringCommand(read_command(directory))

    def process(self, output: list[str]) -> StoreState:
        return parse_state(output)
