"""What the benchmarks share: a lab of their own, deployed hosts, and medians."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import Lab
from tests.e2e.stack import Stack

LAB_ID, LAB_NETWORK = os.environ.get("BENCH_LAB_ID", "mbench"), os.environ.get("BENCH_LAB_NET", "10.77.31")


@contextmanager
def bench_lab() -> Iterator[Lab]:
    """A lab that is gone afterwards, also after a failure."""
    lab = Lab(LAB_ID, LAB_NETWORK)
    lab.ensure()
    lab.down()
    try:
        yield lab
    finally:
        lab.down()


def fresh(lab: Lab, name: str = "bench1") -> Stack:
    """Return a host with nothing on it, in place of the one of that name."""
    lab.down(name)
    return Stack(lab.up(name), Path(tempfile.mkdtemp(prefix="bench-")))


def served(lab: Lab) -> Stack:
    """Return a host with everything on it and a model that predicts."""
    stack = fresh(lab)
    say("deploying, training, deploying the model")
    stack.converge()
    stack.train()
    stack.converge()
    return stack


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action took, in seconds of a monotonic clock."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def median(values: list[float]) -> str:
    """Return a median with its range, as the tables print it."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def say(message: str) -> None:
    print(f"# {message}", file=sys.stderr, flush=True)
