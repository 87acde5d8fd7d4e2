"""What takes turns, one each day, as CI has 90 minutes: slow tests of what is alike. `make test-all` takes all."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import TypeVar

ALL = os.environ.get("TURNS") == "all"
T = TypeVar("T")


def today() -> int:
    """Return the number of this day, which is the same everywhere (UTC)."""
    return datetime.datetime.now(datetime.timezone.utc).toordinal()


def of_today(choices: Iterable[T], turns: int) -> list[T]:
    """Return those of the choices whose turn it is today, of so many turns; all of them with TURNS=all."""
    return list(choices) if ALL else list(choices)[today() % turns :: turns]
