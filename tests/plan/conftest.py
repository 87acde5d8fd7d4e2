"""The whole deploy.py by `pyinfra --dry --json` on hosts of pyinfra's @fake connector."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.recorded import lines

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
FRESH = lines("fresh", "Survey")


@dataclass(frozen=True)
class Plan:
    """What a plan printed: exit status, the operations in order, and what a person sees.

    `changes`: the operations that would change something, by name, with their hosts. `commands`: what was really run
    on a host, by host, from pyinfra's own log.
    """

    status: int
    output: str
    operations: list[str]
    changes: dict[str, list[str]]
    commands: dict[str, list[str]]


Planner = Callable[..., Plan]


def host(name: str, *, survey: list[str] = FRESH, answers: dict[str, Any] | None = None, **settings: Any) -> Any:
    """Return a host for an inventory: a fresh one, but for the given survey, answers to commands, and settings."""
    responses = {"/etc/os-release": survey, **(answers or {})}
    return (f"@fake/{name}", {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": responses, **settings})


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    """Plan a deploy; groups are lists of hosts, `_directory` is where pyinfra runs."""

    def run(*, _directory: Path = REPOSITORY, **groups: list[Any]) -> Plan:
        inventory = tmp_path_factory.mktemp("plan") / "inventory.py"
        inventory.write_text("".join(f"{group} = {hosts!r}\n" for group, hosts in groups.items()))
        arguments = [str(inventory), str(REPOSITORY / "deploy.py"), "--dry", "--json", "--debug"]
        done = subprocess.run(
            [sys.executable, "-m", "pyinfra", *arguments],
            cwd=_directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env={**os.environ, "NO_COLOR": "1", "DB_PASSWORD": "hunter2", "PYTHONPATH": str(REPOSITORY)},
        )
        return _parsed(done)

    return run


def _parsed(done: subprocess.CompletedProcess[str]) -> Plan:
    planned = json.loads(done.stdout)["plan"] if done.stdout.startswith("{") else []
    commands: dict[str, list[str]] = {}
    for name, command in re.findall(r"\[fake\] simulating command on (\S+): (.*)", done.stderr):
        commands.setdefault(name, []).append(command)
    return Plan(
        status=done.returncode,
        output=done.stderr,
        operations=[operation["name"] for operation in planned],
        changes={operation["name"]: operation["hosts_with_change"] for operation in planned},
        commands=commands,
    )
