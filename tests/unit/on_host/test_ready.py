"""ready.py, run as a host runs it, against a stand-in that answers as a server does when it is ill."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mlflow_stack
from mlflow_stack.on_host.accounts import login_of
from tests.unit.on_host.conftest import Answer, StandIn

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/ready.py"
SEARCH = "POST /api/2.0/mlflow/experiments/search"


def ready(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *arguments],
        env={**os.environ, "http_proxy": "http://127.0.0.1:1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def tracking(stand_in: StandIn) -> StandIn:
    """A stand-in for a tracking server in good health."""
    stand_in.answers |= {"GET /health": Answer(b"OK"), SEARCH: Answer(b'{"experiments": []}')}
    stand_in.echo = True
    return stand_in


@pytest.fixture
def model(stand_in: StandIn) -> StandIn:
    """A stand-in for a model server in good health."""
    stand_in.answers |= {"GET /ping": Answer(b"\n"), "POST /invocations": Answer(b'{"predictions": [1.5]}')}
    return stand_in


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def test_tracking_server_is_ready_when_its_database_answers(tracking: StandIn) -> None:
    done = ready("tracking", tracking.url)

    assert outcome(done) == (0, "", "")
    assert tracking.requests == [("GET /health", b""), (SEARCH, b'{"max_results": 1}')]


def test_artifact_goes_up_comes_back_and_is_deleted(tracking: StandIn) -> None:
    done = ready("tracking", tracking.url + "/", "--artifacts")

    methods = [what.split("/artifacts/.mlflow-stack-probe-")[0] for what, _ in tracking.requests[2:]]
    names = {what.split("-probe-")[1] for what, _ in tracking.requests[2:]}
    assert outcome(done) == (0, "", "")
    assert methods == [f"{method} /api/2.0/mlflow-artifacts" for method in ("PUT", "GET", "DELETE")]
    assert len(tracking.requests[2][1]) == 1024
    assert [bool(re.fullmatch("[0-9a-f]{32}", name)) for name in names] == [True], (
        "hosts that share a store may collide"
    )


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "permissions-key"
    path.write_text("0123456789abcdef\n")
    return path


def test_tracking_server_that_asks_for_a_login_gets_ours(tracking: StandIn, key: Path) -> None:
    tracking.login = login_of(b"0123456789abcdef", "mlflow-stack")

    done = ready("tracking", tracking.url, "--artifacts", "--key", str(key))

    assert outcome(done) == (0, "", "")
    searched = [("GET /health", b""), *[(SEARCH, b'{"max_results": 1}')] * 3]
    assert tracking.requests[:4] == searched, "with our login, with none, and with the one that MLflow was shipped with"
    assert [what.split(" ")[0] for what, _ in tracking.requests[4:]] == ["PUT", "GET", "DELETE"]


def test_tracking_server_that_should_ask_for_a_login_and_does_not_is_not_ready(tracking: StandIn, key: Path) -> None:
    done = ready("tracking", tracking.url, "--key", str(key))

    assert outcome(done) == (
        1,
        "",
        f"not ready: POST {tracking.url}/api/2.0/mlflow/experiments/search: HTTP 200 without a login, expected 401: "
        '{"experiments": []}\n',
    )


@pytest.fixture
def login_file(tmp_path: Path) -> Path:
    path = tmp_path / "ready"
    path.write_text("mlflow-stack:0123456789abcdef\n")
    return path


def test_tracking_server_behind_a_gate_is_asked_with_the_login_of_a_file(tracking: StandIn, login_file: Path) -> None:
    tracking.login = f"Basic {base64.b64encode(b'mlflow-stack:0123456789abcdef').decode()}"

    done = ready("tracking", tracking.url, "--login", str(login_file))

    assert (done.returncode, done.stderr) == (0, "")
    # The last one is without a login; a wrong one would count at the gate.
    assert [what for what, _ in tracking.requests] == ["GET /health", SEARCH, SEARCH]


def test_gate_that_lets_everybody_in_is_not_ready(tracking: StandIn, login_file: Path) -> None:
    done = ready("tracking", tracking.url, "--login", str(login_file))

    assert done.returncode == 1
    assert "HTTP 200 without a login, expected 401" in done.stderr


def test_key_that_is_not_there_is_named(tracking: StandIn, tmp_path: Path) -> None:
    done = ready("tracking", tracking.url, "--key", str(tmp_path / "none"))

    assert outcome(done) == (1, "", f"not ready: {tmp_path}/none: No such file or directory\n")


def test_plan_writes_no_artifact(tracking: StandIn) -> None:
    done = ready("tracking", tracking.url, "--artifacts", READY_READ_ONLY="1")

    assert outcome(done) == (0, "", "")
    assert len(tracking.requests) == 2


def test_artifact_that_comes_back_different_is_not_ready(tracking: StandIn) -> None:
    tracking.echo = False

    class Anything(dict[str, Answer]):
        """Answers that accept every artifact and give back another one."""

        def get(self, what: str, default: object = None) -> Answer:
            return super().get(what, Answer(b"else"))

    tracking.answers = Anything(tracking.answers)

    done = ready("tracking", tracking.url, "--artifacts")

    assert done.returncode == 1
    assert done.stderr.startswith(
        f"not ready: GET {tracking.url}/api/2.0/mlflow-artifacts/artifacts/.mlflow-stack-probe-"
    )
    assert done.stderr.endswith(": an artifact of 1024 bytes came back as 4 other bytes\n")


def test_tracking_server_whose_database_is_down_is_not_ready(tracking: StandIn) -> None:
    tracking.answers[SEARCH] = Answer(b'{"error_code": "TEMPORARILY_UNAVAILABLE"}\n', 503)

    done = ready("tracking", tracking.url)

    assert outcome(done) == (
        1,
        "",
        f"not ready: POST {tracking.url}/api/2.0/mlflow/experiments/search: HTTP 503: "
        '{"error_code": "TEMPORARILY_UNAVAILABLE"}\n',
    )


def test_server_that_is_not_there_is_not_ready() -> None:
    done = ready("tracking", "http://127.0.0.1:1")

    assert outcome(done) == (1, "", "not ready: GET http://127.0.0.1:1/health: [Errno 111] Connection refused\n")


def test_server_that_breaks_off_its_answer_is_not_ready(tracking: StandIn) -> None:
    tracking.answers["GET /health"] = Answer(b"OK", length=100)

    done = ready("tracking", tracking.url)

    assert outcome(done) == (
        1,
        "",
        f"not ready: GET {tracking.url}/health: IncompleteRead(2 bytes read, 98 more expected)\n",
    )


def test_model_is_ready_when_it_predicts_for_its_example(model: StandIn, tmp_path: Path) -> None:
    example = tmp_path / "serving_input_example.json"
    example.write_text('{"inputs": [[1]]}')

    done = ready("model", model.url, str(example))

    assert outcome(done) == (0, "", "")
    assert model.requests == [("GET /ping", b""), ("POST /invocations", b'{"inputs": [[1]]}')]


def test_model_without_an_example_is_ready_when_it_answers(model: StandIn, tmp_path: Path) -> None:
    done = ready("model", model.url, str(tmp_path / "missing.json"))

    assert outcome(done) == (0, "", "")
    assert model.requests == [("GET /ping", b"")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b'{"predictions": []}'), 'no predictions in {"predictions": []}'),
        (Answer(b"{}"), "no predictions in {}"),
        (Answer(b"[1.5]"), "no predictions in [1.5]"),
        (Answer(b"<html>"), "no predictions in <html>"),
        (Answer(b"broken", 400), "HTTP 400: broken"),
    ],
)
def test_model_that_does_not_predict_is_not_ready(model: StandIn, tmp_path: Path, answer: Answer, reason: str) -> None:
    example = tmp_path / "serving_input_example.json"
    example.write_text("{}")
    model.answers["POST /invocations"] = answer

    done = ready("model", model.url, str(example))

    assert outcome(done) == (1, "", f"not ready: POST {model.url}/invocations: {reason}\n")


def test_server_is_waited_for_while_there_is_time(tracking: StandIn) -> None:
    """The stand-in refuses the first two calls, as a server does that is starting."""

    class Starting(dict[str, Answer]):
        def get(self, what: str, default: object = None) -> Answer:
            return Answer(b"", 503) if len(tracking.requests) < 3 else super().get(what) or Answer(b"", 404)

    tracking.answers = Starting(tracking.answers)

    done = ready("tracking", tracking.url, READY_WAIT_S="30")

    assert outcome(done) == (0, "", "")
    assert [what for what, _ in tracking.requests] == ["GET /health"] * 3 + [SEARCH]


def test_waiting_ends_with_the_last_reason(stand_in: StandIn) -> None:
    done = ready("tracking", stand_in.url, READY_WAIT_S="0.3")

    assert outcome(done) == (1, "", f"not ready: GET {stand_in.url}/health: HTTP 404: not here\n")
    assert len(stand_in.requests) > 1


def test_server_is_asked_by_its_unix_socket(stand_in_at_socket: StandIn) -> None:
    stand_in_at_socket.answers |= {"GET /health": Answer(b"OK"), SEARCH: Answer(b'{"experiments": []}')}
    stand_in_at_socket.echo = True

    done = ready("tracking", stand_in_at_socket.url, "--artifacts")

    assert outcome(done) == (0, "", "")
    assert len(stand_in_at_socket.requests) == 5


def test_unix_socket_that_is_not_there_is_not_ready() -> None:
    done = ready("tracking", "unix:/nonexistent/http.sock")

    reason = "[Errno 2] No such file or directory"
    assert outcome(done) == (1, "", f"not ready: GET unix:/nonexistent/http.sock/health: {reason}\n")


def test_address_of_another_kind_is_a_usage_error() -> None:
    done = ready("tracking", "file:///etc/passwd")

    assert done.returncode == 2
    assert done.stderr.endswith(
        "error: file:///etc/passwd: expected an address that starts with http://, https:// or unix:/\n"
    )


@pytest.mark.parametrize(("status", "code"), [(401, 0), (204, 1), (403, 1)])
def test_login_is_ready_when_it_refuses_who_has_none(stand_in_at_socket: StandIn, status: int, code: int) -> None:
    stand_in_at_socket.answers["GET /"] = Answer(b"", status)

    done = ready("login", stand_in_at_socket.url)

    told = f"not ready: {stand_in_at_socket.url}: HTTP {status} without a login, expected 401: \n"
    assert outcome(done) == (code, "", told if code else "")


@pytest.fixture
def proxy(stand_in: StandIn) -> StandIn:
    """A stand-in for a proxy without TLS."""
    closed = Answer(b"", 401)
    stand_in.answers |= {"GET /": closed, "GET /models/diabetes/ping": closed, "GET /health": Answer(b"{}")}
    return stand_in


def ask_proxy(proxy: StandIn, *options: str) -> subprocess.CompletedProcess[str]:
    address = proxy.url.removeprefix("http://")
    return ready("proxy", address, "mlflow.example.com", "/", "/models/diabetes/ping", *options)


def test_proxy_is_ready_when_it_is_closed_and_the_server_behind_it_works(proxy: StandIn) -> None:
    done = ask_proxy(proxy, "--tracking")

    assert outcome(done) == (0, "", "")
    assert [what for what, _ in proxy.requests] == ["GET /", "GET /models/diabetes/ping", "GET /health"]


def test_proxy_of_models_alone_is_not_asked_for_the_health_of_a_tracking_server(proxy: StandIn) -> None:
    assert outcome(ask_proxy(proxy)) == (0, "", "")
    assert [what for what, _ in proxy.requests] == ["GET /", "GET /models/diabetes/ping"]


@pytest.mark.parametrize(
    ("path", "answer", "reason"),
    [
        ("/", Answer(b"<html>"), "mlflow.example.com/: HTTP 200 without a login, expected 401: <html>"),
        (
            "/models/diabetes/ping",
            Answer(b""),
            "mlflow.example.com/models/diabetes/ping: HTTP 200 without a login, expected 401: ",
        ),
        ("/health", Answer(b"no answer\n", 503), "mlflow.example.com/health: HTTP 503: no answer"),
    ],
)
def test_proxy_that_is_open_or_has_nothing_behind_it_is_not_ready(
    proxy: StandIn, path: str, answer: Answer, reason: str
) -> None:
    proxy.answers[f"GET {path}"] = answer

    assert outcome(ask_proxy(proxy, "--tracking")) == (1, "", f"not ready: {reason}\n")
