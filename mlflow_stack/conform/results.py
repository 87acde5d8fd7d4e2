"""What came of each check on each host."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

from mlflow_stack.conform import calling
from mlflow_stack.conform.checks import Check, Fault, NotAsked, Subject, Unknown
from mlflow_stack.conform.waivers import Waiver

# What one check may take, whatever a server does to keep it waiting, and how many are made at once.
LIMIT_S = 60.0
AT_ONCE = 32


class Outcome(Enum):
    """UNKNOWN does not count as kept; NOT_ASKED and NO_CONCERN are no verdict at all."""

    HOLDS = "holds"
    FAILS = "FAILS"
    UNKNOWN = "UNKNOWN"
    WAIVED = "waived"
    NOT_ASKED = "not asked"
    NO_CONCERN = "no concern"


BROKEN = (Outcome.FAILS, Outcome.UNKNOWN)


@dataclass(frozen=True)
class Result:
    """`reason`: why there is no verdict, or what a waiver says."""

    host: str
    check: Check
    outcome: Outcome
    faults: tuple[Fault, ...] = ()
    reason: str = ""
    seconds: float = 0.0


def judge_all(
    subjects: Sequence[Subject], checks: Sequence[Check], waivers: Sequence[Waiver], today: datetime.date
) -> list[Result]:
    """Return what came of all checks on all hosts, by host and number; those over the network are made side by side."""
    pairs = [(subject, check) for subject in subjects for check in checks]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        return list(pool.map(lambda pair: judge(pair[0], pair[1], waivers, today), pairs))


def judge(subject: Subject, check: Check, waivers: Sequence[Waiver], today: datetime.date) -> Result:
    """Return what came of one check on one host."""
    begin = time.monotonic()
    outcome, faults, reason = _verdict(subject, check)
    seconds, host = time.monotonic() - begin, subject.settings.host_name
    own = [waiver for waiver in waivers if waiver.is_for(check.number, host)]
    if outcome not in BROKEN:
        return Result(host, check, outcome, faults, reason, seconds)
    if valid := next((waiver for waiver in own if waiver.until >= today), None):
        return Result(host, check, Outcome.WAIVED, faults, f"until {valid.until}: {valid.reason}", seconds)
    over = [f"its waiver ended on {waiver.until}: {waiver.reason}" for waiver in own]
    return Result(host, check, outcome, faults, "; ".join(filter(None, [reason, *over])), seconds)


def _verdict(subject: Subject, check: Check) -> tuple[Outcome, tuple[Fault, ...], str]:
    if not check.hosts.include(subject.settings):
        return Outcome.NO_CONCERN, (), f"it is for {check.hosts.words}"
    address = subject.settings.host_address
    if check.is_from_outside and calling.is_here(address):
        return Outcome.NOT_ASKED, (), f"{address} is this computer's own, which is no stranger to it"
    try:
        faults = bounded(lambda: tuple(check.judge(subject)), LIMIT_S)
    except NotAsked as reason:
        return Outcome.NOT_ASKED, (), str(reason)
    except Unknown as reason:
        return Outcome.UNKNOWN, (), str(reason)
    except (ValueError, KeyError, IndexError, TypeError) as error:  # what the host said is none of what it should have
        return Outcome.UNKNOWN, (), f"its answer can't be read ({type(error).__name__}: {error})"
    return (Outcome.FAILS if faults else Outcome.HOLDS), faults, ""


def bounded(ask: Callable[[], tuple[Fault, ...]], seconds: float) -> tuple[Fault, ...]:
    """Return what `ask` does, or raises; Unknown when it has not within so many seconds. It is left behind then."""
    found: list[tuple[Fault, ...]] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            found.append(ask())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not found:
        raise Unknown(f"no end of it within {seconds:.0f} s")
    return found[0]
