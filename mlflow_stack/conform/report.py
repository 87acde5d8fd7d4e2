"""What people read of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from mlflow_stack.conform.promises import BY_TEST
from mlflow_stack.conform.results import BROKEN, Outcome, Result
from mlflow_stack.conform.waivers import Waiver

_WORDS = {
    Outcome.HOLDS: "hold",
    Outcome.FAILS: "failed",
    Outcome.UNKNOWN: "unknown",
    Outcome.WAIVED: "waived",
    Outcome.NOT_ASKED: "not asked",
    Outcome.NO_CONCERN: "no concern",
}


def to_text(results: Sequence[Result], waivers: Sequence[Waiver]) -> list[str]:
    """Return a line for each host and check, what is wrong below it, and the summary."""
    width = max((len(result.host) for result in results), default=0)
    lines = []
    for result in results:
        begin = f"{result.host:{width}}  {result.check.number:4}  {result.outcome.value:10}  "
        if result.outcome in (*BROKEN, Outcome.WAIVED):
            lines.append(f"{begin}{result.check.sentence}")
            lines += [f"{' ' * len(begin)}{detail}" for detail in details(result)]
        else:
            lines.append(f"{begin}{'; '.join([result.check.sentence, *details(result)])}")
    lines += ["", *_summary(results)]
    return [*lines, *remarks(results, waivers)]


def details(result: Result) -> Iterator[str]:
    """Yield what was found and what to do, and why there is no verdict."""
    for fault in result.faults:
        yield f"found: {clean(fault.found)}"
        yield f"expected: {fault.expected}"
        if result.outcome in BROKEN:
            yield f"to do: {clean(fault.remedy)}"
    if result.reason:
        yield clean(result.reason)


def clean(text: str) -> str:
    """Return a text without what would move the cursor of a terminal, or what XML has no way to write: a host said it,
    and it may be anybody's by now."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _summary(results: Sequence[Result]) -> Iterator[str]:
    for host in dict.fromkeys(result.host for result in results):
        counted = Counter(result.outcome for result in results if result.host == host)
        yield f"{host}: " + ", ".join(f"{counted[each]} {_WORDS[each]}" for each in Outcome if counted[each])
    numbers = ", ".join(tested.number for tested in BY_TEST)
    yield f"by test, and not asked of any stack: {numbers} (docs/promises.md)"


def remarks(results: Sequence[Result], waivers: Sequence[Waiver]) -> list[str]:
    """Return a sentence about each waiver of what holds on every host that it is for and that was asked."""
    asked: dict[Waiver, set[Outcome]] = {
        waiver: {each.outcome for each in results if waiver.is_for(each.check.number, each.host)} for waiver in waivers
    }
    broken = {*BROKEN, Outcome.WAIVED}
    needless = [waiver for waiver, found in asked.items() if Outcome.HOLDS in found and not found & broken]
    return [f"waiver of {waiver}: not needed any more; remove it" for waiver in needless]
