"""A small HTTP server that answers as a test wants: a stand-in, for answers that a real server gives only when ill."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer, ThreadingUnixStreamServer

import pytest


@dataclass(frozen=True)
class Answer:
    """What the server says to one request; `length` is the Content-Length that it announces, default the true one."""

    body: bytes = b""
    status: int = 200
    length: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class StandIn:
    """The server's address, its answers by "METHOD /path", and the requests that it has had, with their bodies.

    With `echo` it keeps what is PUT and gives it back, as an artifact store does. With a `login` it answers 401 to who
    has another one, but for /health.
    """

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, bytes]] = field(default_factory=list)
    echo: bool = False
    login: str = ""


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    """One that listens on a port of this computer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    yield from served(server, StandIn(f"http://127.0.0.1:{server.server_port}"))


@pytest.fixture
def stand_in_at_socket(tmp_path: Path) -> Iterator[StandIn]:
    """One that listens on a socket of the file system."""
    path = str(tmp_path / "http.sock")
    yield from served(ThreadingUnixStreamServer(path, BaseHTTPRequestHandler), StandIn(f"unix:{path}"))


def served(server: TCPServer, state: StandIn) -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            what = f"{self.command} {self.path}"
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.requests.append((what, body))
            if state.echo and self.command == "PUT":
                state.answers[f"GET {self.path}"] = Answer(body)
            if state.echo and self.command in ("PUT", "DELETE"):
                state.answers.setdefault(what, Answer(b"{}"))
            answer = state.answers.get(what, Answer(b"not here", 404))
            if state.login not in ("", self.headers.get("Authorization")) and self.path != "/health":
                answer = Answer(b"You are not authenticated", 401)
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server.RequestHandlerClass = Handler
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield state
        server.shutdown()
        thread.join(timeout=10)
