"""The stack as its users see it over the network: a real MLflow client, and HTTP by hand."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.pyfunc.model import PythonModel

from tests.e2e import web
from tests.e2e.stack import FEATURES, Stack

ROWS = [[0.01 * (row + column) for column in range(len(FEATURES))] for row in range(3)]
SPLIT = {"columns": FEATURES, "data": ROWS}
MIB = 1 << 20


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack that has answered; no test of this module breaks it."""
    served.recovers()
    return served


@pytest.fixture
def client(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """A client that was told nothing but the address."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.url)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    return MlflowClient()


# --- the client ---------------------------------------------------------------------------------------------------


def test_client_finds_a_run_by_what_it_logged(client: MlflowClient) -> None:
    name = "Prognose für Zuckerkrankheit — 糖尿病 🩺"
    experiment = client.create_experiment(name)
    good, bad = (client.create_run(experiment, run_name=run_name).info.run_id for run_name in ("gut", "schlecht"))
    for run_id, rmse in ((good, 0.5), (bad, 50.0)):
        client.log_param(run_id, "größe", "ß")
        client.log_metric(run_id, "rmse", rmse)

    found = client.search_runs([experiment], "metrics.rmse < 1 and params.`größe` = 'ß'")

    assert [(run.info.run_id, run.info.run_name, run.data.metrics) for run in found] == [(good, "gut", {"rmse": 0.5})]
    assert client.get_experiment(experiment).name == name
    assert [each.experiment_id for each in client.search_experiments(filter_string=f"name = '{name}'")] == [experiment]


def test_artifact_comes_back_byte_for_byte_through_the_server(client: MlflowClient, tmp_path: Path) -> None:
    content = os.urandom(5 * MIB + 1)
    sent = tmp_path / "Gewichte 5 MiB.bin"
    sent.write_bytes(content)
    run = client.create_run(client.create_experiment("artifacts"))
    client.log_artifact(run.info.run_id, str(sent), "modell/ä")

    returned = Path(client.download_artifacts(run.info.run_id, f"modell/ä/{sent.name}", str(tmp_path / "returned")))

    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert hashlib.sha256(returned.read_bytes()).hexdigest() == hashlib.sha256(content).hexdigest()


def test_registered_model_is_loaded_by_its_alias(client: MlflowClient) -> None:
    with mlflow.start_run(experiment_id=client.create_experiment("registry")):
        logged = mlflow.pyfunc.log_model(
            name="doubler", python_model=_Doubler(), pip_requirements=["mlflow"], registered_model_name="doubler"
        )
    client.set_registered_model_alias("doubler", "champion", logged.registered_model_version)

    loaded = mlflow.pyfunc.load_model("models:/doubler@champion")

    assert loaded.metadata.run_id == logged.run_id
    assert list(loaded.predict(pd.DataFrame({"x": [1.5, -2.0]}))) == [3.0, -4.0]


class _Doubler(PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.Series:
        return model_input["x"] * 2


@pytest.mark.parametrize("source", ["/etc", "file:///etc", "http://127.0.0.1/", "s3://bucket/model"])
def test_model_version_can_not_be_made_of_something_outside_the_server(client: MlflowClient, source: str) -> None:
    name = f"from {source.replace('/', '_').replace(':', '_')}"
    client.create_registered_model(name)

    with pytest.raises(mlflow.MlflowException, match="INVALID_PARAMETER_VALUE"):
        client.create_model_version(name, source)


# --- the served model ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def predictions(stack: Stack) -> list[float]:
    """What the registered model predicts when it is loaded in this process."""
    mlflow.set_tracking_uri(stack.url)
    try:
        model = mlflow.pyfunc.load_model("models:/diabetes@champion")
        return [float(value) for value in model.predict(pd.DataFrame(ROWS, columns=FEATURES))]
    finally:
        mlflow.set_tracking_uri(None)  # "" would be one, in the place of the variable that other tests set


PAYLOADS = {
    "dataframe_split": {"dataframe_split": SPLIT},
    "dataframe_records": {"dataframe_records": [dict(zip(FEATURES, row, strict=True)) for row in ROWS]},
    "instances": {"instances": [dict(zip(FEATURES, row, strict=True)) for row in ROWS]},
    "inputs": {"inputs": dict(zip(FEATURES, zip(*ROWS, strict=True), strict=True))},
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_model_predicts_what_the_registered_model_predicts(
    stack: Stack, predictions: list[float], payload: object
) -> None:
    answer = web.post(f"{stack.model_url}/invocations", payload)

    assert answer.status == 200, answer.body
    assert answer.json == {"predictions": pytest.approx(predictions)}


def test_model_predicts_for_csv(stack: Stack, predictions: list[float]) -> None:
    csv = pd.DataFrame(ROWS, columns=FEATURES).to_csv(index=False)

    answer = web.post(f"{stack.model_url}/invocations", csv, Content_Type="text/csv")

    assert answer.status == 200, answer.body
    assert answer.json == {"predictions": pytest.approx(predictions)}


OLD_FORMAT = "IMPORTANT: The MLflow Model scoring protocol has changed in MLflow version 2.0."
# What is sent, as what, and what the answer must say.
WRONG = {
    "bad JSON": ("{not json", web.JSON, 400, "Ensure that input is a valid JSON formatted string."),
    "an empty body": ("", web.JSON, 400, "Ensure that input is a valid JSON formatted string."),
    "an empty CSV": ("", "text/csv", 400, "Failed to parse input as a Pandas DataFrame."),
    "bytes that are no text": (b"\xff\xfe", web.JSON, 400, "Ensure that input is a valid JSON formatted string."),
    "a missing column": (
        {"dataframe_split": {"columns": ["age"], "data": [[0.1]]}},
        web.JSON,
        400,
        "with schema '['age': double (required), 'sex': double (required), 'bmi': double (required)",
    ),
    "text for a number": (
        {"dataframe_split": {"columns": FEATURES, "data": [["a"] * 10]}},
        web.JSON,
        400,
        "Failed to convert column age to type 'float64'",
    ),
    "a wrong content type": ("a,b", "text/plain", 415, "This predictor only supports the following content types"),
    "the format of MLflow 1": (SPLIT, web.JSON, 400, OLD_FORMAT),
    "the content type of MLflow 1": (SPLIT, f"{web.JSON}; format=pandas-split", 415, OLD_FORMAT),
}


@pytest.mark.parametrize(("body", "content_type", "status", "says"), WRONG.values(), ids=WRONG)
def test_model_refuses(stack: Stack, body: object, content_type: str, status: int, says: str) -> None:
    answer = web.post(f"{stack.model_url}/invocations", body, Content_Type=content_type)

    assert (answer.status, says in answer.body) == (status, True), answer.body
    assert stack.fault() == ""


# --- who may ask --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/api/2.0/mlflow/experiments/get?experiment_id=0"])
def test_request_for_another_host_name_is_refused(stack: Stack, path: str) -> None:
    answer = web.get(f"{stack.url}{path}", Host="attacker.example")

    assert answer == web.Answer(403, "Invalid Host header - possible DNS rebinding attack detected")


def test_post_of_another_web_site_is_refused(stack: Stack) -> None:
    search = f"{stack.url}/api/2.0/mlflow/experiments/search"

    foreign = web.post(search, {"max_results": 1}, Origin="http://attacker.example")
    own = web.post(search, {"max_results": 1}, Origin=stack.url)

    assert foreign == web.Answer(403, "Cross-origin request blocked")
    assert own.status == 200, own.body


def test_database_can_not_be_reached_from_the_network(stack: Stack) -> None:
    with pytest.raises(TimeoutError):  # the firewall drops what it does not let in
        socket.create_connection((stack.host.address, 5432), timeout=5)

    listening = stack.host.run("ss -Hltn sport = :5432").stdout.split("\n")
    assert {line.split()[3] for line in listening if line} <= {"127.0.0.1:5432", "[::1]:5432"}
