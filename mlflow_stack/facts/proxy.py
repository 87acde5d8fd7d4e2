"""Facts about the proxy: its logins."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain.files import FileState
from mlflow_stack.domain.login import Login, parse_logins, read_logins_command


@dataclass(frozen=True)
class LoginFile:
    """A file of logins: its state, None when it is absent, and the salt of each login in it."""

    state: FileState | None = None
    salts: dict[Login, bytes] = field(default_factory=dict)


class Logins(FactBase[LoginFile]):
    """The file of logins, without a hash."""

    default = LoginFile

    def command(self, path: str) -> StringCommand:
        return StringCommand(read_logins_command(path))

    def process(self, output: list[str]) -> LoginFile:
        return LoginFile(*parse_logins(output))
