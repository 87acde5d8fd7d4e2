"""The summary of a failed run: what it takes from a command's output, and what it advises."""

import pytest

from mlflow_stack.report import Report, advice, last_line


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        pytest.param(["Reading…", "E: no space left", "", "  "], "E: no space left", id="blank-lines-after"),
        pytest.param(["  psql: error  "], "psql: error", id="indented"),
        pytest.param(["", " "], "", id="only-blank-lines"),
        pytest.param([], "", id="silent"),
    ],
)
def test_reason_is_the_last_line_that_holds_anything(lines: list[str], reason: str) -> None:
    assert last_line(lines) == reason


def test_message_about_a_host_that_can_not_be_reached_has_an_advice() -> None:
    assert advice("SSH error (No existing session)") == (
        "check that the host is well: it takes connections, and then does not go on as an SSH server does"
    )
    assert advice("psql: 100% done") == ""


def test_run_that_never_got_to_its_hosts_has_no_summary() -> None:
    assert Report().lines() == []
