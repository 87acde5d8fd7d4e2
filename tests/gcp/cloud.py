"""A local stand-in for Google's APIs, which no test can reach: it keeps what it is told, and answers what it has kept.

It is a double, for the network forbids the real ones. What it can't show is what Google itself refuses, how long things
take, and whether what was made works. What it does show is what the real gcloud sends, all of it (endpoint.py). Each
request, and each answer of its own, is compared with the API's published schema (schema.py). What is answered for each
API stands in apis/.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from tests.gcp import schema
from tests.gcp.schema import Request

PROJECT, NUMBER = "my-project-1", "123456789012"
TOKEN = "a-token-that-only-the-stand-in-takes"


class NotDone(Exception):
    """An answer that is an error: its HTTP status, the API's word for it, and its message."""

    def __init__(self, status: int, word: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"error": {"code": status, "status": word, "message": message}}
        self.status = status


def not_found(what: str) -> NotDone:
    return NotDone(404, "NOT_FOUND", f"{what} not found")


def merged(thing: Any, patch: Any) -> Any:
    """Return a thing with a JSON merge patch (RFC 7396), as the APIs' PATCH has it."""
    if not isinstance(patch, dict) or not isinstance(thing, dict):
        return patch
    return {**thing, **{name: merged(thing.get(name), value) for name, value in patch.items()}}


Handler = Callable[["Cloud", re.Match[str], Request], Any]
_handlers: list[tuple[str, str, re.Pattern[str], Handler]] = []


def answers(method: str, api: str, pattern: str) -> Callable[[Handler], Handler]:
    """Register what answers the requests of an API whose path is like `pattern`; the first that fits does."""

    def register(handler: Handler) -> Handler:
        _handlers.append((method, api, re.compile(pattern), handler))
        return handler

    return register


class Cloud:
    """The state of one project. `things` are resources by their path in the API, as it shows them.

    `complaints` is what the schemas do not know. `fails` makes requests fail that are like a pattern ("METHOD
    host/path"); a number in it is how many times.
    """

    def __init__(self) -> None:
        self.things: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.apis: set[str] = {"serviceusage.googleapis.com", "storage.googleapis.com"}
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.fails: list[tuple[str, NotDone, int]] = []
        self.lock = threading.Lock()

    @property
    def changes(self) -> list[Request]:
        return [request for request in self.requests if request.changes]

    def get(self, path: str) -> Any:
        """Return the thing at a path. Raises NotDone (404) where none is."""
        if path not in self.things:
            raise not_found(path.rpartition("/")[2])
        return self.things[path]

    def inside(self, path: str) -> list[Any]:
        """Return the things right below a path."""
        return [thing for name, thing in self.things.items() if name.rpartition("/")[0] == path]

    def fail(self, pattern: str, status: int, word: str, message: str, times: int = 1000) -> None:
        self.fails.append((pattern, NotDone(status, word, message), times))

    def handle(self, request: Request, authorization: str) -> tuple[int, Any]:
        with self.lock:  # gcloud asks several things at once
            self.requests.append(request)
            try:
                self._refuse(request, authorization)
                answer = self._answer(request)
            except NotDone as refused:
                self.complaints += schema.complaints(request)
                return refused.status, refused.answer
            self.complaints += schema.complaints(request, answer)
            return 200, answer

    def _refuse(self, request: Request, authorization: str) -> None:
        if authorization != f"Bearer {TOKEN}":
            raise NotDone(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        for number, (pattern, error, times) in enumerate(self.fails):
            if times and re.search(pattern, str(request)):
                self.fails[number] = (pattern, error, times - 1)
                raise error

    def _answer(self, request: Request) -> Any:
        api = request.host.removesuffix(".googleapis.com").rpartition("-")[2]
        for method, of_api, pattern, handler in _handlers:
            match = pattern.fullmatch(request.path)
            if (method, of_api) == (request.method, api) and match:
                return handler(self, match, request)
        raise not_found(str(request))
