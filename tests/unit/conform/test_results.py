"""What comes of a check on a host, with waivers and without."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator

import pytest

from mlflow_stack.conform.checks import EVERY, SECONDS, Check, Fault, Hosts, NotAsked, Subject, Unknown
from mlflow_stack.conform.results import Outcome, Result, bounded, judge, judge_all
from mlflow_stack.conform.waivers import Waiver
from tests.unit.defaults import settings

TODAY = datetime.date(2026, 11, 27)
FAULT = Fault("port 9100/tcp is open", "closed")
SUBJECT = Subject(settings(), answers={"9.1": ["a", "", "status 0"], "9.2": ["status 124"], "9.3": ["x", "status 1"]})


def holds(_: Subject) -> Iterator[Fault]:
    yield from ()


def fails(_: Subject) -> Iterator[Fault]:
    yield FAULT


def is_unknown(_: Subject) -> Iterator[Fault]:
    raise Unknown("no answer")
    yield


def is_not_asked(_: Subject) -> Iterator[Fault]:
    raise NotAsked("no password is here")
    yield


def is_broken(_: Subject) -> Iterator[Fault]:
    yield Fault({}["what the host did not say"], "")


def check(judge: object, hosts: Hosts = EVERY) -> Check:
    return Check("9.1", "It holds", hosts, judge, lambda _: "true")  # type: ignore[arg-type]


def waiver(until: str, host: str = "mlflow1", number: str = "9.1") -> Waiver:
    return Waiver(number, host, "the rack has a firewall", datetime.date.fromisoformat(until))


def outcome(judged: Check, *waivers: Waiver) -> tuple[Outcome, tuple[Fault, ...], str]:
    result = judge(SUBJECT, judged, waivers, TODAY)
    return result.outcome, result.faults, result.reason


def test_outcome_is_what_the_check_found() -> None:
    nobody = Hosts("hosts of nobody", lambda _: False)

    assert outcome(check(holds)) == (Outcome.HOLDS, (), "")
    assert outcome(check(fails)) == (Outcome.FAILS, (FAULT,), "")
    assert outcome(check(is_unknown)) == (Outcome.UNKNOWN, (), "no answer")
    assert outcome(check(is_not_asked)) == (Outcome.NOT_ASKED, (), "no password is here")
    assert outcome(check(fails, nobody)) == (Outcome.NO_CONCERN, (), "it is for hosts of nobody")


def test_answer_that_can_not_be_read_is_no_success() -> None:
    found, _, reason = outcome(check(is_broken))

    assert (found, reason) == (
        Outcome.UNKNOWN,
        "its answer can't be read (KeyError: 'what the host did not say')",
    )


@pytest.mark.parametrize("judged", [fails, is_unknown])
@pytest.mark.parametrize("host", ["mlflow1", "all"])
def test_what_does_not_hold_is_waived_up_to_the_last_day(judged: object, host: str) -> None:
    found, _, reason = outcome(check(judged), waiver("2026-11-27", host))

    assert (found, reason) == (Outcome.WAIVED, "until 2026-11-27: the rack has a firewall")


def test_waiver_that_is_over_says_so_and_the_check_fails() -> None:
    found, faults, reason = outcome(check(fails), waiver("2026-11-26"))

    assert (found, faults) == (Outcome.FAILS, (FAULT,))
    assert reason == "its waiver ended on 2026-11-26: the rack has a firewall"


@pytest.mark.parametrize("other", [waiver("2027-01-01", "mlflow2"), waiver("2027-01-01", number="9.11")])
def test_waiver_of_something_else_waives_nothing(other: Waiver) -> None:
    assert outcome(check(fails), other) == (Outcome.FAILS, (FAULT,), "")


def test_lines_are_those_of_a_script_that_came_to_its_end() -> None:
    assert SUBJECT.lines("9.1") == ["a"]
    for number, reason in {
        "9.2": f"no answer within {SECONDS} s",
        "9.3": "its command ended with status 1",
        "9.4": "no answer",
    }.items():
        with pytest.raises(Unknown, match=reason):
            SUBJECT.lines(number)


def test_check_from_outside_is_not_made_where_this_computer_is_no_stranger() -> None:
    from_outside = Check("9.1", "It holds", EVERY, fails)

    for address in ("127.0.0.1", "localhost", "@local"):
        result = judge(Subject(settings(address=address)), from_outside, (), TODAY)
        assert (result.outcome, result.reason) == (
            Outcome.NOT_ASKED,
            f"{address} is this computer's own, which is no stranger to it",
        )


def test_check_that_a_server_keeps_waiting_is_given_up() -> None:
    forever = threading.Event()

    with pytest.raises(Unknown, match="no end of it within 0 s"):
        bounded(lambda: (FAULT,) if forever.wait() else (), 0.1)
    forever.set()


def test_results_are_by_host_and_number() -> None:
    first = Check("9.1", "It holds", EVERY, holds, lambda _: "true")
    second = Check("9.2", "So does this", EVERY, fails, lambda _: "true")

    found = judge_all([SUBJECT, SUBJECT], [first, second], [], TODAY)

    assert [(each.check.number, each.outcome) for each in found] == [
        ("9.1", Outcome.HOLDS),
        ("9.2", Outcome.FAILS),
    ] * 2
    assert all(isinstance(each, Result) and each.seconds >= 0 for each in found)
