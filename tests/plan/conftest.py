"""The whole deploy.py by `pyinfra --dry --json` on hosts of pyinfra's @fake connector."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.review import PLAN_VARIABLE, REVIEWED_VARIABLE
from mlflow_stack.roles.base import DIRECTORIES, USERS
from tests.unit.defaults import OPEN
from tests.unit.recorded import DIRECTORY, lines

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
FRESH = lines("fresh", "Survey")
MACHINE_ID = next(line for line in FRESH if line.startswith("machine_id="))
FACTS = [path.stem for path in (DIRECTORY / "fresh").glob("*.txt") if not path.stem.startswith("Survey")]
# More often than one look asks for any fact.
REPEATED = 8
Answers = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Plan:
    """What a plan printed: exit status, the operations in order, and what a person sees.

    `changes`: the operations that would change something, by name, with their hosts. `commands`: what was really run
    on a host, by host, from pyinfra's own log. `text`: the plan for people, without pyinfra's own lines around it.
    `document`: the plan as JSON, when it was asked for.
    """

    status: int
    output: str
    operations: list[str]
    changes: dict[str, list[str]]
    commands: dict[str, list[str]]
    text: str
    document: dict[str, Any]

    def of(self, name: str, operation: str) -> str:
        """Return what the plan for people says about one operation of a host; "" when it does not name it."""
        found = re.search(rf"^@fake/{name}: {re.escape(operation)}\n(.*?)\n\n", self.text, re.DOTALL | re.MULTILINE)
        return found[1] if found else ""


Planner = Callable[..., Plan]


def answers_when_done(document: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what the host mlflow1 of a plan answers when all of that is done and its model is served."""
    operations = document["hosts"]["@fake/mlflow1"]["operations"]
    changes = [command for operation in operations for command in operation["commands"] if command["path"]]
    # A new file's difference is the file.
    texts = {change["path"]: "".join(f"{line[1:]}\n" for line in change["diff"].splitlines()[3:]) for change in changes}
    states = {change["path"]: _state(change, texts[change["path"]]) for change in changes}
    sha256 = states["/etc/postgresql/15/main/conf.d/50-mlflow.conf"].split()[3]
    service = ["LoadState=loaded", "ActiveState=active", "UnitFileState=enabled", "digest=d", "proved=d", "ready=yes"]
    directories = [f"{item.path}:{item.expected}" for item in DIRECTORIES]
    return {
        **{fact: lines("deployed", fact) for fact in ("InstalledPackages", "Schema", "Models", "EnabledInstances")},
        "Layout": [
            *(f"user:{user.name}:x:1:1::{user.home}:" for user in USERS),
            *directories,
            "/var/lib/mlflow/artifacts:750 mlflow mlflow",
        ],
        "FileStates": list(states.values()),
        "FileTexts": [f"{base64.b64encode(text.encode()).decode()} {path}" for path, text in texts.items()],
        "Postgresql": [
            re.sub("[0-9a-f]{64}(?= .*50-mlflow.conf$)", sha256, line) for line in lines("deployed", "Postgresql")
        ],
        "Conda": [
            "exists",
            f"marker={texts['/opt/mlflow/miniconda3/.mlflow-stack.json'].strip()}",
            states["/opt/mlflow/miniconda3/.condarc"],
        ],
        "Environment": ["exists", "complete"],
        "Service": [*service, *(f"file={state}" for state in states.values())],
    }


def _state(change: dict[str, str], text: str) -> str:
    mode, owner = change["change"].removeprefix("new, ").split()
    return f"{mode} {owner.replace(':', ' ')} {hashlib.sha256(text.encode()).hexdigest()} {change['path']}"


def looked(answers: Answers) -> list[str]:
    """Return what a batch prints (facts/batch.py) on a fresh host, but for these answers.

    They are lines, the same for each question of this fact, or a list of them for one question after the other.
    """
    printed = []
    for fact, found in {**{fact: lines("fresh", fact) for fact in FACTS}, **answers}.items():
        sections = found if found and isinstance(found[0], list) else [found] * REPEATED
        printed += [line for section in sections for line in (f"----8<---- {fact}", *section)]
    return printed


def host(
    name: str,
    *,
    survey: list[str] = FRESH,
    answers: Answers | None = None,
    replies: Mapping[str, list[str]] | None = None,
    **settings: Any,
) -> Any:
    """Return a host for an inventory: a fresh one, but for the given survey, answers to facts, and settings.

    `replies`: what it says to what it is asked by itself, by a part of the command.
    """
    # Every host is a copy of the one that was recorded, and needs a machine-id of its own.
    own = [f"machine_id={name}" if line == MACHINE_ID else line for line in survey]
    responses = {"/etc/os-release": own, "echo '----8<---- ": looked(answers or {}), **(replies or {})}
    return (f"@fake/{name}", {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": responses, **OPEN, **settings})


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    """Plan a deploy; groups are lists of hosts, `_directory` is where pyinfra runs.

    `_group_data`: what files of group_data/ beside the inventory hold, by their name. `_run`: no plan but a run, as
    with -y. `_json`: the plan goes to a file and not to people. `_reviewed`: a plan document that it has to follow.
    `_limit`: pyinfra's --limit. `_options`: more options of pyinfra.
    """

    def run(
        *,
        _directory: Path = REPOSITORY,
        _group_data: Mapping[str, str] | None = None,
        _run: bool = False,
        _json: bool = False,
        _reviewed: Any = None,
        _limit: str = "*",
        _options: Sequence[str] = (),
        **groups: list[Any],
    ) -> Plan:
        directory = tmp_path_factory.mktemp("plan")
        inventory, written, reviewed = (directory / name for name in ("inventory.py", "plan.json", "reviewed.json"))
        for name, text in (_group_data or {}).items():
            (directory / "group_data").mkdir(exist_ok=True)
            (directory / "group_data" / name).write_text(text)
        inventory.write_text("".join(f"{group} = {hosts!r}\n" for group, hosts in groups.items()))
        variables = {"NO_COLOR": "1", "DB_PASSWORD": "hunter2", "PYTHONPATH": str(REPOSITORY)}
        if _json:
            variables[PLAN_VARIABLE] = str(written)
        if _reviewed is not None:
            reviewed.write_text(json.dumps(_reviewed))
            variables[REVIEWED_VARIABLE] = str(reviewed)
        arguments = [str(inventory), str(REPOSITORY / "deploy.py"), "-y" if _run else "--dry", "--json", "--debug"]
        arguments += ["--limit", _limit, *_options]
        done = subprocess.run(
            [sys.executable, "-m", "pyinfra", *arguments],
            cwd=_directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            env={**os.environ, **variables},
        )
        return _parsed(done, json.loads(written.read_text()) if written.exists() else {})

    return run


def _parsed(done: subprocess.CompletedProcess[str], document: dict[str, Any]) -> Plan:
    planned = json.loads(done.stdout).get("plan", []) if done.stdout.startswith("{") else []
    commands: dict[str, list[str]] = {}
    logged = r"\[fake\] simulating command on (\S+): (.*?)(?=\n    \[(?:pyinfra|@fake)|\Z)"
    for name, command in re.findall(logged, done.stderr, re.DOTALL):
        commands.setdefault(name, []).append(command)
    shown = re.search(r"\n\n(@fake/.*?\n)\n    \[@fake/", done.stderr, re.DOTALL)
    return Plan(
        status=done.returncode,
        output=done.stderr,
        operations=[operation["name"] for operation in planned],
        changes={operation["name"]: operation["hosts_with_change"] for operation in planned},
        commands=commands,
        text=shown[1] if shown else "",
        document=document,
    )
