"""One session with each host for the whole run: it notices when the host is gone, and holds the lock there.

pyinfra 3.10 waits for ever for a command on a host that went silent: paramiko's keepalives ask for no answer, so they
notice nothing, and a `_timeout` per operation can't tell a long command from a dead host. Here the host answers a
line every few seconds. When it no longer does, its connection is closed; what waits on it then fails at once, on this
host alone.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from dataclasses import dataclass
from typing import Protocol

from paramiko import SSHException, Transport
from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import BaseStateCallback, State
from pyinfra.connectors.local import LocalConnector
from pyinfra.connectors.ssh import SSHConnector

from mlflow_stack.domain.lock import READY, Holder, parse_holder, session_command

# Seconds without an answer after which a host counts as lost, and without a line from us after which it frees its
# lock. A host under load answers within a second or two; the variable is for tests.
SILENCE_S = int(os.environ.get("MLFLOW_STACK_SILENCE_S", "30"))
# Answers that are missing are counted, not timed: when this machine stands still for a while, that is one wait.
BEATS = 6
BEAT_S = SILENCE_S / BEATS

CHUNK = 1 << 15

# So much is shown of what a host says instead of beginning a session.
WORDS = 200

REMAINS = "its command may still be at work there: run again when the host is back, the run waits for it to end"

_SILENT = f"the host has not answered for {SILENCE_S} s"

_sessions: dict[Host, Session] = {}
_losses: dict[Host, str] = {}


class Channel(Protocol):
    """What a session needs of paramiko's channel, and a socket has as well."""

    def settimeout(self, timeout: float) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


@dataclass(frozen=True)
class Refused:
    """No session began; `words`: what the host said instead, "" when nothing."""

    words: str


def begin(host: Host, run: str, survey: str, *, lock: bool) -> list[str] | Holder | Refused | None:
    """Begin the session of a run with a host; with `lock` keep its lock to the end.

    Returns what the script `survey` printed there, for which no command of its own is needed then; or who has the lock
    instead; or why no session began, as on a host that gives us no root. Hosts that pyinfra reaches in another way than
    SSH or @local have no session, and a host that is lost needs none: None.
    """
    begun = threading.Event()
    threading.Thread(target=_limit, args=(host, begun), daemon=True).start()
    try:
        channel = _open(host, session_command(run, SILENCE_S, survey, lock=lock))
        said = _said(channel) if channel else []
    except (OSError, EOFError, SSHException) as error:
        lose(host, f"the connection broke ({error})")
        return None
    finally:
        begun.set()
    if not channel:
        return None
    if said[-1:] != [READY]:
        return parse_holder(said[-1] if said else "") or Refused(" ".join(said)[:WORDS])
    _sessions[host] = Session(host, channel)
    if _end not in host.state.callback_handlers:
        host.state.add_callback_handler(_end)  # type: ignore[no-untyped-call]  # pyinfra's own
    return said[:-1]


def _limit(host: Host, begun: threading.Event) -> None:
    if not any(begun.wait(BEAT_S) for _ in range(BEATS)):
        lose(host, _SILENT)


def lose(host: Host, reason: str) -> None:
    """Give a host up: say so, and close its connection, so that nothing waits on it any longer."""
    if host in _losses:
        return
    _losses[host] = reason
    logger.error(f"{host.print_prefix}Lost: {reason}; {REMAINS}")
    if transport := transport_of(host):
        transport.close()  # and not the client: pyinfra would trip over one without a transport


def loss(host: Host) -> str:
    """Return why a host was lost; "" for one that was not."""
    return _losses.get(host, "")


class Session:
    """The session with one host, until `end`."""

    def __init__(self, host: Host, channel: Channel) -> None:
        self.host, self.channel = host, channel
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.channel.settimeout(BEAT_S)
        self.watcher.start()
        # Apart: a line to a host that is gone can block, behind an upload.
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self.over.wait(BEAT_S):
            try:
                self.channel.sendall(b"\n")
            except OSError:
                return  # the watcher knows

    def _watch(self) -> None:
        missed, reason = 0, ""
        while not reason:
            try:
                reason = "" if self.channel.recv(64) else "the host closed the connection"
                missed = 0
            except TimeoutError:
                missed += 1
                reason = _SILENT if missed > BEATS else ""
            except OSError as error:
                reason = f"the connection broke ({error})"
        if not self.over.is_set():
            self.over.set()
            lose(self.host, reason)

    def end(self) -> None:
        """End it; returns when the lock is free, or the host has not said so in time."""
        if not self.over.is_set():
            self.over.set()
            _end_input(self.channel)
            self.watcher.join(timeout=BEAT_S)


class _End(BaseStateCallback):
    @staticmethod
    def host_disconnect(state: State, host: Host) -> None:
        if session := _sessions.pop(host, None):
            session.end()


_end = _End()


def _open(host: Host, command: str) -> Channel | None:
    """Start a command beside those of pyinfra, on the connection that it has already."""
    if transport := transport_of(host):
        explain_end(transport)
        channel = transport.open_session()
        channel.exec_command(command)
        return channel
    if isinstance(host.connector, LocalConnector):
        ours, theirs = socket.socketpair()
        with theirs:
            pipe = theirs.fileno()
            subprocess.Popen(command, shell=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)  # noqa: S602
        return ours
    return None


def explain_end(transport: Transport) -> None:
    """Let what waits for an answer on a connection that ends fail with SSHException, and not with EOFError.

    pyinfra 3.10 gives up the one host for the former, and the whole run, with a traceback, for paramiko's EOFError. It
    gets that when it waits to begin a command: the host went silent between two of them.
    """
    take = transport.get_exception

    def get_exception() -> Exception | None:
        error: Exception | None = take()
        return SSHException("the connection ended") if isinstance(error, EOFError) else error

    transport.get_exception = get_exception  # type: ignore[method-assign]


def transport_of(host: Host) -> Transport | None:
    """Return pyinfra's SSH connection with a host; None where it has none."""
    connector = host.connector
    return connector.client.get_transport() if isinstance(connector, SSHConnector) and connector.client else None


def _said(channel: Channel) -> list[str]:
    """Return what a session's program says up to READY, or up to its end."""
    said = b""
    # Nothing comes behind READY before we say something.
    while not said.endswith(f"{READY}\n".encode()) and (more := channel.recv(CHUNK)):
        said += more
    return [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]


def _end_input(channel: Channel) -> None:
    try:
        if isinstance(channel, socket.socket):
            channel.shutdown(socket.SHUT_WR)
        else:
            channel.shutdown_write()  # type: ignore[attr-defined]  # paramiko's
    except OSError:
        return
