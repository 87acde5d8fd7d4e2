"""The look at a host that a run decides by: taken once, before anything is changed.

Operations ask for facts with `look`. When all operations of a host are declared, review.py lets each of them say what
it would do, answers all their questions in one round trip, and from then on the answers stand, while a plan is printed
and while a run goes on. So a run does what its plan says, because both follow from the same answers, and a run that has
nothing to do costs few round trips. What can't be known that early is left for `later`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import State
from pyinfra.context import host

from mlflow_stack.facts.batch import Batch, Question

Answer = TypeVar("Answer")


class Unanswered(Exception):
    """An operation asks what the look has no answer to yet."""

    def __init__(self, question: Question) -> None:
        self.question = question


class Later(Exception):
    """An operation can't say before the run what it will do; the message says what that depends on."""


@dataclass
class Look:
    """`answers` by Question.key. `for_plan`: somebody reads the plan first, so that nothing may be written, not even
    for a moment. `undecided`: operations, by hash, that raised Later. `is_void`: the run did what no plan could say, so
    that facts are read anew."""

    for_plan: bool
    answers: dict[str, Any] = field(default_factory=dict)
    undecided: set[str] = field(default_factory=set)
    is_void: bool = False

    def take(self, at: Host, questions: list[Question]) -> None:
        """Ask a host all questions at once."""
        # No answers at all: the host failed, and pyinfra leaves it out from here on.
        found = at.get_fact(Batch, questions=questions)
        answers = found or [question.fact().default() for question in questions]
        self.answers |= {question.key: answer for question, answer in zip(questions, answers, strict=True)}


_looks: dict[tuple[State, str], Look] = {}
_agreements: dict[tuple[State, str], Any] = {}


def begin(at: Host, for_plan: bool) -> Look:
    """Begin the look at a host."""
    _looks[at.state, at.name] = Look(for_plan)
    return _looks[at.state, at.name]


def _current() -> Look | None:
    return _looks.get((host.state, host.name))


def must_not_write() -> bool:
    """Return whether the look must leave no trace; otherwise it may try whether a service really works."""
    found = _current()
    return found.for_plan if found else not host.state.is_executing


def decided(operations: Sequence[OperationMeta]) -> None:
    """Raise Later in a plan when one of these operations, which this one follows, is left for later itself."""
    found = _current()
    if found and not host.state.is_executing and any(each._hash in found.undecided for each in operations):
        raise Later("it follows from the operation before it")


def look(fact: type[FactBase[Answer]], **arguments: Any) -> Answer:
    """Return what the look found; without a look (an operation by itself) ask the host.

    Raises Unanswered, which is for review.py, when the question has to be asked first.
    """
    found, question = _current(), Question(fact, arguments)
    if found is None:
        return host.get_fact(fact, **arguments)
    if found.is_void or (question.key not in found.answers and host.state.is_executing):
        found.take(host, [question])
    if question.key not in found.answers:
        raise Unanswered(question)
    answer: Answer = found.answers[question.key]
    return answer


def look_telling(fact: type[FactBase[Answer]], secret: str, **arguments: Any) -> Answer:
    """Return what a fact finds that is told a secret on standard input; asked once in a look, and by itself.

    What is asked together is in the text of one command, where every user of the host can read it.
    """
    found, question = _current(), Question(fact, arguments)
    if found is None or question.key not in found.answers:
        # As a file: pyinfra's --debug prints what a fact is given, and would print a text.
        told: Answer = host.get_fact(fact, _stdin=io.StringIO(secret), **arguments)
        if found is None:
            return told
        found.answers[question.key] = told
    answer: Answer = found.answers[question.key]
    return answer


def look_again(fact: type[FactBase[Answer]], reason: str, **arguments: Any) -> Answer:
    """Return the fact as it is now, in a run; in a plan, raise Later with the reason why it can't be known yet.

    What the operation then does is in no plan, so whatever comes after it on this host is read anew as well.
    """
    found = _current()
    if found and not host.state.is_executing:
        raise Later(reason)
    if found:
        found.is_void = True
    return look(fact, **arguments)


def look_after_changes(fact: type[FactBase[Answer]], **arguments: Any) -> Answer:
    """Return the fact as it is now when this run has changed anything on any host; else what the look found."""
    found = _current()
    if found and host.state.is_executing and _has_changed_anything(host.state):
        found.take(host, [Question(fact, arguments)])
    return look(fact, **arguments)


def agreed(question: str, answer: Answer) -> Answer:
    """Return what the first host of this run was answered, so that all act on the same, whatever changed meanwhile."""
    return cast("Answer", _agreements.setdefault((host.state, question), answer))


def look_at(other: Host, fact: type[FactBase[Answer]], **arguments: Any) -> Answer:
    """Return what a fact says on another host now; its default when that host failed, or is outside the limit.

    Those outside the limit (--limit) have no session: a run would wait for one that is silent for ever.
    """
    if other in other.state.failed_hosts or not other.state.is_host_in_limit(other):
        nothing: Answer = fact().default()
        return nothing
    return other.get_fact(fact, **arguments)


def _has_changed_anything(state: State) -> bool:
    operations = [data.operation_meta for by_hash in state.ops.values() for data in by_hash.values()]
    return any(operation.is_complete() and operation.did_change() for operation in operations)
