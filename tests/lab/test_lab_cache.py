"""The proxy's cache against a server of this test's own, on the loopback."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.cache import TTL, Cache


class Upstream(ThreadingHTTPServer):
    """Answers with `status` and a body; counts the requests."""

    status, asked, announced = 200, 0, 4

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        self.server.asked += 1
        time.sleep(0.1)  # long enough for others to ask meanwhile
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.announced))
        self.end_headers()
        self.wfile.write(b"body")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "objects")


def get(cache: Cache, url: str) -> tuple[str, bytes]:
    stored = cache.get(url)
    with stored.file as file:
        return stored.outcome, file.read()


def grow_old(cache: Cache) -> None:
    for file in cache.directory.glob("??/*"):
        os.utime(file, (time.time(), time.time() - TTL - 1))


def test_object_is_fetched_once_however_many_ask_at_the_same_time(cache: Cache, upstream: Upstream) -> None:
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(get(cache, upstream.url)[0])) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert sorted(outcomes) == ["hit"] * 7 + ["miss"]
    assert upstream.asked == 1


def test_index_is_asked_for_again_when_old_and_a_package_is_not(cache: Cache, upstream: Upstream) -> None:
    urls = f"{upstream.url}/simple/x/", f"{upstream.url}/x-1.0-py3-none-any.whl"
    for url in urls:
        get(cache, url)

    grow_old(cache)

    assert [get(cache, url)[0] for url in urls] == ["miss", "hit"]


@pytest.mark.parametrize("failure", ["error", "short", "gone"])
def test_old_index_is_served_while_the_upstream_fails(cache: Cache, upstream: Upstream, failure: str) -> None:
    get(cache, upstream.url)
    grow_old(cache)

    if failure == "error":
        upstream.status = 503
    elif failure == "short":
        upstream.announced = 5
    else:
        upstream.shutdown()
        upstream.socket.close()

    assert get(cache, upstream.url) == ("stale", b"body")


def test_not_found_is_an_answer_and_not_a_failure(cache: Cache, upstream: Upstream) -> None:
    get(cache, upstream.url)
    grow_old(cache)
    upstream.status = 404

    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(cache, upstream.url)


def test_incomplete_object_is_never_kept(cache: Cache, upstream: Upstream) -> None:
    upstream.announced = 5

    with pytest.raises(OSError, match=r"4 bytes arrived, 5 were announced"):
        get(cache, upstream.url)

    assert not [*cache.directory.glob("??/*")]


def test_least_recently_used_go_first_beyond_the_limit(tmp_path: Path, upstream: Upstream) -> None:
    cache = Cache(tmp_path / "objects", limit=100)
    urls = [f"{upstream.url}/{number}.whl" for number in range(3)]
    for url in urls:
        get(cache, url)
    get(cache, urls[0])

    Cache(tmp_path / "objects", limit=8)

    assert [get(cache, url)[0] for url in (urls[0], urls[1], urls[2])] == ["hit", "miss", "hit"]
