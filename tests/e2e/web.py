"""HTTP as somebody without the MLflow client speaks it, past any proxy of the environment."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer; status 0 when there was none, with the reason as body."""

    status: int
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def get(url: str, *, timeout: float = 30, **headers: str) -> Answer:
    """GET a URL. In the name of a header "_" stands for "-"."""
    return _call(url, None, timeout, headers)


def post(url: str, body: object, *, timeout: float = 30, **headers: str) -> Answer:
    """POST bytes or text as it is, anything else as JSON."""
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return _call(url, data, timeout, {"Content_Type": JSON, **headers})


def put(url: str, body: bytes, *, timeout: float = 30, **headers: str) -> Answer:
    """PUT bytes."""
    return _call(url, body, timeout, {"Content_Type": "application/octet-stream", **headers}, "PUT")


def _call(url: str, data: bytes | None, timeout: float, headers: dict[str, str], method: str | None = None) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, data, named, method=method), timeout=timeout) as answer:
            return Answer(answer.status, answer.read().decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode(errors="replace"))
    except (OSError, HTTPException) as error:
        return Answer(0, str(error))
