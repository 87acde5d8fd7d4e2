"""Facts about the files that we own."""

from __future__ import annotations

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain.files import FileState, parse_states, read_states_command


class FileStates(FactBase[dict[str, FileState]]):
    """Mode, owner, group and checksum of regular files, by path; anything else counts as absent."""

    default = dict

    def command(self, paths: tuple[str, ...]) -> StringCommand:
        return StringCommand(read_states_command(paths))

    def process(self, output: list[str]) -> dict[str, FileState]:
        return parse_states(output)
