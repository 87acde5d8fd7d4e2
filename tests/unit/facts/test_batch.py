"""Several facts in one command, run for real and answered as each fact would be by itself."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.facts.batch import Batch, Question
from mlflow_stack.facts.conda import Environment, Environments, EnvironmentState
from mlflow_stack.facts.files import FileTexts
from mlflow_stack.facts.mlflow import Models
from mlflow_stack.facts.postgresql import Postgresql
from tests.data import record
from tests.unit.recorded import lines


class Printed(FactBase[list[str]]):
    """What a script prints; ["nothing"] when it prints nothing."""

    def default(self) -> list[str]:
        return ["nothing"]

    def command(self, script: str) -> StringCommand:
        return StringCommand(script)

    def process(self, output: list[str]) -> list[str]:
        return output


class Counted(FactBase[int]):
    """How many lines a script prints; its command is a plain string, as in facts of pyinfra."""

    def command(self, script: str) -> str:
        return script

    def process(self, output: list[str]) -> int:
        return len(output)


def printed(script: str) -> Question:
    return Question(Printed, {"script": script})


def counted(script: str) -> Question:
    return Question(Counted, {"script": script})


def ask(*questions: Question) -> tuple[int, list[Any]]:
    """Run the command of a batch as a host's shell does; return its exit status and the answers."""
    batch = Batch()
    command = batch.command(questions=questions).get_raw_value()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=20)
    return done.returncode, batch.process(done.stdout.splitlines())


def test_answers_are_in_the_order_of_the_questions() -> None:
    assert ask(printed("echo a; echo b"), counted("echo c"), printed("echo d")) == (0, [["a", "b"], 1, ["d"]])


def test_part_that_prints_nothing_has_the_default_of_its_fact() -> None:
    assert ask(printed("true"), counted("echo a"), printed("echo b")) == (0, [["nothing"], 1, ["b"]])


def test_same_fact_asked_twice_has_both_answers() -> None:
    assert ask(printed("echo a"), printed("true"), printed("echo c")) == (0, [["a"], ["nothing"], ["c"]])


def test_part_can_not_leave_anything_behind_for_the_next() -> None:
    assert ask(printed("a=1; cd /; set -e"), printed('echo "${a-unset}"; false; echo after')) == (
        0,
        [["nothing"], ["unset", "after"]],
    )


def test_part_has_nothing_to_read() -> None:
    assert ask(printed("cat; echo a"), printed("echo b")) == (0, [["a"], ["b"]])


def test_part_that_ends_itself_does_not_end_the_others() -> None:
    assert ask(printed("echo a; exit 0; echo b"), printed("echo c")) == (0, [["a"], ["c"]])


def test_part_that_fails_fails_the_whole_with_its_status() -> None:
    status, answers = ask(printed("echo a"), printed("echo b; exit 7"), printed("echo c"))

    assert status == 7
    assert ["c"] not in answers


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("printf 'no newline'", ["no newline"]),
        ("printf 'a\\n\\n'", ["a", ""]),
        ("printf '\\n'", [""]),
        ("echo '  a  b '", ["  a  b "]),
        ("seq 20000", [str(number) for number in range(1, 20001)]),
    ],
)
def test_part_is_printed_as_it_is(script: str, expected: list[str]) -> None:
    assert ask(printed(script), printed("echo next")) == (0, [expected, ["next"]])


def test_parts_run_side_by_side(tmp_path: Path) -> None:
    waits = f"for i in $(seq 100); do [ -e {tmp_path}/went ] && echo met; sleep 0.1; done | head -n 1"

    assert ask(printed(waits), printed(f"touch {tmp_path}/went; echo went")) == (0, [["met"], ["went"]])


def test_part_may_have_several_lines_and_a_here_document() -> None:
    assert ask(printed("cat <<'END'\n$HOME\n)\nEND"), printed("echo b")) == (0, [["$HOME", ")"], ["b"]])


def test_lines_before_the_first_part_are_of_nobody() -> None:
    batch = Batch()
    batch.command(questions=[printed("echo a")])

    assert batch.process(["Welcome to this host", "----8<---- Printed", "a"]) == [["a"]]


def test_output_that_breaks_off_leaves_the_defaults_of_the_rest() -> None:
    batch = Batch()
    batch.command(questions=[printed("echo a"), counted("echo b"), printed("echo c")])

    assert batch.process(["----8<---- Printed", "a", "----8<---- Counted"]) == [["a"], None, ["nothing"]]


def test_commands_of_all_facts_can_stand_in_one() -> None:
    questions = [Question(fact, arguments) for fact, arguments in record.facts(record.NO_ENVIRONMENT)]
    command = Batch().command(questions=questions).get_raw_value()

    script = command.split("\n", 2)[2].removesuffix("\nEND OF THE LOOK")
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False, timeout=20)

    assert (checked.returncode, checked.stderr) == (0, "")
    assert len(questions) >= 12


def test_recorded_outputs_are_answered_as_by_each_fact_alone() -> None:
    facts = dict(record.facts(record.NO_ENVIRONMENT))
    questions = [Question(fact, facts[fact]) for fact in (Environments, Postgresql, Models, FileTexts)]
    batch = Batch()
    batch.command(questions=questions)
    names = [question.fact.__name__ for question in questions]

    found = batch.process([line for name in names for line in (f"----8<---- {name}", *lines("deployed", name))])

    assert found == [each.fact().process(lines("deployed", each.fact.__name__)) for each in questions]


def test_files_of_a_host_are_read_in_one_batch(tmp_path: Path) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "a file").write_text("content")

    _, (texts, environment) = ask(
        Question(FileTexts, {"paths": (f"{tmp_path}/a file", f"{tmp_path}/missing")}),
        Question(Environment, {"path": f"{tmp_path}/env"}),
    )

    assert texts == {f"{tmp_path}/a file": "content"}
    assert environment == EnvironmentState(exists=True, complete=False)


def test_questions_are_the_same_with_the_same_fact_and_arguments_in_any_order() -> None:
    first = Question(FileTexts, {"paths": ("a",), "other": 1})

    assert first.key == Question(FileTexts, {"other": 1, "paths": ("a",)}).key
    assert first.key != Question(FileTexts, {"other": 1, "paths": ("b",)}).key
    assert first.key != Question(Printed, {"other": 1, "paths": ("a",)}).key


def test_question_shows_its_fact_and_no_arguments() -> None:
    assert repr(Question(FileTexts, {"paths": ("/etc/mlflow/credentials/pgpass",)})) == "FileTexts"
