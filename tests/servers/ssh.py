"""An SSH server that forwards connections, or refuses to; OpenSSH's own is in tests/e2e/test_external_database.py."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from paramiko import Channel, RSAKey, ServerInterface, Transport
from paramiko.common import (
    AUTH_SUCCESSFUL,
    OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED,
    OPEN_FAILED_CONNECT_FAILED,
    OPEN_SUCCEEDED,
)


class Forwarder(ServerInterface):
    """Lets everybody in, and connects to where they want to, unless it `forbids` that."""

    def __init__(self, *, forbids: bool) -> None:
        self.forbids = forbids
        self.connections: dict[int, socket.socket] = {}

    def check_auth_none(self, username: str) -> int:
        return AUTH_SUCCESSFUL

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        if self.forbids:
            return OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        try:
            self.connections[chanid] = connection = socket.create_connection(destination, 10)
        except OSError:
            return OPEN_FAILED_CONNECT_FAILED
        connection.settimeout(None)  # or one that is silent for as long would be cut
        return OPEN_SUCCEEDED


@contextmanager
def forwarding(*, forbids: bool = False) -> Iterator[Transport]:
    """Yield a connection with such a server."""
    here, there = socket.socketpair()
    server, forwarder = Transport(there), Forwarder(forbids=forbids)
    server.add_server_key(RSAKey.generate(2048))
    server.start_server(threading.Event(), forwarder)
    threading.Thread(target=_serve, args=(server, forwarder), daemon=True).start()
    client = Transport(here)
    try:
        client.start_client(timeout=30)
        client.auth_none("ada")
        yield client
    finally:
        client.close()
        server.close()


def _serve(server: Transport, forwarder: Forwarder) -> None:
    while server.is_active():
        if channel := server.accept(1):
            connection = forwarder.connections.pop(channel.get_id())
            for source, target in ((channel, connection), (connection, channel)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: Channel | socket.socket, target: Channel | socket.socket) -> None:
    with suppress(OSError, EOFError):
        while data := source.recv(1 << 15):
            target.sendall(data)
    with suppress(OSError, EOFError):
        if isinstance(target, socket.socket):
            target.shutdown(socket.SHUT_RDWR)
        target.close()
