"""Environment files, and MLflow itself using this conda (`--env-manager conda`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conda_contract import Conda, Site, kill_at

# As MLflow writes it beside a model: the trainer's exact Python, at most its pip, the rest by pip.
CONDA_YAML = """\
channels:
- conda-forge
dependencies:
- python={python}
- pip<=23.2.1
- pip:
  - six==1.17.0
name: mlflow-env
"""

# What MLflow does to serve a model; see mlflow/utils/conda.py.
GET_AND_EXECUTE = """
import sys
from mlflow.utils.conda import get_or_create_conda_env
environment = get_or_create_conda_env(sys.argv[1])
process = environment.execute("python -c 'import six, sys; print(six.__version__, sys.version.split()[0])'")
sys.exit(process.wait() if hasattr(process, "wait") else 0)
"""


@pytest.fixture
def conda_yaml(site: Site, tmp_path: Path) -> Path:
    path = tmp_path / "conda.yaml"
    path.write_text(CONDA_YAML.format(python=site.newest_312()))
    return path


def test_env_create_installs_both_halves_of_a_models_file(conda: Conda, conda_yaml: Path, tmp_path: Path) -> None:
    done = conda("env", "create", "-p", tmp_path / "env", "-f", conda_yaml)

    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row["channel"] for row in conda.json("list", "-p", tmp_path / "env")}
    assert rows == {
        "pip": "conda-forge", "python": "conda-forge", "setuptools": "conda-forge", "six": "pypi",
        "wheel": "conda-forge",
    }  # fmt: skip


def test_env_create_replaces_an_environment_without_asking(conda: Conda, env: Path, conda_yaml: Path) -> None:
    (env / "mydata.txt").touch()

    done = conda("env", "create", "-p", env, "-f", conda_yaml)

    assert done.returncode == 0
    assert not (env / "mydata.txt").exists()


def test_a_failing_pip_leaves_the_environment_behind(conda: Conda, conda_yaml: Path, tmp_path: Path) -> None:
    conda_yaml.write_text(conda_yaml.read_text().replace("six==1.17.0", "./no-such-package"))

    outcome = conda.json("env", "create", "-p", tmp_path / "env", "-f", conda_yaml)

    assert (outcome["exception_name"], outcome["message"]) == ("CondaEnvException", "Pip failed")
    assert (tmp_path / "env/conda-meta/history").exists()


def test_a_run_killed_before_its_pip_leaves_an_environment_without_its_packages(
    conda: Conda, conda_yaml: Path, tmp_path: Path
) -> None:
    command = [str(conda.prefix / "bin/conda"), "env", "create", "-p", str(tmp_path / "env"), "-f", str(conda_yaml)]

    kill_at("pip", command, conda.environment)

    assert [row["name"] for row in conda.json("list", "-p", tmp_path / "env")] == [
        "pip",
        "python",
        "setuptools",
        "wheel",
    ]


def test_env_update_with_prune_spares_what_pip_installed(conda: Conda, conda_yaml: Path, tmp_path: Path) -> None:
    conda("env", "create", "-p", tmp_path / "env", "-f", conda_yaml)
    conda_yaml.write_text("dependencies: [python=3.12]\n")

    done = conda("env", "update", "--prune", "-p", tmp_path / "env", "-f", conda_yaml)

    assert done.returncode == 0, done.stderr
    assert [row["name"] for row in conda.json("list", "-p", tmp_path / "env")] == ["python", "six"]


def test_mlflow_makes_a_models_environment_and_runs_in_it(
    conda: Conda, site: Site, conda_yaml: Path, tmp_path: Path
) -> None:
    variables = {
        **conda.environment,
        "MLFLOW_CONDA_HOME": str(conda.prefix),
        "CONDA_ENVS_PATH": str(tmp_path / "envs"),
        "CONDA_PKGS_DIRS": str(conda.prefix / "pkgs"),
    }

    command = [sys.executable, "-c", GET_AND_EXECUTE, str(conda_yaml)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"1.17.0 {site.newest_312()}"


def test_mlflows_commands_for_an_environment_without_a_file(conda: Conda, site: Site) -> None:
    made = conda("create", "--channel", "conda-forge", "--yes", "--override-channels", "-n", "bare", "python")
    added = conda("install", "-n", "bare", "--yes", "wheel=0.45.1")
    removed = conda("remove", "--yes", "--name", "bare", "--all")

    assert [step.returncode for step in (made, added, removed)] == [0, 0, 0]
    assert not (conda.prefix / "envs/bare").exists()


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_mlflow_finds_conda_by_asking_it(conda: Conda, flag: str) -> None:
    assert conda(flag).returncode == 0
