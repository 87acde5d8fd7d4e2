"""A client that asks at a constant rate, whether it is answered or not, as many users together do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.e2e.web import Answer

# Requests in a second. All come from one address, which the proxy lets hold 200 connections: on a busy machine they may
# have to wait for half a minute.
RATE = 5
PATIENCE_S = 60


@dataclass
class Load:
    """Asks as long as the context lasts, each time on a connection of its own; then all answers are there.

    `ask` is called with the seconds that an answer may take.
    """

    ask: Callable[[float], Answer]
    answers: list[Answer] = field(default_factory=list)
    longest_s: float = 0

    def __enter__(self) -> Load:
        self._over = threading.Event()
        self._requests: list[threading.Thread] = []
        self._clock = threading.Thread(target=self._run)
        self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._clock.join()
        for request in self._requests:
            request.join(PATIENCE_S * 2)

    def _run(self) -> None:
        while not self._over.wait(1 / RATE):
            self._requests.append(threading.Thread(target=self._one, daemon=True))
            self._requests[-1].start()

    def _one(self) -> None:
        start = time.monotonic()
        answer = self.ask(PATIENCE_S)
        self.longest_s = max(self.longest_s, time.monotonic() - start)
        self.answers.append(answer)

    @property
    def failed(self) -> list[Answer]:
        """The answers that were none, or not what was asked for."""
        return [answer for answer in self.answers if answer.status != 200]
