"""A login in front of MLflow, inside its own server: for a container, which has no proxy of ours before it.

MLflow runs what this makes when it is started with `--app-name mlflow-stack`: its own app behind an ASGI middleware,
found by the entry point "mlflow.app" that stands beside this file in an image (MLflow's documentation, "App Plugins").
Who may pass is decided as behind a proxy, by login.py; the file of logins is named by MLFLOW_STACK_LOGINS.

What passes is not touched: a body streams through in both directions. MLflow does not get to see the login. Without one
only /health is answered. Whose request it is, uvicorn says: the address that connects, or what a proxy says of it that
FORWARDED_ALLOW_IPS trusts (uvicorn, "Settings").
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # last: no name of ours may stand before one of MLflow's

from login import TRACKING_AREA, Answer, Gate, read_users  # type: ignore[import-not-found]  # its neighbour

LOGINS_VARIABLE = "MLFLOW_STACK_LOGINS"
PASSES, TOO_MANY = 204, 403
# A scope's own types; it is told of an end of the server too ("lifespan"), which is nobody's request.
REQUESTS = ("http", "websocket")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class LoginRequired:
    """Passes on to `app` the requests that `gate` lets in, and answers the others."""

    def __init__(self, app: Application, gate: Gate) -> None:
        self.app, self.gate = app, gate
        # Not asyncio's own threads: whoever guesses passwords would keep MLflow's requests waiting for one.
        self.hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="login")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in REQUESTS or (scope["type"] == "http" and scope["path"] == "/health"):
            return await self.app(scope, receive, send)
        status, headers = await self._answer(scope)
        if status == PASSES:
            return await self.app(without_login(scope), receive, send)
        if scope["type"] == "websocket":
            await receive()  # what asks for the connection; closing it before it is open is HTTP 403
            return await send({"type": "websocket.close", "code": 1008})
        return await refuse(send, status, headers)

    async def _answer(self, scope: Message) -> Answer:
        given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        header = given[0] if len(given) == 1 else ""
        address = (scope.get("client") or ("",))[0]
        at_once: Answer | None = self.gate.at_once(TRACKING_AREA, header)
        if at_once:
            return at_once
        running = asyncio.get_running_loop()
        return await running.run_in_executor(self.hashing, self.gate.answer, TRACKING_AREA, address, header)


def without_login(scope: Message) -> Message:
    return {**scope, "headers": [header for header in scope["headers"] if header[0] != b"authorization"]}


async def refuse(send: Send, status: int, headers: dict[str, str]) -> None:
    """Answer as the proxy does: 401, or 429 where the gate says that there were too many."""
    body = b"Too many wrong logins from your address; wait\n" if status == TOO_MANY else b"A login is needed\n"
    fields = {"content-type": "text/plain", "content-length": str(len(body)), **headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    status = 429 if status == TOO_MANY else status
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


def create_app() -> LoginRequired:
    """Return MLflow's app behind the login; a function, since MLflow tells a factory by that."""
    from mlflow.server.fastapi_app import app  # noqa: PLC0415  # it takes seconds, and only the server needs it

    return LoginRequired(app, Gate(read_users(Path(os.environ[LOGINS_VARIABLE]).read_text())))
