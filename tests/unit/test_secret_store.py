"""References to secrets."""

import os
import stat
from pathlib import Path

import pytest
from pyinfra.api.exceptions import DeployError

from mlflow_stack import secret_store
from mlflow_stack.secret_store import keep, new_file, resolve
from mlflow_stack.setting_types import REPOSITORY

NAME = "postgresql_password"


def refusal(reference: str, store: Path) -> str:
    with pytest.raises(DeployError) as refused:
        resolve(reference, NAME, store)
    return str(refused.value)


def test_generated_secret_is_kept_for_the_next_run(tmp_path: Path) -> None:
    first = resolve("generated", NAME, tmp_path / "store")

    keep(first)

    assert resolve("generated", NAME, tmp_path / "store") == first
    assert len(first) == 48


def test_generated_secret_leaves_no_file_before_it_is_to_be_kept(tmp_path: Path) -> None:
    store = tmp_path / "store"

    first = resolve("generated", NAME, store)

    assert resolve("generated", NAME, store) == first
    assert not store.exists()


def test_secret_is_new_until_it_is_kept(tmp_path: Path) -> None:
    secret = resolve("generated", NAME, tmp_path)

    before = new_file(secret)
    keep(secret)

    assert before == os.path.relpath(tmp_path / NAME, REPOSITORY)
    assert new_file(secret) == new_file("hunter2") == new_file("") == ""


def test_generated_secrets_of_two_settings_differ(tmp_path: Path) -> None:
    assert resolve("generated", "one", tmp_path) != resolve("generated", "two", tmp_path)


def test_generated_secrets_of_two_stacks_differ(tmp_path: Path) -> None:
    store = tmp_path / "store"

    team, other = (resolve("generated", NAME, store, stack=stack) for stack in ("team_a", ""))
    for secret in (team, other):
        keep(secret)

    assert team != other
    assert (store / "team_a" / NAME).read_text() == f"{team}\n"
    assert stat.S_IMODE((store / "team_a").stat().st_mode) == stat.S_IMODE(store.stat().st_mode) == 0o700


def test_generated_secret_can_be_read_by_its_owner_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"

    keep(resolve("generated", NAME, store))

    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.iterdir()} == {NAME: 0o600}


def test_secret_of_an_environment_variable_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")

    assert resolve("env:DB_PASSWORD", NAME, tmp_path) == "hunter2"


def test_environment_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB_PASSWORD", raising=False)

    assert refusal("env:DB_PASSWORD", tmp_path) == (
        "postgresql_password: the environment variable DB_PASSWORD is not set; export it before running pyinfra"
    )


def test_secret_of_a_file_is_read_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" hun ter2 \n")

    assert resolve(f"file:{tmp_path}/password", NAME, tmp_path) == " hun ter2 "


def test_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    assert refusal(f"file:{tmp_path}/missing", tmp_path) == (
        f"postgresql_password: {tmp_path}/missing can't be read (No such file or directory)"
    )


def test_secret_of_a_command_is_what_it_prints(tmp_path: Path) -> None:
    assert resolve("cmd:printf 'x:%s\\n' y | cut -d: -f2", NAME, tmp_path) == "y"


def test_command_that_fails_is_named_without_its_output(tmp_path: Path) -> None:
    message = refusal("cmd:cat secret-file; echo hunter2; exit 3", tmp_path)

    assert message == ("postgresql_password: the command 'cat secret-file; echo hunter2; exit 3' exited with status 3")


def test_command_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_store, "COMMAND_TIMEOUT_S", 0.1)

    assert refusal("cmd:exec sleep 30", tmp_path) == (
        "postgresql_password: the command 'exec sleep 30' did not end within 0.1 s"
    )


@pytest.mark.parametrize("reference", ["env:EMPTY", "file:/dev/null", "cmd:true"])
def test_secret_that_is_empty_is_refused(reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY", "")

    assert refusal(reference, tmp_path) == f"postgresql_password: {reference} is empty; expected the secret there"


def test_store_that_holds_an_empty_file_is_refused_and_not_used(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()

    assert refusal("generated", tmp_path) == (
        f"postgresql_password: {tmp_path}/postgresql_password is empty; expected the secret there"
    )


def test_command_is_run_once_however_often_its_secret_is_asked_for(tmp_path: Path) -> None:
    command = f"cmd:echo x >> {tmp_path}/calls; wc -l < {tmp_path}/calls"

    assert [resolve(command, NAME, tmp_path) for _ in range(3)] == ["1", "1", "1"]
