"""The role's password: compared and sent as its verifier, never itself. The salt is random, so this is no case file."""

import base64
import hashlib
import json
import os
from pathlib import Path

import pytest
from pyinfra.api.exceptions import OperationError

from mlflow_stack import secret_store
from mlflow_stack.domain.postgresql import ensure_sql, scram_verifier
from mlflow_stack.operations.commands import Sql
from tests.unit.operations.test_operations import CASES, answer, commands_of, load

ARGUMENTS = load(CASES / "postgresql.database/_arguments.yaml")
VERIFIER = scram_verifier("hunter2", salt=b"0123456789abcdef")


def host_with(verifier: str) -> dict[str, object]:
    """Return the recorded answers, changed to those of a role that has a password."""
    *files, server, rights = answer({"recorded": "deployed"}, "Postgresql")
    state = json.loads(server)
    state["role"] |= {
        "iterations": "4096",
        "salt": verifier.split(":")[1].split("$", maxsplit=1)[0],
        "verifier_sha256": hashlib.sha256(verifier.encode()).hexdigest(),
    }
    return {"Postgresql": [*files, json.dumps(state), rights]}


def sent(answers: dict[str, object], password: str | None) -> str:
    """Return the SQL that goes to the server."""
    commands = commands_of("postgresql.database", {**ARGUMENTS, "password": password}, answers, "run")
    return "".join(str(command.connector_arguments["_stdin"]) for command in commands)


def test_password_that_the_role_has_is_not_sent_again() -> None:
    assert sent(host_with(VERIFIER), "hunter2") == ""


def test_password_that_is_not_given_leaves_that_of_the_role_alone() -> None:
    assert sent(host_with(VERIFIER), None) == ""


def test_changed_password_is_sent_as_a_verifier_and_in_no_argument() -> None:
    commands = commands_of("postgresql.database", {**ARGUMENTS, "password": "hunter3"}, host_with(VERIFIER), "run")

    (command,) = commands
    sql = str(command.connector_arguments["_stdin"])
    verifier = sql.split("PASSWORD '")[1].split("'", maxsplit=1)[0]
    salt = verifier.split(":")[1].split("$")[0]
    assert command.get_raw_value() == "runuser -u postgres -- psql -X -A -t -q -v ON_ERROR_STOP=1 -d postgres -p 5432"
    assert sql == ensure_sql("mlflow_user", "mlflow_db", verifier)
    assert verifier == scram_verifier("hunter3", base64.b64decode(salt))
    assert "hunter3" not in sql


def test_verifier_of_a_password_is_not_in_what_a_plan_shows() -> None:
    (command,) = commands_of("postgresql.database", {**ARGUMENTS, "password": "hunter3"}, host_with(VERIFIER), "plan")

    assert isinstance(command, Sql)
    assert command.shown == ensure_sql("mlflow_user", "mlflow_db", "***")
    assert "SCRAM-SHA-256" not in command.shown


def test_plan_of_a_password_is_the_same_each_time_it_is_made() -> None:
    """The salt is random; a reviewed plan is compared with the run's own."""
    first, second = (
        commands_of("postgresql.database", {**ARGUMENTS, "password": "hunter3"}, {"Postgresql": []}, "plan")[0]
        for _ in range(2)
    )

    assert isinstance(first, Sql)
    assert isinstance(second, Sql)
    assert first.shown == second.shown
    assert first.connector_arguments != second.connector_arguments


@pytest.fixture
def generated(tmp_path: Path) -> str:
    """A password that this run generated: the store had none."""
    return secret_store.resolve("generated", "postgresql_password", tmp_path)


@pytest.mark.parametrize("during", ["plan", "run"])
def test_password_that_was_generated_elsewhere_is_not_replaced(generated: str, tmp_path: Path, during: str) -> None:
    try:
        arguments = {**ARGUMENTS, "password": generated}
        said = [
            command.get_raw_value()
            for command in commands_of("postgresql.database", arguments, host_with(VERIFIER), during)
        ]
    except OperationError as refusal:
        said = [str(refusal)]

    file = os.path.relpath(tmp_path / "postgresql_password", secret_store.REPOSITORY)
    message = (
        f"the password of role mlflow_user was generated elsewhere; bring {file} of that checkout, or set "
        "postgresql_password to env:, file: or cmd:"
    )
    assert said == [message if during == "plan" else f"printf '%s\\n' '{message}' >&2; exit 1"]
    assert list(tmp_path.iterdir()) == []


def test_generated_password_is_kept_when_it_is_sent_and_not_by_a_plan(generated: str, tmp_path: Path) -> None:
    answers = {"Postgresql": answer({"recorded": "deployed"}, "Postgresql")}

    commands_of("postgresql.database", {**ARGUMENTS, "password": generated}, answers, "plan")
    planned = list(tmp_path.iterdir())
    sent(answers, generated)

    assert planned == []
    assert (tmp_path / "postgresql_password").read_text() == f"{generated}\n"


def test_role_without_a_password_gets_one() -> None:
    sql = sent({"Postgresql": answer({"recorded": "deployed"}, "Postgresql")}, "hunter2")

    assert "PASSWORD 'SCRAM-SHA-256$4096:" in sql
