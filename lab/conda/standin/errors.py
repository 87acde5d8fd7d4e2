"""conda's way to fail: an exception name, a message, and exit status 1."""

from __future__ import annotations


class CondaError(Exception):
    """A failure that conda reports as `<name>: <message>`, with --json as one object holding both."""

    def __init__(self, name: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.name = name
        self.details = details


class CondaSystemExit(Exception):
    """Stopping by request; conda exits 0 then, even though it has done nothing."""
