"""login.py, run as a host runs it: with its socket as descriptor 3, asked as nginx asks it."""

import base64
import hashlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import mlflow_stack
from mlflow_stack.domain.login import TRACKING_AREA, logins_text, model_area
from mlflow_stack.domain.permissions import password_of
from mlflow_stack.on_host import login

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/login.py"
LOGINS = {
    (TRACKING_AREA, "alice"): "wonder land: ä",
    (TRACKING_AREA, "bob"): "builder",
    (model_area("diabetes"), "shop"): "cart",
}
NO_LOGIN = (401, {"WWW-Authenticate": 'Basic realm="MLflow", charset="UTF-8"'})


@dataclass
class Gate:
    path: Path
    log: Path
    users: Path

    def ask(
        self, authorization: str = "", area: str = TRACKING_AREA, address: str = "10.0.0.9"
    ) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(20)
        connection.sock.connect(str(self.path))
        headers = {"X-Address": address, **({"Authorization": authorization} if authorization else {})}
        connection.request("GET", f"/{area}", headers=headers)
        answer = connection.getresponse()
        connection.close()
        return answer.status, dict(answer.getheaders())

    def login(self, user: str, password: str, **where: str) -> tuple[int, dict[str, str]]:
        return self.ask(basic(f"{user}:{password}"), **where)


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@contextmanager
def answering(gate: Gate, listening: socket.socket) -> Iterator[None]:
    """Have login.py answer on the socket, as systemd starts and stops it."""
    as_systemd = f'exec "$@" 3<&{listening.fileno()}'
    with gate.log.open("a") as written:
        process = subprocess.Popen(
            ["bash", "-c", as_systemd, "bash", sys.executable, "-I", str(SCRIPT), str(gate.users)],
            pass_fds=[listening.fileno()],
            stderr=written,
        )
    try:
        yield
    finally:
        process.terminate()
        status = process.wait(20)
    assert status == 0


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "login.sock"))
        listening.listen()
        yield listening


@pytest.fixture
def stopped(tmp_path: Path) -> Gate:
    gate = Gate(tmp_path / "login.sock", tmp_path / "log", tmp_path / "logins")
    gate.users.write_text(logins_text(LOGINS, {each: os.urandom(16) for each in LOGINS}))
    return gate


@pytest.fixture
def gate(stopped: Gate, listening: socket.socket) -> Iterator[Gate]:
    with answering(stopped, listening):
        yield stopped


@pytest.mark.parametrize(
    ("area", "user", "password"),
    [
        (TRACKING_AREA, "alice", "wonder land: ä"),
        (TRACKING_AREA, "bob", "builder"),
        ("models/diabetes", "shop", "cart"),
    ],
)
def test_right_login_passes_and_says_who_it_is(gate: Gate, area: str, user: str, password: str) -> None:
    for _ in range(2):  # compared, and remembered
        assert gate.login(user, password, area=area) == (204, {"X-User": user})


def test_request_without_a_login_is_asked_for_one(gate: Gate) -> None:
    assert gate.ask() == NO_LOGIN


def test_who_gives_up_before_the_answer_leaves_no_traceback_behind(gate: Gate) -> None:
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(gate.path))
            header = basic("alice:a password to compare")
            question = f"GET /{TRACKING_AREA} HTTP/1.0\r\nX-Address: 10.0.0.8\r\nAuthorization: {header}\r\n\r\n"
            client.sendall(question.encode())

    end = time.monotonic() + 20
    while gate.log.read_text().count("wrong login for 'alice'") < 5 and time.monotonic() < end:
        time.sleep(0.05)
    assert gate.login("bob", "builder") == (204, {"X-User": "bob"})  # asked after them, answered after them

    assert "wrong login for 'alice'" in gate.log.read_text()
    assert "Traceback" not in gate.log.read_text()


def test_restart_breaks_no_answer_off(stopped: Gate, listening: socket.socket) -> None:
    with ThreadPoolExecutor(9) as clients:
        with answering(stopped, listening):
            assert stopped.ask() == NO_LOGIN  # it has started
            answers = [clients.submit(stopped.login, "bob", f"wrong {number}") for number in range(9)]
            time.sleep(0.1)  # some are being compared, one after the other
        with answering(stopped, listening):
            found = [answer.result() for answer in answers]
            assert stopped.ask() == NO_LOGIN  # it goes on

    assert found == [NO_LOGIN] * 9


@pytest.mark.parametrize(
    "authorization",
    [
        basic("alice:wrong"),
        basic("nobody:builder"),
        basic("bob"),
        basic("bob:"),
        basic(":"),
        basic("bob:builder ").lower(),
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Bearer " + base64.b64encode(b"bob:builder").decode(),
    ],
)
def test_any_other_login_is_refused(gate: Gate, authorization: str) -> None:
    assert gate.ask(authorization) == NO_LOGIN


def test_login_of_one_area_is_none_of_another(gate: Gate) -> None:
    assert gate.login("bob", "builder") == (204, {"X-User": "bob"})
    assert gate.login("bob", "builder", area="models/diabetes") == NO_LOGIN
    assert gate.login("shop", "cart") == NO_LOGIN
    assert gate.login("shop", "cart", area="models/other") == NO_LOGIN


def test_too_many_wrong_logins_from_one_address_are_refused_and_nobody_else_is(gate: Gate) -> None:
    assert gate.login("alice", "wonder land: ä") == (204, {"X-User": "alice"})

    statuses = [gate.login("bob", f"guess {number}")[0] for number in range(login.WRONG_AT_ONCE + 5)]

    assert statuses == [401] * login.WRONG_AT_ONCE + [403] * 5
    # Also when it would be right: otherwise it could be told from the answer.
    assert gate.login("bob", "builder") == (403, {"Retry-After": "6"})
    assert gate.login("bob", "builder", address="10.0.0.10") == (204, {"X-User": "bob"})
    assert gate.login("alice", "wonder land: ä") == (204, {"X-User": "alice"})


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert login.neighbourhood("2001:db8:1:2:3:4:5:6") == login.neighbourhood("2001:db8:1:2::1")
    assert login.neighbourhood("2001:db8:1:2::1") != login.neighbourhood("2001:db8:1:3::1")
    assert login.neighbourhood("10.0.0.9") == "10.0.0.9"
    assert login.neighbourhood("") == ""


def test_patience_comes_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    patience = login.Patience()
    for _ in range(login.WRONG_AT_ONCE):
        patience.wrong("10.0.0.9")
    assert patience.now("10.0.0.9") == 0

    now += 2 * login.WRONG_EVERY_S

    assert patience.now("10.0.0.9") == 2
    assert patience.now("10.0.0.10") == login.WRONG_AT_ONCE


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "REMEMBERED", 3)
    patience = login.Patience()
    for number in range(5):
        patience.wrong(f"10.0.0.{number}")

    assert list(patience.left) == ["10.0.0.2", "10.0.0.3", "10.0.0.4"]


def test_log_names_user_and_address_and_never_a_password(gate: Gate) -> None:
    gate.login("bob", "gu3ss\n")
    gate.login("bob\nwrong login for 'alice'", "gu3ss")
    gate.login("bob", "builder")

    assert gate.log.read_text().splitlines() == [
        "wrong login for 'bob' of tracking from 10.0.0.9",
        "wrong login for \"bob\\nwrong login for 'alice'\" of tracking from 10.0.0.9",
    ]


def test_usage_is_said_to_who_gives_no_file() -> None:
    done = subprocess.run([sys.executable, "-I", str(SCRIPT)], capture_output=True, text=True, check=False, timeout=20)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("login USERS [KEY]: say whether a request may pass")


KEY = b"0123456789abcdef"


@pytest.fixture
def permitting() -> login.Gate:
    """A gate for an MLflow that asks for a login of its own."""
    hashes = {each: hashlib.scrypt(password.encode(), salt=b"", **login.SCRYPT) for each, password in LOGINS.items()}
    return login.Gate({each: (b"", hash_) for each, hash_ in hashes.items()}, KEY)


def test_user_is_known_to_mlflow_by_a_password_that_nobody_has(permitting: login.Gate) -> None:
    for _ in range(2):  # computed, and remembered
        status, headers = permitting.answer(TRACKING_AREA, "10.0.0.9", basic("bob:builder"))

        assert (status, headers["X-User"]) == (204, "bob")
        assert headers["X-Mlflow-Login"] == basic(f"bob:{password_of(KEY.decode(), 'bob')}")


def test_password_of_mlflow_s_is_no_login(permitting: login.Gate) -> None:
    header = basic(f"bob:{password_of(KEY.decode(), 'bob')}")

    assert permitting.answer(TRACKING_AREA, "10.0.0.9", header) == NO_LOGIN


def test_model_is_told_nothing_of_it(permitting: login.Gate) -> None:
    assert permitting.answer(model_area("diabetes"), "10.0.0.9", basic("shop:cart")) == (204, {"X-User": "shop"})


def test_health_check_is_somebody_to_mlflow_and_needs_no_login(permitting: login.Gate) -> None:
    header = basic(f"mlflow-health:{password_of(KEY.decode(), 'mlflow-health')}")

    assert permitting.answer("health", "10.0.0.9", "") == (204, {"X-Mlflow-Login": header})


def test_without_permissions_mlflow_is_told_nothing(gate: Gate) -> None:
    assert gate.ask(area="health")[0] == 204
    for answer in (gate.ask(area="health"), gate.login("bob", "builder")):
        assert "X-Mlflow-Login" not in answer[1]
