"""Services: enabled, running on what is declared now, and proved to work."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import OperationMeta, operation
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.service import ServiceState, gate_command, reasons_to_restart, restart_command
from mlflow_stack.facts.files import FileStates
from mlflow_stack.facts.service import EnabledInstances, Service
from mlflow_stack.look import decided, look, look_after_changes, must_not_write
from mlflow_stack.operations.commands import Remove

Commands = Generator[StringCommand, None, None]


@operation()
def ready(
    unit: str,
    files: Sequence[ManagedFile],
    check: str,
    timeout_s: int,
    socket: str = "",
    watched: Sequence[str] = (),
    only_if: str = "",
    after: Sequence[OperationMeta] = (),
    reloads: bool = False,
) -> Commands:
    """Ensure that a unit starts at boot, runs with its present files, and works.

    `files` are those of ours that it runs on, `watched` further paths; `check` is a command that exits 0 when the
    service works (on_host/ready.py) and `timeout_s` how long it may take after a start. Whether to restart is judged by
    what the unit was last proved ready with, not by what this run changed: a run that was interrupted after it wrote
    the unit can't lose the restart (pyinfra has no handlers that survive one). The check runs in every run, also when
    there is nothing to do: a run that ends well has seen the service work.

    A service that has nothing to do is looked at again when the run changed something else, on any host.

    `socket` is the unit of its listening socket, which stays open while the service is restarted, unless its own file
    has changed. One that `reloads` takes its configuration anew without a restart, unless its unit has changed.

    While the path `only_if` is absent the unit is left alone. A restart also follows from a file that is not as
    declared, and from each of the operations `after`, which come before this one, that has something to do.
    """
    question = {
        "unit": unit,
        "files": tuple(file.path for file in files),
        "watched": tuple(watched),
        "ready": f"READY_READ_ONLY=1 {check}" if must_not_write() else check,
        "only_if": only_if,
    }
    # Before the other operations are asked, whose own questions would put this one off to another round trip.
    state = look(Service, **question)
    running = host.state.is_executing
    follows = any(operation.did_change() if running else operation.will_change for operation in after)
    if state.skipped and not follows:
        decided(after)
        host.noop(f"{unit} has nothing to run yet")
        return
    follows = follows or any(state.files.get(file.path) != file.state() for file in files)
    if not follows and _is_as_declared(state, reloads):
        # What else this run changed may have broken it: the look was before.
        state = look_after_changes(Service, **question)
    if not follows and _is_as_declared(state, reloads):
        decided(after)
        host.noop(f"{unit} is enabled, runs and works")
        return
    restart = restart_command(unit, socket, reloads) if follows or reasons_to_restart(state, reloads) else ""
    yield from _start(unit, state, restart)
    yield StringCommand(gate_command(unit, [*question["files"], *watched], check, timeout_s))


def _is_as_declared(state: ServiceState, reloads: bool) -> bool:
    return _is_enabled(state) and not reasons_to_restart(state, reloads)


def _is_enabled(state: ServiceState) -> bool:
    return state.properties.get("UnitFileState") == "enabled"


def _start(unit: str, state: ServiceState, restart: str) -> Commands:
    if state.properties.get("LoadState") == "masked":
        yield StringCommand("systemctl unmask --quiet", quote(unit))
    yield StringCommand("systemctl daemon-reload")
    if not _is_enabled(state):
        yield StringCommand("systemctl enable --quiet", quote(unit))
    if restart:
        yield StringCommand(restart)


@operation()
def absent(units: Sequence[str]) -> Commands:
    """Ensure that units of ours are stopped and gone."""
    paths = {f"{layout.UNIT_DIR}/{unit}": unit for unit in units}
    found = look(FileStates, paths=tuple(paths))
    if not found:
        host.noop(f"there is no {units[0]}")
        return
    yield StringCommand("systemctl disable --now --quiet", " ".join(quote(paths[path]) for path in found), "|| true")
    for path in found:
        yield Remove(path)
    yield StringCommand("systemctl daemon-reload")


@operation()
def only_instances(umbrella: str, wanted: Sequence[str]) -> Commands:
    """Ensure that of the instances UMBRELLA@… only the wanted ones run and start at boot; their files are kept."""
    surplus = sorted(look(EnabledInstances, umbrella=umbrella) - set(wanted))
    if not surplus:
        host.noop(f"no other {umbrella}@ unit is enabled")
    for name in surplus:
        instance = f"{umbrella}@{name}"
        # With its socket, or the next connection would start it again.
        yield StringCommand(
            f"systemctl disable --quiet {quote(f'{instance}.service')} && systemctl stop {quote(f'{instance}.*')}"
        )
