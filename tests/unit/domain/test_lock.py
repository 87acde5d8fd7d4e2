"""The session's program on a host: what it says, and how a run that has the lock is described."""

import getpass
import os
import shlex
import subprocess

import pytest

from mlflow_stack.domain.lock import READY, Holder, parse_holder, session_command


@pytest.mark.parametrize("line", ["busy ada@laptop:41-3fa9c2 125", "ada@laptop:41-3fa9c2 125"])
def test_run_that_has_the_lock_is_parsed(line: str) -> None:
    assert parse_holder(line) == Holder("ada@laptop:41-3fa9c2", 125)


@pytest.mark.parametrize("line", ["", READY, "busy", "Welcome to db1 42 users"])
def test_any_other_line_names_no_run(line: str) -> None:
    assert parse_holder(line) is None


@pytest.mark.parametrize(
    ("seconds", "duration"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (7261, "2 h 1 min")]
)
def test_run_that_has_the_lock_is_described_by_owner_and_age(seconds: int, duration: str) -> None:
    assert (
        str(Holder("ada@laptop:41-3fa9c2", seconds))
        == f"another run (ada@laptop:41-3fa9c2) has been at work here for {duration}"
    )


def test_session_surveys_the_host_then_answers_each_line_and_ends_with_its_input() -> None:
    survey = 'echo "$user $ssh_port $MLFLOW_STACK_RUN"; set -- other arguments; exit 3'
    command = shlex.split(session_command("ada@laptop:41-3fa9c2", 30, survey, lock=False))

    done = subprocess.run(
        command,
        input="\n\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
        env={**os.environ, "SSH_CONNECTION": "10.0.0.9 50312 10.0.0.1 2222"},
    )

    assert done.stdout == f"{getpass.getuser()} 2222 ada@laptop:41-3fa9c2\n{READY}\n\n\n"


def test_session_ends_when_nothing_comes_any_more() -> None:
    command = shlex.split(session_command("ada@laptop:41-3fa9c2", 1, "true", lock=False))

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        status = process.wait(timeout=20)  # its input stays open

    assert status == 0


def test_session_with_the_lock_asks_sudo_for_root_and_never_for_a_password() -> None:
    assert 'root="sudo -n"' in session_command("ada@laptop:41-3fa9c2", 30, "true", lock=True)
    assert "sudo" not in session_command("ada@laptop:41-3fa9c2", 30, "true", lock=False)
