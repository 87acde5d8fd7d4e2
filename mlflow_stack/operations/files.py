"""Files that we own on a host."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.facts.files import FileStates
from mlflow_stack.look import look
from mlflow_stack.operations.commands import Remove, Write


@operation()
def managed(files: Sequence[ManagedFile], absent: Sequence[str] = ()) -> Generator[StringCommand, None, None]:
    """Ensure that files have this content, mode and owner, and that the paths in `absent` are no files.

    All files of a role in one operation, one fact for all. Each is replaced at once or not at all, with its mode set
    before and checked by its own program (pyinfra's files.put and files.template have windows in between and leave the
    content readable in /tmp for a moment; notes of 3.10.0).
    """
    states = look(FileStates, paths=tuple([file.path for file in files] + list(absent)))
    changed = [file for file in files if states.get(file.path) != file.state()]
    surplus = [path for path in absent if path in states]
    if not changed and not surplus:
        host.noop("files are as declared")
    for file in changed:
        yield Write(file)
    for path in surplus:
        yield Remove(path, is_secret=path.startswith(f"{layout.CREDENTIALS_DIR}/"))
