"""What a run says last: what people have to know of what it did, and one line for each host that failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State

from mlflow_stack.session import REMAINS, loss

# What to do about the messages of pyinfra 3.10 (pyinfra/connectors/ssh.py), by a part of each.
_ADVICE = {
    "Could not connect (": "check that the host is up, that ssh_hostname and ssh_port are its own, and the firewalls",
    "Could not resolve hostname (": "check the name, or set ssh_hostname to the host's address",
    "Authentication error (": "check ssh_user and ssh_key; the key's public part goes into its ~/.ssh/authorized_keys",
    "SSH host key error (": "find out why before you go on; only if the host was made anew, remove its old key from "
    "ssh_known_hosts_file",
    "SSH error (": "check that the host is well: it takes connections, and then does not go on as an SSH server does",
}
# Begins a line of a command's output that is for people; pyinfra shows such output only with -vv.
NOTE = "note: "
_AGAIN = "put that right and run again"
_SURVEY = "looking at the host"


def advice(message: str) -> str:
    """Return what to do about a message of pyinfra's on a host that can't be reached; "" for any other message."""
    return next((advice for part, advice in _ADVICE.items() if part in message), "")


class Report(BaseStateCallback):
    """Remembers in which step each host failed, and says it when asked."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.unreachable: dict[Host, str] = {}
        self.failed_in: dict[Host, str] = {}  # the hash of an operation

    def host_connect_error(self, state: State, host: Host, error: Exception) -> None:  # type: ignore[override]
        self.unreachable[host] = str(error)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: str, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        self.failed_in[host] = op_hash

    def lines(self) -> list[str]:
        """Return the summary: nothing when no host failed."""
        state = self.state
        if state is None or not state.initialised:
            return []
        hosts = [host for host in state.inventory if state.is_host_in_limit(host)]
        failed = [host for host in hosts if host in state.failed_hosts]
        if not failed:
            return []
        count = "1 host" if len(hosts) == 1 else f"{len(hosts)} hosts"
        lines = [f"  {host.name}: {self._failure(state, host)}" for host in failed]
        return [f"{len(failed)} of {count} failed", *lines]

    def notes(self) -> list[str]:
        """Return what commands of the run have printed for people, as lines that begin with NOTE."""
        state = self.state
        if state is None or not state.initialised:
            return []
        return [
            f"{host.name}: {line.strip().removeprefix(NOTE)}"
            for host in state.inventory
            for data in state.ops.get(host, {}).values()
            if data.operation_meta.is_complete()
            for line in data.operation_meta.stdout_lines
            if line.strip().startswith(NOTE)
        ]

    def print(self) -> None:
        """Print notes and summary where pyinfra prints, on standard error."""
        for line in [*self.notes(), *self.lines()]:
            print(line, file=sys.stderr, flush=True)

    def _failure(self, state: State, host: Host) -> str:
        """Return step, reason and remedy."""
        if message := self.unreachable.get(host):
            return f"connecting: {message}; {advice(message) or _AGAIN}"
        step, reason = _SURVEY, "the command failed, its output is above"
        if op_hash := self.failed_in.get(host):
            step = operation_name(host, op_hash)
            output = state.get_op_data_for_host(host, op_hash).operation_meta
            reason = last_line(output.stderr_lines) or last_line(output.stdout_lines) or "it ended without a word"
        if lost := loss(host):
            return f"{step}: {lost}; {REMAINS}"
        return f"{step}: {reason}; {_AGAIN}"


def operation_name(host: Host, op_hash: str) -> str:
    """Return the name that an operation has on this host.

    pyinfra keeps one set of names for what all hosts declare at one place, where each may serve another model.
    """
    own: str = host.state.get_op_data_for_host(host, op_hash).global_arguments["name"]
    names = host.state.get_op_meta(op_hash).names
    return next((name for name in sorted(names) if name.endswith(f" | {own}")), own)


def last_line(lines: Sequence[str]) -> str:
    """Return the last line that holds anything: for most programs the one that says what is wrong."""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
