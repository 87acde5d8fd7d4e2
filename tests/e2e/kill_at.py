"""pyinfra, killed with SIGKILL at a chosen point of a run, as when the operator's machine loses its power.

    python -m tests.e2e.kill_at OPERATION COMMAND LOG INVENTORY deploy.py -y

The operations of a run count from 1, and so do the commands of an operation. COMMAND 0 kills when the operation begins.
COMMAND n kills at the worst moment of its n-th command: the host has accepted it and runs it, but has got nothing of
its standard input and nobody reads its output. An operation with fewer commands is killed when it has ended. A run with
fewer operations ends by itself.

LOG gets a line of JSON for every point that was reached, the last one where it was killed: "operation" is its number,
"name" its name, "at" one of "beginning", "command n" or "end". (Not to be imported: pyinfra's CLI patches sockets.)
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pyinfra_cli.main import main

# isort: split
# After the line above, which patches what these import.
from paramiko import SSHClient
from pyinfra.api.command import StringCommand
from pyinfra.api.state import BaseStateCallback, State


class Killer(BaseStateCallback):
    """Counts what a run does, and kills it. Its methods are pyinfra's callbacks, and what they are told of beside."""

    def __init__(self, operation: int, command: int, log: Path) -> None:
        self.target, self.log = (operation, command), log
        self.operation, self.command, self.name = 0, 0, ""
        self.is_sending = False

    def operation_start(self, state: State, op_hash: str) -> None:
        self.operation, self.command = self.operation + 1, 0
        self.name = " ".join(state.get_op_meta(op_hash).names)
        self.reach("beginning")

    def operation_end(self, state: State, op_hash: str) -> None:
        if self.operation == self.target[0]:
            self.reach("end")
            die()

    def accepted(self) -> None:
        """The host runs a command: only those of operations count, not those that read facts."""
        if self.is_sending:
            self.is_sending = False
            self.command += 1
            self.reach(f"command {self.command}")

    def reach(self, at: str) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps({"operation": self.operation, "name": self.name, "at": at}) + "\n")
        if (self.operation, self.command) == self.target:
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def install(killer: Killer) -> None:
    """Let the killer see each operation and command of pyinfra (3.10 has callbacks for operations only)."""
    init, execute, exec_command = State.init, StringCommand.execute, SSHClient.exec_command

    def watched_init(self: State, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self.add_callback_handler(killer)

    def watched_execute(self: StringCommand, *arguments: Any, **options: Any) -> Any:
        killer.is_sending = True
        return execute(self, *arguments, **options)

    def watched_exec_command(self: SSHClient, *arguments: Any, **options: Any) -> Any:
        streams = exec_command(self, *arguments, **options)
        killer.accepted()
        return streams

    State.init, StringCommand.execute = watched_init, watched_execute
    SSHClient.exec_command = watched_exec_command


if __name__ == "__main__":
    operation, command, log, *arguments = sys.argv[1:]
    install(Killer(int(operation), int(command), Path(log)))
    sys.argv = ["pyinfra", *arguments]
    main()
