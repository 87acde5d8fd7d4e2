"""The session with a host, over real connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from paramiko import RSAKey, ServerInterface, SSHException, Transport
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State

from mlflow_stack.session import Refused, begin, explain_end

TIMEOUT_S = 30
RUN = "ada@laptop:41-3fa9c2"


class SilentServer(ServerInterface):
    """Lets everybody in, and is silent about commands until its connection ends."""

    def __init__(self) -> None:
        self.asked, self.over = threading.Event(), threading.Event()

    def check_auth_none(self, username: str) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        self.asked.set()
        self.over.wait(TIMEOUT_S)
        return OPEN_SUCCEEDED


@pytest.fixture
def connection() -> Iterator[tuple[Transport, Transport, SilentServer]]:
    """Both ends of an SSH connection, and what answers it."""
    ours, theirs = map(Transport, socket.socketpair())
    server = SilentServer()
    theirs.add_server_key(RSAKey.generate(2048))
    theirs.start_server(threading.Event(), server)
    ours.start_client(timeout=TIMEOUT_S)
    ours.auth_none("ada")
    yield ours, theirs, server
    server.over.set()
    ours.close()
    theirs.close()


def test_command_that_waits_to_begin_fails_so_that_pyinfra_goes_on_when_its_connection_ends(
    connection: tuple[Transport, Transport, SilentServer],
) -> None:
    ours, theirs, server = connection
    explain_end(ours)

    def end() -> None:
        server.asked.wait(TIMEOUT_S)
        theirs.sock.close()

    threading.Thread(target=end, daemon=True).start()

    with pytest.raises(SSHException, match=r"^the connection ended$"):
        ours.open_session(timeout=TIMEOUT_S)


@pytest.fixture
def local() -> Iterator[Host]:
    state = State(Inventory((["@local"], {})), Config())  # type: ignore[no-untyped-call]
    connect_all(state)
    yield state.inventory.get_host("@local")
    disconnect_all(state)


def bash_is(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of our own before the host's bash."""
    (directory / "bash").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "bash").chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")


def test_session_begins_whatever_a_shell_or_sudo_says_before_it(
    local: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "echo 'sudo: unable to resolve host db1' >&2; echo Welcome 5"
    bash_is(tmp_path, f'{says}; exec /bin/bash "$@"', monkeypatch)

    assert begin(local, RUN, "echo os=debian; echo version=12", lock=False) == [
        "sudo: unable to resolve host db1",
        "Welcome 5",
        "os=debian",
        "version=12",
    ]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo 'sudo: unable to resolve host db1'; echo 'not allowed' >&2",
            "sudo: unable to resolve host db1 not allowed",
        ),
        ("true", ""),
    ],
)
def test_session_that_does_not_begin_says_what_the_host_said(
    local: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    bash_is(tmp_path, script, monkeypatch)

    assert begin(local, RUN, "echo os=debian", lock=False) == Refused(words)


def test_host_of_another_connector_has_no_session_and_needs_none() -> None:
    state = State(Inventory((["@fake/a"], {})), Config())  # type: ignore[no-untyped-call]
    connect_all(state)

    assert begin(state.inventory.get_host("@fake/a"), RUN, "echo os=debian", lock=True) is None
