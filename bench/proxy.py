"""What the proxy costs: an artifact of 400 MB up and down, and requests, through it and straight to the server.

Both ways are measured in turn on the same host, from outside: the tracking server listens on TCP as well as behind the
proxy, with TLS and a login on one side and neither on the other.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import requests

from bench.common import bench_lab, fresh, median, say, seconds
from tests.e2e.stack import Stack

SIZE = 400_000_000
REPEATS = 3
CLIENTS, REQUESTS_S = 4, 10.0
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/bench/400-MB"
SEARCH = "/api/2.0/mlflow/experiments/search"
LOGIN = ("admin", "bench")
UNITS = ("mlflow-tracking", "mlflow-proxy", "mlflow-proxy-login")


@dataclass
class Way:
    """One way to the server: its address, who logs in, and what was measured."""

    title: str
    url: str
    auth: tuple[str, str] | None = None
    up_s: list[float] = field(default_factory=list)
    down_s: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env, session.auth = False, self.auth
        session.verify = False  # what is measured is the same, and the authority is this host's own
        return session


class Proxied(Stack):
    roles = "postgresql = tracking = production = proxy"


def upload(way: Way, content: Path) -> None:
    with way.session() as session, content.open("rb") as data:
        session.put(f"{way.url}{ARTIFACT}", data=data, timeout=300).raise_for_status()


def download(way: Way) -> None:
    with way.session() as session, session.get(f"{way.url}{ARTIFACT}", stream=True, timeout=300) as answer:
        answer.raise_for_status()
        if sum(len(chunk) for chunk in answer.iter_content(1 << 20)) != SIZE:
            raise SystemExit(f"{way.title}: the artifact came back short")


def rate(way: Way) -> float:
    """Return how many requests that need the database are answered in a second, for some clients together."""
    end, counts = time.monotonic() + REQUESTS_S, [0] * CLIENTS

    def ask(number: int) -> None:
        with way.session() as session:
            while time.monotonic() < end:
                session.post(f"{way.url}{SEARCH}", json={"max_results": 1}, timeout=60).raise_for_status()
                counts[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / REQUESTS_S


def memory(stack: Stack) -> dict[str, int]:
    """Return the MiB (proportional set size) that each unit takes now."""
    found = {}
    for unit in UNITS:
        files = " ".join(f"/proc/{pid}/smaps_rollup" for pid in stack.processes(f"{unit}.service"))
        kib = stack.host.run(f"cat {files} | awk '/^Pss:/ {{s += $2}} END {{print s}}'").stdout
        found[unit] = int(kib) // 1024
    return found


def highest(stack: Stack, action: Callable[[], None]) -> dict[str, int]:
    """Return the most memory that each unit took during an action."""
    thread = threading.Thread(target=action)
    thread.start()
    most = memory(stack)
    while thread.is_alive():
        now = memory(stack)
        most = {unit: max(most[unit], now[unit]) for unit in UNITS}
    return most


def measure(stack: Stack) -> None:
    direct = Way("straight to the server", f"http://{stack.host.address}:5000")
    through = Way("through the proxy", f"https://{stack.host.address}", LOGIN)
    before = memory(stack)
    with NamedTemporaryFile() as file:
        content = Path(file.name)
        content.write_bytes(bytes(SIZE))
        for repeat in range(REPEATS):
            for way in (direct, through) if repeat % 2 else (through, direct):
                way.up_s.append(seconds(lambda way=way: upload(way, content)))  # type: ignore[misc]
                way.down_s.append(seconds(lambda way=way: download(way)))  # type: ignore[misc]
                way.rate.append(rate(way))
                say(f"{way.title}: up {way.up_s[-1]:.1f} s, down {way.down_s[-1]:.1f} s, {way.rate[-1]:.0f} requests/s")
        most = highest(stack, lambda: upload(through, content))
    report(direct, through, before, most)


def report(direct: Way, through: Way, before: dict[str, int], most: dict[str, int]) -> None:
    print(f"| {SIZE // 1_000_000} MB, {CLIENTS} clients | up, s | down, s | requests in a second |\n|---|---|---|---|")
    for way in (direct, through):
        print(f"| {way.title} | {median(way.up_s)} | {median(way.down_s)} | {median(way.rate)} |")
    ratios = [
        statistics.median(getattr(through, each)) / statistics.median(getattr(direct, each))
        for each in ("up_s", "down_s", "rate")
    ]
    print(f"| ratio | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |\n")
    print("| MiB | before | at most, during an upload through the proxy |\n|---|---|---|")
    for unit in UNITS:
        print(f"| {unit} | {before[unit]} | {most[unit]} |")


def deploy(stack: Proxied, **settings: Any) -> None:
    """Deploy a tracking server that is reached with and without its proxy."""
    stack.converge(
        tracking_bind="0.0.0.0",  # noqa: S104  # only this machine can reach a lab host
        tracking_open_to_everybody=True,
        production_models={},
        proxy_users={LOGIN[0]: f"cmd:echo {LOGIN[1]}"},
        **settings,
    )


def main() -> None:
    requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]  # of verify=False
    with bench_lab() as lab:
        found = fresh(lab)
        stack = Proxied(found.host, found.directory)
        say("deploying, with a proxy")
        deploy(stack)
        measure(stack)


if __name__ == "__main__":
    main()
