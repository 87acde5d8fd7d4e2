"""What the tests of checks that only the host can answer have in common: to run one's script here, and to judge."""

from __future__ import annotations

import subprocess
from typing import Any

from mlflow_stack.conform.checks import Check, Subject
from mlflow_stack.domain.survey import parse_survey
from mlflow_stack.settings import Settings
from tests.unit.defaults import settings


def found(check: Check, answer: list[str] | None = None, own: Settings | None = None, **survey: Any) -> list[str]:
    answers = {check.number: [*(answer or []), "status 0"]}
    subject = Subject(own or settings(), parse_survey(survey.get("survey", [])), answers=answers)
    return [fault.found for fault in check.judge(subject)]


def run(check: Check, own: Settings, places: dict[str, str]) -> list[str]:
    """Run the script of a check with other places in the stead of the host's, as the user that the tests have."""
    assert check.script
    script = check.script(own).replace("runuser -u nobody -- ", "")
    for place, instead in places.items():
        script = script.replace(place, instead)
    done = subprocess.run(["bash", "--norc"], input=script, text=True, capture_output=True, timeout=60, check=False)
    return [*done.stdout.splitlines(), f"status {done.returncode}"]


def judged(check: Check, answer: list[str], own: Settings | None = None) -> list[str]:
    return [fault.found for fault in check.judge(Subject(own or settings(), answers={check.number: answer}))]
