"""Operations that look at another host: its store, its certificate authority, what it releases, and the gate."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import OperationError
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.context import ctx_host, ctx_state

from mlflow_stack.domain.certificates import HostCertificate
from mlflow_stack.domain.environment import Toolchain
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.tracking_server import TrackingServer
from mlflow_stack.look import Later
from mlflow_stack.operations import artifacts, certificates, gate, mlflow, models
from mlflow_stack.operations.commands import Write

STORE = "/srv/mlflow-artifacts"
FIRST, SECOND = "@fake/web1", "@fake/web2"
MARKED = ["uid=998", "owner=998", "writable=yes", "mark=one"]
UNMARKED = [*MARKED[:-1], "mark="]


def hosts(asked: str = "echo mark=", **answers: list[str]) -> State:
    """Return two connected hosts that answer what is asked by a command with this part, the state of their store."""
    return connected(**{name: {asked: lines} for name, lines in answers.items()})


def connected(**responses: dict[str, list[str]]) -> State:
    """Return connected hosts with what each answers, by a part of the command."""
    names = [
        (f"@fake/{name}", {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": own})
        for name, own in responses.items()
    ]
    state = State(Inventory((names, {})), Config())  # type: ignore[no-untyped-call]
    state.print_noop_info = True
    connect_all(state)
    return state


def on(name: str, state: State, operation: Any, **arguments: Any) -> list[StringCommand]:
    with ctx_state.use(state), ctx_host.use(state.inventory.get_host(name)):
        return list(operation._inner(**arguments))


def on_second(state: State, operation: Any, **arguments: Any) -> list[StringCommand]:
    return on(SECOND, state, operation, **arguments)


@pytest.mark.parametrize("is_run", [False, True])
def test_store_without_the_first_hosts_mark_is_refused(is_run: bool) -> None:
    state = hosts(web1=MARKED, web2=UNMARKED)
    state.is_executing = is_run
    problem = (
        f"{STORE} is not the store that {FIRST} has: the mark .mlflow-stack-store that it made there is missing here; "
        "mount the same network file system on both"
    )

    try:
        said = [
            command.get_raw_value() for command in on_second(state, artifacts.same_store, directory=STORE, first=FIRST)
        ]
    except OperationError as refusal:
        said = [str(refusal)]

    assert said == [f"printf '%s\\n' '{problem}' >&2; exit 1" if is_run else problem]


@pytest.mark.parametrize("theirs", [MARKED, UNMARKED])
def test_store_that_is_the_first_hosts_is_accepted(theirs: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyinfra")

    commands = on_second(hosts(web1=theirs, web2=theirs), artifacts.same_store, directory=STORE, first=FIRST)

    assert commands == []
    assert f"noop: {STORE} is the store of {FIRST}" in caplog.text


def test_marked_store_is_used_while_the_first_host_is_away() -> None:
    state = hosts(web1=UNMARKED, web2=MARKED)
    state.failed_hosts.add(state.inventory.get_host(FIRST))

    assert on_second(state, artifacts.same_store, directory=STORE, first=FIRST) == []


def test_gate_stays_shut_when_every_host_that_is_needed_has_failed() -> None:
    state = hosts(web1=MARKED, web2=MARKED)
    state.is_executing = True
    state.failed_hosts.add(state.inventory.get_host(FIRST))

    commands = on_second(state, gate.passed, hosts=[FIRST], role="the database")

    assert [command.get_raw_value() for command in commands] == [
        f"printf '%s\\n' 'the database is on {FIRST}, where this run failed; nothing that needs it was done here. Put "
        "right what it says there, then deploy again' >&2; exit 1"
    ]


def test_gate_opens_when_one_of_the_hosts_that_are_needed_is_left() -> None:
    state = hosts(web1=MARKED, web2=MARKED)
    state.is_executing = True
    state.failed_hosts.add(state.inventory.get_host(FIRST))

    assert on_second(state, gate.passed, hosts=[FIRST, SECOND], role="the tracking server") == []


SCHEMA: dict[str, Any] = {
    "environment": "/opt/mlflow/envs/mlflow-new",
    "uri": "postgresql+psycopg2://mlflow_user@db/mlflow_db",
    "target": "dc11669786a5",
    "allow_upgrade": True,
    "passfile": "",
    "servers": [FIRST, SECOND],
}


def with_first_away(found: str, is_run: bool = False) -> State:
    """Return two hosts that find this about the database's schema, the first of which has failed."""
    state = hosts("schema.py revision", web1=[found], web2=[found])
    state.failed_hosts.add(state.inventory.get_host(FIRST))
    state.is_executing = is_run
    return state


@pytest.mark.parametrize("is_run", [False, True])
def test_schema_is_not_upgraded_under_a_server_that_takes_no_part(is_run: bool) -> None:
    problem = (
        "the tracking database has schema revision 0123456789ab, this MLflow has dc11669786a5, and this run failed on "
        f"{FIRST}, or could not reach it, where a server of the old MLflow may run on the database. Put right what it "
        "says there, or take the host out of the inventory; then deploy again. Nothing was changed on the database or "
        "the running server"
    )

    try:
        commands = on_second(with_first_away('{"revision": "0123456789ab"}', is_run), mlflow.schema, **SCHEMA)
        said = [command.get_raw_value() for command in commands]
    except OperationError as refusal:
        said = [str(refusal)]

    assert said == [f"printf '%s\\n' '{problem}' >&2; exit 1" if is_run else problem]


def test_empty_database_is_initialised_while_a_server_is_away() -> None:
    commands = on_second(with_first_away('{"revision": null}'), mlflow.schema, **SCHEMA)

    assert "schema.py upgrade" in commands[0].get_raw_value()


@pytest.mark.parametrize(("servers", "leave"), [([FIRST, SECOND], "--refuse-upgrade"), ([SECOND], "--allow-upgrade")])
def test_schema_that_can_not_be_read_is_upgraded_only_with_every_server_in_the_run(
    servers: list[str], leave: str
) -> None:
    state = with_first_away('{"error": "connection refused"}')

    (command,) = on_second(state, mlflow.schema, **{**SCHEMA, "servers": servers})

    assert f"dc11669786a5 {leave};" in command.get_raw_value()


def test_hosts_of_one_registry_release_one_version_while_the_alias_moves() -> None:
    conda_yaml = "dependencies: [python=3.12, {pip: [mlflow==3.17.2]}]"
    versions = {
        number: {"uri": f"models:/diabetes/{number}", "id": f"v{number}-0", "conda_yaml": conda_yaml}
        for number in (1, 2)
    }
    answers = {
        f"web{number}": [json.dumps({"diabetes": {"current": None, "resolved": resolved}})]
        for number, resolved in versions.items()
    }
    state = hosts("END OF models.py", **answers)
    arguments = {
        "model": "diabetes",
        "uris": {"diabetes": "models:/diabetes@champion"},
        "required": True,
        "server": TrackingServer("http://web:5000"),
        "client_environment": "/opt/mlflow/envs/mlflow-x",
        "channels": ("conda-forge",),
        "toolchain": Toolchain("/opt/mlflow/miniconda3", "pip", ""),
        "keep": 2,
    }

    first = on(FIRST, state, models.release, registry="web1", **arguments)
    second = on(SECOND, state, models.release, registry="web1", **arguments)
    of_another = on(SECOND, state, models.release, registry="web9", **arguments)

    assert [str(command) for command in first] == [str(command) for command in second]
    assert "models:/diabetes/1" in str(first[1])
    assert "models:/diabetes/2" in str(of_another[1])


# --- whom a host trusts ------------------------------------------------------------------------------------------

AUTHORITY = ["-----BEGIN CERTIFICATE-----", "bWxmbG93", "-----END CERTIFICATE-----"]
CA_FILE = ManagedFile("/var/lib/mlflow-models/tracking-ca.crt", "\n".join([*AUTHORITY, ""]))
CERTIFICATE = HostCertificate("/etc/mlflow/credentials/proxy", "/etc/mlflow/proxy/ca.crt", ("mlflow.example.com",))
TRUST: dict[str, Any] = {"path": CA_FILE.path, "certificates": {FIRST: CERTIFICATE}}


def trusting(present: ManagedFile | None, authority: list[str]) -> State:
    """Return two hosts, the first with this authority, the second with this file of those that it trusts."""
    state = present and present.state()
    found = [f"{state.mode} {state.owner} {state.group} {state.sha256} {CA_FILE.path}"] if state else []
    return connected(web1={"certificate.sh check": authority}, web2={'sha256sum < "$f"': found})


def test_authority_of_another_host_is_written_where_it_is_not_trusted_yet() -> None:
    (command,) = on_second(trusting(None, AUTHORITY), certificates.trusted, **TRUST)

    assert isinstance(command, Write)
    assert command.file == CA_FILE


def test_new_authority_of_another_host_takes_the_place_of_the_old_one() -> None:
    (command,) = on_second(trusting(ManagedFile(CA_FILE.path, "old\n"), AUTHORITY), certificates.trusted, **TRUST)

    assert isinstance(command, Write)
    assert command.file == CA_FILE


def test_authority_that_is_trusted_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyinfra")

    assert on_second(trusting(CA_FILE, AUTHORITY), certificates.trusted, **TRUST) == []
    assert f"noop: {CA_FILE.path} is that of {FIRST}" in caplog.text


def test_authority_that_this_run_makes_can_not_be_planned() -> None:
    with pytest.raises(Later, match=rf"^the certificate authority of {FIRST} is made in this run$"):
        on_second(trusting(None, []), certificates.trusted, **TRUST)


def test_authority_is_kept_while_its_host_can_not_be_asked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pyinfra")
    state = trusting(CA_FILE, AUTHORITY)
    state.failed_hosts.add(state.inventory.get_host(FIRST))

    assert on_second(state, certificates.trusted, **TRUST) == []
    assert f"noop: {CA_FILE.path} is kept; {FIRST} could not be asked" in caplog.text


def test_host_that_trusts_nobody_yet_is_not_deployed_while_the_other_can_not_be_asked() -> None:
    state = trusting(None, AUTHORITY)
    state.failed_hosts.add(state.inventory.get_host(FIRST))

    with pytest.raises(OperationError) as refused:
        on_second(state, certificates.trusted, **TRUST)

    assert str(refused.value) == (
        f"{FIRST} has no certificate authority that this host could trust; deploy there first, without --limit"
    )
