"""Says in a sentence what is wrong when an inventory, or a file of settings, can't be read or names no host."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from pyinfra import logger
from pyinfra.api.exceptions import InventoryError
from pyinfra.api.state import State, StateStage


def explain_errors(state: State) -> None:
    """Let what an inventory raises be said in a sentence: file, line, error.

    pyinfra 3.10 shows a traceback that begins in its own code, and asks to be sent a bug report for a syntax error.
    """
    # Only there when pyinfra's command line runs: importing it patches the standard library.
    errors = sys.modules.get("pyinfra_cli.exceptions")
    for name in ("UnexpectedExternalError", "UnexpectedInternalError") if errors else ():
        _explain(getattr(errors, name), state)


def _explain(error: Any, state: State) -> None:
    show = error.show

    def explained(self: Any, file: Any = None) -> None:
        place = _place(self.exception, getattr(self, "filename", ""))
        if state.current_stage > StateStage.Setup or not place:
            show(self, file)  # a defect of ours or pyinfra's: all of it is wanted
            return
        logger.error(f"--> {place}: {_said(self.exception)}")

    error.show = explained


def _said(error: Exception) -> str:
    """Return what an error says; one of ours is a sentence already, or several that say that nothing was changed."""
    if hasattr(error, "problems"):
        return str(error)
    is_ours = type(error).__module__.startswith("mlflow_stack.")
    kind, message = type(error).__name__, getattr(error, "msg", None) or error
    return f"{message if is_ours else f'{kind}: {message}'}; put that right; no host was changed"


def _place(error: Exception, filename: str) -> str:
    """Return where in the file that pyinfra was running an error arose."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == filename]
    return f"{filename}, line {lines[-1]}" if lines else ""


def check_hosts(state: State) -> None:
    """Raise InventoryError when there is no host to deploy to, which pyinfra takes for a success."""
    if not any(state.is_host_in_limit(host) for host in state.inventory):
        names = ", ".join(host.name for host in state.inventory) or "none"
        raise InventoryError(f"no host to deploy to; check the inventory and --limit; its hosts: {names}")
