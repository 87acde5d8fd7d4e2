"""ready tracking SERVER [--artifacts] [--key FILE | --login FILE] | model SERVER EXAMPLE | login SERVER |
proxy HOST:PORT NAME [PATH…] [--tracking] [--certificate FILE]: exit 0 when the service really works.

SERVER is http://HOST:PORT, https://HOST:PORT or unix:/PATH of its socket.

`tracking`: /health answers through the address that clients use, a call that needs the database succeeds, and with
--artifacts a file goes up, comes back identical and is deleted again. (/health alone answers 200 while the database
is down.) `model`: /ping answers and the model predicts for the input example that was logged with it, if there is one.
`login`: it refuses who has none. `proxy`: by NAME, each PATH is refused without a login, with --tracking its /health
answers, and with --certificate it shows the one in FILE (PEM), which may have been replaced since it started.

--key is for a tracking server that asks for a login: the file that it follows from (accounts.py). Then it is also
seen that the server refuses who has none, and the one that MLflow was once shipped with. --login is for one behind
gate.py: the file with USER:PASSWORD of somebody who may pass; who has none has to be refused, too.

With READY_WAIT_S in the environment it tries again for so many seconds; with READY_READ_ONLY nothing is written, so
--artifacts is left out. The reason of the last failure is printed on standard error.
"""

import argparse
import base64
import http.client
import json
import os
import socket
import ssl
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from accounts import OWN_USER, login_of, read_key  # type: ignore[import-not-found]  # its neighbour on the host

CALL_TIMEOUT_S = 20
PAUSE_S = 0.25
SEARCH, ANYTHING = "/api/2.0/mlflow/experiments/search", b'{"max_results": 1}'
SHIPPED_LOGIN = f"Basic {base64.b64encode(b'admin:password1234').decode()}"  # GHSA-gq3w-7jj3-x7gr


class NotReady(Exception):
    """The service does not work (yet); the message says in what way."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CALL_TIMEOUT_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_TIMEOUT_S)
        self.sock.connect(self.path)


class ProxyConnection(http.client.HTTPConnection):
    """HTTP, over TLS with a certificate, to the server at an address, asked for by its name."""

    def __init__(self, address: str, name: str, certificate: Path | None) -> None:
        super().__init__(name, timeout=CALL_TIMEOUT_S)
        host, _, port = address.rpartition(":")
        self.address, self.certificate = (host, int(port)), certificate

    def connect(self) -> None:
        self.sock = socket.create_connection(self.address, CALL_TIMEOUT_S)
        if self.certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # Whether clients trust it is not for its own host to say; that it is this one, is.
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            encrypted = context.wrap_socket(self.sock, server_hostname=self.host)
            self.sock = encrypted
            text = self.certificate.read_text()
            first = text[text.index("-----BEGIN CERTIFICATE-----") : text.index("-----END CERTIFICATE-----")]
            if encrypted.getpeercert(binary_form=True) != ssl.PEM_cert_to_DER_cert(f"{first}-----END CERTIFICATE-----"):
                raise NotReady(f"{self.host}: it shows another certificate than that in {self.certificate}")


def connection(server: str) -> http.client.HTTPConnection:
    """Return a connection to a server, past any http_proxy of the environment."""
    parts = urlsplit(server)
    if parts.scheme == "unix":
        return UnixConnection(parts.path)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=CALL_TIMEOUT_S)


def call(
    method: str,
    server: str,
    path: str,
    data: bytes | None = None,
    content_type: str = "application/json",
    login: str = "",
) -> bytes:
    """Return the body of a 2xx answer; raise NotReady for anything else, a server that is silent included."""
    what = f"{method} {server}{path}"
    status, body = ask(what, connection(server), method, path, data, content_type, login)
    if not 200 <= status < 300:
        raise NotReady(f"{what}: HTTP {status}: {text(body)}")
    return body


def ask(
    what: str,
    to_server: http.client.HTTPConnection,
    method: str,
    path: str,
    data: bytes | None = None,
    content_type: str = "application/json",
    login: str = "",
) -> tuple[int, bytes]:
    """Return status and body of any answer; raise NotReady, about `what`, when there is none."""
    headers = {"Content-Type": content_type, **({"Authorization": login} if login else {})}
    try:
        to_server.request(method, path, data, headers)
        answer = to_server.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:  # HTTPException: the server died in the middle of its answer
        raise NotReady(f"{what}: {error}") from None
    finally:
        to_server.close()


def text(body: bytes) -> str:
    """Return the beginning of an answer, for a message."""
    return body[:300].decode(errors="replace").strip()


def check_tracking(server: str, artifacts: bool, key: Path | None = None, login_file: Path | None = None) -> None:
    login = own_login(key) if key else given_login(login_file) if login_file else ""
    call("GET", server, "/health")
    call("POST", server, SEARCH, ANYTHING, login=login)
    if login:
        check_refused(server, "", "without a login")
    if key:  # at a gate it would count as a wrong one
        check_refused(server, SHIPPED_LOGIN, "to the login that MLflow was shipped with")
    if artifacts:
        # Hosts that share a store may probe it at the same moment.
        path = f"/api/2.0/mlflow-artifacts/artifacts/.mlflow-stack-probe-{uuid.uuid4().hex}"
        check_artifacts(server, path, login)


def own_login(key: Path) -> str:
    try:
        return str(login_of(read_key(key), OWN_USER))
    except OSError as error:
        raise NotReady(f"{key}: {error.strerror}") from None


def given_login(path: Path) -> str:
    try:
        return f"Basic {base64.b64encode(path.read_text().strip().encode()).decode()}"
    except OSError as error:
        raise NotReady(f"{path}: {error.strerror}") from None


def check_refused(server: str, login: str, whose: str) -> None:
    status, body = ask(f"POST {server}{SEARCH}", connection(server), "POST", SEARCH, ANYTHING, login=login)
    if status != 401:
        raise NotReady(f"POST {server}{SEARCH}: HTTP {status} {whose}, expected 401: {text(body)}")


def check_artifacts(server: str, path: str, login: str = "") -> None:
    content = os.urandom(1024)
    call("PUT", server, path, content, "application/octet-stream", login)
    returned = call("GET", server, path, login=login)
    call("DELETE", server, path, login=login)
    if returned != content:
        raise NotReady(f"GET {server}{path}: an artifact of 1024 bytes came back as {len(returned)} other bytes")


def check_model(server: str, example: Path) -> None:
    call("GET", server, "/ping")
    if not example.is_file():
        return
    body = call("POST", server, "/invocations", example.read_bytes())
    try:
        predictions = json.loads(body)["predictions"]
    except (ValueError, TypeError, KeyError):
        predictions = None
    if not predictions:
        raise NotReady(f"POST {server}/invocations: no predictions in {body[:300].decode(errors='replace')}")


def check_login(server: str) -> None:
    status, body = ask(server, connection(server), "GET", "/")
    if status != 401:
        raise NotReady(f"{server}: HTTP {status} without a login, expected 401: {text(body)}")


def check_proxy(address: str, name: str, closed: list[str], tracking: bool, certificate: Path | None) -> None:
    for path in closed:
        status, body = ask(f"{name}{path}", ProxyConnection(address, name, certificate), "GET", path)
        if status != 401:
            raise NotReady(f"{name}{path}: HTTP {status} without a login, expected 401: {text(body)}")
    if tracking:
        status, body = ask(f"{name}/health", ProxyConnection(address, name, certificate), "GET", "/health")
        if status != 200:
            raise NotReady(f"{name}/health: HTTP {status}: {text(body)}")


def wait_until(check: Callable[[], None], seconds: float) -> str | None:
    """Call `check` until it passes; return the reason when it has not within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            check()
            return None
        except NotReady as error:
            if time.monotonic() >= end:
                return str(error)
        time.sleep(PAUSE_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    tracking = kinds.add_parser("tracking")
    tracking.add_argument("server")
    tracking.add_argument("--artifacts", action="store_true")
    tracking.add_argument("--key", type=Path)
    tracking.add_argument("--login", type=Path)
    model = kinds.add_parser("model")
    model.add_argument("server")
    model.add_argument("example", type=Path)
    login = kinds.add_parser("login")
    login.add_argument("server")
    proxy = kinds.add_parser("proxy")
    proxy.add_argument("server")
    proxy.add_argument("name")
    proxy.add_argument("closed", nargs="*")
    proxy.add_argument("--tracking", action="store_true")
    proxy.add_argument("--certificate", type=Path)
    options = parser.parse_args()
    server = options.server.rstrip("/")
    if options.kind != "proxy" and urlsplit(server).scheme not in ("http", "https", "unix"):
        parser.error(f"{options.server}: expected an address that starts with http://, https:// or unix:/")

    def check() -> None:
        if options.kind == "tracking":
            artifacts = options.artifacts and "READY_READ_ONLY" not in os.environ
            check_tracking(server, artifacts, options.key, options.login)
        elif options.kind == "model":
            check_model(server, options.example)
        elif options.kind == "login":
            check_login(server)
        else:
            check_proxy(server, options.name, options.closed, options.tracking, options.certificate)

    reason = wait_until(check, float(os.environ.get("READY_WAIT_S", "0")))
    if reason:
        print(f"not ready: {reason}", file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
