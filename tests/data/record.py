"""Record what every fact's command prints on a real host, before and after a deploy: `python -m tests.data.record`.

It makes a lab of its own, deploys to its one host, trains the example, deploys again, and removes the lab. The outputs
go to tests/data/debian-12/{fresh,deployed}/<Fact>.txt; the first line of each is the command, shortened.
Run it again when the command of a fact changes; the tests of facts and operations read these files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lab import Host, Lab
from mlflow_stack.domain import layout
from mlflow_stack.facts import artifacts, conda, files, mlflow, postgresql, service
from mlflow_stack.facts import host as host_facts

REPOSITORY = Path(__file__).resolve().parents[2]
DIRECTORY = Path(__file__).resolve().parent / "debian-12"
LAB_ID = os.environ.get("LAB_ID", "mrecord")
NETWORK = os.environ.get("LAB_NET", "10.77.23")
COMMAND_LENGTH = 200
NO_ENVIRONMENT = "/opt/mlflow/envs/mlflow-none"

PREFIX = "/opt/mlflow/miniconda3"
PYTHON = f"{PREFIX}/bin/python"
READY = f"{PYTHON} -I {layout.LIBEXEC_DIR}/ready.py"
TRACKING_URI = "http://127.0.0.1:5000"
DATABASE_URI = "postgresql+psycopg2://mlflow_user@/mlflow_db?host=/var/run/postgresql&port=5432"
MODEL = {"diabetes": {"kind": "alias", "name": "diabetes", "reference": "champion"}}


def facts(environment: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return each fact with the arguments that the roles give it on a host with everything."""
    return [
        (host_facts.Survey, {}),
        (
            host_facts.InstalledPackages,
            {"packages": ("ca-certificates", "curl", "postgresql-15", "postgresql-client-15")},
        ),
        (
            host_facts.Layout,
            {
                "users": ("mlflow", "mlflow-model"),
                "directories": (layout.OPT_DIR, layout.CONFIG_DIR, layout.BACKUP_DIR),
            },
        ),
        (
            files.FileStates,
            {"paths": (f"{layout.CONFIG_DIR}/tracking.env", f"{layout.LIBEXEC_DIR}/fetch.sh", "/bin/sh")},
        ),
        (files.FileTexts, {"paths": (f"{layout.CONFIG_DIR}/tracking.env", "/etc/debian_version", "/bin/sh")}),
        (conda.Conda, {"prefix": PREFIX}),
        (conda.Environment, {"path": environment}),
        (conda.Environments, {}),
        (
            postgresql.Postgresql,
            {
                "conf_dir": "/etc/postgresql/15/main",
                "unit": "postgresql@15-main.service",
                "port": 5432,
                "role": "mlflow_user",
                "database": "mlflow_db",
            },
        ),
        (mlflow.Schema, {"python": f"{environment}/bin/python", "uri": DATABASE_URI, "passfile": ""}),
        (mlflow.Models, {"python": PYTHON, "tracking_uri": TRACKING_URI, "wanted": json.dumps(MODEL)}),
        (
            service.Service,
            {
                "unit": "mlflow-tracking.service",
                "files": (f"{layout.CONFIG_DIR}/tracking.env", f"{layout.UNIT_DIR}/mlflow-tracking.service"),
                "watched": (f"{environment}/{layout.MARKER}",),
                "ready": f"READY_READ_ONLY=1 {READY} tracking {TRACKING_URI} --artifacts",
                "only_if": "",
            },
        ),
        (service.EnabledInstances, {"umbrella": "mlflow-production"}),
        (artifacts.ArtifactStore, {"directory": f"{layout.STATE_DIR}/artifacts"}),
    ]


def record(host: Host, state: str) -> None:
    """Record all facts of a host below DIRECTORY/state."""
    directory = DIRECTORY / state
    directory.mkdir(parents=True, exist_ok=True)
    environment = host.run(f"ls -d /opt/mlflow/envs/mlflow-* 2>/dev/null || echo {NO_ENVIRONMENT}").stdout.strip()
    for fact, arguments in facts(environment):
        command = fact().command(**arguments).get_raw_value()
        output = host.run(command).stdout
        save(directory / f"{fact.__name__}.txt", command.replace(environment, NO_ENVIRONMENT), output)
    # The one fact that asks for root itself, as a user that can't have it.
    survey = host_facts.Survey().command().get_raw_value()
    save(directory / "Survey-without-sudo.txt", survey, host.run(survey, user="deploy-without-sudo").stdout)


def save(path: Path, command: str, output: str) -> None:
    path.write_text(f"{shortened(command)}\n{output}")


def shortened(command: str) -> str:
    """Return the first line of a recording: a command on one line, cut where it gets long."""
    line = " ".join(command.split())
    return line if len(line) <= COMMAND_LENGTH else f"{line[:COMMAND_LENGTH]} …"


def run(*arguments: str) -> None:
    """Run a program of this repository against the lab; raise CalledProcessError when it fails."""
    environment = {**os.environ, "LAB_ID": LAB_ID, "LAB_NET": NETWORK}
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, env=environment, check=True, timeout=1200)


def main() -> None:
    lab = Lab(LAB_ID, NETWORK)
    try:
        host = lab.up("mlflow1")
        host.run(
            "useradd -m deploy-without-sudo && cp -r ~deploy/.ssh ~deploy-without-sudo/ && "
            "chown -R deploy-without-sudo: ~deploy-without-sudo"
        )
        record(host, "fresh")
        run("-m", "pyinfra", "inventory.py", "deploy.py", "-y")
        run("examples/train_diabetes.py", "--tracking-uri", f"http://{host.address}:5000")
        run("-m", "pyinfra", "inventory.py", "deploy.py", "-y")
        record(host, "deployed")
    finally:
        lab.down()


if __name__ == "__main__":
    main()
