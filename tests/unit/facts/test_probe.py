"""A probe prints what a script prints, and how it ended, in the time that it has."""

from __future__ import annotations

import subprocess

from mlflow_stack.facts.batch import Batch, Question
from mlflow_stack.facts.probe import Probe


def ask(*scripts: str, seconds: int = 20) -> list[list[str]]:
    """Ask several probes in one command, as a host does."""
    batch = Batch()
    command = batch.command([Question(Probe, {"script": script, "seconds": seconds}) for script in scripts])
    done = subprocess.run(
        ["sh", "-c", command.get_raw_value()], capture_output=True, text=True, check=True, timeout=60, input="input\n"
    )
    found: list[list[str]] = batch.process(done.stdout.splitlines())
    return [[line for line in lines if line] for lines in found]


def test_probes_are_answered_each_with_its_status() -> None:
    assert ask("echo one; echo 'a  b'", "printf unfinished; exit 3", "true") == [
        ["one", "a  b", "status 0"],
        ["unfinished", "status 3"],
        ["status 0"],
    ]


def test_script_reads_neither_itself_nor_the_input_of_the_command() -> None:
    assert ask("cat; echo read") == [["read", "status 0"]]


def test_script_that_does_not_end_is_ended_and_the_others_are_answered() -> None:
    assert ask("echo begun; sleep 60", "echo other", seconds=1) == [["begun", "status 124"], ["other", "status 0"]]


def test_large_script_and_words_of_the_shell_arrive_as_they_are() -> None:
    text = "\n".join(f": {number} {'x' * 100}" for number in range(800))

    assert ask(f"{text}\necho \"$1 $(echo '$HOME \\\\ `')\"") == [[" $HOME \\\\ `", "status 0"]]
