"""A stack behind its proxy, as its clients have it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e import web
from tests.e2e.stack import EXAMPLE, Stack

NAME = "mlflow.example.com"
ADMIN, SHOP = ("admin", "correct horse"), ("shop", "battery staple")
SEARCH = "/api/2.0/mlflow/experiments/search"


class Proxied(Stack):
    """The served stack behind its proxy; `ca` is the authority that the host has made."""

    roles = "postgresql = tracking = production = proxy"
    ca: Path

    @classmethod
    def of(cls, stack: Stack) -> Proxied:
        proxied = cls(stack.host, stack.directory)
        proxied.settings = stack.settings | {
            "tracking_bind": "",
            "production_bind": "",
            "tracking_public_name": NAME,
            "proxy_users": {ADMIN[0]: "env:ADMIN_PASSWORD"},
            "production_models": {
                "diabetes": {"uri": "models:/diabetes@champion", "users": {SHOP[0]: "env:SHOP_PASSWORD"}}
            },
        }
        proxied.url = f"https://{stack.host.address}"
        proxied.model_url = f"{proxied.url}/models/diabetes"
        return proxied

    def ask(self, method: str, path: str, auth: tuple[str, str] | None = ADMIN, **options: Any) -> requests.Response:
        """Ask as a client of the tracking server that trusts the host's authority."""
        with requests.Session() as session:
            session.trust_env = False
            verify = str(self.ca)
            return session.request(method, f"{self.url}{path}", auth=auth, verify=verify, timeout=60, **options)

    def search(self, auth: tuple[str, str] | None = ADMIN, **options: Any) -> requests.Response:
        return self.ask("POST", SEARCH, auth, json={"max_results": 1}, **options)

    def predict(self, auth: tuple[str, str] | None = SHOP, **options: Any) -> requests.Response:
        return self.ask("POST", "/models/diabetes/invocations", auth, json=EXAMPLE, **options)

    def fault(self) -> str:
        try:
            answers = {"tracking": self.search(), "model": self.predict()}
        except requests.RequestException as error:
            return str(error)
        wrong = [f"{name}: {each.status_code} {each.text}" for name, each in answers.items() if each.status_code != 200]
        return "; ".join(wrong)

    def searched(self, _patience_s: float) -> web.Answer:
        """Search as a client that is one of many (load.Load); no answer has status 0."""
        try:
            answer = self.search()
        except requests.RequestException as error:
            return web.Answer(0, str(error))
        return web.Answer(answer.status_code, answer.text)


@contextmanager
def passwords() -> Iterator[None]:
    """The environment in which a deploy finds the passwords of ADMIN and SHOP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADMIN_PASSWORD", ADMIN[1])
        patch.setenv("SHOP_PASSWORD", SHOP[1])
        yield


@contextmanager
def proxied(served: Stack, directory: Path) -> Iterator[Proxied]:
    """A served stack to which a proxy was added; what its clients trust is kept in `directory`."""
    served.recovers()
    stack = Proxied.of(served)
    with passwords():
        stack.converge()
        stack.ca = directory / "ca.crt"
        stack.ca.write_text(web.get(f"http://{stack.host.address}/ca.crt").body)
        yield stack
