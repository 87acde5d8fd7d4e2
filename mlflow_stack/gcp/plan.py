"""A plan for Google Cloud: what is made, changed and removed, field by field, and the commands that do it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow_stack.gcp.gcloud import Command


@dataclass(frozen=True)
class Difference:
    """A field that is not as declared; `found` is "" where the thing has none."""

    field: str
    wanted: str
    found: str = ""

    def __str__(self) -> str:
        return f"{self.field}: {self.found} -> {self.wanted}" if self.found else f"{self.field}: {self.wanted}"


@dataclass(frozen=True)
class Step:
    """One thing that becomes as declared, by these commands in this order."""

    verb: str  # create, change, grant, revoke, run, remove
    thing: str
    commands: tuple[Command, ...]
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb} {self.thing}"


@dataclass(frozen=True)
class Plan:
    """The steps in order, and what an operator has to know beside them."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """Yield the plan for people; of what gcloud reads, secrets are left out."""
        for step in self.steps:
            yield str(step)
            yield from (f"    {difference}" for difference in step.differences)
            for command in step.commands:
                yield f"    $ {command.shown}"
                # The differences say it in short.
                shown = (
                    "(a secret, on standard input)" if command.is_secret else "" if step.differences else command.stdin
                )
                yield from (f"        {line}" for line in shown.splitlines())
            yield ""
        yield from (f"note: {note}" for note in self.notes)
        yield self.summary()

    def summary(self) -> str:
        """Return the plan in one line."""
        if not self.steps:
            return "nothing to do"
        commands = sum(len(step.commands) for step in self.steps)
        return f"{_count(len(self.steps), 'step')} to take, with {_count(commands, 'command')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@dataclass(frozen=True)
class Field:
    """A field of a thing: its path in what the API answers, what it should be, and the flags that make it so.

    One that has no flags can't be changed once the thing is there.
    """

    name: str
    path: str
    wanted: Any
    flags: tuple[str, ...] = ()

    def found(self, thing: Any) -> Any:
        return at(thing, self.path)

    def difference(self, thing: Any = None) -> Difference:
        """Return the field as a difference: of a thing, or of none that is there."""
        found = "" if thing is None else text(self.found(thing))
        return Difference(self.name, text(self.wanted), found)


def at(thing: Any, path: str) -> Any:
    """Return what is at a path as "settings.ipConfiguration.sslMode"; None where nothing is."""
    for key in path.split("."):
        thing = thing.get(key) if isinstance(thing, Mapping) else None
    return thing


def text(value: Any) -> str:
    """Return a value as a plan shows it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def changed(fields: Iterable[Field], thing: Any) -> list[Field]:
    """Return the fields that a thing does not have as they should be; what is not set counts as off."""
    return [field for field in fields if (field.found(thing) or False) != (field.wanted or False)]


def flags_of(fields: Iterable[Field]) -> tuple[str, ...]:
    """Return the flags of all these fields."""
    return tuple(flag for field in fields for flag in field.flags)


def unlike(wanted: Any, found: Any, path: str = "") -> Iterator[Difference]:
    """Yield where a manifest is not in what the server has of it, which also holds what the server fills in.

    Lists are compared item by item, by their names where they have any: one more or less is a difference.
    """
    if isinstance(wanted, Mapping):
        for key, value in wanted.items():
            inner = found.get(key) if isinstance(found, Mapping) else None
            yield from unlike(value, inner, f"{path}.{key}" if path else str(key))
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
        yield from _unlike_lists(wanted, found if isinstance(found, list) else [], path)
    elif not _same(wanted, found):
        yield Difference(path, text(wanted), text(found))


def _same(wanted: Any, found: Any) -> bool:
    """Return whether two values mean the same: an int64 is a string in JSON, 1000m is 1, and nothing is zero."""
    if found is None:
        return wanted in (None, False, "", 0, "0")
    return str(wanted) == str(found) or (_quantity(wanted) is not None and _quantity(wanted) == _quantity(found))


def _quantity(value: Any) -> float | None:
    """Return a quantity as Kubernetes writes it ("Quantity"), as far as Cloud Run has processors and memory."""
    match = re.fullmatch(r"(\d+)(|m|Ki|Mi|Gi)", str(value))
    return int(match[1]) * {"": 1, "m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[match[2]] if match else None


def _unlike_lists(wanted: Sequence[Any], found: Sequence[Any], path: str) -> Iterator[Difference]:
    wanted_by, found_by = _by_name(wanted), _by_name(found)
    for name in dict.fromkeys([*wanted_by, *found_by]):
        if name not in wanted_by:
            yield Difference(f"{path}[{name}]", "none", _in_short(found_by[name]))
        elif name not in found_by:
            yield Difference(f"{path}[{name}]", _in_short(wanted_by[name]), "none")
        else:
            yield from unlike(wanted_by[name], found_by[name], f"{path}[{name}]")


def _by_name(items: Sequence[Any]) -> dict[str, Any]:
    names = [
        item.get("name", str(number)) if isinstance(item, Mapping) else str(number) for number, item in enumerate(items)
    ]
    return dict(zip(names, items, strict=True))


def _in_short(item: Any) -> str:
    return text(item["value"]) if isinstance(item, Mapping) and "value" in item else text(item)
