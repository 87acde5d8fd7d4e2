"""gate.py in front of an app, in uvicorn, which is what runs it in a container."""

from __future__ import annotations

import asyncio
import base64
import http.client
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from lab.process import wait_until
from mlflow_stack.domain.login import TRACKING_AREA, logins_text
from mlflow_stack.on_host.gate import LoginRequired
from mlflow_stack.on_host.login import Gate, read_users

LOGINS = {(TRACKING_AREA, "ada"): "love lace: ä", ("models/diabetes", "shop"): "cart"}
NO_LOGIN = (401, b"A login is needed\n", 'Basic realm="MLflow", charset="UTF-8"')
TIMEOUT_S = 20


@dataclass
class Echo:
    """An app that answers with what it is sent, and keeps the headers and the pieces of each request."""

    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.headers.append(dict(scope["headers"]))
        more = True
        while more:
            message = await receive()
            self.pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"".join(self.pieces)})


@dataclass
class Server:
    port: int
    app: Echo

    def ask(self, path: str = "/", login: str = "", body: bytes = b"", **headers: str) -> tuple[int, bytes, str | None]:
        """Return status, body and WWW-Authenticate."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        given = {"Authorization": login} if login else {}
        connection.request("POST", path, body, {**given, **headers})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body, answer.getheader("WWW-Authenticate")


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def gate() -> Gate:
    return Gate(read_users(logins_text(LOGINS, {login: os.urandom(16) for login in LOGINS})))


ADA = basic("ada", "love lace: ä")
WRONG = basic("ada", "love lace")


@pytest.fixture
def server() -> Iterator[Server]:
    app = Echo()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = uvicorn.Server(uvicorn.Config(LoginRequired(app, gate()), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        assert wait_until(lambda: running.started, TIMEOUT_S)
        yield Server(listening.getsockname()[1], app)
        running.should_exit = True
        thread.join(TIMEOUT_S)


def test_request_without_a_login_is_refused_and_the_app_does_not_see_it(server: Server) -> None:
    assert server.ask(body=b"secret") == NO_LOGIN
    assert server.app.headers == []


@pytest.mark.parametrize(
    "login",
    [WRONG, basic("eve", "love lace: ä"), basic("shop", "cart"), "Basic !", "Bearer token", "Basic"],
)
def test_wrong_login_is_refused(server: Server, login: str) -> None:
    assert server.ask(login=login) == NO_LOGIN
    assert server.app.headers == []


def test_right_login_passes_and_stays_here(server: Server) -> None:
    assert server.ask("/api", ADA, b"a run", Accept="text/plain") == (200, b"a run", None)
    assert b"authorization" not in server.app.headers[0]
    assert server.app.headers[0][b"accept"] == b"text/plain"


def test_health_asks_for_no_login_and_nothing_else_is_like_it(server: Server) -> None:
    assert server.ask("/health")[0] == 200
    assert [server.ask(path)[0] for path in ("/health/", "/healthz", "//health", "/health/../x", "/x?/health")] == [
        401
    ] * 5


def test_two_logins_in_one_request_are_none(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    connection.putrequest("GET", "/")
    connection.putheader("Authorization", ADA)
    connection.putheader("Authorization", WRONG)
    connection.endheaders()

    assert connection.getresponse().status == 401
    connection.close()


def test_upload_streams_through(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as client:
        client.sendall(
            f"PUT / HTTP/1.1\r\nHost: x\r\nAuthorization: {ADA}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        client.sendall(b"5\r\nfirst\r\n")
        assert wait_until(lambda: b"first" in server.app.pieces, TIMEOUT_S)  # while the rest is still on its way
        client.sendall(b"4\r\nlast\r\n0\r\n\r\n")

        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    assert b"".join(server.app.pieces) == b"firstlast"


def test_many_wrong_logins_are_slowed_down_and_who_is_known_gets_in(server: Server) -> None:
    assert server.ask(login=ADA)[0] == 200

    answers = [server.ask(login=WRONG) for _ in range(11)]

    assert [status for status, *_ in answers] == [401] * 10 + [429]
    assert answers[-1][1] == b"Too many wrong logins from your address; wait\n"
    assert server.ask(login=ADA)[0] == 200


def test_wrong_logins_count_for_the_client_that_a_trusted_proxy_names(server: Server) -> None:
    """uvicorn trusts a proxy on its own host, and whom FORWARDED_ALLOW_IPS names; the last address is the proxy's."""
    for _ in range(11):
        attacker = server.ask(login=WRONG, **{"X-Forwarded-For": "192.0.2.7, 198.51.100.1"})

    assert attacker[0] == 429
    assert server.ask(login=WRONG, **{"X-Forwarded-For": "198.51.100.1, 192.0.2.7"})[0] == 401


def websocket(login: str) -> tuple[list[dict[str, Any]], bool]:
    """Return what is answered to the opening of a WebSocket, and whether the app had it."""
    sent: list[dict[str, Any]] = []
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", login.encode())] if login else []
    scope = {"type": "websocket", "path": "/health", "headers": headers, "client": ("10.0.0.9", 1)}
    asyncio.run(LoginRequired(app, gate())(scope, receive, send))
    return sent, bool(seen)


def test_websocket_needs_a_login_too() -> None:
    """As ASGI's own messages: MLflow's environment has no library that speaks WebSocket."""
    assert websocket("") == ([{"type": "websocket.close", "code": 1008}], False)
    assert websocket(WRONG) == ([{"type": "websocket.close", "code": 1008}], False)
    assert websocket(ADA) == ([], True)
