"""Environments: what makes a new one, and what a model's own conda.yaml is taken for."""

import json
from dataclasses import replace

import pytest

from mlflow_stack.domain.environment import (
    EnvironmentSpec,
    ModelEnvironmentError,
    addons,
    model_environment,
    schema_revision,
)

SPEC = EnvironmentSpec("mlflow", ("python=3.12", "pip"), ("conda-forge",), "mlflow==3.17.2\n")
CONDA_YAML = """\
channels:
- conda-forge
dependencies:
- python=3.11.7
- pip<=23.2.1
- pip:
  - mlflow==3.17.2
  - numpy==2.4.6
name: mlflow-env
"""


def test_environment_is_named_by_its_content_for_good() -> None:
    """A changed digest would rebuild every environment on every host."""
    assert SPEC.path == "/opt/mlflow/envs/mlflow-8961ea594d8e"


@pytest.mark.parametrize(
    "change",
    [
        {"conda_packages": ("python=3.13", "pip")},
        {"channels": ("https://mirror.example.com/conda-forge",)},
        {"requirements": "mlflow==3.17.1\n"},
        {"locked": False},
    ],
)
def test_environment_of_other_content_is_another_one(change: dict[str, object]) -> None:
    assert replace(SPEC, **change).digest != SPEC.digest  # type: ignore[arg-type]


def test_environment_of_another_name_has_the_same_digest() -> None:
    assert replace(SPEC, name="other").path == SPEC.path.replace("/mlflow-", "/other-")


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["postgresql+psycopg2://u@db/d", "/var/lib/mlflow/artifacts"], ()),
        (["mysql+pymysql://u@db/d", "s3://bucket/mlflow"], ("mysql", "s3")),
        (["gs://bucket/mlflow", "gs://other/mlflow"], ("gcs",)),
        (["wasbs://container@account.blob.core.windows.net/mlflow"], ("azure",)),
    ],
)
def test_add_ons_follow_from_where_database_and_artifacts_are(uris: list[str], expected: tuple[str, ...]) -> None:
    assert addons(*uris) == expected


def test_marker_says_what_the_environment_was_made_of() -> None:
    assert json.loads(SPEC.marker) == {
        "name": "mlflow",
        "digest": SPEC.digest,
        "conda_packages": ["python=3.12", "pip"],
        "channels": ["conda-forge"],
        "locked": True,
    }


def test_environment_of_a_model_is_its_own_with_our_channels_and_our_builder() -> None:
    spec = model_environment("diabetes", CONDA_YAML, ("https://mirror.example.com/conda-forge",))

    assert spec == EnvironmentSpec(
        name="model-diabetes",
        conda_packages=("python=3.11.7", "pip<=23.2.1"),
        channels=("https://mirror.example.com/conda-forge",),
        requirements="mlflow==3.17.2\nnumpy==2.4.6\n",
        locked=False,
        builder="mlflow-model",
    )


@pytest.mark.parametrize(
    ("conda_yaml", "message"),
    [
        ("dependencies: [", "its conda.yaml can't be read (ParserError)"),
        ("", "its conda.yaml can't be read (TypeError)"),
        ("channels: [conda-forge]", "its conda.yaml can't be read (KeyError)"),
        ("dependencies: 3", "its conda.yaml can't be read (TypeError)"),
        ("dependencies:\n- python=3.11\n- pip:", "its conda.yaml can't be read (TypeError)"),
        ("dependencies:\n- pip:\n  - mlflow==3.17.2", "its conda.yaml names no python version"),
        (
            "dependencies: [python=3.10, {pip: ['mlflow==2.15.1']}]",
            "it was logged with mlflow==2.15, whose server can't take over a socket; expected mlflow 2.22 or newer",
        ),
        (
            "dependencies:\n- python=3.11\n- pip:\n  - numpy",
            "its conda.yaml has no mlflow among the pip packages, which serves it",
        ),
    ],
)
def test_conda_yaml_that_can_not_serve_is_refused(conda_yaml: str, message: str) -> None:
    with pytest.raises(ModelEnvironmentError) as refused:
        model_environment("diabetes", conda_yaml, ("conda-forge",))

    assert str(refused.value) == message


def test_schema_revisions_are_read_from_the_header_of_a_lock_file() -> None:
    lock = "# mlflow-schema-revision: dc11669786a5\n# mlflow-auth-schema-revision: f1a2b3c4d5e6\nmlflow==3.17.2 \\\n"

    assert schema_revision(lock) == "dc11669786a5"
    assert schema_revision(lock, of="auth-schema") == "f1a2b3c4d5e6"
    assert schema_revision("mlflow==3.17.2\n") is None


@pytest.mark.parametrize(
    "package", ["--channel=https://evil.example/c", "evil::backdoor", "https://evil.example/a.conda", "a[channel=evil]"]
)
def test_model_can_not_bring_a_channel_a_url_or_an_option_of_conda(package: str) -> None:
    text = f"dependencies: ['python=3.12', '{package}', {{pip: [mlflow==3.17.2]}}]"

    with pytest.raises(ModelEnvironmentError) as refusal:
        model_environment("diabetes", text, ("conda-forge",))

    assert str(refusal.value) == (
        f"its conda.yaml names '{package}'; expected NAME or NAME=VERSION, without a channel, URL or option"
    )


def test_model_needs_python_itself_and_not_only_a_package_of_a_like_name() -> None:
    text = "dependencies: [python-dateutil, {pip: [mlflow==3.17.2]}]"

    with pytest.raises(ModelEnvironmentError, match=r"^its conda\.yaml names no python version$"):
        model_environment("diabetes", text, ("conda-forge",))
