"""Services that are restarted, released anew, stopped or hang, while clients go on asking.

Every test leaves the host working, so they share it. Figures are written to the report (-rP shows them).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from lab.process import wait_until
from tests.e2e import registry, web
from tests.e2e.load import Load
from tests.e2e.stack import EXAMPLE, Stack

TRACKING, MODEL = "mlflow-tracking.service", "mlflow-production@diabetes.service"
WAIT_S = 60


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack that has answered."""
    served.recovers()
    return served


def asked(stack: Stack, unit: str) -> Load:
    """Return a client that asks a service for what its users want of it."""
    what: tuple[str, Any] = {
        TRACKING: (f"{stack.url}/api/2.0/mlflow/experiments/search", {"max_results": 1}),
        MODEL: (f"{stack.model_url}/invocations", EXAMPLE),
    }[unit]
    return Load(lambda patience_s: web.post(*what, timeout=patience_s))


def report(what: str, load: Load) -> None:
    print(f"| {what} | {len(load.answers)} | {len(load.failed)} | {load.longest_s:.1f} |")


def state(stack: Stack, unit: str, name: str = "ActiveState") -> str:
    return stack.host.run(f"systemctl show -P {name} {unit}").stdout.strip()


@pytest.mark.parametrize("unit", [TRACKING, MODEL])
def test_restart_loses_no_request_and_returns_when_the_service_works(stack: Stack, unit: str) -> None:
    before = state(stack, unit, "MainPID")

    with asked(stack, unit) as load:
        time.sleep(1)
        for _ in range(2):
            stack.host.run(f"systemctl restart {unit}")
            assert stack.fault() == ""
        time.sleep(1)

    report(f"restart {unit} twice", load)
    assert load.failed == []
    assert len(load.answers) > 20
    assert state(stack, unit, "MainPID") != before


def test_release_of_another_version_loses_no_request(stack: Stack) -> None:
    registry.promote(stack, registry.others(stack)[0])

    with asked(stack, MODEL) as load:
        run = stack.converge()

    report("release of another version", load)
    assert run.changed[-1] == "Production | Run mlflow-production@diabetes and see it predict"
    assert load.failed == []


def test_deploy_that_changes_the_server_s_configuration_loses_no_request(stack: Stack) -> None:
    with asked(stack, TRACKING) as load:
        run = stack.converge(tracking_workers=2)

    report("deploy with tracking_workers = 2", load)
    assert run.changed[-1] == "Tracking | Run mlflow-tracking and see it work"
    assert load.failed == []
    stack.converge()


@pytest.mark.parametrize("unit", [TRACKING, MODEL])
def test_stopped_service_stays_stopped_however_often_it_is_asked(stack: Stack, unit: str) -> None:
    """A socket of systemd starts its service again with the next connection, unless it goes with it."""
    with asked(stack, unit) as load:
        stack.host.run(f"systemctl stop {unit}")
        time.sleep(3)
        states = {name: state(stack, name) for name in (unit, unit.replace(".service", ".socket"))}

    assert set(states.values()) == {"inactive"}, states
    assert load.answers[-1].status == 0
    stack.host.run(f"systemctl start {unit}")
    assert stack.fault() == ""


def test_server_that_hangs_is_restarted_by_the_watchdog_and_the_waiting_are_answered(stack: Stack) -> None:
    impatient = f"/run/systemd/system/{MODEL}.d"  # the unit's own patience is two minutes
    stack.host.run(f"mkdir -p {impatient} && printf '[Service]\\nWatchdogSec=10\\n' > {impatient}/patience.conf")
    stack.host.run(f"systemctl daemon-reload && systemctl restart {MODEL}")
    before = state(stack, MODEL, "MainPID")
    pids = stack.processes(MODEL)
    start, journal = time.monotonic(), f"journalctl -u {MODEL} --since=@{stack.host.run('date +%s').stdout.strip()}"
    stack.host.run(f"kill -STOP {' '.join(map(str, pids[1:]))}")

    assert wait_until(lambda: state(stack, MODEL, "MainPID") not in (before, "0"), 120, pause=1)
    stack.recovers()

    print(f"{MODEL} works {time.monotonic() - start:.0f} s after it hung, with WatchdogSec=10")
    assert "Watchdog timeout" in stack.host.run(f"{journal} --no-pager -o cat").stdout
    stack.host.run(f"rm -r {impatient} && systemctl daemon-reload")
    assert stack.converge().changed == []


def test_status_says_what_a_service_waits_for(stack: Stack) -> None:
    says = partial(state, stack, TRACKING, "StatusText")
    assert says() == "It answers"

    stack.host.run("systemctl mask --runtime --now postgresql@15-main.service")
    try:
        health = web.get(f"{stack.url}/health")
        stack.host.run(f"systemctl restart --no-block {TRACKING}")
        assert wait_until(lambda: says().startswith("Not ready: "), WAIT_S), says()
    finally:
        stack.host.run("systemctl unmask --runtime postgresql@15-main.service; systemctl start postgresql@15-main")
    stack.recovers()

    assert health.status == 200, "a server whose database is away is alive"
    assert wait_until(lambda: says() == "It answers", WAIT_S), says()
