"""What the package proxy keeps: one file per URL, fetched once however many ask at the same time.

Bounded: files beyond LIMIT go, least recently used first, when the proxy starts and after every tenth of LIMIT fetched.
Files with a version in their name are kept for good; indexes are asked for again after TTL, and an old one is served
while the upstream fails.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

LIMIT = 4 << 30
TTL = 600
TIMEOUT = 60
_IMMUTABLE = re.compile(r"/by-hash/|\.(deb|udeb|whl|whl\.metadata|conda|tar\.bz2|tar\.gz|tar\.xz|zip)$")


class Stored(NamedTuple):
    """An object, opened: it can be read even if it is pruned meanwhile."""

    file: BinaryIO
    outcome: str  # hit, miss or stale


class Cache:
    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.directory, self.limit = directory, limit
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._fetched = 0
        directory.mkdir(parents=True, exist_ok=True)
        self.prune()

    def get(self, url: str) -> Stored:
        """The object at `url`. Raises HTTPError with the upstream's answer, OSError when it can not be reached."""
        key = hashlib.sha256(url.encode()).hexdigest()
        path = self.directory / key[:2] / key
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if file := self._fresh(path, url):
                return Stored(file, "hit")
            try:
                self._fetch(url, path)
            except (OSError, http.client.HTTPException) as failure:
                if isinstance(failure, urllib.error.HTTPError) and failure.code < 500:
                    raise  # an answer, not a failure
                if path.exists():
                    return Stored(path.open("rb"), "stale")
                raise
            return Stored(path.open("rb"), "miss")

    def _fresh(self, path: Path, url: str) -> BinaryIO | None:
        try:
            found = path.stat()
            if _IMMUTABLE.search(url) or time.time() - found.st_mtime < TTL:
                os.utime(path, (time.time(), found.st_mtime))  # the time of access is the time of last use
                return path.open("rb")
        except FileNotFoundError:
            pass
        return None

    def _fetch(self, url: str, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        draft = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        request = urllib.request.Request(url, headers={"User-Agent": "mlflow-stack-lab", "Accept": "text/html, */*"})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, draft.open("wb") as file:
                self._copy(answer, file)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _copy(self, answer: http.client.HTTPResponse, file: IO[bytes]) -> None:
        shutil.copyfileobj(answer, file, 1 << 18)
        size, expected = file.tell(), answer.headers.get("Content-Length")
        if expected and int(expected) != size:
            raise OSError(f"{answer.url}: {size} bytes arrived, {expected} were announced")
        with self._guard:
            self._fetched += size
            full = self._fetched > self.limit // 10
        if full:
            self.prune()

    def prune(self) -> None:
        """Remove what was not used for longest until the rest is within the limit."""
        self._fetched = 0
        files = [(path.stat(), path) for path in self.directory.glob("??/*")]
        excess = sum(found.st_size for found, _ in files) - self.limit
        for found, path in sorted(files, key=lambda entry: entry[0].st_atime):
            if excess <= 0:
                break
            path.unlink(missing_ok=True)
            excess -= found.st_size
