"""A run as such: its name on the hosts, hosts that it can't reach, and questions that nobody can answer."""

from __future__ import annotations

import getpass
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TextIO

import click
from pyinfra import logger

from mlflow_stack.domain.survey import RUN_VARIABLE

# What to do about the messages of pyinfra 3.10 (pyinfra/connectors/ssh.py), by a part of each.
_ADVICE = {
    "Could not connect (": "check that the host is up, that ssh_hostname and ssh_port are its own, and the firewalls",
    "Could not resolve hostname (": "check the name, or set ssh_hostname to the host's address",
    "Authentication error (": "check ssh_user and ssh_key; the key's public part goes into its ~/.ssh/authorized_keys",
    "SSH host key error (": "find out why before you go on; only if the host was made anew, remove its old key from "
    "ssh_known_hosts_file",
}
_NOBODY = "pyinfra asks, and there is no terminal to answer from; run with --dry to see the changes or -y to make them"

_wants_plan = False


def wants_plan() -> bool:
    """Return whether somebody is to read the plan: under --dry, and without -y, when pyinfra asks for leave."""
    return _wants_plan


def prepare_run() -> dict[str, str]:
    """Prepare this run of pyinfra; return the environment of its commands, which marks them (see RUN_VARIABLE)."""
    global _wants_plan  # noqa: PLW0603  # config.py is read once in a run
    options = click.get_current_context().params
    _wants_plan = options["dry"] or not options["yes"]
    inventory = str(options["inventory"])
    if inventory.endswith(".py") and not Path(inventory).exists():
        # pyinfra takes it for the name of a host, finds none, and ends well.
        sys.exit(f"{inventory}: no such file; expected an inventory (docs/how-to/use-your-own-servers.md)")
    logger.addFilter(ConnectAdvice())
    if sys.stdin is None or not sys.stdin.isatty():
        sys.stdin = Unattended(sys.stdin)  # all that input() wants
    return {RUN_VARIABLE: f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"}


class ConnectAdvice(logging.Filter):
    """Adds to pyinfra's own line about a host that it can't reach what to do about it."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        for part, advice in _ADVICE.items():
            if record.levelno >= logging.ERROR and part in message:
                record.msg, record.args = f"{message}; {advice}", ()
        return True


class Unattended:
    """Standard input of a run that nobody watches: its end ends the run with a sentence instead of a traceback."""

    def __init__(self, stdin: TextIO | None) -> None:
        self.stdin = stdin

    def readline(self) -> str:
        """Return the next line; exit with status 1 when there is none."""
        line = self.stdin.readline() if self.stdin else ""
        if not line:
            sys.exit(f"\n    {_NOBODY}")
        return line
