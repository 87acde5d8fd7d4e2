"""A host's own control groups: they hold all its processes, so they limit, freeze, kill and account for the host.

They lie below the caller's own groups. Without groups of their own, all nspawn containers of a machine would share
`/payload`, and `systemctl status` fails in every one of them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from .process import wait_until

ROOT = Path("/sys/fs/cgroup")
# The v1 controllers that a host gets read-write where this machine has them: they make MemoryMax=, TasksMax= and
# CPUQuota= work inside. On a machine with cgroup v2 only, nspawn does this itself.
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
UNIFIED = "unified"


def own() -> dict[str, str]:
    """The groups this process is in, by hierarchy: "unified" (cgroup v2), "systemd", and the v1 controllers."""
    v2_root = ROOT / "unified" if (ROOT / "unified").is_dir() else ROOT
    found = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        name = {"": UNIFIED, "name=systemd": "systemd"}.get(controllers, controllers)
        base = v2_root if name == UNIFIED else ROOT / name
        if name in (UNIFIED, "systemd", *CONTROLLERS):
            found[name] = str(base) + path.rstrip("/")
    return found


class Group:
    """The same name in each hierarchy, for example /sys/fs/cgroup/memory/mlab/mlflow1."""

    def __init__(self, parents: Mapping[str, str], name: str) -> None:
        self.directories = {hierarchy: Path(parent) / name for hierarchy, parent in parents.items()}
        self.unified = self.directories[UNIFIED]

    def enter(self) -> None:
        """Create the groups and move this process (with all its later children) into them."""
        for directory in self.directories.values():
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "cgroup.procs").write_text(str(os.getpid()))

    def binds(self) -> dict[str, Path]:
        """The v1 controllers' groups, by the name they are mounted under."""
        return {name: path for name, path in self.directories.items() if name in CONTROLLERS}

    def populated(self) -> bool:
        try:
            return "populated 1" in (self.unified / "cgroup.events").read_text()
        except OSError:
            return False

    def processes(self, below: str = "") -> list[int]:
        try:
            return [int(pid) for pid in (self.unified / below / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def freeze(self, frozen: bool) -> None:
        (self.unified / "cgroup.freeze").write_text(str(int(frozen)))
        wait_until(lambda: f"frozen {int(frozen)}" in (self.unified / "cgroup.events").read_text(), timeout=5)

    def kill(self) -> None:
        """SIGKILL for every process, frozen ones too, at one instant; returns when they are gone."""
        if self.unified.is_dir():
            (self.unified / "cgroup.kill").write_text("1")
            wait_until(lambda: not self.populated(), timeout=10)

    def remove(self) -> None:
        """Kill what is left and remove the groups. The kernel says EBUSY for a moment after the last process."""
        self.kill()
        for directory in self.directories.values():
            wait_until(lambda directory=directory: _remove_tree(directory), timeout=5)  # type: ignore[misc]

    def memory(self) -> int:
        """Bytes in use, files in memory included; 0 where this machine does not account for it."""
        v1 = self.directories.get("memory", self.unified) / "memory.usage_in_bytes"
        for file in (v1, self.unified / "memory.current"):
            if file.exists():
                return int(file.read_text())
        return 0


def _remove_tree(directory: Path) -> bool:
    for path, _, _ in os.walk(directory, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            return not directory.exists()
    return not directory.exists()


def age(pid: int) -> float:
    """Seconds since the process began; 0 if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started
