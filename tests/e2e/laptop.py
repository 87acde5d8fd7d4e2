"""The computer of somebody who uses MLflow: it knows no cloud, and reaches the hosts of a lab and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import Lab
from tests.e2e.stack import REPOSITORY

NAME, NUMBER = "laptop", 254  # hosts are numbered from 11 on


@dataclass(frozen=True)
class Laptop:
    """A network namespace of a lab's, in which this machine's programs have an empty home and no variables of ours."""

    namespace: str
    home: Path
    tracking_uri: str

    def run(self, *arguments: str) -> str:
        """Run Python as its user does; return what was printed."""
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, sys.executable, *arguments],
            cwd=REPOSITORY,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin", "MLFLOW_TRACKING_URI": self.tracking_uri},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def laptop(lab: Lab, home: Path, tracking_uri: str) -> Iterator[Laptop]:
    """A laptop in the network of a lab, from which this machine, where object stores are, can't be reached."""
    network, namespace = lab.network, lab.network.namespace(NAME)
    network.attach(NAME, NUMBER)
    try:
        subprocess.run(["ip", "-n", namespace, "route", "add", "unreachable", network.gateway], check=True)
        yield Laptop(namespace, home, tracking_uri)
    finally:
        network.detach(NAME, NUMBER)
