"""Commands that are ended after some time."""

import subprocess

from mlflow_stack.domain.bounds import within


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", within(1, program)], capture_output=True, text=True, timeout=60, check=False)


def test_command_that_hangs_is_ended_with_a_sentence() -> None:
    done = run("sleep 30")

    assert done.returncode == 124
    assert done.stderr == "no end after 1 s, so it was stopped; look at network and disks there, then deploy again\n"


def test_status_and_output_of_a_command_that_ends_are_its_own() -> None:
    done = run("sh -c 'echo fine; exit 3'")

    assert (done.returncode, done.stdout, done.stderr) == (3, "fine\n", "")


def test_command_gets_what_comes_on_standard_input() -> None:
    done = subprocess.run(["sh", "-c", within(5, "cat")], input="text", capture_output=True, text=True, check=False)

    assert done.stdout == "text"
