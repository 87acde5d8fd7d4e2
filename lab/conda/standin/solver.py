"""Choosing packages: a backtracking search, ample for a channel of a dozen packages."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import CondaError
from .specs import Record, Spec

Index = dict[str, list[Record]]


def identity(record: Record) -> tuple[str, str, str]:
    """What makes two records the same package: name, version, build."""
    return record["name"], record["version"], record["build"]


def solve(specs: Sequence[Spec], index: Index, installed: Sequence[Record] = ()) -> list[Record]:
    """Return the records that satisfy every spec, python first; what is installed already is preferred.

    Raises CondaError(PackagesNotFoundInChannelsError) for a spec that nothing offers, and
    CondaError(LibMambaUnsatisfiableError) when the specs contradict each other.
    """
    missing = [spec.text for spec in specs if not any(map(spec.matches, index.get(spec.name, [])))]
    if missing:
        listed = "".join(f"\n  - {text}" for text in missing)
        raise CondaError(
            "PackagesNotFoundInChannelsError",
            f"The following packages are not available from current channels:\n{listed}",
            packages=missing,
        )
    chosen = _search(list(specs), {}, index, {identity(record) for record in installed})
    if chosen is None:
        listed = "".join(f"\n  - {spec.text}" for spec in specs)
        raise CondaError(
            "LibMambaUnsatisfiableError", f"Encountered problems while solving: these specs conflict:{listed}"
        )
    return sorted(chosen.values(), key=lambda record: (record["name"] != "python", record["name"]))


def _search(
    wanted: list[Spec], chosen: dict[str, Record], index: Index, preferred: set[tuple[str, str, str]]
) -> dict[str, Record] | None:
    if not wanted:
        return chosen
    spec, rest = wanted[0], wanted[1:]
    if spec.name.startswith("__"):  # virtual packages (__glibc, ...): the host is taken to have them
        return _search(rest, chosen, index, preferred)
    if spec.name in chosen:
        return _search(rest, chosen, index, preferred) if spec.matches(chosen[spec.name]) else None
    together = [other for other in wanted if other.name == spec.name]
    candidates = [record for record in index.get(spec.name, []) if all(other.matches(record) for other in together)]
    for record in sorted(candidates, key=lambda record: identity(record) not in preferred):
        needs = [Spec.parse(text) for text in record["depends"]]
        found = _search(rest + needs, {**chosen, spec.name: record}, index, preferred)
        if found is not None:
            return found
    return None
