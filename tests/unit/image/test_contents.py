"""What an image is made of, and its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.cloud_settings import load
from mlflow_stack.domain.environment import EnvironmentSpec
from mlflow_stack.domain.object_store import PLUGIN_DIR, plugin_files
from mlflow_stack.image import contents
from mlflow_stack.image.contents import Contents
from mlflow_stack.image.models import Model

SETTINGS: Any = load(["image"])["image"]
PROGRAMS = (
    *("accounts", "container", "database", "dumps", "entrypoint", "gate", "login", "migrate", "needs", "ready"),
    *("s3_compatible", "schema", "supervise"),
)


def with_(**data: Any) -> Any:
    return SETTINGS.model_copy(update=data)


def model_contents(directory: Path, text: str = "a model") -> Contents:
    directory.mkdir(exist_ok=True)
    (directory / "MLmodel").write_text(text)
    spec = EnvironmentSpec("image", ("python=3.11.7",), (), "mlflow==3.17.2\n", locked=False)
    return contents.model(SETTINGS, Model(directory, "Churn (EU)", "v3"), spec, "3.11")


def test_tracking_image_has_the_locked_packages_of_the_hosts_and_of_its_addons() -> None:
    requirements = contents.tracking(with_(python="3.11", addons=["s3"])).files["build/requirements.txt"].decode()

    locks = [Path(f"locks/{name}-py3.11.txt").read_text() for name in ("mlflow", "s3")]
    assert requirements == "".join(locks)


def test_tracking_image_has_the_programs_of_the_hosts_and_its_own() -> None:
    files = contents.tracking(SETTINGS).files

    assert {path for path in files if path.startswith("payload/")} == {
        "payload/bin/mlflow-stack",
        "payload/schema-revision",
        *(f"payload/libexec/mlflow_stack.dist-info/{name}" for name in ("METADATA", "entry_points.txt")),
        *(f"payload/libexec/{name}.py" for name in PROGRAMS),
        "payload/libexec/mlflow-plugin/proxied_stores.py",
        *(
            f"payload/libexec/mlflow-plugin/proxied_stores-1.dist-info/{name}"
            for name in ("METADATA", "entry_points.txt")
        ),
    }
    assert files["payload/schema-revision"] == b"dc11669786a5"
    assert files["payload/libexec/ready.py"] == Path("mlflow_stack/on_host/ready.py").read_bytes()


def test_plugin_that_keeps_clients_away_from_the_store_is_where_hosts_have_it() -> None:
    files = contents.tracking(SETTINGS).files

    plugin = plugin_files(Path("mlflow_stack/on_host/proxied_stores.py").read_text())
    assert {file.path: files[f"payload/{file.path.removeprefix('/opt/mlflow/')}"].decode() for file in plugin} == {
        file.path: file.content for file in plugin
    }
    assert f" {PLUGIN_DIR} " in files["build/install.sh"].decode()


def test_base_has_the_version_of_python_in_its_name() -> None:
    assert contents.tracking(SETTINGS).base == "docker.io/library/python:3.12-slim-bookworm"
    assert contents.tracking(with_(base="localhost/base:1")).base == "localhost/base:1"


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mlflow-tracking", "localhost/mlflow-tracking"),
        ("team/mlflow", "localhost/team/mlflow"),
        ("localhost/mlflow", "localhost/mlflow"),
        ("registry.example.com/mlflow", "registry.example.com/mlflow"),
        ("registry:5000/mlflow", "registry:5000/mlflow"),
    ],
)
def test_tag_is_the_version_and_what_the_image_is_built_from(name: str, reference: str) -> None:
    wanted = contents.tracking(with_(name=name))

    assert wanted.reference == f"{reference}:3.17.2-{wanted.digest}"


def test_another_tag_for_whatever_is_another_image(tmp_path: Path) -> None:
    tracking = contents.tracking(SETTINGS)
    others = [
        contents.tracking(with_(addons=["s3"])),
        contents.tracking(with_(python="3.11")),
        contents.tracking(with_(base="docker.io/library/python:3.12-slim-trixie")),
        replace(tracking, files={**tracking.files, "payload/libexec/gate.py": b""}),
        model_contents(tmp_path / "model"),
        model_contents(tmp_path / "another", "another model"),
    ]

    assert len({each.digest for each in [tracking, *others]}) == 7
    assert contents.tracking(SETTINGS).digest == tracking.digest


def test_model_image_has_its_own_requirements_and_nothing_of_the_database(tmp_path: Path) -> None:
    wanted = model_contents(tmp_path / "model")

    assert wanted.name == "mlflow-model-churn-eu"
    assert wanted.version == "v3"
    assert wanted.base == "docker.io/library/python:3.11-slim-bookworm"
    assert not wanted.locked
    assert wanted.files["build/requirements.txt"] == b"mlflow==3.17.2\n"
    assert not [path for path in wanted.files if "schema" in path or "migrate" in path or "plugin" in path]


def test_context_of_a_build_holds_the_files_and_the_model(tmp_path: Path) -> None:
    model_contents(tmp_path / "model").write(tmp_path / "context")

    assert (tmp_path / "context/payload/model/MLmodel").read_text() == "a model"
    assert (tmp_path / "context/payload/bin/mlflow-stack").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "context/Containerfile").read_text().startswith("# An image of MLflow Stack")
