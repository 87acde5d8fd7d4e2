"""Each operation on what a host answers: the whole commands that it gives, or why it gives none.

A case is a file cases/<module>.<operation>/<what it does>.yaml:

    kwargs:    arguments, added to those of _arguments.yaml beside it
    answers:   for each fact by name what its command prints: lines, or {recorded: fresh | deployed, replace: {…}}
               (tests/data/; the replacements are regular expressions). A fact that is left out prints nothing.
    commands:  what is to be run, each a command, {command, stdin}, {write: a file's fields with its content}, or
               {block: the lines, with the file's fields}
    noop:      the reason that is given when there is nothing to do
    error:     the whole message of the refusal
    during:    "run" where the operation does something else than in a plan

`python -m tests.unit.operations.update` writes the commands of all cases anew; read the diff.
The operation runs in real pyinfra; only the host is its own @fake connector.
"""

from __future__ import annotations

import logging
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import OperationError
from pyinfra.api.inventory import Inventory
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host, ctx_state

from mlflow_stack.domain.certificates import AcmeCertificate, HostCertificate
from mlflow_stack.domain.environment import EnvironmentSpec, Toolchain
from mlflow_stack.domain.files import ManagedBlock, ManagedFile, block_command, write_command
from mlflow_stack.domain.object_store import ObjectStore
from mlflow_stack.domain.postgresql import BEGIN, END, Cluster
from mlflow_stack.domain.tracking_server import TrackingServer
from mlflow_stack.operations.host import Directory, User
from tests.unit.recorded import lines

CASES = Path(__file__).parent / "cases"

# By fact: a part of its command that no other fact's has, looked for in this order.
ASKED_BY = {
    "Logins": "s/^/salt /p",
    "ArtifactStore": "echo mark=",
    "Artifacts": "MLFLOW_ARTIFACTS_DESTINATION",
    "StoreProblems": "object_store.py s3://",
    "Conda": "/bin/conda ] &&",
    "Environment": "&& echo complete",
    "Environments": "ls -1dt ",
    "FirewallRemains": "echo table",
    "FileStates": 'sha256sum < "$f"',
    "InstalledPackages": "dpkg-query",
    "Layout": "getent passwd",
    "OwnCertificate": "certificate.sh check",
    "Postgresql": "pg_authid",
    "Schema": "schema.py revision",
    "Permissions": "permissions.py differences",
    "Models": "models.py",
    "Service": "systemctl show -p LoadState",
    "EnabledInstances": ".service.wants",
}


class Loader(yaml.SafeLoader):
    """YAML with a tag for each class that operations take."""


def _constructor(kind: type) -> Any:
    def construct(loader: Loader, node: yaml.MappingNode) -> Any:
        fields = loader.construct_mapping(node, deep=True)
        return kind(**{str(name): tuple(value) if isinstance(value, list) else value for name, value in fields.items()})

    return construct


_KINDS = (
    *(AcmeCertificate, Cluster, Directory, EnvironmentSpec, HostCertificate, ManagedFile, ObjectStore, Toolchain),
    *(TrackingServer, User),
)
for _kind in _KINDS:
    Loader.add_constructor(f"!{_kind.__name__}", _constructor(_kind))


def _logins(loader: Loader, node: yaml.MappingNode) -> dict[tuple[str, str], str]:
    """Construct passwords by area and user: !Logins {AREA: {USER: PASSWORD}}."""
    areas = loader.construct_mapping(node, deep=True)
    return {(str(area), user): password for area, users in areas.items() for user, password in users.items()}


Loader.add_constructor("!Logins", _logins)


def _performed(loader: Loader, node: yaml.MappingNode) -> OperationMeta:
    """Construct another operation of the run, before and after it is run: !Operation {changes: true}."""
    changes = bool(loader.construct_mapping(node)["changes"])
    performed = OperationMeta("another", changes)  # type: ignore[no-untyped-call]
    performed.set_complete(True, ["true"] * changes, CommandOutput([]))
    return performed


Loader.add_constructor("!Operation", _performed)


def load(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = yaml.load(path.read_text(), Loader)  # noqa: S506  # a SafeLoader
    return case


def answer(wanted: Any, fact: str) -> list[str]:
    if not isinstance(wanted, dict):
        return [wanted] if isinstance(wanted, str) else list(wanted)
    output = "\n".join(lines(wanted["recorded"], fact))
    for pattern, replacement in wanted.get("replace", {}).items():
        output, count = re.subn(pattern, replacement, output, flags=re.MULTILINE)
        assert count, f"{pattern!r} is not in the recorded output of {fact}"
    return output.splitlines()


def commands_of(operation: str, kwargs: dict[str, Any], answers: dict[str, Any], during: str) -> list[StringCommand]:
    """Return the commands that an operation gives on a host with these answers, during a "plan" or a "run"."""
    assert set(answers) <= set(ASKED_BY)
    responses = {part: answer(answers[fact], fact) for fact, part in ASKED_BY.items() if fact in answers}
    data = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": responses}
    inventory = Inventory(([("@fake/host", data)], {}))  # type: ignore[no-untyped-call]
    state = State(inventory, Config())  # type: ignore[no-untyped-call]
    state.print_noop_info = True
    state.is_executing = during == "run"
    connect_all(state)
    module, name = operation.split(".")
    function = getattr(import_module(f"mlflow_stack.operations.{module}"), name)
    with ctx_state.use(state), ctx_host.use(inventory.get_host("@fake/host")):
        return list(function._inner(**kwargs))


def readable(command: StringCommand) -> dict[str, str]:
    found = {"command": command.get_raw_value()}
    if "_stdin" in command.connector_arguments:
        found["stdin"] = str(command.connector_arguments["_stdin"])
    return found


def expected(command: Any) -> dict[str, str]:
    if isinstance(command, str):
        return {"command": command}
    if "write" in command:
        file = ManagedFile(**command["write"])
        return {"command": write_command(file), "stdin": file.content}
    if "block" in command:
        block = ManagedBlock(**{"begin": BEGIN, "end": END, **command["block"]})
        return {"command": block_command(block), "stdin": block.content}
    return dict(command)


FILES = sorted(path for path in CASES.rglob("*.yaml") if path.name != "_arguments.yaml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_operation(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    case, arguments = load(path), path.parent / "_arguments.yaml"
    assert set(case) <= {"kwargs", "answers", "commands", "noop", "error", "during"}
    kwargs = {**(load(arguments) if arguments.exists() else {}), **case.get("kwargs", {})}
    caplog.set_level(logging.INFO, "pyinfra")
    during, error = case.get("during", "plan"), None

    try:
        found = [readable(each) for each in commands_of(path.parent.name, kwargs, case.get("answers", {}), during)]
    except OperationError as refusal:
        found, error = [], str(refusal)

    noops = [record.getMessage().split("noop: ", 1)[1] for record in caplog.records if "noop: " in record.getMessage()]
    assert error == case.get("error")
    assert found == [expected(command) for command in case.get("commands", [])]
    assert noops == ([case["noop"]] if "noop" in case else [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_case_expects_commands_or_a_reason(path: Path) -> None:
    case = load(path)

    assert len({"commands", "noop", "error"} & set(case)) == 1


# They ask another host too: test_between_hosts.py.
BETWEEN_HOSTS = {"certificates.trusted"}


def test_every_operation_has_cases() -> None:
    directory = Path(import_module("mlflow_stack.operations").__file__ or "").parent
    operations = {
        f"{path.stem}.{name}"
        for path in directory.glob("*.py")
        for name in re.findall(r"^@operation\(.*\)\ndef (\w+)", path.read_text(), re.MULTILINE)
    }

    assert {path.name for path in CASES.iterdir()} == operations - BETWEEN_HOSTS
