"""What a run says about hosts that it can't reach, and to a terminal that is not there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from mlflow_stack.running import Answers, ConnectAdvice


def line(message: str, level: int) -> str:
    record = logging.LogRecord("pyinfra", level, "", 0, message, (), None)
    ConnectAdvice().filter(record)
    return record.getMessage()


def test_error_about_a_host_that_can_not_be_reached_says_what_to_do() -> None:
    message = "[db1] Could not resolve hostname ([Errno -2] Name or service not known)"

    assert line(message, logging.ERROR) == f"{message}; check the name, or set ssh_hostname to the host's address"


def test_other_lines_are_left_alone() -> None:
    assert line("[db1] Could not connect (timed out)", logging.INFO) == "[db1] Could not connect (timed out)"
    assert line("[db1] psql: 100% done", logging.ERROR) == "[db1] psql: 100% done"


def test_question_that_nobody_can_answer_ends_the_run_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("yes\n")
    with (tmp_path / "answers").open() as stdin:
        answers = Answers(stdin)

        assert answers.readline() == "yes\n"
        with pytest.raises(SystemExit) as end:
            answers.readline()

    assert end.value.code == (
        "\n    pyinfra asks, and there is no terminal to answer from; "
        "run with --dry to see the changes or -y to make them"
    )
