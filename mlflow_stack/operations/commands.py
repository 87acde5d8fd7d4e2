"""Commands that a plan shows otherwise than as their shell text: files with their difference, SQL without secrets."""

from __future__ import annotations

from shlex import quote

from pyinfra.api.command import StringCommand

from mlflow_stack.domain.files import ManagedBlock, ManagedFile, block_command, write_command


class Write(StringCommand):
    """Puts a file, or our lines of one, in place."""

    def __init__(self, file: ManagedFile | ManagedBlock) -> None:
        command = write_command(file) if isinstance(file, ManagedFile) else block_command(file)
        super().__init__(command, _stdin=file.content)
        self.file = file


class Remove(StringCommand):
    """Removes a file."""

    def __init__(self, path: str, is_secret: bool = False) -> None:
        super().__init__("rm -f", quote(path))
        self.path, self.is_secret = path, is_secret


class Told(StringCommand):
    """Gives a program something on standard input; `shown` is what a plan shows of it."""

    def __init__(self, program: str, told: str, shown: str) -> None:
        super().__init__(program, _stdin=told)
        self.shown = shown


class Sql(Told):
    """Gives SQL to psql on standard input; `shown` is what a plan shows of it."""
