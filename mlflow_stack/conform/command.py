"""The command: waivers, questions, answers, report."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mlflow_stack.conform import gather
from mlflow_stack.conform.checks import Subject
from mlflow_stack.conform.junit import to_junit
from mlflow_stack.conform.promises import BY_TEST, CHECKS
from mlflow_stack.conform.report import to_text
from mlflow_stack.conform.results import BROKEN, judge_all
from mlflow_stack.conform.waivers import BadWaivers, Waiver, read

ASK = Path(__file__).resolve().parent / "ask.py"
KEPT, ERROR, BROKEN_PROMISE = 0, 1, 2
# Runs pyinfra with these variables, and keeps what it prints.
Pyinfra = Callable[[list[str], dict[str, str]], "subprocess.CompletedProcess[str]"]


def conform(
    inventory: str, for_pyinfra: list[str], pyinfra: Pyinfra, *, waivers: Path | None = None, junit: Path | None = None
) -> int:
    """Ask all hosts, print what holds and what does not, and return the exit status."""
    today = datetime.datetime.now(datetime.timezone.utc).date()
    numbers, by_test = {check.number for check in CHECKS}, {line.number for line in BY_TEST}
    try:
        waived = read(waivers, numbers, by_test, today) if waivers else []
    except BadWaivers as problem:
        print(problem, file=sys.stderr)
        return ERROR
    if junit and not junit.resolve().parent.is_dir():
        print(f"{junit}: there is no such directory; no host was asked", file=sys.stderr)
        return ERROR
    subjects, unasked = _ask(inventory, for_pyinfra, pyinfra, waived)
    results = judge_all(subjects, CHECKS, waived, today)
    if results:
        print("\n".join(to_text(results, waived)))
    if junit:
        junit.write_text(to_junit(results, waived, unasked))
    for host, reason in unasked.items():
        print(f"{host}: {reason}", file=sys.stderr)
    if unasked:
        return ERROR
    return BROKEN_PROMISE if any(result.outcome in BROKEN for result in results) else KEPT


def _ask(
    inventory: str, for_pyinfra: list[str], pyinfra: Pyinfra, waived: list[Waiver]
) -> tuple[list[Subject], dict[str, str]]:
    """Return the hosts that can be judged, and why the others can't; of an inventory that can't be read that is all."""
    with tempfile.TemporaryDirectory() as directory:
        hosts = json.dumps([waiver.host for waiver in waived])
        variables = {gather.DIRECTORY_VARIABLE: directory, gather.WAIVED_VARIABLE: hosts}
        done = pyinfra([inventory, str(ASK), "--dry", *for_pyinfra], variables)
        subjects, missing = gather.subjects(Path(directory))
    if missing or not subjects:
        print(done.stdout + done.stderr, file=sys.stderr, end="")
    unfit = {subject.settings.host_name: gather.unfit(subject) for subject in subjects}
    unasked = {name: f"{reason}; it was not asked" for name, reason in unfit.items() if reason}
    unasked |= dict.fromkeys(missing, "not reached, so nothing is known about it")
    if not subjects and not missing:
        unasked[inventory] = "no host was asked; pyinfra says why"
    return [subject for subject in subjects if not unfit[subject.settings.host_name]], unasked
