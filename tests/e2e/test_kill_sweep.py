"""A run that is killed at any of its operations: the next run does what is left, and the one after it changes nothing.

Two hosts: one that is fresh, and one that an older release deployed, with another MLflow, another database schema,
other units, programs and settings, and with a model that is served, on which the present release then comes.

Each is killed in two ways:

- in a row: one host, whose run is killed in its first operation, the next one in its second, and so on to the last.
- once: a host of its own for each operation. Each day tries one of them, another one every day.

One way with one host has its turn each day (tests/turns.py). `make kill-sweep` (KILL_SWEEP=all) takes all four, and
kills once in every operation, and in a row in every command of every operation.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from lab import Lab
from tests.e2e import registry, web
from tests.e2e.conftest import KEEP, NAME
from tests.e2e.stack import MODEL, REPOSITORY, Run, Stack
from tests.turns import ALL as ALL_TURNS
from tests.turns import today

ALL = os.environ.get("KILL_SWEEP") == "all"
# Of one host with all roles and one model; the rows say when this is not the number any more.
OPERATIONS = 21
COMMANDS = 4  # how many points of an operation the days take turns with: its beginning, and its first three commands
MAX_KILLS = 150  # in a row: 21 operations have about 70 commands

OLDER_LAYER = "older"
OLDER_MLFLOW = ("mlflow==3.10.1", "sqlalchemy<2.1", "psycopg2-binary", "scikit-learn", "matplotlib")
OLDER_SCHEMA = "1b5f0d9ad7c1"
OLDER_FILES = ("deploy.py", "config.py", "group_data", "locks", "mlflow_stack", "templates")
OLDER_SETTINGS: dict[str, Any] = {"tracking_workers": 1, "postgresql_max_connections": 80}
# What comes with the present release, so that as many operations as possible have something to do.
CHANGE: dict[str, Any] = {
    "tracking_upgrade_database": True,
    "tracking_workers": 2,
    "postgresql_max_connections": 90,
    "production_models": {"diabetes": {**MODEL["diabetes"], "workers": 2}},
    "conda_keep_envs": 0,
}


# --- the points ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Killed:
    """A run and how it ended: where it was killed, or, with `status` 0, that it went to its end."""

    status: int
    output: str
    operation: int
    name: str
    at: str
    seconds: float
    run: str

    def __str__(self) -> str:
        return f"{self.operation:2} {self.name} | {self.at} | {self.seconds:.0f} s"


def points() -> list[tuple[int, int]]:
    """Return the operations, with a command of each, in which to kill once: every one, or the one of this day."""
    if ALL:
        return [(operation, 1) for operation in range(1, OPERATIONS + 1)]
    command, operation = divmod(today(), OPERATIONS)
    return [(operation + 1, command % COMMANDS)]


def only_on_its_days(number: int) -> pytest.MarkDecorator:
    """Mark one of the four tests. They change each day, and places after each round of all the points."""
    turn = (today() + today() // (OPERATIONS * COMMANDS)) % 4
    return pytest.mark.skipif(not (ALL or ALL_TURNS) and turn != number, reason="today is another one's turn")


POINTS = pytest.mark.parametrize(
    ("operation", "command"), points(), ids=[f"operation {each[0]}, command {each[1]}" for each in points()]
)


class Swept(Stack):
    """A stack whose runs can be killed at a point, and can be those of another copy of this repository."""

    def kill(self, operation: int, command: int, **overrides: Any) -> Killed:
        """Run a deploy that is killed there (kill_at.py), or ends by itself when it has no such operation."""
        log = self.directory / "points"
        log.unlink(missing_ok=True)
        start = time.monotonic()
        program = ["-m", "tests.e2e.kill_at", str(operation), str(command), str(log)]
        process = self.launch(program, "-y", **overrides)
        _, output = process.communicate(timeout=900)
        assert log.exists(), f"no operation was reached: {output}"
        last = json.loads(log.read_text().splitlines()[-1])
        run = f"{getpass.getuser()}@{socket.gethostname()}:{process.pid}"
        return Killed(process.returncode, output, **last, seconds=time.monotonic() - start, run=run)

    def kill_in_a_row(self, **overrides: Any) -> list[Killed]:
        """Kill a run in its first operation, the next run in its second, and so on; the last one ends by itself.

        With ALL in each of their commands, and when they have ended.
        """
        kills: list[Killed] = []
        operation, command = 1, 1
        while len(kills) < MAX_KILLS:
            kills.append(self.kill(operation, command, **overrides))
            print(kills[-1], flush=True)
            if kills[-1].status != -signal.SIGKILL:
                return kills
            if ALL and kills[-1].at != "end":
                command += 1
            else:
                operation, command = operation + 1, 1
        raise AssertionError(f"{MAX_KILLS} runs were killed and none came to its end: {kills[-1]}")


# --- the hosts ----------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh(lab: Lab, tmp_path: Path) -> Swept:
    """A host as it was installed."""
    lab.down(NAME)
    return Swept(lab.up(NAME), tmp_path)


@pytest.fixture(scope="module")
def older_layer(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A host that an older release deployed, with a trained model that is served and a better one that is not yet."""
    if KEEP and OLDER_LAYER in lab.layers():
        return OLDER_LAYER
    lab.down(NAME)
    stack = Swept(lab.up(NAME), tmp_path_factory.mktemp("older"), **OLDER_SETTINGS)
    stack.repository = older_release(stack.directory / "release")
    stack.converge()
    stack.train()
    stack.converge()
    registry.promote(stack, registry.others(stack)[0])
    lab.snapshot(NAME, OLDER_LAYER)
    return OLDER_LAYER


@pytest.fixture
def older(lab: Lab, older_layer: str, tmp_path: Path) -> Swept:
    """A clone of the host that an older release deployed, which works; its runs are those of the present release."""
    lab.down(NAME)
    stack = Swept(lab.up(NAME, layers=[older_layer]), tmp_path, **CHANGE)
    stack.recovers()
    return stack


def older_release(directory: Path) -> Path:
    """Make a copy of this repository that differs in all that an upgrade can touch; return its path."""
    directory.mkdir()
    for name in OLDER_FILES:
        source = REPOSITORY / name
        shutil.copytree(source, directory / name) if source.is_dir() else shutil.copy(source, directory / name)
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--no-header", "--generate-hashes"]
    command += ["--only-binary", ":all:", "--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28"]
    wanted = "\n".join(OLDER_MLFLOW)
    lock = subprocess.run(command, input=wanted, capture_output=True, text=True, timeout=300, check=True)
    header = f"# mlflow-schema-revision: {OLDER_SCHEMA}\n"
    (directory / "locks" / "mlflow-py3.12.txt").write_text(header + lock.stdout)
    for unit in (directory / "templates").rglob("*.service.j2"):
        unit.write_text(unit.read_text() + "\n# As in an older release.\n")
    # Its MLflow makes the tables at the first use of an empty database, and not by `mlflow db upgrade`.
    program, first_use = directory / "mlflow_stack/on_host/schema.py", "import mlflow; mlflow.search_experiments()"
    upgrade, initialise = '[mlflow, "db", "upgrade", own_uri(uri)]', f'[sys.executable, "-c", "{first_use}"]'
    text = program.read_text()
    assert upgrade in text
    environment = '{**__import__("os").environ, "MLFLOW_TRACKING_URI": uri}'
    program.write_text(text.replace(upgrade, f"{initialise}, env={environment}"))
    return directory


# --- what must be true afterwards ---------------------------------------------------------------------------------

UNFINISHED = (
    "find / -xdev '(' -path /proc -o -path /sys -o -path /opt/mlflow/miniconda3/pkgs ')' -prune -o "
    "'(' -name '*.part' -o -name '*.part.err' -o -name '.mlflow-stack*' ! -name .mlflow-stack.json "
    "-o -name '*.started' -o -path '/var/lib/mlflow-models/*/.current' ')' -print; "
    "find /tmp /var/tmp /var/lib/mlflow-models/.staging -mindepth 1 -maxdepth 1 "
    "! -name 'systemd-private-*' ! -name '.*-unix'; "
    "find /etc/mlflow /etc/systemd/system /etc/postgresql /opt/mlflow/libexec -type f -empty; "
    "find /var/backups/mlflow -type f ! -name '*.dump'"
)


def content(stack: Stack) -> dict[str, Any]:
    """Return what users have logged, as they get it over HTTP; artifacts as checksums."""
    client = MlflowClient(stack.url)
    experiments = client.search_experiments()
    runs = client.search_runs([each.experiment_id for each in experiments])
    versions = client.search_model_versions()
    return {
        "experiments": sorted((each.experiment_id, each.name, each.artifact_location) for each in experiments),
        "runs": {run.info.run_id: (run.info.status, run.data.params, run.data.metrics, run.data.tags) for run in runs},
        "artifacts": {run.info.run_id: checksums(stack, run.info.artifact_uri) for run in runs},
        "models": {model.model_id: checksums(stack, model.artifact_location) for model in registry.logged(stack)},
        "versions": sorted((each.name, each.version, each.source, each.run_id) for each in versions),
        "champion": client.get_model_version_by_alias(registry.NAME, registry.ALIAS).version,
    }


def checksums(stack: Stack, uri: str) -> dict[str, str]:
    """Return the SHA-256 of each artifact below `uri`, by its path."""
    root, opener = "/api/2.0/mlflow-artifacts/artifacts", urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found, directories = {}, [uri.removeprefix("mlflow-artifacts:/").strip("/")]
    while directories:
        directory = directories.pop()
        for file in web.get(f"{stack.url}{root}?path={directory}").json.get("files", []):
            path = f"{directory}/{file['path']}"
            if file.get("is_dir"):
                directories.append(path)
            else:
                with opener.open(f"{stack.url}{root}/{path}", timeout=60) as answer:
                    found[path] = hashlib.sha256(answer.read()).hexdigest()
    assert found, f"{uri}: no artifacts, expected those of the training"
    return found


def recover(stack: Swept, killed: list[Killed]) -> Run:
    """Let a plain run repair what killed ones left, and a third one find nothing to do; return the repair."""
    start = time.monotonic()
    repair = stack.converge()
    seconds = time.monotonic() - start
    waited = re.findall(r"Waiting for another run \((\S+)-[0-9a-f]{6}\) to end its command", repair.output)
    print(
        f"   repaired in {seconds:.0f} s by {len(repair.changed)} operations{' after a wait' * bool(waited)}",
        flush=True,
    )
    assert set(waited) <= {each.run for each in killed}
    assert stack.converge().changed == []
    assert stack.host.run(UNFINISHED).stdout == ""
    return repair


def assert_tracking_answers(stack: Stack) -> None:
    answer = web.post(f"{stack.url}/api/2.0/mlflow/experiments/search", {"max_results": 1})
    assert answer.status == 200, answer.body


# --- the sweep ----------------------------------------------------------------------------------------------------


@only_on_its_days(0)
def test_fresh_host_whose_runs_were_killed_in_each_operation_in_a_row_gets_deployed(fresh: Swept) -> None:
    runs = fresh.kill_in_a_row()

    assert runs[-1].status == 0, runs[-1].output
    assert runs[-1].operation == OPERATIONS
    recover(fresh, runs)
    assert_tracking_answers(fresh)


@only_on_its_days(1)
def test_upgrade_whose_runs_were_killed_in_each_operation_in_a_row_gets_done_and_loses_nothing(older: Swept) -> None:
    before = content(older)

    runs = older.kill_in_a_row()

    assert runs[-1].status == 0, runs[-1].output
    assert runs[-1].operation == OPERATIONS
    recover(older, runs)
    assert content(older) == before
    assert older.fault() == ""


@only_on_its_days(2)
@POINTS
def test_fresh_host_whose_run_was_killed_gets_deployed(fresh: Swept, operation: int, command: int) -> None:
    killed = fresh.kill(operation, command)
    print(killed)

    recover(fresh, [killed])

    assert killed.status == -signal.SIGKILL, killed.output
    assert_tracking_answers(fresh)


@only_on_its_days(3)
@POINTS
def test_upgrade_that_was_killed_gets_done_and_loses_nothing(older: Swept, operation: int, command: int) -> None:
    before = content(older)
    killed = older.kill(operation, command)
    print(killed)

    recover(older, [killed])

    assert killed.status == -signal.SIGKILL, killed.output
    assert content(older) == before
    assert older.fault() == ""
