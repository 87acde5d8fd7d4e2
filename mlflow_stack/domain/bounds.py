"""An end for commands that may hang: a stalled network or file system, a program that waits for ever."""

from __future__ import annotations

# What a program gets to clean up, in seconds, between being asked and being made to end (timeout(1), --kill-after).
_GRACE_S = 30


def within(seconds: int, program: str) -> str:
    """Return a command that runs a simple command, and ends it with a sentence and status 124 after some seconds."""
    late = f"no end after {seconds} s, so it was stopped; look at network and disks there, then deploy again"
    return (
        f"timeout -k {_GRACE_S} {seconds} {program} || "
        f"{{ code=$?; [ $code != 124 ] || echo '{late}' >&2; exit $code; }}"
    )
