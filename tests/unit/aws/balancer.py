"""What stands in for a load balancer of AWS and the tasks behind it: moto makes none that anybody could ask.

It speaks TLS with the stack's certificate and answers as the tracking server's gate does.
"""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.unit.aws.certificate import Pair


class _Answers(http.server.BaseHTTPRequestHandler):
    statuses: dict[str, int]
    hosts: list[str]

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hosts.append(self.headers["Host"])
        self.send_response(self.statuses[self.path.rpartition("/")[2]])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def balancer(
    directory: Path, pair: Pair | None, health: int = 200, search: int = 401
) -> Iterator[tuple[tuple[str, int], list[str]]]:
    """Run one on loopback; yield its address and the Host headers that come, with TLS where there is a certificate."""
    hosts: list[str] = []
    answers = type("Answers", (_Answers,), {"statuses": {"health": health, "search": search}, "hosts": hosts})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers)
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair.write(directory))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield ("127.0.0.1", server.server_address[1]), hosts
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
