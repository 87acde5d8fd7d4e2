"""Servers on loopback that behave, or misbehave, as a proxy of ours might."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME = "mlflow.example.com"


@dataclass(frozen=True)
class Issued:
    """A certificate with the authority that it is from, both in PEM, and the file that a server reads."""

    authority: str
    certificate: str
    file: Path


def issue(directory: Path, days: float = 90, names: tuple[str, ...] = (NAME, "127.0.0.1"), age: float = 200) -> Issued:
    """Make an authority, and a certificate of it that is `age` days old and ends in so many days."""
    now = datetime.datetime.now(datetime.timezone.utc)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey, end: float) -> x509.CertificateBuilder:
        begun = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        begun = begun.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=age))
        return begun.not_valid_after(now + datetime.timedelta(days=end))

    basic = x509.BasicConstraints(ca=True, path_length=0)
    authority = builder(issuer, authority_key.public_key(), 3650).add_extension(basic, critical=True)
    alternatives = [
        x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    leaf = builder(subject, key.public_key(), days).add_extension(
        x509.SubjectAlternativeName(alternatives), critical=False
    )
    ca, signed = (
        each.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode() for each in (authority, leaf)
    )
    file = directory / "server.pem"
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_text(key.private_bytes(*form).decode() + signed)
    return Issued(ca, signed, file)


# Answers a method and a path, with the headers of the request: status, headers, body.
Behaviour = Callable[[str, str, Mapping[str, str]], tuple[int, Mapping[str, str], str]]


@dataclass
class Served:
    """A server: its port, and the requests that came, each with its headers."""

    port: int
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)


@contextmanager
def serving(behave: Behaviour, pem: Path | None = None) -> Iterator[Served]:
    """Serve on a free port of 127.0.0.1, with TLS if a file of key and certificate is given."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(size)
            served.requests.append((self.command, self.path, self.headers))
            status, headers, body = behave(self.command, self.path, self.headers)
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing of clients that break off, as those do who are shown a bad certificate."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if pem:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pem)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        served = Served(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
