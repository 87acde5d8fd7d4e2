"""The promises of docs/promises.md, asked of the hosts of a test as an operator asks them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from tests.e2e.stack import Stack

KINDS = {"failure": "failed", "error": "unknown", "skipped": "skipped"}


@dataclass(frozen=True)
class Conformed:
    """What `conform` said: exit status and text, and of each kind of outcome the checks, as "HOST NUMBER"."""

    status: int
    output: str
    held: frozenset[str]
    failed: frozenset[str]
    unknown: frozenset[str]
    skipped: frozenset[str]
    seconds: float

    @property
    def is_kept(self) -> bool:
        """All that was asked holds. (That something was is for the caller to say.)"""
        return self.status == 0 and not self.failed and not self.unknown and bool(self.held)


def conform(stack: Stack, *options: str, **overrides: Any) -> Conformed:
    """Run `python -m mlflow_stack conform` against the hosts of a stack, with the settings of a deploy."""
    junit = stack.directory / "junit.xml"
    junit.unlink(missing_ok=True)
    inventory, begin = stack.inventory(**overrides), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mlflow_stack", "conform", str(inventory), "--junit", str(junit), *options],
        cwd=stack.repository,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=dict(os.environ, NO_COLOR="1"),
    )
    seconds = time.monotonic() - begin
    found: dict[str, set[str]] = {"held": set(), **{outcome: set() for outcome in KINDS.values()}}
    cases = ElementTree.parse(junit).getroot().iter("testcase") if junit.exists() else ()  # noqa: S314  # our own
    for case in cases:
        host, number = str(case.get("classname")), str(case.get("name")).split(" ")[0]
        if host != "by test":
            outcome = next((name for kind, name in KINDS.items() if case.find(kind) is not None), "held")
            found[outcome].add(f"{host} {number}")
    outcomes = {name: frozenset(checks) for name, checks in found.items()}
    return Conformed(done.returncode, done.stdout + done.stderr, seconds=seconds, **outcomes)
