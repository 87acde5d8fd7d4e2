"""A deployed stack as the tests see it: run the real deploy from this machine, look at the host from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Host
from lab.inventory import connection, settings

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY_TIMEOUT_S = 900
MODEL = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001, "required": False}}


@dataclass(frozen=True)
class Run:
    """One run of pyinfra: exit status, what a person saw, and the names of the operations that changed something."""

    status: int
    output: str
    changed: list[str] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)


class Stack:
    """One host with everything on it. `settings` override group_data/all.py, as data of the host."""

    def __init__(self, host: Host, directory: Path, **overrides: Any) -> None:
        self.host, self.directory = host, directory
        self.settings: dict[str, Any] = {
            "tracking_bind": "0.0.0.0",
            "production_bind": "0.0.0.0",
            "production_models": MODEL,
            **overrides,
        }
        self.url = f"http://{host.address}:5000"
        self.model_url = f"http://{host.address}:5001"

    def inventory(self, **overrides: Any) -> Path:
        """Write the inventory with this one host in all groups; return its path."""
        data = {**connection(self.host), **settings(self.host.lab), **self.settings, **overrides}
        path = self.directory / "inventory.py"
        path.write_text(f"hosts = [({self.host.name!r}, {data!r})]\npostgresql = tracking = production = hosts\n")
        return path

    def start(self, *options: str, **overrides: Any) -> subprocess.Popen[str]:
        """Start `pyinfra inventory.py deploy.py` with these options, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pyinfra", str(self.inventory(**overrides)), "deploy.py", *options],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=dict(os.environ, NO_COLOR="1"),
        )

    def deploy(self, **overrides: Any) -> Run:
        """Run a deploy to its end (-y)."""
        return self._finish(self.start("-y", "--json", **overrides))

    def plan(self, **overrides: Any) -> Run:
        """Run a dry run."""
        return self._finish(self.start("--dry", "--json", **overrides))

    def converge(self, **overrides: Any) -> Run:
        """Run a deploy that must end well; the failure message is what a person would have seen."""
        run = self.deploy(**overrides)
        assert run.status == 0, run.output
        return run

    def _finish(self, process: subprocess.Popen[str]) -> Run:
        stdout, stderr = process.communicate(timeout=DEPLOY_TIMEOUT_S)
        answer = json.loads(stdout) if stdout.lstrip().startswith("{") else {}
        results = (answer.get("results") or {}).get("operations", [])
        return Run(
            status=process.returncode,
            output=stderr,
            changed=[operation["name"] for operation in results if operation["success"]],
            planned=[operation["name"] for operation in answer.get("plan", []) if operation["hosts_with_change"]],
        )

    def train(self) -> str:
        """Run examples/train_diabetes.py as a user would; return what it printed."""
        done = subprocess.run(
            [sys.executable, "examples/train_diabetes.py", "--tracking-uri", self.url],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fingerprint(self) -> str:
        """Return the host's files, users, packages, units and processes' programs: what a plan must not change."""
        return self.host.run(
            "find / -xdev \\( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log "
            "-o -path /var/tmp -o -path /var/cache -o -path '/var/lib/systemd' -o -path '/home/*/.cache' \\) -prune "
            "-o -type f -printf '%p %m %u %s %T@\\n' | sort; "
            "cat /etc/passwd; dpkg-query -W; systemctl list-unit-files --no-legend | grep -v '[.]scope'; ls -A /tmp"
        ).stdout
