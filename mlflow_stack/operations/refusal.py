"""How an operation says no."""

from __future__ import annotations

from collections.abc import Generator
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.context import host


def refuse(message: str) -> Generator[StringCommand, None, None]:
    """Stop with a sentence and exit status 1: a plan at once, for all hosts; a run on this host, where it stands.

    In a run the sentence is the output of a command that fails, because pyinfra 3.10 prints a traceback for an
    exception there. Use it as `yield from refuse(…)`; a plan raises OperationError here, a run goes no further.
    """
    if not host.state.is_executing:
        raise OperationError(message)
    yield StringCommand(f"printf '%s\\n' {quote(message)} >&2; exit 1")
