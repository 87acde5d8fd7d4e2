"""What CI systems read of the results: a file of JUnit's form, as Jenkins defined it and most others take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from mlflow_stack.conform.promises import BY_TEST, TITLES, ByTest, promise_of
from mlflow_stack.conform.report import clean, details, remarks
from mlflow_stack.conform.results import BROKEN, Outcome, Result
from mlflow_stack.conform.waivers import Waiver


def to_junit(results: Sequence[Result], waivers: Sequence[Waiver], unasked: Mapping[str, str]) -> str:
    """Return a test suite for each promise, with a test case for each check and host, and one for hosts that could not
    be asked: what nobody knows must not look like a success."""
    root = ElementTree.Element("testsuites", name="mlflow_stack conform")
    for promise, title in TITLES.items():
        own = [result for result in results if promise_of(result.check.number) == promise]
        tested = [each for each in BY_TEST if promise_of(each.number) == promise]
        _suite(root, f"{promise}. {title}", own, tested)
    if unasked:
        counts = {"tests": str(len(unasked)), "failures": "0", "errors": str(len(unasked)), "skipped": "0"}
        suite = ElementTree.SubElement(root, "testsuite", counts, name="hosts", time="0")
        for host, reason in unasked.items():
            case = ElementTree.SubElement(suite, "testcase", classname=host, name="can be asked", time="0")
            ElementTree.SubElement(case, "error", type=Outcome.UNKNOWN.value, message=clean(reason))
    if found := remarks(results, waivers):
        ElementTree.SubElement(root[-1], "system-out").text = "\n".join(found)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _suite(root: ElementTree.Element, name: str, results: Sequence[Result], tested: Sequence[ByTest]) -> None:
    counted = Counter(result.outcome for result in results)
    failures, errors = counted[Outcome.FAILS], counted[Outcome.UNKNOWN]
    skipped = len(tested) + len(results) - failures - errors - counted[Outcome.HOLDS]
    counts = {"tests": len(results) + len(tested), "failures": failures, "errors": errors, "skipped": skipped}
    attributes = {"name": name, **{key: str(value) for key, value in counts.items()}}
    suite = ElementTree.SubElement(root, "testsuite", attributes, time=f"{sum(each.seconds for each in results):.3f}")
    for result in results:
        _case(suite, result)
    for each in tested:
        case = ElementTree.SubElement(
            suite, "testcase", classname="by test", name=f"{each.number} {each.sentence}", time="0"
        )
        ElementTree.SubElement(case, "skipped", message=f"by test: {', '.join(each.tests)}")


def _case(suite: ElementTree.Element, result: Result) -> None:
    name = f"{result.check.number} {result.check.sentence}"
    case = ElementTree.SubElement(suite, "testcase", classname=result.host, name=name, time=f"{result.seconds:.3f}")
    if result.outcome == Outcome.HOLDS:
        return
    text = "\n".join(details(result))
    if result.outcome in BROKEN:
        kind = "failure" if result.outcome == Outcome.FAILS else "error"
        message = "; ".join(fault.found for fault in result.faults) or result.reason
        ElementTree.SubElement(case, kind, type=result.outcome.value, message=clean(message)).text = text
    else:
        ElementTree.SubElement(case, "skipped", message=f"{result.outcome.value}: {clean(result.reason)}").text = text
