"""A run as such: its name on the hosts, how it goes on when one of them fails, and what it says at its end."""

from __future__ import annotations

import atexit
import getpass
import inspect
import logging
import os
import secrets
import select
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import click
from pyinfra import logger
from pyinfra.api import util
from pyinfra.api.state import State
from pyinfra.context import ctx_state

from mlflow_stack.domain.survey import RUN_VARIABLE
from mlflow_stack.inventory_errors import check_hosts, explain_errors
from mlflow_stack.report import Report, advice


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a passwd line; OSError from Python 3.13 on
        return str(os.getuid())


# Two runs in containers may have user, machine and process id in common; the last part tells them apart.
RUN = f"{_user()}@{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(3)}"

_NOBODY = "pyinfra asks, and there is no terminal to answer from; run with --dry to see the changes or -y to make them"
_STOPPED = "Stopped; commands that are at work on hosts go on. Run again to finish: the run waits for them to end."
_OUT_OF_STEP = {
    "serial": "it deploys one host after the other, and hosts need what others do in the same run; leave it out, or "
    "deploy some hosts only with --limit",
    "no_wait": "hosts need what others do in the same run, and have to wait for them; leave it out",
}
_options: dict[str, Any] = {}
_report = Report()


def prepare_run() -> dict[str, str]:
    """Prepare this run of pyinfra; return the environment of its commands, which marks them (see RUN_VARIABLE)."""
    logger.addFilter(ConnectAdvice())
    _options.update(click.get_current_context().params)
    inventory = str(_options["inventory"])
    if inventory.endswith(".py") and not Path(inventory).exists():
        # pyinfra takes it for the name of a host, finds none, and ends well.
        sys.exit(f"{inventory}: no such file; expected an inventory (docs/how-to/use-your-own-servers.md)")
    for option, reason in _OUT_OF_STEP.items():
        if _options.get(option):
            sys.exit(f"--{option.replace('_', '-')}: {reason}; no host was changed")
    sys.stdin = Answers(sys.stdin)  # all that input() wants
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    read_no_sources()
    state = ctx_state.get()  # type: ignore[no-untyped-call]  # pyinfra's own
    explain_errors(state)
    _follow(state)
    return {RUN_VARIABLE: RUN}


def read_no_sources() -> None:
    """Let pyinfra find where an operation is declared without the source text around each of its callers.

    pyinfra 3.10 asks inspect for that text and uses the line numbers alone (api/util.py); to find the files takes 9 ms
    for each operation and host.
    """
    util.stack = partial(inspect.stack, 0)  # type: ignore[attr-defined]
    util.getframeinfo = partial(inspect.getframeinfo, context=0)  # type: ignore[attr-defined]


def _stop(number: int, frame: object) -> None:
    """End an interrupted run at once, whose status would be 0 with pyinfra 3.10.

    Not by sys.exit: pyinfra first disconnects its hosts, for which each of them has to end what it is at, and those
    then go on with their next commands. The end of the connections frees the locks.
    """
    try:
        print(_STOPPED, file=sys.stderr)
        _report.print()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:  # a closed pipe, or a signal amid a print, is no reason to go on
        os._exit(128 + number)


def is_prepared() -> bool:
    """Return whether config.py, and with it prepare_run, was read: only then are the options of the run known."""
    return bool(_options)


def wants_plan() -> bool:
    """Return whether somebody is to read the plan: under --dry, and without -y, when pyinfra asks for leave."""
    return bool(_options.get("dry") or not _options.get("yes", True))


def is_dry() -> bool:
    """Return whether this run only shows what it would change. (For pyinfra, --json without -y is that, too.)"""
    return bool(_options.get("dry") or (_options.get("json_output") and not _options.get("yes")))


def _follow(state: State) -> None:
    """Let a run go on without the hosts that fail, and say at its very end which they were.

    pyinfra 3.10 stops all hosts when one fails, unless it was given -y. It also begins its state, where callbacks are
    added, only after it has read config.py: hence the detour.
    """
    begin = state.init

    def init(*arguments: Any, **options: Any) -> None:
        begin(*arguments, **options)
        _report.state = state
        state.add_callback_handler(_report)  # type: ignore[no-untyped-call]
        if _options.get("fail_percent") is None:
            state.config.FAIL_PERCENT = None  # its default
        check_hosts(state)

    state.init = init  # type: ignore[method-assign]
    atexit.register(_report.print)


class ConnectAdvice(logging.Filter):
    """Adds to pyinfra's own line about a host that it can't reach what to do about it."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        found = advice(message) if record.levelno >= logging.ERROR else ""
        if found and not message.endswith(found):
            record.msg, record.args = f"{message}; {found}", ()
        return True


class Answers:
    """Standard input of a run: waits for a line without keeping the hosts waiting; no line is the end of the run."""

    def __init__(self, stdin: TextIO | None) -> None:
        self.stdin = stdin

    def readline(self) -> str:
        """Return the next line; exit with status 1 when there is none."""
        line = ""
        if self.stdin:
            # pyinfra's own wait stops all that goes on beside it, and the hosts would take the run for dead.
            select.select([self.stdin], [], [])
            line = self.stdin.readline()
        if not line:
            sys.exit(f"\n    {_NOBODY}")
        return line
