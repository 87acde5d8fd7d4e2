"""The look at a host, with real pyinfra and its own @fake connector: what is asked when, and which answers stand."""

from collections.abc import Iterator

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import State, StateOperationHostData
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host, ctx_state

from mlflow_stack.facts.batch import Question
from mlflow_stack.look import Later, Unanswered, begin, look, look_after_changes, look_again, look_at, must_not_write


class Load(FactBase[str]):
    """A fact that is another one each time."""

    def default(self) -> str:
        return "unknown"

    def command(self, of: str) -> StringCommand:
        return StringCommand("load", of)

    def process(self, output: list[str]) -> str:
        return output[0]


DISK, CPU = Question(Load, {"of": "disk"}), Question(Load, {"of": "cpu"})


@pytest.fixture
def host() -> Iterator[Host]:
    data = {"fake_delay": 0, "fake_delay_jitter": 0}
    # Another one as well: pyinfra ends a run in which no host is left.
    hosts = [("@fake/host", data), ("@fake/other", data)]
    inventory = Inventory((hosts, {}))  # type: ignore[no-untyped-call]
    state = State(inventory, Config(FAIL_PERCENT=50))  # type: ignore[no-untyped-call]
    connect_all(state)
    found = inventory.get_host("@fake/host")
    with ctx_state.use(state), ctx_host.use(found):
        yield found


def answers(host: Host, *sections: str, alone: str = "", success: bool = True) -> None:
    """Let the host answer so from now on: a batch by sections, a fact by itself with `alone`."""
    batch = [line for section in sections for line in ("----8<---- Load", section)]
    host.connector.data["fake_responses"] = {  # type: ignore[attr-defined]
        "----8<----": {"stdout": batch, "success": success},
        "load": alone,
    }


def asked(host: Host) -> list[str]:
    commands: list[str] = host.connector.executed_commands  # type: ignore[attr-defined]
    return commands


def test_operation_by_itself_asks_the_host(host: Host) -> None:
    answers(host, alone="7")

    assert look(Load, of="disk") == "7"
    assert look_again(Load, "why", of="disk") == "7"
    assert look_after_changes(Load, of="disk") == "7"
    assert asked(host) == ["load disk"] * 3


def test_question_without_an_answer_is_raised_and_not_asked_before_the_run(host: Host) -> None:
    begin(host, for_plan=True)

    with pytest.raises(Unanswered) as unanswered:
        look(Load, of="disk")

    assert unanswered.value.question.key == DISK.key
    assert asked(host) == []


def test_all_questions_are_asked_at_once_and_their_answers_stand(host: Host) -> None:
    taken = begin(host, for_plan=True)
    answers(host, "7", "8")

    taken.take(host, [DISK, CPU])
    answers(host, "9", alone="9")

    assert [look(Load, of="disk"), look(Load, of="cpu")] == ["7", "8"]
    host.state.is_executing = True
    assert [look(Load, of="disk"), look(Load, of="cpu")] == ["7", "8"]
    assert len(asked(host)) == 1


def test_host_that_fails_gives_the_defaults(host: Host) -> None:
    taken = begin(host, for_plan=True)
    answers(host, "7", success=False)

    taken.take(host, [DISK, CPU])

    assert [look(Load, of="disk"), look(Load, of="cpu")] == ["unknown", "unknown"]
    assert host in host.state.failed_hosts


def test_question_that_first_comes_up_in_the_run_is_asked_once(host: Host) -> None:
    begin(host, for_plan=False)
    host.state.is_executing = True
    answers(host, "7")

    found = look(Load, of="disk")
    answers(host, "8")

    assert [found, look(Load, of="disk")] == ["7", "7"]
    assert len(asked(host)) == 1


def test_fact_that_a_plan_can_not_know_is_for_later_with_the_reason(host: Host) -> None:
    begin(host, for_plan=True)

    with pytest.raises(Later, match=r"^the server is not there yet$"):
        look_again(Load, "the server is not there yet", of="disk")

    assert asked(host) == []


def test_after_what_no_plan_could_say_every_fact_is_read_anew(host: Host) -> None:
    taken = begin(host, for_plan=False)
    answers(host, "7", "8")
    taken.take(host, [DISK, CPU])
    host.state.is_executing = True
    answers(host, "9")

    assert look(Load, of="cpu") == "8"
    assert look_again(Load, "why", of="disk") == "9"
    assert look(Load, of="cpu") == "9"


def change_something(host: Host, commands: list[str]) -> None:
    """Let the run have executed an operation with these commands."""
    meta = OperationMeta("first", bool(commands))  # type: ignore[no-untyped-call]
    meta.set_complete(True, commands, CommandOutput([]))
    data = StateOperationHostData(command_generator=lambda: iter(()), global_arguments={}, operation_meta=meta)  # type: ignore[arg-type,typeddict-item]
    host.state.ops[host] = {"first": data}


@pytest.mark.parametrize(("commands", "found"), [([], "7"), (["true"], "8")])
def test_answer_stands_until_the_run_has_changed_something(host: Host, commands: list[str], found: str) -> None:
    taken = begin(host, for_plan=False)
    answers(host, "7")
    taken.take(host, [DISK])
    answers(host, "8")
    change_something(host, commands)

    assert look_after_changes(Load, of="disk") == "7"  # not in a plan
    host.state.is_executing = True
    assert look_after_changes(Load, of="disk") == found


def test_look_that_somebody_reads_first_must_not_write(host: Host) -> None:
    assert must_not_write()
    host.state.is_executing = True
    assert not must_not_write()

    begin(host, for_plan=True)
    assert must_not_write()
    begin(host, for_plan=False)
    assert not must_not_write()


def test_other_host_is_asked_unless_it_failed(host: Host) -> None:
    other = host.state.inventory.get_host("@fake/other")
    answers(other, alone="7")

    assert look_at(other, Load, of="disk") == "7"
    host.state.failed_hosts.add(other)
    assert look_at(other, Load, of="disk") == "unknown"


def test_other_host_outside_the_limit_is_left_alone() -> None:
    hosts = [(name, {"fake_delay": 0, "fake_delay_jitter": 0}) for name in ("@fake/host", "@fake/other")]
    inventory = Inventory((hosts, {}))  # type: ignore[no-untyped-call]
    host, other = (inventory.get_host(name) for name, _ in hosts)
    state = State(inventory, Config(), initial_limit=[host])  # type: ignore[no-untyped-call]
    connect_all(state)
    answers(other, alone="7")

    with ctx_state.use(state), ctx_host.use(host):
        found = look_at(other, Load, of="disk")

    assert (found, other.connected, asked(other)) == ("unknown", False, [])
