"""What takes turns in `make test`, one each day, as CI has 90 minutes: what is slow, and alike or seldom changed.

`make test-all` takes all, and so does pytest by itself.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import TypeVar

ALL = os.environ.get("TURNS") != "today"
# Directories and modules of tests, which have their turn every other day.
EVERY_OTHER_DAY = (
    ("tests/image/", "tests/e2e/test_external_database.py", "tests/e2e/test_examiners.py"),
    ("tests/gcp/", "tests/e2e/test_object_store.py", "tests/e2e/test_acme.py"),
)
T = TypeVar("T")


def today() -> int:
    """Return the number of this day, which is the same everywhere (UTC)."""
    return datetime.datetime.now(datetime.timezone.utc).toordinal()


def of_today(choices: Iterable[T], turns: int) -> list[T]:
    """Return those of the choices whose turn it is today, of so many turns."""
    return list(choices) if ALL else list(choices)[today() % turns :: turns]


def has_its_turn(module: str) -> bool:
    """Return whether today the tests of this module run, a path from the repository's root."""
    resting = EVERY_OTHER_DAY[(today() + 1) % 2]
    return ALL or not module.startswith(resting)
