"""HTTP, TLS and connections to a host, as somebody without any program of ours has them.

All of it is bounded in time, and goes to the address by which the inventory reaches the host, past any http_proxy.
"""

from __future__ import annotations

import base64
import http.client
import selectors
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mlflow_stack.conform.checks import Unknown
from mlflow_stack.domain.listening import bracketed, is_address, is_loopback

# Nobody's: RFC 6761 keeps the domain from being given to anybody.
STRANGER = "conform.invalid"
TIMEOUT_S = 10
# Nothing comes back from a port that a firewall has closed.
SILENCE_S = 3.0


# In the place of certificates: those that programs of this computer trust, SSL_CERT_FILE included.
THIS_COMPUTERS = "this computer's"


@dataclass(frozen=True)
class Server:
    """Where to connect to, the name to ask for, and what its certificate has to be from (PEM, or THIS_COMPUTERS): None
    without TLS, and "" when it does not matter who answers, since nothing secret is sent."""

    address: str
    port: int
    name: str
    trusted: str | None = None


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    text: str = ""


def is_here(address: str) -> bool:
    """Return whether an address leads to this computer itself, or is none: then nothing here is asked as a stranger."""
    if address.startswith("@") or is_loopback(address):
        return True
    try:
        family, _, _, _, peer = socket.getaddrinfo(address, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as never_sent:
            never_sent.connect(peer)
            return bool(never_sent.getsockname()[0] == peer[0])
    except OSError:
        return False


def connect(server: Server) -> socket.socket:
    """Return a connection; OSError, of which ssl's errors are, without one."""
    plain = socket.create_connection((server.address, server.port), TIMEOUT_S)
    if server.trusted is None:
        return plain
    try:
        return context(server.trusted).wrap_socket(plain, server_hostname=server.name)
    except BaseException:
        plain.close()
        raise


def context(trusted: str) -> ssl.SSLContext:
    """Return a context that takes servers which these certificates lead to, or are; with none it takes any."""
    if trusted == THIS_COMPUTERS:
        return ssl.create_default_context()
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted:
        found.load_verify_locations(cadata=trusted)
        found.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    else:
        found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


def call(
    server: Server, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """Return any answer; Unknown when there is none."""
    client = http.client.HTTPConnection(server.address, server.port)
    sent = {"Host": _host(server), "Content-Type": "application/json", **(headers or {})}
    try:
        client.sock = connect(server)
        client.request(method, path, body, sent)
        answer = client.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read(4096).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        raise Unknown(f"{method} {path} on {server.address}:{server.port}: no answer ({error})") from None
    finally:
        client.close()


def _host(server: Server) -> str:
    usual = 80 if server.trusted is None else 443
    return bracketed(server.name) if server.port == usual else f"{bracketed(server.name)}:{server.port}"


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of a login."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def open_ports(address: str, ports: Sequence[int], seconds: float = SILENCE_S) -> list[int]:
    """Return those of these TCP ports that can be connected to from here; all are tried at once."""
    found, waiting = [], selectors.DefaultSelector()
    try:
        family, _, _, _, peer = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Unknown(f"{address} has no address here ({error})") from None
    for port in ports:
        each = socket.socket(family, socket.SOCK_STREAM)
        each.setblocking(False)
        each.connect_ex((peer[0], port, *peer[2:]))
        waiting.register(each, selectors.EVENT_WRITE, port)
    end = time.monotonic() + seconds
    while waiting.get_map() and time.monotonic() < end:
        for key, _ in waiting.select(end - time.monotonic()):
            tried = key.fileobj
            assert isinstance(tried, socket.socket)
            if tried.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                found.append(key.data)
            waiting.unregister(tried)
            tried.close()
    for key in list(waiting.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    waiting.close()
    return sorted(found)


# --- which TLS is spoken ---------------------------------------------------------------------------------------------

# Beginnings of a conversation are written here byte by byte: the OpenSSL of this computer may know no old TLS itself,
# and would take its own refusal for the server's.
VERSIONS = {"TLS 1.0": 0x0301, "TLS 1.1": 0x0302, "TLS 1.2": 0x0303}
_ALERT, _HANDSHAKE, _SERVER_HELLO = 21, 22, 2
# ECDHE and RSA with AES, from the most common of each version on (RFC 8422, 5246, 5289).
_CIPHERS = bytes.fromhex("c02b c02f c02c c030 cca9 cca8 c009 c013 c00a c014 002f 0035 000a")
_GROUPS = bytes.fromhex("000a 0008 0006 001d 0017 0018")
_POINTS = bytes.fromhex("000b 0002 01 00")
_SIGNATURES = bytes.fromhex("000d 000e 000c 0403 0503 0804 0401 0501 0201")


def speaks(server: Server, version: str) -> bool:
    """Return whether a server goes on when a client offers one version of TLS alone; Unknown without any answer."""
    try:
        with socket.create_connection((server.address, server.port), TIMEOUT_S) as plain:
            plain.sendall(client_hello(VERSIONS[version], server.name))
            answer = _read(plain, 11)
    except ConnectionResetError:
        return False
    except OSError as error:
        raise Unknown(f"{server.address}:{server.port}: no answer ({error})") from None
    if not answer or answer[0] == _ALERT:
        return False
    if len(answer) < 11 or answer[0] != _HANDSHAKE or answer[5] != _SERVER_HELLO:
        raise Unknown(f"{server.address}:{server.port} does not speak TLS")
    return int.from_bytes(answer[9:11], "big") == VERSIONS[version]


def _read(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size and (more := connection.recv(size - len(read))):
        read += more
    return read


def client_hello(version: int, name: str) -> bytes:
    """Return a ClientHello (RFC 5246, 7.4.1.2) that offers this version and no newer one, for a server's name."""
    # An address is no name (RFC 6066, 3).
    host = b"" if is_address(name) else name.encode("idna")
    server_name = b"\0\0" + _sized(_sized(b"\0" + _sized(host, 2), 2), 2) if host else b""
    signatures = _SIGNATURES if version == VERSIONS["TLS 1.2"] else b""
    extensions = _sized(server_name + _GROUPS + _POINTS + signatures, 2)
    random, session = bytes(range(32)), b"\0"
    hello = version.to_bytes(2, "big") + random + session + _sized(_CIPHERS, 2) + b"\1\0" + extensions
    return b"\x16\x03\x01" + _sized(b"\1" + _sized(hello, 3), 2)


def _sized(data: bytes, octets: int) -> bytes:
    return len(data).to_bytes(octets, "big") + data
