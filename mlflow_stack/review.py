"""Review: what a run would do on every host is worked out, shown and compared before any host is changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.exceptions import DeployError, OperationError
from pyinfra.api.host import Host
from pyinfra.api.state import State, StateOperationHostData
from pyinfra.context import ctx_host

from mlflow_stack.domain import plan as plans
from mlflow_stack.domain.plan import HostPlan, PlannedCommand, PlannedOperation
from mlflow_stack.facts.batch import Question
from mlflow_stack.facts.files import FileStates, FileTexts
from mlflow_stack.look import Later, Look, Unanswered, begin
from mlflow_stack.operations.commands import Remove, Told, Write
from mlflow_stack.report import operation_name
from mlflow_stack.running import wants_plan

# For `python -m mlflow_stack`: where to write the plan as JSON, and the reviewed plan that a run has to follow.
PLAN_VARIABLE = "MLFLOW_STACK_PLAN"
REVIEWED_VARIABLE = "MLFLOW_STACK_REVIEWED_PLAN"
# An operation asks one thing, and then at most another that follows from it. More is a question that is never answered.
ROUNDS = 5


@dataclass
class Review:
    """The review of one run: the hosts that are in it, and what is known about each so far."""

    expected: set[str]
    plans: dict[str, HostPlan | None] = field(default_factory=dict)
    refusals: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Decision:
    """What one operation would do on a host."""

    name: str
    commands: tuple[PyinfraCommand, ...] = ()
    later: str = ""
    refusal: str = ""


_reviews: dict[State, Review] = {}


@contextmanager
def reviewed(machine: str) -> Iterator[None]:
    """Decide the operations that are declared inside, all from one look at the host, before any of them is run.

    `machine` is the host's machine-id. The last host to come shows the plan of all, under --dry and before pyinfra
    asks for leave, and compares it with the reviewed one. Raises DeployError with all that operations refuse to do.
    """
    host = _present_host()
    state = host.state
    review = _reviews.setdefault(state, Review({each.name for each in state.inventory.get_active_hosts()}))
    # pyinfra's own way to find changes would let each operation ask for its facts one by one.
    state.check_for_changes = False
    look = begin(host, for_plan=wants_plan())
    yield
    decisions = _decide(host, look)
    review.refusals[host.name] = [f"  {host.name}: {each.name}: {each.refusal}" for each in decisions if each.refusal]
    review.plans[host.name] = None if host in state.failed_hosts else _host_plan(host, machine, decisions)
    if set(review.plans) == review.expected:
        _conclude(state, review)


def _present_host() -> Host:
    host: Host = ctx_host.get()  # type: ignore[no-untyped-call]  # pyinfra's own; its `host` is a stand-in for this
    return host


def _decide(host: Host, look: Look) -> list[Decision]:
    for _ in range(ROUNDS):
        decisions, questions = [], {}
        for op_hash in host.op_hash_order:
            try:
                decisions.append(_decision(host, op_hash, look))
            except Unanswered as unanswered:
                questions[unanswered.question.key] = unanswered.question
        if not questions:
            return decisions
        look.take(host, list(questions.values()))
    raise DeployError(f"{host.name}: no end of questions: {', '.join(questions)}")


def _decision(host: Host, op_hash: str, look: Look) -> Decision:
    data = host.state.get_op_data_for_host(host, op_hash)
    decision = Decision(operation_name(host, op_hash))
    try:
        decision.commands = tuple(data.command_generator())
    except Later as later:
        decision.later = str(later)
        look.undecided.add(op_hash)
    except OperationError as refusal:
        decision.refusal = str(refusal)
    _tell_pyinfra(host, data, bool(decision.commands))
    return decision


def _tell_pyinfra(host: Host, data: StateOperationHostData, will_change: bool) -> None:
    """Give pyinfra the result as if it had found it itself, for its own table, and for will_change."""
    if data.operation_meta._maybe_is_change is None:
        meta = host.state.get_meta_for_host(host)
        meta.ops_change += will_change
        meta.ops_no_change -= will_change
    data.operation_meta._maybe_is_change = will_change


def _host_plan(host: Host, machine: str, decisions: list[Decision]) -> HostPlan:
    commands = [command for decision in decisions for command in decision.commands]
    texts, states = _present_files(host, commands) if _is_shown() else ({}, {})
    operations = [
        PlannedOperation(
            decision.name, tuple(_planned(command, texts, states) for command in decision.commands), decision.later
        )
        for decision in decisions
        if decision.commands or decision.later
    ]
    return HostPlan(host.name, machine, tuple(operations), len(decisions) - len(operations))


def _is_shown() -> bool:
    return wants_plan() or PLAN_VARIABLE in os.environ or REVIEWED_VARIABLE in os.environ


def _present_files(host: Host, commands: list[PyinfraCommand]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of files that are to be changed, without the secret ones, and all their modes and owners."""
    paths = {command.file.path: command.file.is_secret for command in commands if isinstance(command, Write)}
    paths |= {command.path: command.is_secret for command in commands if isinstance(command, Remove)}
    if not paths:
        return {}, {}
    look = Look(for_plan=True)
    questions = [
        Question(FileTexts, {"paths": tuple(path for path, is_secret in paths.items() if not is_secret)}),
        Question(FileStates, {"paths": tuple(paths)}),
    ]
    look.take(host, questions)
    texts, states = (look.answers[question.key] for question in questions)
    return texts, {path: f"{state.mode} {state.owner}:{state.group}" for path, state in states.items()}


def _planned(command: PyinfraCommand, texts: dict[str, str], states: dict[str, str]) -> PlannedCommand:
    text = str(command)
    if isinstance(command, Write):
        file = command.file
        present, wanted = states.get(file.path), f"{file.mode} {file.owner}:{file.group}"
        change = f"new, {wanted}" if present is None else wanted if present == wanted else f"{present} to {wanted}"
        before = texts.get(file.path)
        diff = plans.HIDDEN if file.is_secret else plans.difference(file.path, before, file.text(before or ""))
        return PlannedCommand(text, path=file.path, change=change, diff=diff)
    if isinstance(command, Remove):
        before = texts.get(command.path)
        diff = plans.HIDDEN if command.is_secret else plans.difference(command.path, before, None)
        return PlannedCommand(text, path=command.path, change="removed", diff=diff)
    stdin = command.shown if isinstance(command, Told) else ""
    if not stdin and isinstance(command, StringCommand):
        stdin = str(command.connector_arguments.get("_stdin", ""))
    return PlannedCommand(text, stdin=stdin)


def _conclude(state: State, review: Review) -> None:
    """Refuse, show and compare, now that every host has been looked at."""
    # In the order of the inventory, whichever host answered first.
    # Not those of a host that was lost meanwhile: it answered nothing, which says nothing about it.
    refusals = [
        refusal
        for host in state.inventory
        if host not in state.failed_hosts
        for refusal in review.refusals.get(host.name, [])
    ]
    if refusals:
        count = "1 obstacle" if len(refusals) == 1 else f"{len(refusals)} obstacles"
        raise DeployError("\n".join([f"{count} on the hosts; no host was changed", *refusals]))
    found = [review.plans[host.name] for host in state.inventory if host.name in review.plans]
    host_plans = [plan for plan in found if plan]
    if path := os.environ.get(PLAN_VARIABLE):
        unreached = [host.name for host in state.failed_hosts]
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        document = plans.to_document(host_plans, unreached, made)
        Path(path).write_text(json.dumps(document, indent=1) + "\n")
    elif wants_plan():
        _show(host_plans)
    if path := os.environ.get(REVIEWED_VARIABLE):
        now = {plan.host: plan for plan in host_plans}
        if problems := plans.deviations(plans.from_document(json.loads(Path(path).read_text())), now):
            lines = [f"  {problem}" for problem in problems]
            raise DeployError("\n".join([f"{path} is not what this run would do; no host was changed", *lines]))


def _show(host_plans: list[HostPlan]) -> None:
    """Print the plan on standard error, where pyinfra prints what is for people."""
    click.echo(err=True)
    for plan in host_plans:
        for line in plans.to_text(plan):
            click.echo(line, err=True)
    for plan in host_plans:
        click.echo(plans.summary(plan), err=True)
    click.echo(err=True)
