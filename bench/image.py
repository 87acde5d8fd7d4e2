"""The tracking server's image: its size and what building it takes, and seconds from the start of a container to ready.

Ready is an answer that needs the database. The base is the tests', made of Debian's packages; the packages come from
the index each time, as nothing of a build is kept. Compressed is what a registry keeps and a platform fetches.
"""

from __future__ import annotations

import base64
import tempfile
import time
import urllib.request
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

from bench.common import median, say, seconds
from tests.image import surroundings
from tests.image.containers import inspected, podman, running
from tests.image.surroundings import BUCKET, PASSWORD, SUITE, USER, Stack, printed
from tests.object_stores import s3_server
from tests.servers import databases

BUILDS, STARTS, TIMEOUT_S = 3, 5, 180


def start_seconds(told: Stack, number: int, directory: Path) -> float:
    """Return the seconds from `podman run` to an answer that needs the database."""
    own = replace(told, variables={**told.variables, "PORT": str(databases.free_port())})
    start = time.monotonic()
    with running(f"mlflow-bench-{number}", own.image, own.variables, directory, own.secrets) as container:
        while answer(own.url) != HTTPStatus.OK:
            assert container.process.poll() is None, container.log.read_text()
            assert time.monotonic() < start + TIMEOUT_S, container.log.read_text()
            time.sleep(0.05)
        return time.monotonic() - start


def answer(url: str) -> int:
    """Return the status that a call with a login gets, which needs the database; 0 for none."""
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    request = urllib.request.Request(f"{url}/api/2.0/mlflow/experiments/search", b'{"max_results": 1}', headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answered:
            return int(answered.status)
    except OSError:
        return 0


def compressed_mb(image: str, directory: Path) -> float:
    """Return the size of an image's layers as they are pushed."""
    target = directory / "pushed"
    podman("push", "--quiet", "--compress", image, f"dir:{target}")
    return sum(path.stat().st_size for path in target.iterdir()) / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="bench-image-") as name:
        directory = Path(name)
        parts = {part: directory / part for part in ("settings", "secrets", "s3", "logs")}
        for path in parts.values():
            path.mkdir()
        with surroundings.storage():
            say("making the base")
            base = printed("base", SUITE)
            settings = surroundings.settings_file(parts["settings"])
            say(f"building {BUILDS} times")
            build = ("build", "--again", "--settings", str(settings))
            builds = [seconds(lambda: printed(*build)) for _ in range(BUILDS)]
            image = printed("build", "--settings", str(settings))
            with surroundings.postgresql() as server, s3_server(parts["s3"]) as s3:
                s3.bucket(BUCKET)
                secrets = surroundings.secret_files(parts["secrets"])
                told = surroundings.stack(image, server, s3, secrets, "bench")
                told.run("migrate")
                say(f"starting {STARTS} times")
                starts = [start_seconds(told, number, parts["logs"]) for number in range(STARTS)]
            whole, below = (inspected(each)["Size"] / 1e6 for each in (image, base))
            small = compressed_mb(image, directory)
    print("| the tracking server's image | |")
    print("|---|---|")
    print(f"| size, MB, of which its base | {whole:.0f}, {below:.0f} |")
    print(f"| compressed, MB | {small:.0f} |")
    print(f"| seconds to build, median (range) | {median(builds)} |")
    print(f"| seconds from start to ready, median (range) | {median(starts)} |")


if __name__ == "__main__":
    main()
