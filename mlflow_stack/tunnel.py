"""Connections from here to what a host reaches, through the SSH connection that a run has with the host already."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from paramiko import Channel, ChannelException, SSHException, Transport

# The host's own wait for an address that does not answer is two minutes.
REACH_S = 10
GONE = (OSError, EOFError)  # the latter is paramiko's, for a connection that has ended
CHUNK = 1 << 15
ADMINISTRATIVELY_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254 5.1


class Forbidden(Exception):
    """The host's SSH server forwards no connection."""


class Unreached(Exception):
    """The host does not reach the address; the message says why."""


@contextmanager
def through(transport: Transport, host: str, port: int) -> Iterator[int]:
    """Yield a port of 127.0.0.1; connections to it come out at `host`:`port`, as the transport's host has it.

    One is opened at once, to see whether it can be. More may come: where libpq may do without TLS, it tries that too.
    Raises Forbidden and Unreached.
    """
    with ExitStack() as stack:

        def reach() -> Channel:
            return stack.enter_context(_open(transport, host, port))

        ready = [reach()]
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.callback(listener.shutdown, socket.SHUT_RDWR)  # closing alone would not wake who waits in accept
        threading.Thread(target=_accept, args=(listener, ready, reach), daemon=True).start()
        yield listener.getsockname()[1]


def _open(transport: Transport, host: str, port: int) -> Channel:
    try:
        return transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=REACH_S)
    except ChannelException as error:
        if error.code == ADMINISTRATIVELY_PROHIBITED:
            raise Forbidden from None
        raise Unreached(error.text or "no reason given") from None
    except (SSHException, EOFError, OSError):
        raise Unreached(f"no answer within {REACH_S} s") from None


def _accept(listener: socket.socket, ready: list[Channel], reach: Callable[[], Channel]) -> None:
    with suppress(OSError):  # nobody comes any more
        while True:
            connection, _ = listener.accept()
            channel = ready.pop() if ready else None
            threading.Thread(target=_pass_on, args=(connection, channel, reach), daemon=True).start()


def _pass_on(connection: socket.socket, channel: Channel | None, reach: Callable[[], Channel]) -> None:
    with suppress(*GONE, Unreached, Forbidden), connection:  # either side has gone
        channel = channel or reach()
        threading.Thread(target=_copy_up, args=(connection, channel), daemon=True).start()
        while data := channel.recv(CHUNK):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)  # closing alone would wait for the other thread's recv


def _copy_up(connection: socket.socket, channel: Channel) -> None:
    with suppress(*GONE):
        while data := connection.recv(CHUNK):
            channel.sendall(data)
        channel.shutdown_write()
