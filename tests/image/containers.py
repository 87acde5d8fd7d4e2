"""Containers as a platform runs ours: podman, a read-only root file system, no capabilities, /tmp in memory.

The network is this machine's, so that they reach the servers of the tests on loopback. The object store has a name that
they alone know: by that, nobody outside a container reaches it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("buildah", "podman", "runc", "mmdebstrap", "docker-registry")
# crun refuses the mixed hierarchies of cgroups that some machines have.
PODMAN = ("podman", "--runtime=runc")
STORE = "object-store"
CONFINED = (
    *(
        "--rm",
        "--network=host",
        f"--add-host={STORE}:127.0.0.1",
        "--read-only",
        "--read-only-tmpfs=false",
        "--tmpfs=/tmp:rw,mode=1777",
    ),
    *("--cap-drop=all", "--security-opt=no-new-privileges"),
    # Podman's own limits are more than a machine without CAP_SYS_RESOURCE can give.
    *("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"),
)
READY_TIMEOUT_S = 180
COMMAND_TIMEOUT_S = 300


def missing() -> list[str]:
    """Return the programs that this machine lacks."""
    return [program for program in PROGRAMS if not shutil.which(program)]


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [*PODMAN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done


def inspected(image: str) -> Any:
    """Return what podman knows of an image."""
    return json.loads(podman("image", "inspect", image).stdout)[0]


@dataclass
class Container:
    """One that is running, and everything that it has said."""

    name: str
    process: subprocess.Popen[str]
    log: Path
    status: int | None = field(default=None)

    def run(self, *command: str, check: bool = True) -> str:
        """Return what a command prints in the container, as its own user."""
        return podman("exec", self.name, *command, check=check).stdout

    def processes(self) -> list[Path]:
        """Return the directory in /proc of each process that is in the container now."""
        first = podman("inspect", "--format={{.State.Pid}}", self.name).stdout.strip()
        space = os.readlink(f"/proc/{first}/ns/pid")
        return [path for path in Path("/proc").glob("[0-9]*") if _namespace(path) == space]

    def shown(self) -> str:
        """Return what other processes can read of those in the container: environments and arguments, line by line."""
        texts = [(path / name).read_text() for path in self.processes() for name in ("environ", "cmdline")]
        return "\n".join(texts).replace("\0", "\n")

    def is_ready(self) -> bool:
        return podman("exec", self.name, "mlflow-stack", "ready", check=False).returncode == 0

    def wait_until_ready(self) -> None:
        end = time.monotonic() + READY_TIMEOUT_S
        while not self.is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(1)  # asking takes a process in the container, which is starting

    def stop(self) -> int:
        """Tell it to stop, as platforms do; return its exit status."""
        if self.process.poll() is None:
            podman("kill", "--signal=TERM", self.name, check=False)
        return self.process.wait(timeout=60)


def _namespace(path: Path) -> str:
    try:
        return os.readlink(path / "ns/pid")
    except OSError:  # it has ended
        return ""


def arguments(image: str, variables: Mapping[str, str], secrets: Path | None, *command: str) -> list[str]:
    options = [f"--env={name}={value}" for name, value in variables.items()]
    options += [f"--volume={secrets}:/run/secrets/mlflow:ro"] if secrets else []
    return [*CONFINED, *options, image, *command]


def once(
    image: str, *command: str, variables: Mapping[str, str] | None = None, secrets: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a container to its end."""
    done = podman("run", *arguments(image, variables or {}, secrets, *command), check=False)
    # Podman has no systemd here that would ask again and again whether a container is healthy.
    done.stderr = "".join(line for line in done.stderr.splitlines(keepends=True) if "healthchecks" not in line)
    return done


@contextmanager
def running(
    name: str, image: str, variables: Mapping[str, str], directory: Path, secrets: Path | None = None
) -> Iterator[Container]:
    """A container that serves, from its start; it is gone afterwards."""
    log = directory / f"{name}.log"
    command = [*PODMAN, "run", f"--name={name}", *arguments(image, variables, secrets)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, text=True, env=os.environ)
    try:
        yield Container(name, process, log)
    finally:
        podman("kill", name, check=False)
        process.wait(timeout=60)
