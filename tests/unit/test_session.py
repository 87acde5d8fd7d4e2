"""The session with a host, over real connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from paramiko import RSAKey, ServerInterface, SSHException, Transport
from paramiko.common import AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from mlflow_stack.session import explain_end

TIMEOUT_S = 30


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
