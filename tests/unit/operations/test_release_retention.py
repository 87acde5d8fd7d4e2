"""What becomes of old releases of a model: the last command of a release, run for real in a directory of the test's."""

import os
import subprocess
from pathlib import Path

import pytest

from mlflow_stack.domain import layout
from tests.unit.operations.test_operations import CASES, commands_of, load

CASE = CASES / "models.release/publishes_a_new_version_in_the_environment_that_is_there.yaml"
NEW = "v2-5903f65c-4aedc6e2"
NEW_ENVIRONMENT = "model-diabetes-4aedc6e2b90d"


def retention_command(keep: int, root: Path) -> str:
    kwargs = {**load(CASE.parent / "_arguments.yaml"), "keep": keep}
    command = commands_of("models.release", kwargs, load(CASE)["answers"], "run")[-1].get_raw_value()
    assert NEW in command
    return command.replace(layout.MODELS_DIR, f"{root}/models").replace(layout.ENVS_DIR, f"{root}/envs")


def environment(root: Path, name: str) -> Path:
    path = root / "envs" / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def release(root: Path, name: str, uses: str, age: int, model: str = "diabetes") -> None:
    """Make a release that is `age` seconds old, and its environment."""
    path = root / "models" / model / "releases" / name
    path.mkdir(parents=True)
    (path / "env").symlink_to(environment(root, uses))
    os.utime(path, (1e9 - age, 1e9 - age))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host on which the new release is the oldest directory, as after a rollback that is taken back."""
    release(tmp_path, NEW, NEW_ENVIRONMENT, age=9)
    release(tmp_path, "v1-1", "model-diabetes-111111111111", age=3)
    release(tmp_path, "v1-2", "model-diabetes-222222222222", age=2)
    release(tmp_path, "v1-3", "model-diabetes-222222222222", age=1)
    release(tmp_path, "v1-1", "model-iris-111111111111", age=9, model="iris")
    environment(tmp_path, "model-diabetes-000000000000")
    environment(tmp_path, "mlflow-000000000000")
    return tmp_path


def kept(root: Path, keep: int) -> tuple[set[str], set[str]]:
    """Return which releases and which environments of the model are left."""
    subprocess.run(["sh", "-c", retention_command(keep, root)], check=True, timeout=20)
    others = {"mlflow-000000000000", "model-iris-111111111111"}
    environments = set(os.listdir(root / "envs"))
    assert environments >= others
    assert os.listdir(root / "models/iris/releases") == ["v1-1"]
    return set(os.listdir(root / "models/diabetes/releases")), environments - others


def test_newest_releases_are_kept_and_environments_without_one_go(root: Path) -> None:
    assert kept(root, 2) == ({NEW, "v1-3", "v1-2"}, {NEW_ENVIRONMENT, "model-diabetes-222222222222"})


def test_environment_stays_while_one_release_uses_it(root: Path) -> None:
    assert kept(root, 1) == ({NEW, "v1-3"}, {NEW_ENVIRONMENT, "model-diabetes-222222222222"})


def test_current_release_is_kept_when_no_other_is(root: Path) -> None:
    assert kept(root, 0) == ({NEW}, {NEW_ENVIRONMENT})


def test_release_that_is_the_first_keeps_its_environment(tmp_path: Path) -> None:
    release(tmp_path, NEW, NEW_ENVIRONMENT, age=0)
    release(tmp_path, "v1-1", "model-iris-111111111111", age=9, model="iris")
    environment(tmp_path, "mlflow-000000000000")

    assert kept(tmp_path, 2) == ({NEW}, {NEW_ENVIRONMENT})
