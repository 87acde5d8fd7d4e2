"""models.py, run as a host runs it, against a real tracking server; what only a sick server does is a stand-in's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import mlflow_stack
from mlflow_stack.domain.model_uri import parse_model_uri
from tests.unit.conftest import MlflowServer
from tests.unit.on_host.conftest import Answer, StandIn

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/models.py"
NOWHERE = "0" * 32


@dataclass(frozen=True)
class Registry:
    """A server with the registered model `diabetes`, version 1, alias `champion`, and where that came from."""

    server: MlflowServer
    run_id: str
    model_id: str
    bare_id: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.server.url, registry_uri=self.server.url)


@pytest.fixture(scope="module")
def registry(mlflow_server: MlflowServer) -> Registry:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("log_models.py")), "diabetes", "bare"],
        env={**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    logged = json.loads(done.stdout.splitlines()[-1])
    (run_id, model_id), (_, bare_id) = logged["diabetes"], logged["bare"]
    registry = Registry(mlflow_server, run_id, model_id, bare_id)
    registry.client.set_registered_model_alias("diabetes", "champion", "1")
    return registry


def ask(url: str, directory: Path, uri: str, *options: str) -> dict[str, Any]:
    """Return what models.py answers for one wanted model."""
    wanted = json.dumps({"diabetes": vars(parse_model_uri(uri))})
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), url, str(directory), wanted, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer: dict[str, Any] = json.loads(done.stdout)["diabetes"]
    return answer


def test_alias_is_resolved_to_its_version(registry: Registry, tmp_path: Path) -> None:
    answer = ask(registry.server.url, tmp_path, "models:/diabetes@champion")

    assert answer["current"] is None
    assert answer["resolved"]["uri"] == "models:/diabetes/1"
    assert answer["resolved"]["id"].startswith("v1-")
    assert "  - mlflow==3.17.2\n" in answer["resolved"]["conda_yaml"]


def test_version_is_the_release_of_the_alias_that_names_it(registry: Registry, tmp_path: Path) -> None:
    by_version = ask(registry.server.url, tmp_path, "models:/diabetes/1")

    assert by_version == ask(registry.server.url, tmp_path, "models:/diabetes@champion")


def test_logged_model_is_its_own_release(registry: Registry, tmp_path: Path) -> None:
    answer = ask(registry.server.url, tmp_path, f"models:/{registry.model_id}")

    assert (answer["resolved"]["uri"], answer["resolved"]["id"]) == (f"models:/{registry.model_id}", registry.model_id)
    assert "mlflow==3.17.2" in answer["resolved"]["conda_yaml"]


def test_run_is_resolved_to_the_model_that_it_logged(registry: Registry, tmp_path: Path) -> None:
    by_run = ask(registry.server.url, tmp_path, f"runs:/{registry.run_id}/model")

    assert by_run == ask(registry.server.url, tmp_path, f"models:/{registry.model_id}")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/wine@champion", "no model 'wine' is registered"),
        ("models:/diabetes@challenger", "model 'diabetes' has no alias 'challenger'"),
        ("models:/diabetes/99", "model 'diabetes' has no version 99"),
        (f"models:/m-{NOWHERE}", f"no logged model 'm-{NOWHERE}'"),
        (f"runs:/{NOWHERE}/model", f"no run '{NOWHERE}'"),
    ],
)
def test_model_that_does_not_exist_is_missing(registry: Registry, tmp_path: Path, uri: str, message: str) -> None:
    assert ask(registry.server.url, tmp_path, uri) == {"current": None, "error": message, "missing": True}


def test_run_without_a_model_of_that_name_is_missing(registry: Registry, tmp_path: Path) -> None:
    answer = ask(registry.server.url, tmp_path, f"runs:/{registry.run_id}/other")

    assert answer["error"] == f"run '{registry.run_id}' has no model 'other'"


def test_model_that_has_lost_its_environment_has_none(registry: Registry, tmp_path: Path) -> None:
    (file,) = registry.server.artifacts.glob(f"**/{registry.bare_id}/artifacts/conda.yaml")
    file.unlink()

    answer = ask(registry.server.url, tmp_path, "models:/bare/1")

    assert (answer["resolved"]["uri"], answer["resolved"]["conda_yaml"]) == ("models:/bare/1", None)


def test_version_of_a_model_that_was_made_anew_is_another_release(registry: Registry, tmp_path: Path) -> None:
    client = registry.client
    releases = []
    for _ in range(2):
        client.create_registered_model("again")
        client.create_model_version("again", f"models:/{registry.model_id}", model_id=registry.model_id)
        releases.append(ask(registry.server.url, tmp_path, "models:/again/1")["resolved"]["id"])
        client.delete_registered_model("again")

    assert releases[0] != releases[1]


def release(directory: Path, *, complete: bool = True) -> None:
    """Make the current release v1-abc of the model below a models' directory."""
    target = directory / "diabetes/releases/v1-abc"
    (target / "env").mkdir(parents=True)
    (directory / "diabetes/current").symlink_to("releases/v1-abc")
    for marker in [target / ".mlflow-stack.json"] + [target / "env/.mlflow-stack.json"] * complete:
        marker.write_text("{}")


def test_release_that_is_served_is_named(registry: Registry, tmp_path: Path) -> None:
    release(tmp_path)

    assert ask(registry.server.url, tmp_path, "models:/diabetes/1")["current"] == "v1-abc"


def test_release_without_its_environment_does_not_count(registry: Registry, tmp_path: Path) -> None:
    release(tmp_path, complete=False)

    assert ask(registry.server.url, tmp_path, "models:/diabetes/1")["current"] is None


def test_server_that_is_not_there_is_no_missing_model(tmp_path: Path) -> None:
    assert ask("http://127.0.0.1:1", tmp_path, "models:/diabetes/1") == {
        "current": None,
        "error": "http://127.0.0.1:1: [Errno 111] Connection refused",
        "missing": False,
    }


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(b"<html>Log in</html>"), "{url}{path} did not answer with JSON; is this an MLflow tracking server?"),
        (Answer(b"busy", 503), "HTTP 503: busy"),
        (Answer(b"{", length=9), "the answer broke off: IncompleteRead(1 bytes read, 8 more expected)"),
    ],
)
def test_server_that_is_ill_is_no_missing_model(stand_in: StandIn, tmp_path: Path, answer: Answer, error: str) -> None:
    path = "/api/2.0/mlflow/model-versions/get"
    stand_in.answers[f"GET {path}?name=diabetes&version=1"] = answer

    found = ask(stand_in.url, tmp_path, "models:/diabetes/1")

    assert found == {
        "current": None,
        "error": f"{stand_in.url}: {error.format(url=stand_in.url, path=path)}",
        "missing": False,
    }


def test_environment_that_can_not_be_read_is_no_missing_environment(stand_in: StandIn, tmp_path: Path) -> None:
    version = {"model_version": {"source": "models:/m-1", "creation_timestamp": 1}}
    query = "name=diabetes&version=1"
    stand_in.answers[f"GET /api/2.0/mlflow/model-versions/get?{query}"] = Answer(json.dumps(version).encode())
    stand_in.answers[f"GET /model-versions/get-artifact?{query}&path=conda.yaml"] = Answer(b"busy", 503)

    found = ask(stand_in.url, tmp_path, "models:/diabetes/1")

    assert (found["error"], found["missing"]) == (f"{stand_in.url}: HTTP 503: busy", False)


def test_password_and_authority_that_are_not_there_yet_are_named(stand_in: StandIn, tmp_path: Path) -> None:
    password, authority = tmp_path / "password", tmp_path / "ca.crt"
    options = ["--user", "mlflow-production", "--password-file", str(password), "--ca-file", str(authority)]

    without_password = ask(stand_in.url, tmp_path, "models:/diabetes/1", *options)
    password.write_text("enchantress\n")
    without_authority = ask(stand_in.url, tmp_path, "models:/diabetes/1", *options)

    assert [(found["error"], found["missing"]) for found in (without_password, without_authority)] == [
        (f"{stand_in.url}: [Errno 2] No such file or directory: '{path}'", False) for path in (password, authority)
    ]


def test_model_that_is_missing_is_missing_over_a_socket_too(stand_in_at_socket: StandIn, tmp_path: Path) -> None:
    body = b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version (name=diabetes, version=1) not found"}'
    stand_in_at_socket.answers["GET /api/2.0/mlflow/model-versions/get?name=diabetes&version=1"] = Answer(body, 404)

    found = ask(stand_in_at_socket.url, tmp_path, "models:/diabetes/1")

    assert found == {"current": None, "error": "model 'diabetes' has no version 1", "missing": True}


@pytest.mark.parametrize(
    ("body", "error", "missing"),
    [
        (b"Permission denied", "model 'diabetes' has no version 1, or no permission to see it", True),
        (b"Invalid Host header", "{url}: HTTP 403: Invalid Host header", False),
    ],
)
def test_model_that_may_not_be_seen_is_missing_and_a_server_that_is_asked_wrongly_is_not(
    stand_in: StandIn, tmp_path: Path, body: bytes, error: str, missing: bool
) -> None:
    stand_in.answers["GET /api/2.0/mlflow/model-versions/get?name=diabetes&version=1"] = Answer(body, 403)

    found = ask(stand_in.url, tmp_path, "models:/diabetes/1")

    assert found == {"current": None, "error": error.format(url=stand_in.url), "missing": missing}


def test_environment_that_may_not_be_seen_is_no_missing_environment(stand_in: StandIn, tmp_path: Path) -> None:
    version = {"model_version": {"source": "models:/m-1", "creation_timestamp": 1}}
    query = "name=diabetes&version=1"
    stand_in.answers[f"GET /api/2.0/mlflow/model-versions/get?{query}"] = Answer(json.dumps(version).encode())
    artifact = f"GET /model-versions/get-artifact?{query}&path=conda.yaml"
    stand_in.answers[artifact] = Answer(b"Permission denied", 403)

    found = ask(stand_in.url, tmp_path, "models:/diabetes/1")

    assert (found["error"], found["missing"]) == (f"{stand_in.url}: HTTP 403: Permission denied", False)
