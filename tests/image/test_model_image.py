"""The image of a model: registered at a tracking server that is a container, built from there, and asked."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.image.containers import Container, inspected, once, podman, running
from tests.image.surroundings import PASSWORD, USER, Stack, printed
from tests.image.test_tracking_image import client_variables
from tests.servers import databases

TRAIN = """
import mlflow, pandas
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
mlflow.set_experiment("models")
data = pandas.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 3.0, 1.0]})
model = LinearRegression().fit(data, 2 * data.a - data.b + 5)
with mlflow.start_run():
    mlflow.sklearn.log_model(model, name="model", input_example=data, registered_model_name="Churn")
MlflowClient().set_registered_model_alias("Churn", "champion", "1")
"""
QUESTION = {"dataframe_split": {"columns": ["a", "b"], "data": [[10.0, 3.0]]}}
OPEN = {"MLFLOW_OPEN_TO_EVERYBODY": "true"}


@dataclass(frozen=True)
class Built:
    """The image, and what the container of the tracking server was told."""

    image: str
    told: Stack


@pytest.fixture(scope="module")
def model_image(served: Container, told: Stack, settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    directory = tmp_path_factory.mktemp("registry")
    train = [sys.executable, "-c", TRAIN]
    done = subprocess.run(
        train, env=client_variables(told), cwd=directory, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    image = printed(
        *("build", "--settings", str(settings), "--model", "models:/Churn@champion"),
        MLFLOW_TRACKING_URI=told.url,
        MLFLOW_TRACKING_USERNAME=USER,
        MLFLOW_TRACKING_PASSWORD=PASSWORD,
    )
    return Built(image, told)


def test_image_is_called_as_the_model_and_its_version(model_image: Built) -> None:
    assert model_image.image.startswith("localhost/mlflow-model-churn:v1-")
    assert inspected(model_image.image)["Config"]["User"] == "10001:10001"
    assert inspected(model_image.image)["Config"]["Labels"]["org.opencontainers.image.version"] == "v1"
    print(f"image {inspected(model_image.image)['Size'] / 1e6:.0f} MB")


def test_model_predicts_without_any_registry(model_image: Built, tmp_path: Path) -> None:
    port = databases.free_port()
    with running("mlflow-test-model", model_image.image, {**OPEN, "PORT": str(port)}, tmp_path) as container:
        container.wait_until_ready()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", json.dumps(QUESTION).encode(), {"Content-Type": "application/json"}
        )
        answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
        healthy = podman("healthcheck", "run", container.name, check=False).returncode
        ended = container.stop()

    assert answer["predictions"] == [pytest.approx(22.0)]
    assert (healthy, ended) == (0, 0), container.log.read_text()


def test_model_is_not_served_openly_unless_that_is_said(model_image: Built) -> None:
    done = once(model_image.image)

    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        [
            "1 problem in what this container is told; nothing was started",
            "  a model's server has no login: set MLFLOW_OPEN_TO_EVERYBODY=true where the platform asks for one, or "
            "the network is private",
        ],
    )


def test_image_without_the_driver_says_so(model_image: Built) -> None:
    """A model's image has no driver of a database: what it is told is judged before anything is done."""
    done = once(model_image.image, "migrate", variables=model_image.told.variables, secrets=model_image.told.secrets)

    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        [
            "1 problem in what this container is told; nothing was started",
            "  MLFLOW_BACKEND_STORE_URI: postgresql+psycopg2:// needs psycopg2, which this image does not have",
        ],
    )
