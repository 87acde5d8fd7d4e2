"""What an apply would do to the stacks of CloudFormation, for reading and for programs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlflow_stack.domain.cloudformation import Difference

# "replace?" is what CloudFormation itself can't say before it does it.
Action = Literal["add", "change", "replace", "replace?", "remove"]
SIGNS: dict[Action, str] = {"add": "+", "change": "~", "replace": "±", "replace?": "±", "remove": "-"}
WORDS: dict[Action, str] = {
    "add": "new",
    "change": "changed in place",
    "replace": "replaced by a new one",
    "replace?": "changed, or replaced by a new one",
    "remove": "removed",
}


COUNTED: dict[Action, str] = {
    "add": "new",
    "change": "changed",
    "replace": "replaced",
    "replace?": "perhaps replaced",
    "remove": "removed",
}


@dataclass(frozen=True)
class ResourceChange:
    """What becomes of one resource; of a changed one, by which properties."""

    name: str
    type: str
    action: Action
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True)
class StackChange:
    """What becomes of one stack, or of a thing beside the stacks (a secret, the schema): `steps` says it in words.

    `idle` is the number of resources that stay as they are.
    """

    name: str
    resources: tuple[ResourceChange, ...] = ()
    steps: tuple[str, ...] = ()
    idle: int = 0

    @property
    def is_pending(self) -> bool:
        return bool(self.resources or self.steps)


def to_text(change: StackChange) -> Iterator[str]:
    """Yield the lines of a change for people."""
    for step in change.steps:
        yield f"{change.name}: {step}"
    for resource in change.resources:
        yield f"{change.name}: {SIGNS[resource.action]} {resource.name} ({resource.type}), {WORDS[resource.action]}"
        if resource.action != "add":
            yield from (f"    {_line(each)}" for each in resource.differences)


def _line(difference: Difference) -> str:
    before, after = (_in_short(value) for value in (difference.before, difference.after))
    if before is None:
        return f"{difference.path}: {after} (new)"
    if after is None:
        return f"{difference.path}: {before} (removed)"
    return f"{difference.path}: {before} -> {after}"


def _in_short(value: Any) -> Any:
    """Return a value as it stands in a line: a text of many is told by their number and its digest."""
    if not isinstance(value, str) or "\n" not in value:
        return value
    return f"{len(value.splitlines())} lines, sha256 {hashlib.sha256(value.encode()).hexdigest()[:12]}…"


def summary(changes: Iterable[StackChange]) -> str:
    """Return what an apply would do, in one line."""
    changes = list(changes)
    counts = dict.fromkeys(COUNTED, 0)
    for resource in (each for change in changes for each in change.resources):
        counts[resource.action] += 1
    parts = [f"{counts[action]} {word}" for action, word in COUNTED.items() if counts[action]]
    steps = sum(len(change.steps) for change in changes)
    parts += [f"{steps} other {'step' if steps == 1 else 'steps'}"] if steps else []
    idle = sum(change.idle for change in changes)
    return f"{', '.join(parts) or 'nothing to do'}; {idle} resources as declared"


def to_document(changes: Iterable[StackChange]) -> dict[str, Any]:
    """Return the changes as JSON data."""
    return {"stacks": [asdict(change) for change in changes if change.is_pending]}
