"""The rendered units, whole; tests/data/expected/ mirrors the paths on a host.

When a template changes on purpose: `python -m tests.unit.test_templates` writes the expected files anew; read the diff.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from mlflow_stack.domain import layout
from mlflow_stack.domain.artifacts import MARK
from mlflow_stack.domain.tracking import environment_file
from mlflow_stack.roles.tracking import variables
from mlflow_stack.templates import render
from tests.unit.defaults import settings

EXPECTED = Path(__file__).resolve().parents[1] / "data/expected"
ENVIRONMENT = "/opt/mlflow/envs/mlflow-0123456789ab"
REMOTE = {
    "tracking_database_uri": "postgresql+psycopg2://mlflow_user@db.example.com:5432/mlflow_db?sslmode=require",
    "tracking_database_password": "env:MLFLOW_DB_PASSWORD",
}


def _tracking_unit(**data: Any) -> str:
    return render(f"{layout.UNIT_DIR}/mlflow-tracking.service", settings=settings(**data), environment=ENVIRONMENT)


# By the file below tests/data/expected/.
RENDERED: dict[str, Callable[[], str]] = {
    "local-database/etc/systemd/system/mlflow-tracking.service": _tracking_unit,
    "remote-database/etc/systemd/system/mlflow-tracking.service": lambda: _tracking_unit(**REMOTE),
    "production/etc/systemd/system/mlflow-production.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-production.service"
    ),
    "production/etc/systemd/system/mlflow-production@.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-production@.service"
    ),
    "local-database/etc/mlflow/tracking.env": lambda: environment_file(variables(settings())),
    "remote-database/etc/mlflow/tracking.env": lambda: environment_file(
        variables(settings(**REMOTE, tracking_bind="0.0.0.0", tracking_public_name="mlflow.example.com"))
    ),
}


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_file_is_as_recorded(name: str) -> None:
    assert RENDERED[name]() == (EXPECTED / name).read_text()


def test_every_template_is_among_the_recorded_files() -> None:
    root = Path(__file__).resolve().parents[2] / "templates"
    templates = {path.relative_to(root).with_suffix("").as_posix() for path in root.rglob("*.j2")}

    assert {name.split("/", 1)[1] for name in RENDERED} >= templates


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_file_says_whose_it_is_and_ends_with_a_newline(name: str) -> None:
    text = RENDERED[name]()

    assert text.startswith("# Managed by MLflow Stack (")
    assert text.endswith("\n")
    assert "\n\n\n" not in text


@pytest.mark.parametrize("name", [name for name in RENDERED if name.endswith(".service")])
def test_unit_is_verified_without_a_word(name: str, tmp_path: Path) -> None:
    """`systemd-analyze verify` exits 0 for an unknown directive: its output is what counts, as it is for the deploy.

    The unit's own programs, files and users are not on this machine: its ExecStart= becomes /bin/true, and the
    complaints about them can't be avoided otherwise.
    """
    if not shutil.which("systemd-analyze"):
        assert not os.environ.get("CI"), "systemd-analyze is missing: install systemd"
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / Path(name).name.replace("@.", "@diabetes.")
    path.write_text("".join(_startable(line) for line in RENDERED[name]().splitlines(keepends=True)))

    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def _startable(line: str) -> str:
    return "ExecStart=/bin/true\n" if line.startswith("ExecStart=") else line


def test_template_without_a_value_is_refused() -> None:
    with pytest.raises(UndefinedError, match="'settings' is undefined"):
        render(f"{layout.UNIT_DIR}/mlflow-tracking.service")


def test_unit_of_the_tracking_server_holds_no_password_and_no_uri() -> None:
    unit = _tracking_unit(**REMOTE)

    assert "postgresql+psycopg2" not in unit
    assert "ExecStartPre=+/usr/bin/install --mode=600 --owner=mlflow /etc/mlflow/credentials/pgpass " in unit
    assert "Environment=PGPASSFILE=%t/mlflow-tracking/pgpass\n" in unit


if __name__ == "__main__":
    for file, text in RENDERED.items():
        (EXPECTED / file).parent.mkdir(parents=True, exist_ok=True)
        (EXPECTED / file).write_text(text())


def test_unit_on_a_shared_store_waits_for_the_mount_and_starts_only_where_the_mark_is() -> None:
    unit = _tracking_unit(tracking_artifacts_shared=True, tracking_artifacts_destination="/srv/mlflow-artifacts")

    assert "\nRequiresMountsFor=/srv/mlflow-artifacts\n" in unit
    assert f"\nExecStartPre=/usr/bin/test -e /srv/mlflow-artifacts/{MARK}\n" in unit
