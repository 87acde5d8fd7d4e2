"""The tools that are compared: each takes hosts to the same end state, and says what it changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.common import say
from lab import Host
from lab.inventory import connection, settings
from mlflow_stack.setting_types import REPOSITORY

PEERS = Path(__file__).resolve().parent / "peers"
VENV = REPOSITORY / "build" / "bench" / "venv"
REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Target:
    """A host and where the tools reach it: the relay's port for it, on the relay's address."""

    host: Host
    address: str
    port: int


@dataclass(frozen=True)
class Outcome:
    """Seconds that a run took as its caller sees them, and what it says that it changed."""

    seconds: float
    changed: list[str]


class Tool(Protocol):
    title: str

    def run(self, targets: Sequence[Target]) -> Outcome:
        """Take all targets to the end state at once. SystemExit, with what the tool printed, when that fails."""


class Pyinfra:
    """pyinfra with `-y`: a deploy file, and the data of each host."""

    def __init__(self, title: str, deploy: Path, known_hosts: Path, variables: Mapping[str, Any], groups: str) -> None:
        self.title, self.deploy, self.known_hosts = title, deploy, known_hosts
        self.variables, self.groups = variables, groups

    def run(self, targets: Sequence[Target]) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            inventory = Path(directory) / "inventory.py"
            hosts = [(target.host.name, self._data(target)) for target in targets]
            inventory.write_text(f"{self.groups} = {hosts!r}\n")
            command = [sys.executable, "-m", "pyinfra", str(inventory), self.deploy.name, "-y", "--json"]
            # In its directory: pyinfra reads config.py and group_data/ there.
            seconds, stdout = _timed(self.title, command, self.deploy.parent, {"NO_COLOR": "1"})
        operations = json.loads(stdout)["results"]["operations"]
        return Outcome(seconds, [operation["name"] for operation in operations if operation["success"]])

    def _data(self, target: Target) -> dict[str, Any]:
        return {
            **connection(target.host),
            "ssh_hostname": target.address,
            "ssh_port": target.port,
            "ssh_known_hosts_file": str(self.known_hosts),
            **self.variables,
        }


class Ansible:
    """ansible-playbook, with Mitogen's strategy or Ansible's own; as many forks as hosts; no connection kept open."""

    def __init__(self, title: str, known_hosts: Path, variables: Mapping[str, Any], *, mitogen: bool) -> None:
        self.title, self.known_hosts, self.variables, self.mitogen = title, known_hosts, variables, mitogen

    def run(self, targets: Sequence[Target]) -> Outcome:
        ensure_venv()
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:  # short: it holds sockets
            place = Path(directory)
            inventory, variables = place / "hosts.json", place / "variables.json"
            inventory.write_text(json.dumps({"all": {"hosts": {t.host.name: self._data(t) for t in targets}}}))
            variables.write_text(json.dumps(dict(self.variables)))
            playbook = [str(VENV / "bin" / "ansible-playbook"), "playbook.yml", "--forks", str(len(targets))]
            options = ["--inventory", str(inventory), "--extra-vars", f"@{variables}"]
            try:
                timed = _timed(self.title, [*playbook, *options], PEERS / "ansible", self._environment(place))
            finally:
                _close_connections(place)
        return Outcome(timed[0], _changes(timed[1]))

    def _data(self, target: Target) -> dict[str, Any]:
        return {
            "ansible_host": target.address,
            "ansible_port": target.port,
            "ansible_user": "deploy",
            "ansible_ssh_private_key_file": str(target.host.lab.store.key),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={self.known_hosts} -o IdentitiesOnly=yes",
        }

    def _environment(self, directory: Path) -> dict[str, str]:
        variables = {
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(directory / "home"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
            "LC_ALL": "C.UTF-8",  # Ansible wants some UTF-8
        }
        if self.mitogen:
            plugins = next(VENV.glob("lib/python3*/site-packages/ansible_mitogen/plugins/strategy"))
            variables |= {"ANSIBLE_STRATEGY": "mitogen_linear", "ANSIBLE_STRATEGY_PLUGINS": str(plugins)}
        return variables


def ensure_venv() -> None:
    """Ensure the environment of the peers that are not ours, as bench/requirements.txt has it."""
    stamp = VENV / REQUIREMENTS.name
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return
    say(f"installing {REQUIREMENTS.relative_to(REPOSITORY)} into {VENV.relative_to(REPOSITORY)}")
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
    shutil.copy(REQUIREMENTS, stamp)


def tools(host: Host, known_hosts: Path, variables: Mapping[str, Any]) -> list[Tool]:
    """Return the tools, ours first; `host` is any of the lab, `variables` what desired.py returns."""
    stock, ansible = PEERS / "stock" / "deploy.py", "ansible-core"
    return [
        ours(host, known_hosts),
        Pyinfra("stock pyinfra operations", stock, known_hosts, variables, "stock"),
        Ansible(ansible, known_hosts, variables, mitogen=False),
        Ansible(f"{ansible} with Mitogen", known_hosts, variables, mitogen=True),
    ]


def ours(host: Host, known_hosts: Path) -> Tool:
    """Return MLflow Stack with its defaults and no models; nothing in it depends on a host's name or address."""
    data = {**settings(host.lab), "production_models": {}}
    return Pyinfra("MLflow Stack", REPOSITORY / "deploy.py", known_hosts, data, "postgresql = tracking = production")


def _timed(title: str, command: list[str], directory: Path, variables: Mapping[str, str]) -> tuple[float, str]:
    environment = {**os.environ, **variables}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # which would have one tool compile itself anew in each run
    start = time.monotonic()
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    seconds = time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"{title} failed with status {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return seconds, done.stdout


def _changes(output: str) -> list[str]:
    """Return the tasks that changed something, from what ansible-playbook prints."""
    changed, task = [], ""
    for line in output.splitlines():
        if found := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line):
            task = found[1]
        elif line.startswith("changed: ") and task not in changed:
            changed.append(task)
    return changed


def _close_connections(directory: Path) -> None:
    """End the ssh processes that ControlPersist left: the next run has to begin as this one did."""
    for socket in (directory / "cp").glob("*"):
        command = ["ssh", "-F", "none", "-O", "exit", "-o", f"ControlPath={socket}", "nobody@localhost"]
        subprocess.run(command, check=False, capture_output=True, timeout=10)
