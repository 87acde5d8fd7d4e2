"""HTTP, TLS and connections, to real servers on loopback."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.process import wait_until
from mlflow_stack.conform.calling import VERSIONS, Server, call, connect, is_here, open_ports, speaks
from mlflow_stack.conform.checks import Unknown
from tests.unit.conform.servers import NAME, Issued, issue, serving

OLD = ["-cipher", "ALL:@SECLEVEL=0"]


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("issued"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def openssl(pem: Path, *options: str) -> Iterator[Server]:
    """Serve TLS by openssl, whatever this computer's Python would think of it."""
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(pem), "-key", str(pem), "-quiet"]
    process = subprocess.Popen([*command, *options], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: open_ports("127.0.0.1", [port], 1) == [port], 20)
        yield Server("127.0.0.1", port, NAME, "")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "spoken"),
    [
        (["-min_protocol", "TLSv1.2"], ["TLS 1.2"]),
        ([*OLD, "-min_protocol", "TLSv1"], ["TLS 1.0", "TLS 1.1", "TLS 1.2"]),
        ([*OLD, "-min_protocol", "TLSv1.1", "-max_protocol", "TLSv1.1"], ["TLS 1.1"]),
        (["-min_protocol", "TLSv1.3"], []),
    ],
)
def test_versions_that_a_server_speaks_are_found(issued: Issued, options: list[str], spoken: list[str]) -> None:
    with openssl(issued.file, *options) as server:
        assert [version for version in VERSIONS if speaks(server, version)] == spoken


def test_server_without_tls_is_no_server_that_refuses_old_tls() -> None:
    with serving(lambda *_: (200, {}, "")) as served, pytest.raises(Unknown):
        speaks(Server("127.0.0.1", served.port, NAME, ""), "TLS 1.2")


def test_server_that_is_not_there_is_unknown() -> None:
    server = Server("127.0.0.1", free_port(), NAME, "")

    with pytest.raises(Unknown, match="no answer"):
        speaks(server, "TLS 1.2")
    with pytest.raises(Unknown, match=rf"GET / on 127.0.0.1:{server.port}: no answer"):
        call(server, "GET", "/")


@pytest.mark.parametrize("trusts", ["authority", "certificate"])
def test_server_is_known_by_its_authority_or_by_its_own_certificate(issued: Issued, trusts: str) -> None:
    with serving(lambda *_: (200, {}, "well"), issued.file) as served:
        for name in (NAME, "127.0.0.1"):
            assert call(Server("127.0.0.1", served.port, name, getattr(issued, trusts)), "GET", "/").text == "well"


def test_server_of_another_name_or_another_authority_is_not_spoken_to(issued: Issued, tmp_path: Path) -> None:
    with serving(lambda *_: (200, {}, ""), issued.file) as served:
        for server in (
            Server("127.0.0.1", served.port, "other.example.com", issued.authority),
            Server("127.0.0.1", served.port, NAME, issue(tmp_path).authority),
        ):
            with pytest.raises(ssl.SSLCertVerificationError):
                connect(server).close()

    assert served.requests == []


def test_request_has_the_name_that_users_type_and_what_it_is_given(issued: Issued) -> None:
    with serving(lambda *_: (418, {"X-A": "b"}, "text"), issued.file) as served:
        answer = call(Server("127.0.0.1", served.port, NAME, ""), "POST", "/path?a=b", {"X-B": "c"}, b"{}")
        call(Server("127.0.0.1", served.port, NAME, ""), "GET", "/", {"Host": "other"})

    (method, path, headers), (_, _, forged) = served.requests
    assert (answer.status, answer.headers["x-a"], answer.text) == (418, "b", "text")
    assert (method, path, headers["Host"], headers["X-B"]) == ("POST", "/path?a=b", f"{NAME}:{served.port}", "c")
    assert forged.get_all("Host") == ["other"]  # type: ignore[attr-defined]


def test_ports_that_are_open_are_found_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        assert open_ports("127.0.0.1", [free_port(), port, free_port()]) == [port]
        assert open_ports("127.0.0.1", []) == []


def test_address_of_this_computer_is_told_from_that_of_another() -> None:
    assert [is_here(address) for address in ("127.0.0.1", "localhost", "@local", "::1")] == [True] * 4
    # Of a documentation network (RFC 5737), so nobody's; nothing is sent to it.
    assert [is_here(address) for address in ("192.0.2.1", "no such name.invalid")] == [False] * 2
