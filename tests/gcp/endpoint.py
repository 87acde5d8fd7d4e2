"""Where the real gcloud meets the stand-in: a proxy on 127.0.0.1 that ends the TLS of all requests to Google.

gcloud speaks to the very addresses that it always speaks to, those of regions too. The proxy has a certificate for them
from an authority that this gcloud alone is told to trust; any other address is refused, and complained of.
"""

from __future__ import annotations

import datetime
import http.server
import json
import re
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.gcp import apis
from tests.gcp.cloud import TOKEN, Cloud
from tests.gcp.schema import Request

assert apis  # to import it registers the answers


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Answers the requests of one connection to the proxy."""

    protocol_version = "HTTP/1.1"
    cloud: Cloud
    tls: ssl.SSLContext
    host = ""

    def do_CONNECT(self) -> None:
        """Become the host that is asked for."""
        self.host = self.path.partition(":")[0]
        if not re.fullmatch(r"[a-z0-9-]+\.googleapis\.com", self.host):
            self.cloud.complaints.append(f"{self.host}: not an address of Google's APIs")
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = socketserver._SocketWriter(self.connection)  # type: ignore[attr-defined]
        self.close_connection = False

    def answer(self) -> None:
        url, length = urlsplit(self.path), int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        request = Request(self.command, self.host or url.netloc, unquote(url.path), parse_qs(url.query), body)
        status, answer = self.cloud.handle(request, self.headers.get("Authorization", ""))
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  # http.server's names

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def serving(cloud: Cloud, directory: Path) -> Iterator[dict[str, str]]:
    """Answer for a cloud; return the variables with which gcloud comes there. Files are written into `directory`."""
    _make_certificate(directory / "server.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(directory / "server.pem")
    handler = type("EndpointOfACloud", (Endpoint,), {"cloud": cloud, "tls": tls})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield _variables(server.server_port, directory)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def _variables(port: int, directory: Path) -> dict[str, str]:
    token = directory / "token"
    token.write_text(TOKEN)
    return {
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": str(port),
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(directory / "server.pem"),
        "CLOUDSDK_CONFIG": str(directory / "gcloud"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(token),
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
    }


def _make_certificate(path: Path) -> None:
    """Write a key and a certificate that is its own authority, for all addresses of Google's APIs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("*.googleapis.com")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(private + certificate.public_bytes(Encoding.PEM))
