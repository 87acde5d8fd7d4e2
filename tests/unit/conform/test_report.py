"""What people and CI systems read of the results, whole."""

from __future__ import annotations

import datetime
from xml.etree import ElementTree

import pytest

from mlflow_stack.conform.checks import Check, Fault
from mlflow_stack.conform.junit import to_junit
from mlflow_stack.conform.promises import BY_TEST, CHECKS, TITLES
from mlflow_stack.conform.report import to_text
from mlflow_stack.conform.results import Outcome, Result
from mlflow_stack.conform.waivers import Waiver

BY_NUMBER = {check.number: check for check in CHECKS}
WAIVED = Waiver("8.9", "db1", "the rack has a firewall", datetime.date(2027, 1, 31))
NEEDLESS = Waiver("5.1", "all", "nobody else is on this host", datetime.date(2027, 1, 31))
OPEN = Fault("port 9100/tcp (\x1b[2Jnode) is open from here", "closed", "name it in firewall_allow, or stop it")


def check(number: str) -> Check:
    return BY_NUMBER[number]


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314  # our own


@pytest.fixture
def results() -> list[Result]:
    return [
        Result("mlflow1", check("5.1"), Outcome.HOLDS, seconds=0.25),
        Result("mlflow1", check("8.9"), Outcome.FAILS, (OPEN,), "its waiver ended on 2026-01-31: an old one"),
        Result("mlflow1", check("8.10"), Outcome.UNKNOWN, reason="no answer within 30 s"),
        Result("db1", check("8.9"), Outcome.WAIVED, (OPEN,), "until 2027-01-31: the rack has a firewall"),
        Result("db1", check("6.5"), Outcome.NO_CONCERN, reason="it is for tracking servers behind a proxy"),
    ]


def test_text_has_a_line_for_each_host_and_check_and_what_to_do(results: list[Result]) -> None:
    ports = "Of what listens, only SSH and what the settings name can be reached from elsewhere"
    assert to_text(results, [WAIVED, NEEDLESS]) == [
        "mlflow1  5.1   holds       Passwords, keys and hashes are in files that their one user alone can read",
        f"mlflow1  8.9   FAILS       {ports}",
        "                           found: port 9100/tcp (?[2Jnode) is open from here",
        "                           expected: closed",
        "                           to do: name it in firewall_allow, or stop it",
        "                           its waiver ended on 2026-01-31: an old one",
        "mlflow1  8.10  UNKNOWN     The firewall lets in SSH and what the settings name, as it was loaded",
        "                           no answer within 30 s",
        f"db1      8.9   waived      {ports}",
        "                           found: port 9100/tcp (?[2Jnode) is open from here",
        "                           expected: closed",
        "                           until 2027-01-31: the rack has a firewall",
        "db1      6.5   no concern  A user who logs in reads experiments; it is for tracking servers behind a proxy",
        "",
        "mlflow1: 1 hold, 1 failed, 1 unknown",
        "db1: 1 waived, 1 no concern",
        "by test, and not asked of any stack: 1.1, 1.2, 2.1, 3.1, 3.2, 4.2, 4.3, 4.4, 5.6, 6.7, 6.8, 7.1, 7.2, 7.3, "
        "8.21, 8.22, 8.23 (docs/promises.md)",
        "waiver of 5.1 on all: not needed any more; remove it",
    ]


def test_junit_has_a_suite_for_each_promise_whose_counts_are_those_of_its_cases(results: list[Result]) -> None:
    root = parsed(to_junit(results, [WAIVED, NEEDLESS], {}))

    assert [suite.get("name") for suite in root] == [f"{number}. {title}" for number, title in TITLES.items()]
    for suite in root:
        cases = suite.findall("testcase")
        kinds = {"failures": "failure", "errors": "error", "skipped": "skipped"}
        counted = {
            key: str(len([case for case in cases if case.find(kind) is not None])) for key, kind in kinds.items()
        }
        assert {key: suite.get(key) for key in kinds} == counted
        assert suite.get("tests") == str(len(cases))
    assert (root.findtext(".//system-out") or "") == "waiver of 5.1 on all: not needed any more; remove it"


def test_junit_says_of_a_failure_what_was_found_and_what_to_do(results: list[Result]) -> None:
    root = parsed(to_junit(results, [], {}))
    failure, error = root.find(".//failure"), root.find(".//error")
    held = root.find(".//testcase[@classname='mlflow1']")

    assert failure is not None
    assert error is not None
    assert held is not None
    assert failure.get("message") == "port 9100/tcp (?[2Jnode) is open from here"
    assert (failure.text or "").splitlines() == [
        "found: port 9100/tcp (?[2Jnode) is open from here",
        "expected: closed",
        "to do: name it in firewall_allow, or stop it",
        "its waiver ended on 2026-01-31: an old one",
    ]
    assert (error.get("message"), error.text) == ("no answer within 30 s", "no answer within 30 s")
    assert (held.get("time"), list(held)) == ("0.250", [])


def test_what_is_waived_no_concern_or_proved_by_test_is_skipped_and_never_passed(results: list[Result]) -> None:
    root = parsed(to_junit(results, [], {}))

    skipped = {
        (case.get("classname"), str(case.get("name")).split()[0])
        for case in root.iter("testcase")
        if case.find("skipped") is not None
    }

    assert skipped == {("db1", "8.9"), ("db1", "6.5"), *(("by test", each.number) for each in BY_TEST)}


def test_host_that_could_not_be_asked_is_an_error_and_no_silence() -> None:
    root = parsed(to_junit([], [], {"db1": "not reached, so nothing is known about it"}))

    suite = root.find("testsuite[@name='hosts']")
    assert suite is not None
    error = suite.find("testcase[@classname='db1']/error")
    assert error is not None
    assert (suite.get("errors"), error.get("message")) == ("1", "not reached, so nothing is known about it")


def test_waiver_that_one_host_needs_is_not_called_needless() -> None:
    everywhere = Waiver("8.9", "all", "the rack has a firewall", datetime.date(2027, 1, 31))
    results = [
        Result("mlflow1", check("8.9"), Outcome.HOLDS),
        Result("db1", check("8.9"), Outcome.WAIVED, (OPEN,), "until 2027-01-31: the rack has a firewall"),
    ]

    assert not [line for line in to_text(results, [everywhere]) if "needed" in line]
