"""A run that broke off, and a host that was changed by hand: a plain run repairs it, the next one changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.stack import Stack

INSTALL_MINICONDA = "Conda | Install Miniconda"
BUILD_ENVIRONMENT = "Conda | Build the MLflow environment"
CREATE_DATABASE = "PostgreSQL | Create role mlflow_user and database mlflow_db"
WRITE_TRACKING = "Tracking | Write the unit and configuration of mlflow-tracking"
RUN_TRACKING = "Tracking | Run mlflow-tracking and see it work"
WRITE_PRODUCTION = "Production | Write the units and configuration of mlflow-production"
RUN_UMBRELLA = "Production | Run mlflow-production"
RELEASE_MODEL = "Production | Release model diabetes"
RUN_MODEL = "Production | Run mlflow-production@diabetes and see it predict"
# Which operation of a run RUN_TRACKING is, on a host with everything.
RESTART = 15

CONDA = "/opt/mlflow/miniconda3"
STAGING = "/var/lib/mlflow-models/.staging"
PSQL = "runuser -u postgres -- psql -Xqc"

# An environment of Python 3.11 is begun and no more files come.
COUNT = "$(find /opt/mlflow/envs/mlflow-*/lib/python3.11 2>/dev/null | wc -l)"
STANDS_STILL = f'{{ n={COUNT}; [ "$n" -gt 100 ] && sleep 0.5 && [ "$n" = "{COUNT}" ]; }}'

# What somebody did to the host, and the operations that put it right. Exactly these: so each case also says that the
# run of the case before it left nothing to do. More of such things are in test_plan_is_the_run.py.
DRIFTS = {
    "environment file edited": (
        "echo MLFLOW_WORKERS=3 >> /etc/mlflow/tracking.env",
        [WRITE_TRACKING, RUN_TRACKING],
    ),
    "role made superuser": (f"{PSQL} 'ALTER ROLE mlflow_user SUPERUSER'", [CREATE_DATABASE]),
    "conda configuration deleted": (f"rm {CONDA}/.condarc", [INSTALL_MINICONDA]),
    "model's environment file edited": (
        "echo MLFLOW_MODELS_WORKERS=2 >> /etc/mlflow/production/diabetes.env",
        [WRITE_PRODUCTION, RUN_MODEL],
    ),
    "model disabled": ("systemctl disable mlflow-production@diabetes", [RUN_MODEL]),
    "all models stopped": ("systemctl stop mlflow-production", [RUN_UMBRELLA, RUN_MODEL]),
}


@pytest.mark.parametrize(("command", "repairs"), DRIFTS.values(), ids=DRIFTS)
def test_run_repairs_what_was_changed_by_hand(served: Stack, command: str, repairs: list[str]) -> None:
    served.recovers()
    served.host.run(command)

    repair = served.converge()

    assert repair.changed == repairs
    assert served.fault() == ""


def test_nothing_is_left_to_do_after_all_these_repairs(served: Stack) -> None:
    assert served.converge().changed == []
    assert served.host.run("stat -c '%a %U %G' /etc/mlflow/tracking.env").stdout == "640 root mlflow\n"
    assert served.host.run("systemctl is-enabled mlflow-tracking mlflow-production@diabetes").stdout == "enabled\n" * 2


def test_run_killed_between_writing_the_unit_and_the_restart_is_made_up_for(served: Stack) -> None:
    served.converge()
    before = served.invocations()
    log = served.directory / "points"
    killed = served.launch(["-m", "tests.e2e.kill_at", str(RESTART), "0", str(log)], "-y", tracking_workers=2)
    killed.communicate(timeout=300)
    assert json.loads(log.read_text().splitlines()[-1])["name"] == RUN_TRACKING
    assert 'MLFLOW_WORKERS="2"' in served.host.run("cat /etc/mlflow/tracking.env").stdout
    assert served.restarted_since(before) == []

    recovery = served.converge(tracking_workers=2)

    assert recovery.changed == [RUN_TRACKING]
    assert served.restarted_since(before) == ["mlflow-tracking"]
    assert served.converge(tracking_workers=2).changed == []


def test_environment_is_built_anew_after_runs_that_were_killed_while_they_built_it(served: Stack) -> None:
    served.converge()
    before = served.invocations()
    with hung_at(served, "link"):
        served.interrupt(STANDS_STILL, conda_python="3.11")
        served.host.run("kill -9 $(pgrep -f '[b]in/conda create')")
    served.interrupt("pgrep -f '[c]ompileall'", conda_python="3.11")
    assert served.host.run("pgrep -f '[c]ompileall'").stdout  # the host goes on with what it was told
    assert served.restarted_since(before) == []
    assert served.fault() == ""

    recovery = served.converge(conda_python="3.11")

    assert "Waiting for another run (" in recovery.output
    assert recovery.changed == [BUILD_ENVIRONMENT, WRITE_TRACKING, RUN_TRACKING]
    assert served.restarted_since(before) == ["mlflow-tracking"]
    assert served.converge(conda_python="3.11").changed == []


def test_half_done_installation_of_miniconda_is_made_anew_beside_running_services(served: Stack) -> None:
    served.converge()
    before = served.invocations()
    served.host.run(f"rm -rf {CONDA} {CONDA}.started")
    with hung_at(served, "unpack"):
        served.interrupt("pgrep -f '[s]leep 600'")
        served.host.run("kill -9 $(pgrep -f '[s]leep 600')")
    assert served.host.run(f"ls {CONDA}", check=False).stdout
    assert served.host.run(f"ls {CONDA}/bin/conda", check=False).returncode != 0
    assert served.fault() == ""

    recovery = served.converge()

    assert recovery.changed == [INSTALL_MINICONDA]
    assert served.restarted_since(before) == []
    assert served.converge().changed == []


def test_half_downloaded_installer_and_model_are_fetched_anew(served: Stack) -> None:
    served.converge()
    served.host.run(
        f"cd /opt/mlflow/cache && rm -rf {CONDA} {CONDA}.started && mv Miniconda3-*.sh $(ls Miniconda3-*.sh).part && "
        "truncate -s 1000 Miniconda3-*.part; "
        "rm /var/lib/mlflow-models/diabetes/current/.mlflow-stack.json; "
        f"install -d -o mlflow-model -m 700 {STAGING}/diabetes/model && echo half > {STAGING}/diabetes/model/MLmodel"
    )

    recovery = served.converge()

    assert recovery.changed == [INSTALL_MINICONDA, RELEASE_MODEL, RUN_MODEL]
    assert served.fault() == ""
    assert served.host.run(f"ls {STAGING} /opt/mlflow/cache | grep -c part", check=False).stdout == "0\n"
    assert served.converge().changed == []


@contextmanager
def hung_at(stack: Stack, step: str) -> Iterator[None]:
    """Let conda, or its installer, stand still at a step (lab/conda/standin), for whoever comes by sudo."""
    stack.host.put("/root/hang", f"LAB_CONDA_HANG_AT={step}\n")
    stack.host.put("/etc/sudoers.d/hang", "Defaults env_file=/root/hang\n", "440")
    try:
        yield
    finally:
        stack.host.run("rm /etc/sudoers.d/hang /root/hang")
