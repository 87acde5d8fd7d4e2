"""What it costs that artifacts go through the tracking server: 400 MB up and down, to an object store directly, through
the server, and through the proxy in front of it.

The store is moto on this machine, for all ways the same: its own speed is in each figure, and the ratio is what counts.
Directly is boto3 with its defaults, as a client would do it that has credentials of its own.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import requests

from bench.common import bench_lab, fresh, median, say, seconds
from bench.proxy import LOGIN, REPEATS, SIZE, Proxied, Way, deploy, download, highest, memory, upload
from tests.e2e.stack import Stack
from tests.object_stores import REGION, S3Server, s3_server

BUCKET, NAME = "artifacts", "bench/directly"


@dataclass
class Measured:
    """One way to the store: how an artifact goes up and down, and how many seconds that took."""

    title: str
    up: Callable[[Path], None]
    down: Callable[[], None]
    up_s: list[float] = field(default_factory=list)
    down_s: list[float] = field(default_factory=list)


def directly(s3: S3Server) -> Measured:
    client: Any = s3.client()

    def down() -> None:
        with NamedTemporaryFile() as file:
            client.download_file(BUCKET, NAME, file.name)
            if Path(file.name).stat().st_size != SIZE:
                raise SystemExit("the artifact came back short")

    return Measured("to S3 directly", lambda content: client.upload_file(str(content), BUCKET, NAME), down)


def through(way: Way) -> Measured:
    return Measured(way.title, lambda content: upload(way, content), lambda: download(way))


def measure(stack: Stack, s3: S3Server) -> None:
    behind_proxy = Way("through the server behind the proxy", f"https://{stack.host.address}", LOGIN)
    server = Way("through the tracking server", f"http://{stack.host.address}:5000")
    ways = [directly(s3), through(server), through(behind_proxy)]
    before = memory(stack)
    with NamedTemporaryFile() as file:
        content = Path(file.name)
        content.write_bytes(bytes(SIZE))
        for repeat in range(REPEATS):
            for way in ways[repeat:] + ways[:repeat]:  # none of them is always the first
                way.up_s.append(seconds(lambda way=way: way.up(content)))  # type: ignore[misc]
                way.down_s.append(seconds(lambda way=way: way.down()))  # type: ignore[misc]
                say(f"{way.title}: up {way.up_s[-1]:.1f} s, down {way.down_s[-1]:.1f} s")
        most = highest(stack, lambda: upload(server, content))
    report(ways, before, most)


def report(ways: list[Measured], before: dict[str, int], most: dict[str, int]) -> None:
    print(f"| {SIZE // 1_000_000} MB | up, s | down, s | ratio up | ratio down |\n|---|---|---|---|---|")
    for way in ways:
        ratios = [
            statistics.median(getattr(way, each)) / statistics.median(getattr(ways[0], each))
            for each in ("up_s", "down_s")
        ]
        shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {way.title} | {median(way.up_s)} | {median(way.down_s)} | {shown} |")
    unit = "mlflow-tracking"
    print(f"\n{unit}: {before[unit]} MiB before, {most[unit]} at most during an upload")


def main() -> None:
    requests.packages.urllib3.disable_warnings()  # type: ignore[attr-defined]  # of verify=False
    with bench_lab() as lab:
        found = fresh(lab)  # with the first host comes the address that the store listens on
        stack = Proxied(found.host, found.directory)
        with s3_server(found.directory, lab.network.gateway) as s3:
            s3.bucket(BUCKET)
            say("deploying, with a proxy and an object store")
            deploy(
                stack,
                tracking_artifacts_destination=f"s3://{BUCKET}/mlflow",
                tracking_artifacts_endpoint=s3.url,
                tracking_artifacts_region=REGION,
                tracking_artifacts_access_key_id="bench",
                tracking_artifacts_credentials="cmd:echo bench",
            )
            measure(stack, s3)


if __name__ == "__main__":
    main()
