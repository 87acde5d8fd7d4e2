"""The package proxy of a lab: the only way for its hosts to get anything, and it gives them packages only.

    (as apt's proxy)           the repositories in this machine's own apt sources
    /simple/…                  the package index that pip uses on this machine
    /files/HOST/…              what pages of that index link to
    /static/…                  files below the lab's own directory `static`
    /upstream/NAME/…           mirrors from the command line, as NAME=URL
    /stats                     how often it had, fetched, or had only an old copy of what was asked for

All else is answered with 403. It listens on the bridge's address only; upstreams are asked with this machine's own
certificates (SSL_CERT_FILE) and proxies (https_proxy).

Faults for tests: `faults.json` in the lab's state directory maps paths (patterns as in a shell) to what the proxy then
does instead: "404", "500", "truncated" (the second half is missing), or "html" (a page of some login portal). So
{"*": "500"} is an outage and {"/static/conda/*": "html"} a captive portal. See `Lab.set_faults`.
"""

from __future__ import annotations

import fnmatch
import html
import os
import re
import sys
import threading
import urllib.error
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from . import image, sources
from .cache import Cache
from .core import PROXY_PORT, Lab
from .process import detach
from .store import Store, read_json

_HREF = re.compile(r'(?<=href=")[^"]+|(?<=href=\')[^\']+')
_PORTAL = b"<!DOCTYPE html><title>Sign in</title><p>Please sign in to use this network.</p>\n"
HTML, BINARY = "text/html; charset=utf-8", "application/octet-stream"


class Refused(Exception):
    """The request is for nothing that this proxy serves."""


class Upstreams:
    """Which URLs may be asked for, and under which names hosts ask for them."""

    def __init__(self, repositories: list[str], index: str, mirrors: Mapping[str, str], learned: Path) -> None:
        self.repositories = {urlsplit(url).netloc: urlsplit(url).scheme for url in repositories}
        self.index, self.mirrors, self.learned = index, dict(mirrors), learned
        # What was rewritten, by URL, with the page that it was made from: ten hosts ask for the same pages at once, and
        # one of them takes a tenth of a second.
        self.rewritten: dict[str, tuple[str, str]] = {}
        self.rewriting = threading.Lock()
        learned.mkdir(parents=True, exist_ok=True)

    def url(self, asked: SplitResult) -> str:
        """The upstream's URL for a request. Raises Refused."""
        rest = asked.path + (f"?{asked.query}" if asked.query else "")
        if asked.scheme:
            if scheme := self.repositories.get(asked.netloc):
                return f"{scheme}://{asked.netloc}{rest}"
        elif asked.path.startswith("/simple/"):
            return self.index + rest.removeprefix("/simple")
        elif found := re.fullmatch(r"/(files|upstream)/([\w.:-]+)(/.*)", rest):
            kind, name, path = found.groups()
            base = self.mirrors.get(name) if kind == "upstream" else self._learned(name)
            if base:
                return base + path
        raise Refused

    def _learned(self, host: str) -> str | None:
        note = self.learned / host
        return f"{note.read_text()}://{host}" if note.is_file() else None

    def _learn(self, host: str, scheme: str) -> None:
        note = self.learned / host
        if not note.exists():  # it is read by others meanwhile
            part = note.with_name(f".{host}.{os.getpid()}")
            part.write_text(scheme)
            part.replace(note)

    def rewrite(self, page: str, url: str) -> str:
        """Lead the links of an index page through this proxy, and learn the hosts that they name."""

        def lead(link: re.Match[str]) -> str:
            target = urlsplit(urljoin(f"{url}/" if not url.endswith("/") else url, html.unescape(link[0])))
            self._learn(target.netloc, target.scheme)
            led = target._replace(scheme="", netloc="", path=f"/files/{target.netloc}{target.path}")
            return html.escape(led.geturl())

        with self.rewriting:
            if self.rewritten.get(url, ("", ""))[0] != page:
                self.rewritten[url] = (page, _HREF.sub(lead, page))
            return self.rewritten[url][1]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], store: Store, cache: Cache, upstreams: Upstreams) -> None:
        super().__init__(address, Handler)
        self.store, self.cache, self.upstreams = store, cache, upstreams
        self.counts: Counter[str] = Counter()

    def fault(self, path: str) -> str | None:
        """What the test at hand wants to go wrong with this path."""
        if not self.store.faults.exists():
            return None
        faults: dict[str, str] = read_json(self.store.faults)
        return next((fault for pattern, fault in faults.items() if fnmatch.fnmatchcase(path, pattern)), None)

    def static(self, path: str) -> Path | None:
        """The file below the static directory; symbolic links in there are followed, `..` is not."""
        parts = [part for part in unquote(path).removeprefix("/static/").split("/") if part not in ("", ".")]
        file = self.store.static.joinpath(*parts)
        return file if ".." not in parts and file.is_file() else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        fault = self.server.fault(asked.path)
        try:
            if fault in ("404", "500"):
                self._answer(int(fault), f"{fault}: as {self.server.store.faults} says\n".encode())
            elif fault == "html":
                self._answer(200, _PORTAL, HTML)
            else:
                self._serve(asked, truncated=fault == "truncated")
        except Refused:
            self._answer(403, b"403: not a package source of this lab\n")
        except urllib.error.HTTPError as answer:
            self._answer(answer.code, f"{answer.code}: upstream {answer.url}\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as failure:  # a server answers, whatever happens
            self._answer(502, f"502: {failure!r}\n".encode())

    def _serve(self, asked: SplitResult, truncated: bool) -> None:
        if not asked.scheme and asked.path == "/stats":
            return self._answer(200, f"{dict(self.server.counts)}\n".encode())
        if not asked.scheme and asked.path.startswith("/static/"):
            file = self.server.static(asked.path)
            if not file:
                return self._answer(404, f"404: no file {asked.path}\n".encode())
            with file.open("rb") as content:
                return self._send(content, truncated)
        url = self.server.upstreams.url(asked)
        stored = self.server.cache.get(url)
        self.server.counts[stored.outcome] += 1
        with stored.file as content:
            if asked.path.startswith("/simple/") and not asked.scheme:
                page = self.server.upstreams.rewrite(content.read().decode(), url)
                return self._answer(200, page.encode(), HTML)
            return self._send(content, truncated)

    def _send(self, content: BinaryIO, truncated: bool) -> None:
        size = os.fstat(content.fileno()).st_size
        self._head(200, size, BINARY)
        if self.command == "GET":
            self.connection.sendfile(content, count=size // 2 or None if truncated else None)
        if truncated:
            self.close_connection = True

    def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self._head(status, len(body), kind)
        if self.command == "GET":
            self.wfile.write(body)

    def _head(self, status: int, size: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        print(format % arguments, flush=True)


def main() -> None:
    """`python -m lab.proxy ID NETWORK [NAME=URL…]`: returns when it listens, and goes on in the background."""
    lab_id, network, *mirrors = sys.argv[1:]
    lab = Lab(lab_id, network)
    lab.group(".proxy").enter()
    index = sources.pip_index()
    if not index:
        sys.exit("no pip on this machine, whose package index the hosts are to use")
    directory = image.CACHE / "proxy"
    pairs = dict(mirror.rstrip("/").split("=", 1) for mirror in mirrors)
    upstreams = Upstreams(sources.apt_repositories(), index, pairs, directory / "hosts")
    server = Server((lab.network.gateway, PROXY_PORT), lab.store, Cache(directory / "objects"), upstreams)
    detach(lab.store.proxy_log)
    server.serve_forever()


if __name__ == "__main__":
    main()
