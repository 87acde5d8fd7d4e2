"""A plan: what a run would do on each host, for reading, for programs, and for comparing with a later one."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

FORMAT = 1
_SECRET = re.compile(r"(?i)(\b\w*(?:password|passwd|secret|token|api_?key)\b['\"]?\s*[=:]\s*)\S+")
_PASSWORD_IN_URI = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")
HIDDEN = "the content is secret and not shown"


@dataclass(frozen=True)
class PlannedCommand:
    """One remote command: its shell text and what it reads on standard input.

    For a file: its `path`, what becomes of it (`change`: "new, 640 root:mlflow", "removed", …) and the unified diff,
    which is shown in place of the shell text.
    """

    command: str
    stdin: str = ""
    path: str = ""
    change: str = ""
    diff: str = ""


@dataclass(frozen=True)
class PlannedOperation:
    """One operation; `later` says why its commands can't be known yet, "" when they are."""

    name: str
    commands: tuple[PlannedCommand, ...] = ()
    later: str = ""


@dataclass(frozen=True)
class HostPlan:
    """What a run would do on one host. `machine` is its /etc/machine-id; operations with nothing to do are counted."""

    host: str
    machine: str
    operations: tuple[PlannedOperation, ...]
    idle: int

    @property
    def digest(self) -> str:
        """Tells plans apart. That something is left for later counts; why is the text of an error, and may vary."""
        operations = [replace(operation, later="later" * bool(operation.later)) for operation in self.operations]
        facts = asdict(replace(self, operations=tuple(operations)))
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def difference(path: str, before: str | None, after: str | None) -> str:
    """Return a unified diff of a file; None is a file that does not exist."""
    names = ("/dev/null" if before is None else path, "/dev/null" if after is None else path)
    lines = difflib.unified_diff(
        (before or "").splitlines(keepends=True), (after or "").splitlines(keepends=True), *names
    )
    shown = (line if line.startswith("+") else without_secrets(line) for line in lines)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in shown)


def without_secrets(line: str) -> str:
    """Return a line that may be somebody else's, with what looks like a secret of theirs hidden."""
    return _PASSWORD_IN_URI.sub(r"\1***@", _SECRET.sub(r"\1***", line))


def to_document(plans: Iterable[HostPlan], unreached: Iterable[str], made: str) -> dict[str, Any]:
    """Return plans as JSON data; `unreached` are hosts that could not be looked at, `made` the time in ISO 8601."""
    hosts = {plan.host: {**asdict(plan), "digest": plan.digest} for plan in plans}
    return {"format": FORMAT, "made": made, "unreached": sorted(unreached), "hosts": hosts}


def from_document(document: Any) -> dict[str, HostPlan]:
    """Return the plans of a document by host; raise ValueError with a sentence when it is none, or was edited."""
    has_hosts = isinstance(document, dict) and isinstance(document.get("hosts"), dict)
    if not has_hosts or document.get("format") != FORMAT:
        raise ValueError("it is no plan of this version of MLflow Stack; make it anew")
    plans = {name: _host_plan(entry) for name, entry in document["hosts"].items()}
    for name, plan in plans.items():
        if plan.digest != document["hosts"][name].get("digest"):
            raise ValueError(f"what it says about {name} was edited after it was made; make it anew")
    return plans


def _host_plan(entry: Mapping[str, Any]) -> HostPlan:
    try:
        operations = tuple(
            PlannedOperation(
                operation["name"],
                tuple(PlannedCommand(**command) for command in operation["commands"]),
                operation["later"],
            )
            for operation in entry["operations"]
        )
        return HostPlan(entry["host"], entry["machine"], operations, entry["idle"])
    except (KeyError, TypeError):
        raise ValueError("it is damaged; make it anew") from None


def deviations(reviewed: Mapping[str, HostPlan], now: Mapping[str, HostPlan]) -> list[str]:
    """Return, a sentence each, in what the present state of the hosts asks for something else than was reviewed."""
    problems = []
    if set(reviewed) != set(now):
        problems.append(
            f"it was made for {_names(reviewed)}; this run reaches {_names(now)}. Give the inventory and the --limit "
            "that it was made with"
        )
    for name in sorted(set(reviewed) & set(now)):
        if reviewed[name].machine != now[name].machine:
            problems.append(
                f"{name}: it was made for another machine (machine-id {reviewed[name].machine}, now "
                f"{now[name].machine}); check the address, or make the plan anew if the machine was"
            )
        elif reviewed[name].digest != now[name].digest:
            changed = ", ".join(_changed_operations(reviewed[name], now[name]))
            problems.append(f"{name}: something else is to be done now than was reviewed, in: {changed}")
    return problems


def _names(plans: Mapping[str, HostPlan]) -> str:
    return ", ".join(sorted(plans)) or "no host"


def _changed_operations(reviewed: HostPlan, now: HostPlan) -> list[str]:
    before, after = (
        {operation.name: (operation.commands, bool(operation.later)) for operation in plan.operations}
        for plan in (reviewed, now)
    )
    return [name for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)]


def to_text(plan: HostPlan) -> Iterator[str]:
    """Yield the lines of a plan for people."""
    for operation in plan.operations:
        yield f"{plan.host}: {operation.name}"
        if operation.later:
            yield f"    later: {operation.later}"
        for command in operation.commands:
            yield from (f"    {line}" for line in _command_lines(command))
        yield ""


def _command_lines(command: PlannedCommand) -> list[str]:
    if command.path:
        return [f"{command.path} ({command.change})", *(f"    {line}" for line in command.diff.splitlines())]
    return [f"$ {command.command}", *(f"    {line}" for line in command.stdin.splitlines())]


def summary(plan: HostPlan) -> str:
    """Return what a run would do on a host, in one line."""
    changing = [operation for operation in plan.operations if operation.commands]
    commands = [command for operation in changing for command in operation.commands]
    files = sum(bool(command.path) for command in commands)
    later = sum(bool(operation.later) for operation in plan.operations)
    words = [
        f"{_count(len(changing), 'operation')} to run, with {_count(len(commands), 'command')}, "
        f"{files} of them for files"
        if changing
        else "nothing to do"
    ]
    words += [f"{_count(later, 'operation')} to be decided later"] if later else []
    return f"{plan.host}: {'; '.join(words)}; {plan.idle} as declared"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
