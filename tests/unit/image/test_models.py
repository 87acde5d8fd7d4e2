"""Which model an image is for, and what it asks for; the server is a real one (tests/unit/conftest.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_stack.image import models
from mlflow_stack.image.models import Model, ModelRefused
from tests.unit.conftest import MlflowServer

CONDA_YAML = """\
channels: [conda-forge]
dependencies:
- python={python}
- pip<=23.2.1
- pip:
  - mlflow==3.17.2
  - scikit-learn==1.9.1
"""


def logged(directory: Path, conda_yaml: str = CONDA_YAML.format(python="3.11.7")) -> Model:
    """Return a model as MLflow saves it, without what is learnt."""
    directory.mkdir()
    (directory / "MLmodel").write_text("model_uuid: 5114\nflavors: {}\n")
    (directory / "conda.yaml").write_text(conda_yaml)
    return models.find(str(directory), directory.parent)


def test_directory_of_a_model_is_found_by_its_name_and_id(tmp_path: Path) -> None:
    assert logged(tmp_path / "churn") == Model(tmp_path / "churn", "churn", "5114")


def test_registered_model_says_its_name_and_version(tmp_path: Path) -> None:
    logged(tmp_path / "download")
    (tmp_path / "download/registered_model_meta").write_text("model_name: Churn\nmodel_version: '3'\n")

    assert models.find(str(tmp_path / "download"), tmp_path) == Model(tmp_path / "download", "Churn", "v3")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            "models:/churn/latest",
            "'models:/churn/latest' is not a model URI; expected models:/NAME@ALIAS, models:/NAME/VERSION, "
            "models:/m-ID or runs:/RUN_ID/NAME, or the directory of a model",
        ),
        (
            "docs",
            "docs: holds no MLmodel; expected the directory of a model, or models:/NAME@ALIAS, models:/NAME/VERSION, "
            "models:/m-ID or runs:/RUN_ID/NAME",
        ),
        (
            "models:/churn@champion",
            "models:/churn@champion: set MLFLOW_TRACKING_URI to the tracking server that it is from",
        ),
    ],
)
def test_what_is_no_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, problem: str
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with pytest.raises(ModelRefused) as refused:
        models.find(source, tmp_path)

    assert str(refused.value) == problem


def test_model_that_the_server_does_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_server: MlflowServer
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url)

    with pytest.raises(ModelRefused) as refused:
        models.find("models:/nobody@champion", tmp_path)

    assert str(refused.value) == (
        f"models:/nobody@champion: can't be had from {mlflow_server.url}: RESOURCE_DOES_NOT_EXIST: Registered Model "
        "with name=nobody not found"
    )


def test_environment_is_what_the_model_asks_for(tmp_path: Path) -> None:
    spec, python = models.environment(logged(tmp_path / "churn"))

    assert (python, spec.requirements) == ("3.11", "mlflow==3.17.2\nscikit-learn==1.9.1\n")


@pytest.mark.parametrize(
    ("conda_yaml", "problem"),
    [
        (
            CONDA_YAML.format(python="3.11.7").replace("- pip<", "- cudatoolkit=12\n- pip<"),
            "asks conda for cudatoolkit=12, and an image has packages of pip alone",
        ),
        (
            CONDA_YAML.format(python="3").replace("python=3\n", "python>2\n"),
            "'python>2' does not say which Python; expected python=3.MINOR, as MLflow writes it",
        ),
        ("dependencies: []\n", "its conda.yaml names no python version"),
    ],
)
def test_environment_that_an_image_can_not_have_is_refused(tmp_path: Path, conda_yaml: str, problem: str) -> None:
    model = logged(tmp_path / "churn", conda_yaml)

    with pytest.raises(ModelRefused) as refused:
        models.environment(model)

    assert str(refused.value) == f"{tmp_path}/churn/conda.yaml: {problem}"


def test_model_without_an_environment_is_refused(tmp_path: Path) -> None:
    model = logged(tmp_path / "churn")
    (tmp_path / "churn/conda.yaml").unlink()

    with pytest.raises(ModelRefused) as refused:
        models.environment(model)

    assert str(refused.value) == (
        f"{tmp_path}/churn/conda.yaml: can't be read (No such file or directory); log the model with its environment"
    )
