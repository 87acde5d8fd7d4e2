"""A deployed stack as the tests see it: run the real deploy from this machine, look at the host from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab import Host
from lab.inventory import connection, settings
from lab.process import wait_until
from tests.e2e import web

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY_TIMEOUT_S = 900
RECOVERY_TIMEOUT_S = 120
MODEL = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001, "required": False}}
SERVICES = ("postgresql@15-main", "mlflow-tracking", "mlflow-production@diabetes")
# Tests ask the servers as they are, over the network; test_proxy.py has what stands in front of them.
OPEN = {"tracking_open_to_everybody": True, "production_open_to_everybody": True}
# A patient of scikit-learn's diabetes data, as the served model wants to be asked.
FEATURES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
EXAMPLE = {"dataframe_split": {"columns": FEATURES, "data": [[0.01] * len(FEATURES)]}}


@dataclass(frozen=True)
class Run:
    """One run of pyinfra: exit status, what a person saw, and the names of the operations that changed something."""

    status: int
    output: str
    changed: list[str] = field(default_factory=list)
    planned: list[str] = field(default_factory=list)


class Stack:
    """One host with everything on it. `settings` override group_data/all.py, as data of the host."""

    repository = REPOSITORY
    # The groups that the host is in, as the inventory writes it.
    roles = "postgresql = tracking = production"

    def __init__(self, host: Host, directory: Path, **overrides: Any) -> None:
        self.host, self.directory = host, directory
        self.settings: dict[str, Any] = {
            "tracking_bind": "0.0.0.0",
            "production_bind": "0.0.0.0",
            **OPEN,
            "production_models": MODEL,
            **overrides,
        }
        self.url = f"http://{host.address}:5000"
        self.model_url = f"http://{host.address}:5001"

    def inventory(self, second: dict[str, Any] | None = None, **overrides: Any) -> Path:
        """Write the inventory with this one host in all groups; return its path.

        `second`: what a second host, mlflow2, has in its data that the first has not; None for no second host.
        """
        data = {**connection(self.host), **settings(self.host.lab), **self.settings, **overrides}
        path = self.directory / "inventory.py"
        hosts = [(self.host.name, data)] + ([("mlflow2", {**data, **second})] if second else [])
        path.write_text(f"hosts = {hosts!r}\n{self.roles} = hosts\n")
        return path

    def start(self, *options: str, **overrides: Any) -> subprocess.Popen[str]:
        """Start `pyinfra inventory.py deploy.py` with these options, in a process group of its own."""
        return self.launch(["-m", "pyinfra"], *options, **overrides)

    def launch(self, program: list[str], *options: str, **overrides: Any) -> subprocess.Popen[str]:
        """Start another Python program in the place of pyinfra."""
        return subprocess.Popen(
            [sys.executable, *program, str(self.inventory(**overrides)), "deploy.py", *options],
            cwd=self.repository,
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

    def interrupt(self, condition: str, **overrides: Any) -> None:
        """Start a deploy and kill pyinfra, with SIGKILL, as soon as a shell condition holds on the host."""
        process = self.start("-y", **overrides)
        try:
            self.wait_for(condition)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def wait_for(self, condition: str, timeout_s: int = 300) -> None:
        """Wait until a shell condition holds on the host; CommandFailed when it does not in time."""
        loop = f"i=0; until {condition}; do i=$((i + 1)); [ $i -lt {timeout_s * 20} ] || exit 1; sleep 0.05; done"
        self.host.run(loop, timeout=timeout_s * 3)

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

    def fault(self) -> str:
        """Return why the stack does not work for its users, "" when it does: the database answers, the model predicts.

        Asked over the network; no answer counts as a fault, so that it can be asked while a host is down.
        """
        answers = {
            "tracking": web.post(f"{self.url}/api/2.0/mlflow/experiments/search", {"max_results": 1}, timeout=5),
            "model": web.post(f"{self.model_url}/invocations", EXAMPLE, timeout=5),
        }
        wrong = [f"{name}: {answer.status} {answer.body}" for name, answer in answers.items() if answer.status != 200]
        return "; ".join(wrong)

    def recovers(self, timeout_s: float = RECOVERY_TIMEOUT_S) -> float:
        """Wait until the stack works without anybody's help; return the seconds that it took."""
        start = time.monotonic()
        assert wait_until(lambda: not self.fault(), timeout_s, pause=0.25), self.fault()
        return time.monotonic() - start

    def processes(self, unit: str) -> list[int]:
        """Return the pids of a unit's processes, its main process first."""
        found = self.host.run(
            f"systemctl show -P MainPID {unit}; grep -lF /{unit} /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3"
        )
        return [*dict.fromkeys(int(pid) for pid in found.stdout.split() if pid != "0")]

    def invocations(self) -> dict[str, str]:
        """Return the id of each service's present start; it is another one after a restart, and only then."""
        show = "for unit in {}; do systemctl show -P InvocationID $unit; done".format(" ".join(SERVICES))
        return dict(zip(SERVICES, self.host.run(show).stdout.split("\n"), strict=False))

    def restarted_since(self, before: dict[str, str]) -> list[str]:
        """Return the services that were started again, or stopped, since `invocations` returned `before`."""
        now = self.invocations()
        return [unit for unit in SERVICES if now[unit] != before[unit]]

    def fingerprint(self, *, databases: bool = True) -> str:
        """Return the host's files, users, packages, units and databases: what a plan must not change."""
        moving = ["/proc", "/sys", "/run", "/tmp", "/var/log", "/var/tmp", "/var/cache", "/var/lib/systemd"]
        moving += ["/var/lib/postgresql", "'/home/*/.cache'"]
        skipped = " -o ".join(f"-path {path}" for path in moving)
        # What is left out is another word in each dump.
        dump = "cd /; runuser -u postgres -- pg_dumpall 2>/dev/null | grep -vE '^.(un)?restrict ' | sha256sum"
        return self.host.run(
            f"find / -xdev \\( {skipped} \\) -prune -o -type f -printf '%p %m %u %s %T@\\n' | sort; "
            "cat /etc/passwd; dpkg-query -W; systemctl list-unit-files --no-legend | grep -v '[.]scope'; ls -A /tmp; "
            f"{dump if databases else ''}"
        ).stdout
