"""login USERS [KEY]: say whether a request may pass, for the proxy (nginx, auth_request).

USERS is a file with a line "AREA USER SALT HASH" for each user of each area (domain/login.py; scrypt). A question is
an HTTP request for /AREA on the Unix socket that systemd gives, with the headers Authorization (Basic) and X-Address,
whose request it is. The answers: 204, X-User says who it is; 401, no login or a wrong one; 403 with Retry-After, too
many wrong ones from there.

With KEY, a file (accounts.py), MLflow asks for a login of its own: X-Mlflow-Login is what it wants to see of a user of
the tracking server, and of the proxy's health check, which asks for the area "health" and needs no login here.

A hash takes 40 ms on purpose. A login that was right is remembered, in memory and under a key of this process, so only
the first request of a client pays for it; and who has used up the wrong ones is refused before any is computed. A login
that is remembered is let in all the same: others behind the same address are not locked out with an attacker.
"""

import base64
import hashlib
import hmac
import http.server
import ipaddress
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from accounts import HEALTH_USER, login_of, read_key  # type: ignore[import-not-found]  # its neighbour on the host

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
TRACKING_AREA, HEALTH_AREA = "tracking", "health"
# Wrong logins from one address: so many at once, and then one each so many seconds.
WRONG_AT_ONCE = 10
WRONG_EVERY_S = 6.0
# Addresses, and right logins, that are remembered at most.
REMEMBERED = 10_000
SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}

NO_LOGIN = {"WWW-Authenticate": 'Basic realm="MLflow", charset="UTF-8"'}

Users = dict[tuple[str, str], tuple[bytes, bytes]]
Answer = tuple[int, dict[str, str]]  # status and headers


def read_users(text: str) -> Users:
    """Return salt and hash by area and user; raise ValueError when a line is something else."""
    lines = [line.split(" ") for line in text.splitlines() if not line.startswith("#")]
    return {(area, user): (bytes.fromhex(salt), bytes.fromhex(hash_)) for area, user, salt, hash_ in lines}


def credentials(header: str) -> tuple[str, str] | None:
    """Return user and password of an Authorization header; None when it has none that can be right."""
    kind, _, encoded = header.partition(" ")
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return (user, password) if kind.lower() == "basic" and colon else None


def neighbourhood(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 that one line of IPv6 usually has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


class Patience:
    """How many wrong logins each client has left (a token bucket)."""

    def __init__(self) -> None:
        self.left: dict[str, tuple[float, float]] = {}  # tokens, and when that was

    def now(self, client: str) -> float:
        tokens, at = self.left.get(client, (float(WRONG_AT_ONCE), 0.0))
        return min(float(WRONG_AT_ONCE), tokens + (time.monotonic() - at) / WRONG_EVERY_S)

    def wrong(self, client: str) -> None:
        tokens = self.now(client) - 1
        self.left.pop(client, None)
        if len(self.left) >= REMEMBERED:
            del self.left[next(iter(self.left))]  # the one that was wrong longest ago
        self.left[client] = (tokens, time.monotonic())


class Gate:
    """Decides, by the users of a file; `mlflow_key` is there when MLflow asks for a login of its own."""

    def __init__(self, users: Users, mlflow_key: bytes | None = None) -> None:
        self.users, self.mlflow_key = users, mlflow_key
        self.right: dict[bytes, None] = {}
        self.patience = Patience()
        self.key = os.urandom(32)
        self.one_at_a_time = threading.Lock()  # hashes: each takes 16 MiB and a processor

    def answer(self, area: str, address: str, header: str) -> Answer:
        """Return status and headers."""
        if at_once := self.at_once(area, header):
            return at_once
        user, password = credentials(header) or ("", "")
        with self.one_at_a_time:
            return self._compare(area, user, password, neighbourhood(address))

    def at_once(self, area: str, header: str) -> Answer | None:
        """Return the answer to what needs no hash; None for a login that has to be compared."""
        if area == HEALTH_AREA:
            return 204, self._mlflow_login(HEALTH_USER)
        given = credentials(header)
        if given is None:
            return 401, NO_LOGIN
        return self._passes(area, given[0]) if self._mark(area, *given) in self.right else None

    def _mark(self, area: str, user: str, password: str) -> bytes:
        """Return what a right login is remembered by."""
        return hmac.digest(self.key, f"{area}\n{user}\n{password}".encode(), "sha256")

    def _compare(self, area: str, user: str, password: str, client: str) -> Answer:
        if self.patience.now(client) < 1:
            return 403, {"Retry-After": str(round(WRONG_EVERY_S))}
        # For a user who is not there as well: how long it takes must not say which ones are.
        salt, expected = self.users.get((area, user), (b"", b""))
        found = hashlib.scrypt(password.encode(), salt=salt, **SCRYPT)
        if hmac.compare_digest(found, expected):
            if len(self.right) >= REMEMBERED:
                del self.right[next(iter(self.right))]
            self.right[self._mark(area, user, password)] = None
            return self._passes(area, user)
        self.patience.wrong(client)
        print(f"wrong login for {user!r} of {area} from {client}", file=sys.stderr, flush=True)
        return 401, NO_LOGIN

    def _passes(self, area: str, user: str) -> Answer:
        return 204, {"X-User": user, **(self._mlflow_login(user) if area == TRACKING_AREA else {})}

    def _mlflow_login(self, user: str) -> dict[str, str]:
        return {"X-Mlflow-Login": login_of(self.mlflow_key, user)} if self.mlflow_key else {}


class Question(http.server.BaseHTTPRequestHandler):
    server: "Server"
    timeout = 10  # s, to send it: nginx has it when it connects

    def do_GET(self) -> None:
        address, header = (self.headers.get(name, "") for name in ("X-Address", "Authorization"))
        status, headers = self.server.gate.answer(self.path.removeprefix("/"), address, header)
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers on a socket that somebody else has made, also what it has begun when it is told to end."""

    def __init__(self, listening: socket.socket, gate: Gate) -> None:
        super().__init__("", Question, bind_and_activate=False)
        self.socket.close()
        self.socket, self.gate = listening, gate

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # else whoever asked has given up
            super().handle_error(request, client_address)


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    users, *key = map(Path, sys.argv[1:])
    gate = Gate(read_users(users.read_text()), read_key(key[0]) if key else None)
    with Server(socket.socket(fileno=FIRST_DESCRIPTOR), gate) as server:
        # A question that is broken off is a failed request of somebody's; those not begun stay in the socket.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
