"""Review of a change on a deployed host: plan, apply and drift as commands, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.stack import Stack
from tests.e2e.test_plan_is_the_run import mlflow_stack

NOTHING, ERROR, PENDING = 0, 1, 2
DATABASE = "runuser -u postgres -- pg_dumpall | grep -v '^.restrict\\|^.unrestrict' | sha256sum"


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    served.recovers()  # a clone has just been started
    return served


@pytest.fixture
def plan(stack: Stack, tmp_path: Path) -> Path:
    """A plan that makes the tracking server's workers two."""
    done = mlflow_stack("plan", "--json", str(stack.inventory(tracking_workers=2)))
    assert done.returncode == PENDING, done.stderr
    path = tmp_path / "plan.json"
    path.write_text(done.stdout)
    return path


def test_plan_of_a_converged_host_is_one_line_and_drift_is_silent(stack: Stack) -> None:
    inventory = str(stack.inventory())

    plan, drift = mlflow_stack("plan", inventory), mlflow_stack("drift", inventory)

    assert (plan.returncode, plan.stdout.strip()) == (NOTHING, "mlflow1: nothing to do; 21 as declared")
    assert (drift.returncode, drift.stdout, drift.stderr) == (NOTHING, "", "")


def test_plan_touches_neither_the_host_nor_its_database(stack: Stack) -> None:
    stack.host.run("systemctl stop mlflow-production@diabetes; chmod 666 /etc/mlflow/tracking.env")
    before = stack.fingerprint(), stack.host.run(DATABASE).stdout

    done = mlflow_stack("plan", str(stack.inventory(tracking_workers=2, postgresql_max_connections=50)))
    after = stack.fingerprint(), stack.host.run(DATABASE).stdout
    stack.converge()

    assert done.returncode == PENDING
    assert after == before


def test_drift_shows_what_somebody_changed_by_hand(stack: Stack) -> None:
    stack.host.run("sed -i s/MLFLOW_WORKERS=.*/MLFLOW_WORKERS=7/ /etc/mlflow/tracking.env")

    done = mlflow_stack("drift", str(stack.inventory()))
    stack.converge()

    assert done.returncode == PENDING
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "mlflow1: Tracking | Write the unit and configuration of mlflow-tracking",
        "    /etc/mlflow/tracking.env (640 root:mlflow)",
    ]
    assert "        -MLFLOW_WORKERS=7" in lines
    assert '        +MLFLOW_WORKERS="1"' in lines
    assert lines[-1] == "mlflow1: 2 operations to run, with 4 commands, 1 of them for files; 19 as declared"


def test_reviewed_plan_is_applied_once_and_is_stale_then(stack: Stack, plan: Path) -> None:
    inventory = str(stack.inventory(tracking_workers=2))

    first, second = mlflow_stack("apply", inventory, str(plan)), mlflow_stack("apply", inventory, str(plan))
    workers = stack.host.run("grep -c MLFLOW_WORKERS=.2 /etc/mlflow/tracking.env").stdout.strip()
    stack.converge()

    assert first.returncode == NOTHING, first.stderr
    assert workers == "1"
    assert second.returncode == ERROR
    assert (
        f"{plan} is not what this run would do; no host was changed\n"
        "  mlflow1: something else is to be done now than was reviewed, in: Tracking | Write the unit and "
        "configuration of mlflow-tracking, Tracking | Run mlflow-tracking and see it work" in second.stderr
    )


def test_plan_is_refused_when_the_host_has_changed_since(stack: Stack, plan: Path) -> None:
    stack.host.run("echo '# by hand' >> /etc/mlflow/tracking.env")
    before = stack.fingerprint()

    done = mlflow_stack("apply", str(stack.inventory(tracking_workers=2)), str(plan))
    after = stack.fingerprint()
    stack.converge()

    assert done.returncode == ERROR
    assert "mlflow1: something else is to be done now than was reviewed, in: Tracking | Write the unit" in done.stderr
    assert after == before


def test_plan_is_refused_for_another_machine_and_for_another_inventory(stack: Stack, plan: Path) -> None:
    document = json.loads(plan.read_text())
    inventory = stack.inventory(tracking_workers=2)
    other = inventory.with_name("other.py")
    other.write_text(inventory.read_text().replace("mlflow1", "prod1"))
    edited = plan.with_name("edited.json")
    document["hosts"]["mlflow1"]["machine"] = "0" * 32
    edited.write_text(json.dumps(document))

    by_name, by_hand = mlflow_stack("apply", str(other), str(plan)), mlflow_stack("apply", str(inventory), str(edited))

    assert (by_name.returncode, by_hand.returncode) == (ERROR, ERROR)
    assert by_hand.stderr == (
        f"{edited}: what it says about mlflow1 was edited after it was made; make it anew; "
        "expected what `plan --json` printed\n"
    )


def test_inventory_that_does_not_exist_is_refused(stack: Stack) -> None:
    done = mlflow_stack("plan", "inventroy.py")

    assert done.returncode == ERROR
    assert "inventroy.py: no such file; expected an inventory" in done.stderr
