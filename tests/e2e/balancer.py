"""A load balancer for TCP: each connection goes to the next server that takes it."""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter
from collections.abc import Sequence

CONNECT_TIMEOUT_S = 2
CHUNK = 1 << 16


class Balancer:
    """Listens on `address` and hands each connection on to the next of `servers`; `handed` counts them by host."""

    def __init__(self, address: tuple[str, int], servers: Sequence[tuple[str, int]]) -> None:
        self.handed: Counter[str] = Counter()
        self._servers, self._turn = servers, itertools.cycle(range(len(servers)))
        self._listener = socket.create_server(address)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Balancer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = self._connect()
        if server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            server.close()
        client.close()

    def _connect(self) -> socket.socket | None:
        for _ in self._servers:
            address = self._servers[next(self._turn)]
            try:
                server = socket.create_connection(address, CONNECT_TIMEOUT_S)
            except OSError:
                continue
            server.settimeout(None)
            self.handed[address[0]] += 1
            return server
        return None


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, then say so to the target."""
    try:
        while data := source.recv(CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
