"""Things that go wrong on a host by themselves, and from which it recovers without anybody's help.

Every test leaves the host working, so they share it. What each recovery took is written to the report (-rP shows it).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from lab.process import wait_until
from tests.e2e import web
from tests.e2e.stack import EXAMPLE, Stack

TRACKING, MODEL = "mlflow-tracking.service", "mlflow-production@diabetes.service"
DATABASE = "postgresql@15-main.service"
UNITS = {"tracking": TRACKING, "model": MODEL}
READY = "/opt/mlflow/miniconda3/bin/python -I /opt/mlflow/libexec/ready.py"
WAIT_S = 60


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack that has answered."""
    served.recovers()
    return served


def experiments(stack: Stack) -> int:
    """Return how many experiments a search finds."""
    return len(web.post(f"{stack.url}/api/2.0/mlflow/experiments/search", {"max_results": 1000}).json["experiments"])


def create_experiment(stack: Stack, name: str) -> None:
    answer = web.post(f"{stack.url}/api/2.0/mlflow/experiments/create", {"name": name})
    assert answer.status == 200, answer.body


def restarts(stack: Stack, unit: str) -> str:
    """Return what changes when a unit is restarted, by anybody or by systemd."""
    return stack.host.run(f"systemctl show -p MainPID -p NRestarts {unit}").stdout


# --- a process dies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [0, 1, 2], ids=["supervisor", "command", "server"])
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_service_recovers_from_the_death_of_its(stack: Stack, unit: str, process: int) -> None:
    before = stack.processes(unit)

    start = time.monotonic()
    stack.host.run(f"kill -9 {before[process]}")

    assert wait_until(lambda: not set(stack.processes(unit)) & set(before), WAIT_S), "an old process lives on"
    stack.recovers()
    print(f"{unit} works {time.monotonic() - start:.1f} s after the death")
    assert len(stack.processes(unit)) == len(before)


# --- a service is stopped -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "port", "path", "content"),
    [
        (TRACKING, 5000, "/api/2.0/mlflow/experiments/search", {"max_results": 1}),
        (MODEL, 5001, "/invocations", EXAMPLE),
    ],
    ids=UNITS,
)
def test_request_that_was_begun_is_answered_before_the_service_stops(
    stack: Stack, unit: str, port: int, path: str, content: object
) -> None:
    body = json.dumps(content).encode()
    head = [f"POST {path} HTTP/1.1", f"Host: {stack.host.address}:{port}", "Content-Type: application/json"]
    head += [f"Content-Length: {len(body)}", "Expect: 100-continue", "", ""]
    with socket.create_connection((stack.host.address, port), timeout=WAIT_S) as connection:
        connection.sendall("\r\n".join(head).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")

        stack.host.run(f"systemctl restart --no-block {unit}")
        stack.wait_for(f"[ $(systemctl show -P ActiveState {unit}) = deactivating ]")
        connection.sendall(body)

        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    stack.recovers()


# --- the database goes away ---------------------------------------------------------------------------------------


@contextmanager
def database_down(stack: Stack) -> Iterator[None]:
    """Stop the database, and keep other units from starting it; start it again at the end in any case."""
    stack.host.run(f"systemctl mask --runtime --now {DATABASE}")
    try:
        yield
    finally:
        stack.host.run(f"systemctl unmask --runtime {DATABASE} && systemctl start {DATABASE}")


def test_readiness_check_tells_what_health_does_not_while_the_database_is_down(stack: Stack) -> None:
    before = restarts(stack, TRACKING)

    with database_down(stack):
        health = web.get(f"{stack.url}/health")
        check = stack.host.run(f"{READY} tracking {stack.url}", check=False)
        prediction = web.post(f"{stack.model_url}/invocations", EXAMPLE)
    print(f"tracking works {stack.recovers():.1f} s after the database was started")

    assert (health.status, check.returncode, prediction.status) == (200, 1, 200)
    assert check.stderr.startswith(f"not ready: POST {stack.url}/api/2.0/mlflow/experiments/search: HTTP 503: ")
    assert 'connection to server on socket \\"/var/run/postgresql/.s.PGSQL.5432\\" failed' in check.stderr
    assert restarts(stack, TRACKING) == before


def test_tracking_server_that_starts_before_its_database_waits_for_it(stack: Stack) -> None:
    with database_down(stack):
        stack.host.run(f"systemctl restart --no-block {TRACKING}")
        stack.wait_for(f"[ $(systemctl show -P ActiveState {TRACKING}) = activating ]")
        before = restarts(stack, TRACKING)
        log = f"journalctl --no-pager _PID={stack.processes(TRACKING)[1]} --grep 'Operation will be retried'"
        assert wait_until(lambda: stack.host.run(log, check=False).returncode == 0, WAIT_S)
    print(f"tracking works {stack.recovers():.1f} s after the database was started")

    assert restarts(stack, TRACKING) == before


# --- the host goes down -------------------------------------------------------------------------------------------


def test_everything_answers_after_a_reboot_and_a_deploy_changes_nothing(stack: Stack) -> None:
    before = experiments(stack)

    start = time.monotonic()
    stack.host.reboot()
    booted = time.monotonic() - start
    print(f"everything works {stack.recovers():.1f} s after SSH, which took {booted:.1f} s")

    assert experiments(stack) == before
    assert stack.converge().changed == []


def test_nothing_is_lost_in_a_power_cut_and_a_deploy_changes_nothing(stack: Stack) -> None:
    before = experiments(stack)
    create_experiment(stack, "written just before the power cut")

    stack.host.crash()
    assert stack.fault() != ""
    start = time.monotonic()
    stack.host.start()
    booted = time.monotonic() - start
    print(f"everything works {stack.recovers():.1f} s after SSH, which took {booted:.1f} s")

    assert experiments(stack) == before + 1
    assert stack.converge().changed == []


# --- one of several workers dies ---------------------------------------------------------------------------------


def test_workers_are_replaced_without_a_restart_of_the_service(stack: Stack) -> None:
    """With the default of one worker the server works itself, so this needs two. It comes last, as it deploys that."""
    model = {"diabetes": {**stack.settings["production_models"]["diabetes"], "workers": 2}}
    stack.converge(tracking_workers=2, production_models=model)
    for unit in UNITS.values():
        state = restarts(stack, unit)
        assert len(workers(stack, unit)) == 2

        dead, alive = workers(stack, unit)
        stack.host.run(f"kill -9 {dead}")

        # A worker that dies while uvicorn waits for its answer is missed when that wait ends: a minute later.
        assert wait_until(partial(replaced, stack, unit, dead, alive), 60 + WAIT_S), workers(stack, unit)
        print(f"{unit} works {stack.recovers():.1f} s after its worker was replaced")
        assert restarts(stack, unit) == state


def workers(stack: Stack, unit: str) -> list[int]:
    """Return the pids of a unit's worker processes, which Python's multiprocessing has spawned."""
    pids = " ".join(map(str, stack.processes(unit)))
    found = stack.host.run(f"for pid in {pids}; do grep -qs spawn_main /proc/$pid/cmdline && echo $pid; done; true")
    return [int(pid) for pid in found.stdout.split()]


def replaced(stack: Stack, unit: str, dead: int, alive: int) -> bool:
    """Say whether one of two workers is new and the other is still there."""
    now = workers(stack, unit)
    return len(now) == 2 and alive in now and dead not in now
