"""python -m mlflow_stack image: what it refuses before anything is built; building is in tests/image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlflow_stack import secret_store
from mlflow_stack.__main__ import main
from mlflow_stack.domain.login import TRACKING_AREA
from mlflow_stack.image import base, build
from mlflow_stack.image.build import index_variables
from mlflow_stack.on_host.login import Gate, read_users
from tests.unit.image.test_contents import with_

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return tmp_path / "settings.py"


def test_machine_without_buildah_and_without_the_ca_file_is_told_both(
    settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    settings.write_text('image_package_ca_file = "/nowhere/ca.crt"\n')
    monkeypatch.setenv("PATH", str(settings.parent))

    assert main(["image", "build", "--settings", str(settings)]) == 1

    assert capsys.readouterr() == (
        "",
        "buildah: not found; install it, on Debian: apt-get install buildah\n"
        "image_package_ca_file: /nowhere/ca.crt: no such file\n",
    )


def test_bad_settings_are_refused(settings: Path, capsys: Captured) -> None:
    settings.write_text('image_python = "2.7"\n')

    assert main(["image", "build", "--settings", str(settings)]) == 1

    assert capsys.readouterr().err.splitlines() == [
        "1 problem in the settings; nothing was changed",
        "  image_python: no lock file for it; expected one of 3.10, 3.11, 3.12, 3.13, or run `make lock` for a new "
        "one; found '2.7'",
    ]


def test_command_line_that_can_not_be_read_ends_with_1() -> None:
    with pytest.raises(SystemExit) as end:
        main(["image", "bild"])

    assert end.value.code == 1


def test_logins_are_those_of_the_proxys_users(
    settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    settings.write_text('proxy_users = {"ada": "env:ADA", "bob": "env:BOB"}\n')
    monkeypatch.setenv("ADA", "love lace")
    monkeypatch.setenv("BOB", "builder")

    assert main(["image", "logins", "--settings", str(settings)]) == 0

    gate = Gate(read_users(capsys.readouterr().out))
    assert gate.answer(TRACKING_AREA, "", "Basic YWRhOmxvdmUgbGFjZQ==")[0] == 204  # ada:love lace
    assert gate.answer(TRACKING_AREA, "", "Basic YWRhOmJ1aWxkZXI=")[0] == 401  # ada:builder


def test_generated_password_is_kept_for_the_next_time(
    settings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    settings.write_text('proxy_users = {"admin": "generated"}\n')
    defaults = secret_store.resolve.__defaults__ or ()
    monkeypatch.setattr(secret_store.resolve, "__defaults__", (tmp_path / "secrets", *defaults[1:]))

    assert main(["image", "logins", "--settings", str(settings)]) == 0

    password = (tmp_path / "secrets/proxy_users.admin").read_text().strip()
    assert password not in capsys.readouterr().out
    assert (tmp_path / "secrets/proxy_users.admin").stat().st_mode & 0o777 == 0o600


def test_missing_secret_is_named(settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    settings.write_text('proxy_users = {"ada": "env:NOBODY"}\n')
    monkeypatch.delenv("NOBODY", raising=False)

    assert main(["image", "logins", "--settings", str(settings)]) == 1

    assert capsys.readouterr() == (
        "",
        "proxy_users.ada: the environment variable NOBODY is not set; export it before running pyinfra\n",
    )


def test_base_is_made_of_few_packages_and_knows_nothing_of_this_machine() -> None:
    command = base.command("bookworm", Path("root.tar"))

    assert command[-2:] == ["bookworm", "root.tar"]
    assert "--variant=essential" in command
    assert "--include=ca-certificates,libstdc++6,python3,python3-venv" in command
    assert any("etc/resolv.conf" in each and each.startswith("--customize-hook=rm -f ") for each in command)


def test_index_and_its_authorities_are_given_to_both_installers() -> None:
    settings = with_(package_index_url="https://pypi.example.com/simple", package_ca_file="/etc/ca.crt")

    assert index_variables(settings).splitlines() == [
        "export PIP_INDEX_URL='https://pypi.example.com/simple'",
        "export UV_DEFAULT_INDEX='https://pypi.example.com/simple'",
        "export PIP_CERT=/run/secrets/ca",
        "export SSL_CERT_FILE=/run/secrets/ca",
    ]
    assert index_variables(with_()) == ""


def test_model_that_is_none_is_refused_with_all_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.devnull)

    with pytest.raises(build.ImageRefused) as refused:
        build.model(with_(), "models:/churn/latest")

    assert str(refused.value).splitlines() == [
        "buildah: not found; install it, on Debian: apt-get install buildah",
        "'models:/churn/latest' is not a model URI; expected models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID or "
        "runs:/RUN_ID/NAME, or the directory of a model",
    ]
