"""What the lab raises."""

from __future__ import annotations


class LabError(RuntimeError):
    """The lab could not do what was asked; the message says where to look."""


class LabUnavailable(LabError):
    """This machine can not run a lab, or the lab asked for is not up; the message holds every reason."""


class CommandFailed(LabError):
    """A command on a host, or a program of this machine, failed or took too long.

    `returncode` is None after a timeout, and 255 when SSH itself failed.
    """

    def __init__(self, where: str, command: str, returncode: int | None, stdout: str, stderr: str) -> None:
        outcome = "took too long" if returncode is None else f"exit status {returncode}"
        super().__init__(f"{where}: {command}: {outcome}\nstdout: {stdout.strip()}\nstderr: {stderr.strip()}")
        self.command, self.returncode, self.stdout, self.stderr = command, returncode, stdout, stderr
