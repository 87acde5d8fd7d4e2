"""Facts about where artifacts are kept."""

from __future__ import annotations

from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain import layout
from mlflow_stack.domain.artifacts import (
    FormerStore,
    StoreState,
    parse_former,
    parse_state,
    read_command,
    read_former_command,
)
from mlflow_stack.domain.object_store import PROGRAM, ObjectStore, check_command


class ArtifactStore(FactBase[StoreState]):
    """The artifact directory as the tracking server's user finds it, and the mark that tells stores apart."""

    default = StoreState

    def command(self, directory: str) -> StringCommand:
        return StringCommand(read_command(directory))

    def process(self, output: list[str]) -> StoreState:
        return parse_state(output)


class Artifacts(FactBase[FormerStore]):
    """Where the tracking server has kept artifacts until now, and whether there are any."""

    default = FormerStore

    def command(self, configuration: str) -> StringCommand:
        return StringCommand(read_former_command(configuration))

    def process(self, output: list[str]) -> FormerStore:
        return parse_former(output)


class StoreProblems(FactBase[list[str]]):
    """What is wrong with an object store, a sentence each; nothing while the host has not what to ask it with.

    It is told what lets the server in (look.look_telling).
    """

    default = list

    def command(self, store: ObjectStore, environment: str, read_only: bool) -> StringCommand:
        there = f"[ -f {quote(environment)}/{layout.MARKER} ] && [ -f {PROGRAM} ]"
        check = check_command(store, environment, read_only=read_only)
        return StringCommand(f"if {there}; then ({check}) 2>&1 > /dev/null || true; fi")

    def process(self, output: list[str]) -> list[str]:
        return output
