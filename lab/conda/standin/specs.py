"""Versions in conda's order, and match specs: the part of the syntax that spec files for this channel use.

Order: https://docs.conda.io/projects/conda/en/stable/dev-guide/api/conda/models/version/ (VersionOrder).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering
from itertools import zip_longest
from typing import Any

from .errors import CondaError

Record = dict[str, Any]
Atom = tuple[int, int, str]

_ZERO: Atom = (2, 0, "")
_SPEC = re.compile(r"(?:(?P<channel>[^:\s]+)::)?(?P<name>\w[\w.-]*?)\s*(?P<rest>[=<>!~ ].*)?")
_WITH_BUILD = re.compile(r"(={1,2})([^=<>!~,|\s]+)=([^=\s]+)|()([^=<>!~,|\s]+) +([^=\s]+)")
_CLAUSE = re.compile(r"(==|>=|<=|!=|~=|>|<|=)?\s*(\S*)")


@total_ordering
class Version:
    """A version that compares as conda compares: dev < letters < numbers < post, missing parts are 0."""

    def __init__(self, text: str) -> None:
        self.parts = [self._part(part) for part in re.split(r"[._-]", text.lower())]

    @staticmethod
    def _part(text: str) -> list[Atom]:
        ranks = {"dev": 0, "post": 3}
        atoms = [
            (2, int(atom), "") if atom.isdigit() else (ranks.get(atom, 1), 0, atom)
            for atom in re.findall(r"\d+|[a-z]+", text)
        ]
        return atoms if text[:1].isdigit() else [_ZERO, *atoms]

    def _pairs(self, other: Version) -> list[tuple[Atom, Atom]]:
        return [
            pair
            for mine, theirs in zip_longest(self.parts, other.parts, fillvalue=[_ZERO])
            for pair in zip_longest(mine, theirs, fillvalue=_ZERO)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and all(mine == theirs for mine, theirs in self._pairs(other))

    def __lt__(self, other: Version) -> bool:
        return next((mine < theirs for mine, theirs in self._pairs(other) if mine != theirs), False)

    def __hash__(self) -> int:
        raise TypeError("versions are compared, not hashed: 1.0 equals 1.0.0")


def _starts_with(version: str, prefix: str) -> bool:
    return version == prefix or version.startswith(f"{prefix}.")


def _satisfies(version: str, clause: str) -> bool:
    match = _CLAUSE.fullmatch(clause)
    if match is None:
        raise CondaError("InvalidVersionSpec", f"Invalid version '{clause}': invalid operator")
    operator, wanted = match[1] or "", match[2]
    stem = wanted.removesuffix("*").rstrip(".")
    if not stem:
        return True
    if operator == "=" or (wanted.endswith("*") and operator in ("", "==")):
        return _starts_with(version, stem)
    if operator == "!=" and wanted.endswith("*"):
        return not _starts_with(version, stem)
    mine, theirs = Version(version), Version(stem)
    if operator == "~=":
        return mine >= theirs and _starts_with(version, stem.rpartition(".")[0])
    return {
        "": mine == theirs, "==": mine == theirs, "!=": mine != theirs,
        ">=": mine >= theirs, "<=": mine <= theirs, ">": mine > theirs, "<": mine < theirs,
    }[operator]  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """What a user or a package asks for: a name, and optionally a channel, a version and a build."""

    text: str
    name: str
    channel: str
    version: str
    build: str

    @classmethod
    def parse(cls, text: str) -> Spec:
        """Read one match spec; raises CondaError(InvalidMatchSpec)."""
        match = _SPEC.fullmatch(text.strip())
        if match is None:
            raise CondaError("InvalidMatchSpec", f"Invalid spec '{text}'")
        rest = (match["rest"] or "").strip()
        built = _WITH_BUILD.fullmatch(rest)
        parts = [group for group in built.groups() if group is not None] if built else ["", rest, ""]
        operator, version, build = parts
        return cls(text.strip(), match["name"].lower(), match["channel"] or "", operator + version, build)

    def matches(self, record: Record) -> bool:
        """Whether this package record is one that the spec allows."""
        if self.name != record["name"] or self.channel not in ("", str(record["channel"]).rsplit("/", 1)[-1]):
            return False
        if self.build and not re.fullmatch(re.escape(self.build).replace(r"\*", ".*"), record["build"]):
            return False
        return any(
            all(_satisfies(record["version"], clause.strip()) for clause in alternative.split(","))
            for alternative in self.version.split("|")
        )
