"""Connections from here to what a host reaches, through the SSH connection that a run has with the host already."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from paramiko import Channel, ChannelException, SSHException, Transport

# The host's own wait for an address that does not answer is two minutes.
REACH_S = 10
CHUNK = 1 << 15
ADMINISTRATIVELY_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 5.1


class Forbidden(Exception):
    """The host's SSH server forwards no connection."""


class Unreached(Exception):
    """The host does not reach the address; the message says why."""


@contextmanager
def through(transport: Transport, host: str, port: int) -> Iterator[int]:
    """Yield a port of 127.0.0.1; the first connection to it comes out at `host`:`port`, as the transport's host has it.

    Raises Forbidden and Unreached.
    """
    try:
        channel = transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=REACH_S)
    except ChannelException as error:
        if error.code == ADMINISTRATIVELY_PROHIBITED:
            raise Forbidden from None
        raise Unreached(error.text or "no reason given") from None
    except (SSHException, EOFError, OSError):
        raise Unreached(f"no answer within {REACH_S} s") from None
    with channel, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(REACH_S)
        threading.Thread(target=_pass_on, args=(listener, channel), daemon=True).start()
        yield listener.getsockname()[1]


def _pass_on(listener: socket.socket, channel: Channel) -> None:
    with suppress(OSError):  # nobody came, or either side has gone
        connection, _ = listener.accept()
        with connection:
            threading.Thread(target=_copy_up, args=(connection, channel), daemon=True).start()
            while data := channel.recv(CHUNK):
                connection.sendall(data)
            connection.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the other thread's recv


def _copy_up(connection: socket.socket, channel: Channel) -> None:
    with suppress(OSError):
        while data := connection.recv(CHUNK):
            channel.sendall(data)
        channel.shutdown_write()
