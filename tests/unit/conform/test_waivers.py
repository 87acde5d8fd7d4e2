"""Waivers: what a file of them may be, and that all that is wrong with one is said in one message."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from mlflow_stack.conform.promises import BY_TEST, CHECKS
from mlflow_stack.conform.waivers import BadWaivers, Waiver, read, unknown_hosts

TODAY = datetime.date(2026, 11, 27)
NUMBERS, TESTED = {check.number for check in CHECKS}, {line.number for line in BY_TEST}
GOOD = """
- number: 8.10
  host: all
  reason: the firewall of the rack is in front of it
  until: 2027-01-31
"""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "waivers.yaml"
    path.write_text(text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(BadWaivers) as refused:
        read(path, NUMBERS, TESTED, TODAY)
    return str(refused.value)


def test_number_stays_what_is_written_though_yaml_would_take_it_for_another(tmp_path: Path) -> None:
    found = read(file(tmp_path, GOOD), NUMBERS, TESTED, TODAY)

    reason = "the firewall of the rack is in front of it"
    assert found == [Waiver("8.10", "all", reason, datetime.date(2027, 1, 31))]


def test_waiver_that_is_over_is_read_like_any_other(tmp_path: Path) -> None:
    found = read(file(tmp_path, GOOD.replace("2027-01-31", "2026-11-26")), NUMBERS, TESTED, TODAY)

    assert found[0].until == datetime.date(2026, 11, 26)


def test_all_that_is_wrong_is_said_in_one_message(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        """
- number: 9.1
  host: all
  reason: the firewall of the rack is in front of it
  until: 2027-01-31
- number: 8.9
  hosts: mlflow1
  reason: later
  until: tomorrow
- 8.9
- number: 8.9
  host: mlflow1
  reason:
  until: 2030-01-01
- number: 1.1
  host: mlflow1
  reason: it is proved by a test and not asked
  until: 2027-01-31
""",
    )

    assert refusal(path) == (
        f"{path}: 9 problems; no host was asked\n"
        "  waiver 1: number: there is no check 9.1; docs/promises.md lists them\n"
        "  waiver 2: hosts: unknown; did you mean host?\n"
        "  waiver 2: host: missing; expected the name of a host in the inventory, or all\n"
        "  waiver 2: reason: found 'later', expected a sentence that a stranger understands\n"
        "  waiver 2: until: found 'tomorrow', expected the last day, as 2027-01-31\n"
        "  waiver 3: found '8.9', expected number, host, reason, until\n"
        "  waiver 4: reason: missing; expected a sentence that a stranger understands\n"
        "  waiver 4: until: 2030-01-01 is more than a year ahead; expected a day on which somebody looks at it again\n"
        "  waiver 5: number: 1.1 is proved by test and asked of no stack; there is nothing to waive"
    )


def test_check_that_is_waived_twice_on_a_host_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, GOOD + GOOD)

    assert refusal(path) == (
        f"{path}: 1 problem; no host was asked\n  waiver 2: 8.10 on all is waived already, by waiver 1"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{path}: found nothing, expected a list of waivers, each with number, host, reason, until"),
        ("number: 8.9", "{path}: found dict, expected a list of waivers, each with number, host, reason, until"),
        ("- number: 8.9\n  host: [", "{path}, line 2: it is no YAML; expected a list of waivers"),
        ("- !!python/object/apply:os.abort []", "{path}: 1 problem; no host was asked\n  waiver 1: found []"),
    ],
)
def test_file_that_holds_something_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = file(tmp_path, text)

    assert refusal(path).startswith(message.format(path=path))


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"

    assert refusal(path) == f"{path}: can't be read (No such file or directory); expected a file of waivers"


def test_host_that_is_not_in_the_inventory_is_named_with_the_nearest() -> None:
    assert unknown_hosts(["all", "mlflow1", "mlfow2", "zeta"], ["mlflow1", "mlflow2"]) == [
        "host: mlfow2 is not in the inventory; did you mean mlflow2?",
        "host: zeta is not in the inventory; its hosts: mlflow1, mlflow2",
    ]
