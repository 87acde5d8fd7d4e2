"""One host of a lab: run commands on it, stop and start it, and break it in the ways that hosts break."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from . import cgroups
from .errors import CommandFailed, LabError
from .process import wait_until

if TYPE_CHECKING:
    from .core import Lab

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


class Host:
    """A host of `lab`. Make it with `Lab.up`, or find it with `Lab.host`."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        self.record = lab.record(name)
        self.address = lab.network.address(self.record.number)
        self.group = lab.group(name)

    def __repr__(self) -> str:
        return f"Host({self.name!r}, {self.address!r})"

    def _lost(self, state: str) -> LabError:
        return LabError(f"{self.name} ({self.address}) {state}; the end of its console:\n{self.console()[-2000:]}")

    # --- as its administrator -----------------------------------------------------------------------------------

    def run(
        self, command: str, user: str = "root", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command by SSH. CommandFailed when it fails (unless not `check`) or takes `timeout` seconds."""
        return self._ssh(command, user, check, timeout, b"")

    def put(self, path: str, data: bytes | str, mode: str = "644") -> None:
        """Ensure a file of root with this content; missing directories are made, a file there is replaced."""
        content = data.encode() if isinstance(data, str) else data
        self._ssh(f"install -D -m {mode} /dev/stdin {shlex.quote(path)}", "root", True, 120, content)

    def _ssh(
        self, command: str, user: str, check: bool, timeout: float, stdin: bytes
    ) -> subprocess.CompletedProcess[str]:
        argv = [*self.lab.access.command(), f"{user}@{self.address}", command]
        where = f"{self.name} ({user})"
        try:
            done = subprocess.run(argv, check=False, capture_output=True, timeout=timeout, input=stdin)
        except subprocess.TimeoutExpired as late:
            raise CommandFailed(where, command, None, _text(late.stdout), _text(late.stderr)) from None
        result = subprocess.CompletedProcess(argv, done.returncode, _text(done.stdout), _text(done.stderr))
        if check and result.returncode:
            raise CommandFailed(where, command, result.returncode, result.stdout, result.stderr)
        return result

    def boot_id(self) -> str:
        """The id of this boot; empty while the host can not be reached."""
        try:
            return self.run(BOOT_ID, check=False, timeout=5).stdout.strip()
        except CommandFailed:
            return ""

    def journal(self, unit: str) -> str:
        return self.run(f"journalctl --no-pager --unit {shlex.quote(unit)}").stdout

    def console(self) -> str:
        """What the host printed while booting, all its boots; also there when the host is not."""
        log = self.lab.store.host_directory(self.name) / "console.log"
        return log.read_text(errors="replace") if log.exists() else ""

    # --- its power switch ---------------------------------------------------------------------------------------

    def is_up(self) -> bool:
        """Whether it runs: it may still be booting, frozen, or cut from the network."""
        return self.group.populated()

    def start(self) -> None:
        """Ensure that the host runs; returns when SSH answers."""
        if not self.is_up():
            self.lab.start(self.record)
        self.wait()

    def wait(self, timeout: float = 60) -> None:
        """Return when SSH answers. Raises LabError, with the end of the console, after `timeout` seconds."""
        end = time.monotonic() + timeout
        while not self.boot_id():
            if time.monotonic() > end or not self.is_up():
                raise self._lost("can not be reached" if self.is_up() else "is not running")
            time.sleep(0.05)

    def reboot(self, timeout: float = 60) -> None:
        """Reboot in the ordinary way; returns when the next boot answers."""
        before = self.boot_id()
        self.run("systemctl reboot", check=False)
        if not wait_until(lambda: self.boot_id() not in ("", before), timeout):
            raise self._lost("did not come back after a reboot")

    def stop(self, timeout: float = 30) -> None:
        """Shut down in the ordinary way; after `timeout` seconds the power is cut."""
        asked: set[int] = set()

        def stopped() -> bool:
            for pid in set(self.group.processes("supervisor")) - asked:
                asked.add(pid)  # a second SIGTERM would be a power cut
                _terminate(pid)
            return not self.is_up()

        self.thaw()
        if not wait_until(stopped, timeout):
            self.crash()

    def crash(self) -> None:
        """Cut the power: every process is gone at one instant. Files stay as they were written, synced or not."""
        self.group.kill()

    # --- its weak points ----------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Pull the network cable."""
        self.lab.network.set_link(self.record.number, "down")

    def mend(self) -> None:
        """Plug the network cable in again."""
        self.lab.network.set_link(self.record.number, "up")

    def freeze(self) -> None:
        """Stop all its processes where they are: connections stay open and nobody answers."""
        self.group.freeze(True)

    def thaw(self) -> None:
        """Let its processes go on."""
        if self.is_up():
            self.group.freeze(False)

    # --- its figures --------------------------------------------------------------------------------------------

    def init(self) -> int | None:
        """The host's PID 1 as this machine numbers it; None if it does not run."""
        for below in ("payload/init.scope", "payload"):
            if pids := self.group.processes(below):
                return pids[0]
        return None

    def uptime(self) -> float:
        """Seconds since it was booted; 0 if it does not run."""
        pid = self.init()
        return cgroups.age(pid) if pid else 0

    def memory(self) -> int:
        """Bytes in use, its cached files included, and its disk if that is in memory."""
        return self.group.memory()


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _text(output: bytes | None) -> str:
    return (output or b"").decode(errors="replace")
