"""Waivers: what is known not to hold on a host, until when, and why."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ALL = "all"
KEYS = ("number", "host", "reason", "until")
# Somebody is to look at it again.
LONGEST_DAYS = 366
# A reason is for people: a word is none.
SHORTEST = 10


class BadWaivers(Exception):
    """A file of waivers that can't be used; the message lists all that is wrong in it."""


@dataclass(frozen=True)
class Waiver:
    """A check, by its number, that need not hold on a host (or ALL) up to and including a day."""

    number: str
    host: str
    reason: str
    until: datetime.date

    def is_for(self, number: str, host: str) -> bool:
        return self.number == number and self.host in (host, ALL)

    def __str__(self) -> str:
        return f"{self.number} on {self.host}"


def read(path: Path, numbers: Collection[str], by_test: Collection[str], today: datetime.date) -> list[Waiver]:
    """Return the waivers of a YAML file; raise BadWaivers with everything that is wrong in it, but for unknown hosts.

    `numbers` are those of checks, `by_test` those of lines that are never asked. A waiver that is over is read like any
    other: that its check fails is for results.py to say.
    """
    try:
        # All scalars are text to it, or 8.10 would be the number 8.1; it makes no objects.
        entries = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506
    except OSError as error:
        raise BadWaivers(f"{path}: can't be read ({error.strerror}); expected a file of waivers") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise BadWaivers(f"{path}{where}: it is no YAML; expected a list of waivers") from None
    if not isinstance(entries, list):
        found = "nothing" if entries is None or entries == "" else type(entries).__name__
        raise BadWaivers(f"{path}: found {found}, expected a list of waivers, each with {', '.join(KEYS)}")
    problems = [
        f"  waiver {place}: {problem}"
        for place, entry in enumerate(entries, start=1)
        for problem in _problems(entry, numbers, by_test, today)
    ]
    problems += _doubled(entries) if not problems else []
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise BadWaivers("\n".join([f"{path}: {count}; no host was asked", *problems]))
    return [Waiver(**{**entry, "until": datetime.date.fromisoformat(entry["until"])}) for entry in entries]


def _problems(entry: Any, numbers: Collection[str], by_test: Collection[str], today: datetime.date) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"found {entry!r}, expected {', '.join(KEYS)}"
        return
    for key in entry:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            yield f"{key}: unknown; " + (f"did you mean {near[0]}?" if near else f"expected {', '.join(KEYS)}")
    for key in KEYS:
        if not isinstance(entry.get(key), str) or not entry[key].strip():
            yield f"{key}: missing; expected {_EXPECTED[key]}"
    number, until, reason = (str(entry.get(key, "")) for key in ("number", "until", "reason"))
    if number in by_test:
        yield f"number: {number} is proved by test and asked of no stack; there is nothing to waive"
    elif number and number not in numbers:
        yield f"number: there is no check {number}; docs/promises.md lists them"
    if 0 < len(reason.strip()) < SHORTEST:
        yield f"reason: found {reason!r}, expected a sentence that a stranger understands"
    if until:
        yield from _date_problems(until, today)


_EXPECTED = {
    "number": "that of a check, as 8.9",
    "host": f"the name of a host in the inventory, or {ALL}",
    "reason": "a sentence that a stranger understands",
    "until": "the last day, as 2027-01-31",
}


def _date_problems(until: str, today: datetime.date) -> Iterator[str]:
    try:
        day = datetime.date.fromisoformat(until)
    except ValueError:
        yield f"until: found {until!r}, expected {_EXPECTED['until']}"
        return
    if (day - today).days > LONGEST_DAYS:
        yield f"until: {until} is more than a year ahead; expected a day on which somebody looks at it again"


def _doubled(entries: list[dict[str, str]]) -> list[str]:
    pairs = [(entry["number"], entry["host"]) for entry in entries]
    return [
        f"  waiver {place}: {number} on {host} is waived already, by waiver {pairs.index((number, host)) + 1}"
        for place, (number, host) in enumerate(pairs, start=1)
        if pairs.index((number, host)) + 1 != place
    ]


def unknown_hosts(hosts: Collection[str], inventory: Collection[str]) -> list[str]:
    """Return what is wrong with the hosts that waivers name, a sentence each."""
    problems = []
    for host in sorted(set(hosts) - {*inventory, ALL}):
        near = difflib.get_close_matches(host, [*inventory, ALL], n=1)
        hint = f"did you mean {near[0]}?" if near else f"its hosts: {', '.join(inventory)}"
        problems.append(f"host: {host} is not in the inventory; {hint}")
    return problems
