"""The promises with all their checks: docs/promises.md is made of this (scripts/promises_docs.py)."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow_stack.conform import confined, database, hidden, reached, working
from mlflow_stack.conform.checks import Check


@dataclass(frozen=True)
class ByTest:
    """What can't be asked of a live stack: a test proves it on hosts of its own. It never counts as kept.

    `tests`: files, or a test in one, as pytest names them.
    """

    number: str
    sentence: str
    tests: tuple[str, ...]


def _place(number: str) -> tuple[int, int]:
    promise, _, place = number.partition(".")
    return int(promise), int(place)


CHECKS: tuple[Check, ...] = tuple(
    sorted(
        (*database.CHECKS, *hidden.CHECKS, *working.CHECKS, *reached.CHECKS, *confined.CHECKS),
        key=lambda check: _place(check.number),
    )
)

BY_TEST = (
    ByTest("1.1", "A run executes what its plan shows, and nothing else", ("tests/e2e/test_plan_is_the_run.py",)),
    ByTest("1.2", "A plan that was reviewed is applied as it is, or not at all", ("tests/e2e/test_review.py",)),
    ByTest(
        "2.1",
        "A second run has nothing to do; `drift` asks a live stack for it",
        ("tests/e2e/test_story.py::test_second_run_changes_nothing",),
    ),
    ByTest("3.1", "A run that was killed in any operation is finished by the next", ("tests/e2e/test_kill_sweep.py",)),
    ByTest("3.2", "What was changed or broken by hand is mended by a run", ("tests/e2e/test_interrupted.py",)),
    ByTest(
        "4.2",
        "A schema is upgraded with leave alone, after a dump that was read to its end",
        ("tests/e2e/test_upgrade.py",),
    ),
    ByTest(
        "4.3",
        "A power cut loses nothing that was confirmed",
        ("tests/e2e/test_recovery.py::test_nothing_is_lost_in_a_power_cut_and_a_deploy_changes_nothing",),
    ),
    ByTest(
        "4.4",
        "No artifacts are left behind when they are to be kept elsewhere",
        ("tests/plan/test_object_store.py", "tests/e2e/test_object_store.py"),
    ),
    ByTest("5.6", "No secret is shown while runs deploy, fail and are killed", ("tests/e2e/test_leaks.py",)),
    ByTest("6.7", "A restart, a reload and a release lose no request", ("tests/e2e/test_restart.py",)),
    ByTest("6.8", "Services come back from crashes, hangs and reboots by themselves", ("tests/e2e/test_recovery.py",)),
    ByTest(
        "7.1",
        "Bad settings are refused, all in one message, before any host is touched",
        ("tests/unit/test_bad_settings.py", "tests/plan/test_refusals.py"),
    ),
    ByTest("7.2", "What stands in the way on a host is named before any change", ("tests/e2e/test_bad_input.py",)),
    ByTest(
        "7.3",
        "An object store that does not work, or is public, is named before the server is told of it",
        ("tests/unit/on_host/test_object_store.py", "tests/e2e/test_object_store.py"),
    ),
    ByTest("8.21", "Known attacks on MLflow get nowhere", ("tests/e2e/test_attacks.py",)),
    ByTest("8.22", "Known attacks on TLS get nowhere", ("tests/e2e/test_examiners.py",)),
    ByTest("8.23", "With permissions users do what they are granted, and no more", ("tests/e2e/test_permissions.py",)),
)
TITLES = {
    1: "The plan is the truth",
    2: "A second run changes nothing",
    3: "Interrupted anywhere, run again, done",
    4: "Nothing is lost",
    5: "Nothing is shown",
    6: "Ready means ready",
    7: "Bad input never reaches a host",
    8: "Nobody gets in who was not named",
}


def promise_of(number: str) -> int:
    return _place(number)[0]


def listed(promise: int) -> list[Check | ByTest]:
    """Return the lines of one promise, in the order of their numbers."""
    lines: list[Check | ByTest] = [*CHECKS, *BY_TEST]
    return sorted((line for line in lines if promise_of(line.number) == promise), key=lambda line: _place(line.number))
