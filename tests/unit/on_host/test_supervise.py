"""supervise.py, run as systemd runs it: with a socket for notices, and one to pass on to the server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlflow_stack
from lab.process import wait_until
from mlflow_stack.on_host.accounts import login_of, password_of
from tests.unit.on_host.conftest import Answer, StandIn

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/supervise.py"
SEARCH = "POST /api/2.0/mlflow/experiments/search"
TIMEOUT_S = 20


class Systemd:
    """What systemd is to a service: it starts it with a socket for notices, and reads those."""

    def __init__(self, directory: Path) -> None:
        self.address = str(directory / "notify")
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(self.address)
        self.notices.settimeout(TIMEOUT_S)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, check: list[str], command: list[str], **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", str(SCRIPT), *check, "--", *command],
            env={**os.environ, "NOTIFY_SOCKET": self.address, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def notice(self) -> str:
        """Return the next notice."""
        return self.notices.recv(4096).decode()

    def wait_for(self, wanted: str) -> list[str]:
        """Return the different notices up to one that begins so."""
        seen: list[str] = []
        while not seen or not seen[-1].startswith(wanted):
            notice = self.notice()
            if notice not in seen:
                seen.append(notice)
        return seen


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path)
    yield systemd
    for process in systemd.started:
        process.terminate()  # it ends the server too
        process.communicate(timeout=TIMEOUT_S)
    systemd.notices.close()


@pytest.fixture
def tracking(stand_in: StandIn) -> StandIn:
    """A stand-in for a tracking server in good health."""
    stand_in.answers |= {"GET /health": Answer(b"OK"), SEARCH: Answer(b'{"experiments": []}')}
    return stand_in


def test_service_is_ready_when_its_database_answers_and_not_before(systemd: Systemd, tracking: StandIn) -> None:
    tracking.answers[SEARCH] = Answer(b"down\nREADY=1", 503)

    systemd.start(["tracking", tracking.url], ["sleep", "60"])

    assert systemd.wait_for("STATUS=") == [
        f"STATUS=Not ready: POST {tracking.url}/api/2.0/mlflow/experiments/search: HTTP 503: down"
    ]
    tracking.answers[SEARCH] = Answer(b"{}")
    assert systemd.wait_for("READY=1")[-1] == "READY=1\nSTATUS=It answers"


def test_model_is_ready_when_it_predicts_for_its_example(systemd: Systemd, stand_in: StandIn, tmp_path: Path) -> None:
    example = tmp_path / "serving_input_example.json"
    example.write_text('{"inputs": [[1]]}')
    stand_in.answers |= {"GET /ping": Answer(b"\n"), "POST /invocations": Answer(b'{"predictions": [1.5]}')}

    systemd.start(["model", stand_in.url, str(example)], ["sleep", "60"])

    assert systemd.wait_for("READY=1") == ["READY=1\nSTATUS=It answers"]
    assert stand_in.requests == [("GET /ping", b""), ("POST /invocations", b'{"inputs": [[1]]}')]


def test_watchdog_is_fed_while_the_server_answers_with_the_database_down_too(
    systemd: Systemd, tracking: StandIn
) -> None:
    systemd.start(["tracking", tracking.url], ["sleep", "60"], WATCHDOG_USEC="200000")
    systemd.wait_for("WATCHDOG=1")

    tracking.answers[SEARCH] = Answer(b"down", 503)
    assert systemd.notice() == "WATCHDOG=1"

    tracking.answers["GET /health"] = Answer(b"ill", 500)
    assert systemd.wait_for("STATUS=")[-1] == f"STATUS=Not ready: GET {tracking.url}/health: HTTP 500: ill"
    assert systemd.notice().startswith("STATUS="), "a server that does not answer feeds no watchdog"


@pytest.mark.parametrize(("command", "status"), [("exit 0", 1), ("exit 7", 7), ("kill -9 $$", 1)])
def test_server_that_ends_unasked_is_a_failure_whatever_it_says(
    systemd: Systemd, tracking: StandIn, command: str, status: int
) -> None:
    process = systemd.start(["tracking", tracking.url], ["sh", "-c", command])

    assert process.wait(TIMEOUT_S) == status
    assert process.stderr
    assert process.stderr.read().startswith("the server ended by itself, with status ")


def test_server_gets_the_listening_socket_and_keeps_none_of_the_words_about_it(
    systemd: Systemd, tracking: StandIn, tmp_path: Path
) -> None:
    """As systemd does: the socket is descriptor 3, and the variables name the process that it is for."""
    server = (
        "import os, socket\n"
        "print(socket.socket(fileno=0).getsockname(), sorted(set(os.environ) & {'LISTEN_FDS', 'LISTEN_PID'}))\n"
    )
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "http"))
        script = 'exec 3<&"$0"; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        arguments = [sys.executable, "-I", str(SCRIPT), "tracking", tracking.url, "--", sys.executable, "-c", server]
        done = subprocess.run(
            ["bash", "-c", script, str(listener.fileno()), *arguments],
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )

    assert (done.returncode, done.stdout) == (1, f"{tmp_path}/http []\n"), done.stderr


def test_stop_reaches_all_processes_of_the_server_and_waits_for_the_last(
    systemd: Systemd, tracking: StandIn, tmp_path: Path
) -> None:
    """The child finishes what it is at and outlives its parent, which ends at once, as `mlflow models serve` does."""
    child = f"trap 'sleep 1; touch {tmp_path}/finished; exit' TERM; touch {tmp_path}/began; while :; do sleep 0.1; done"
    process = systemd.start(["tracking", tracking.url], ["bash", "-c", f'bash -c "{child}" & wait'])
    systemd.wait_for("READY=1")
    assert wait_until((tmp_path / "began").exists, TIMEOUT_S)

    process.send_signal(signal.SIGTERM)

    assert process.wait(TIMEOUT_S) == 0
    assert (tmp_path / "finished").exists()
    assert "STOPPING=1" in systemd.wait_for("STOPPING=1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a namespace for processes")
def test_first_process_of_a_container_ends_with_what_its_server_leaves_behind(tracking: StandIn) -> None:
    """It inherits the server's children, and nobody else would reap them: without that they would never be gone."""
    supervise = [sys.executable, "-I", str(SCRIPT), "tracking", tracking.url]
    server = ["sh", "-c", "sleep 60 & exec sleep 60"]
    process = subprocess.Popen(["unshare", "--pid", "--fork", *supervise, "--", *server])
    try:
        assert wait_until(lambda: bool(children(process.pid)), TIMEOUT_S)
        (first,) = children(process.pid)
        assert wait_until(lambda: any(map(children, children(first))), TIMEOUT_S)  # the server has its child

        os.kill(first, signal.SIGTERM)

        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()


def children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(number) for number in path.read_text().split()] if path.exists() else []


def test_words_without_a_command_are_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "tracking", "http://127.0.0.1:1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )

    assert done.returncode == 2
    assert done.stderr.startswith("supervise CHECK… [--variables FILE] -- COMMAND…: ")


def test_server_that_asks_for_a_login_is_asked_with_ours_and_gets_its_secret(
    systemd: Systemd, tracking: StandIn, tmp_path: Path
) -> None:
    key, seen = tmp_path / "permissions-key", tmp_path / "seen"
    key.write_text("0123456789abcdef\n")
    tracking.login = login_of(b"0123456789abcdef", "mlflow-stack")
    show = ["sh", "-c", f"echo $MLFLOW_FLASK_SERVER_SECRET_KEY > {seen}.part; mv {seen}.part {seen}; exec sleep 60"]

    systemd.start(["tracking", tracking.url, "--key", str(key)], show)

    assert systemd.wait_for("READY=1") == ["READY=1\nSTATUS=It answers"]
    assert wait_until(seen.exists, TIMEOUT_S)
    assert seen.read_text() == f"{password_of(b'0123456789abcdef', 'flask secret key')}\n"


def test_server_gets_what_is_secret_in_its_environment_and_nobody_else_does(
    systemd: Systemd, tracking: StandIn, tmp_path: Path
) -> None:
    variables, seen = tmp_path / "artifacts", tmp_path / "seen"
    variables.write_text("AZURE_STORAGE_ACCESS_KEY=c2VjcmV0==\n")
    show = ["sh", "-c", f"echo $AZURE_STORAGE_ACCESS_KEY > {seen}.part; mv {seen}.part {seen}; exec sleep 60"]

    supervisor = systemd.start(["tracking", tracking.url, "--variables", str(variables)], show)

    assert systemd.wait_for("READY=1") == ["READY=1\nSTATUS=It answers"]
    assert wait_until(seen.exists, TIMEOUT_S)
    assert seen.read_text() == "c2VjcmV0==\n"
    assert b"c2VjcmV0" not in Path(f"/proc/{supervisor.pid}/environ").read_bytes()
