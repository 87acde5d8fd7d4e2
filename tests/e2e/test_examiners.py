"""Outside examiners judge a host before and after a deploy with a proxy, and the locked packages (CONTRIBUTING.md)."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lab import Host, Lab
from lab.process import wait_until
from tests.e2e.examiners import STORED, Examination, changed_files, examine, known_attacks, lynis, remarks, sslscan
from tests.e2e.proxied import NAME, Proxied, passwords
from tests.e2e.stack import REPOSITORY, Stack


@pytest.fixture(scope="module")
def fresh(lab: Lab) -> Iterator[Host]:
    """A host of the same image that nothing was deployed to."""
    yield lab.up("fresh")
    lab.down("fresh")


@pytest.fixture(scope="module")
def before(fresh: Host) -> Iterator[Future[Examination]]:
    """What the examiners say of the fresh host; they are at it while the other one is deployed to."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(examine, fresh)


@pytest.fixture(scope="module")
def proxied(served: Stack, before: Future[Examination]) -> Proxied:
    """A served stack to which a proxy was added."""
    served.recovers()
    stack = Proxied.of(served)
    with passwords():
        stack.converge()
    return stack


@pytest.fixture(scope="module")
def examined(before: Future[Examination], proxied: Proxied) -> tuple[Examination, Examination]:
    """What the examiners say of a host before and after a deploy."""
    after = examine(proxied.host)
    print(f"Lynis' hardening index: {before.result().index} before, {after.index} after")
    return before.result(), after


# --- the host ----------------------------------------------------------------------------------------------------


def test_lynis_finds_a_host_no_weaker_after_a_deploy(examined: tuple[Examination, Examination]) -> None:
    before, after = examined

    assert after.index >= before.index
    assert after.index >= STORED["lynis"]["hardening_index"]


def test_lynis_has_nothing_to_remark_that_it_had_not_before(examined: tuple[Examination, Examination]) -> None:
    before, after = examined

    ours = {"mlflow-tracking", "mlflow-production@diabetes", "mlflow-proxy", "mlflow-proxy-login"}
    assert after.services & ours == ours
    assert sorted(after.remarks - before.remarks) == sorted(STORED["lynis"]["remarks"])


def test_debsums_finds_no_file_of_a_package_changed_by_a_deploy(examined: tuple[Examination, Examination]) -> None:
    before, after = examined

    assert after.changed_files - before.changed_files == set()


def test_examiners_of_the_host_see_what_is_wrong(examined: tuple[Examination, Examination], fresh: Host) -> None:
    fresh.run("useradd --non-unique --uid 0 toor && echo >> /usr/sbin/lynis && echo >> /etc/lynis/default.prf")

    report = lynis(fresh, "--tests AUTH-9204")

    assert {line for line in remarks(report) if "AUTH" in line} - examined[0].remarks == {
        "warning AUTH-9204|Multiple users with UID 0 found in passwd file|-|-|"
    }
    assert changed_files(fresh, "lynis") == {"/usr/sbin/lynis", "/etc/lynis/default.prf"}


# --- TLS, asked from this machine ----------------------------------------------------------------------------------


def test_sslscan_finds_nothing_taken_but_what_is_to_be(proxied: Proxied) -> None:
    assert sslscan(f"{proxied.host.address}:443", NAME) == STORED["sslscan"]


def test_testssl_finds_no_known_attack_possible(proxied: Proxied, tmp_path: Path) -> None:
    withstood, wrong = known_attacks(f"{proxied.host.address}:443", tmp_path)

    assert sorted(withstood) == sorted(STORED["testssl"]["withstood"])
    assert wrong == [*STORED["testssl"]["wrong"]]


def test_sslscan_sees_what_a_weak_server_takes(tmp_path: Path) -> None:
    weak = ["-newkey", "rsa:1024", "-sha1", "-nodes", "-subj", "/CN=weak", "-keyout", "key", "-out", "certificate"]
    subprocess.run(["openssl", "req", "-x509", *weak], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["-accept", address, "-key", "key", "-cert", "certificate", "-quiet"]
    old = ["-cipher", "ALL:@SECLEVEL=0", "-min_protocol", "TLSv1"]
    server = subprocess.Popen(
        ["openssl", "s_server", *options, *old], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert wait_until(lambda: _listens(address), 20)
        found = sslscan(address, "weak")
    finally:
        server.kill()
        server.communicate()

    assert found["protocols"] == ["tls 1.0", "tls 1.1", "tls 1.2", "tls 1.3"]
    assert {"TLSv1.0 AES128-SHA", "TLSv1.2 ADH-AES128-SHA"} <= set(found["ciphers"])
    assert "TLSv1.3 ffdhe2048" in found["groups"]
    assert (found["renegotiation"], found["key"], found["signature"]) == (True, "RSA 1024", "sha1WithRSAEncryption")


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


# --- locked packages -----------------------------------------------------------------------------------------------


# Package, number of the vulnerability, and the version that mends it.
KNOWN = [("jinja2", "2026-1", "99.1"), ("pyyaml", "2026-2", "")]


class Feed(BaseHTTPRequestHandler):
    """A feed that answers as OSV's does (https://google.github.io/osv.dev/post-v1-query), and knows two things."""

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        found = [self.vulnerability(*known) for known in KNOWN if known[0] == name]
        body = json.dumps({"vulns": found} if found else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @staticmethod
    def vulnerability(name: str, number: str, mended_in: str) -> dict[str, Any]:
        events = [{"introduced": "0"}, *([{"fixed": mended_in}] if mended_in else [])]
        affected = {"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        return {"id": f"PYSEC-{number}", "aliases": [f"CVE-{number}"], "summary": "made up", "affected": [affected]}

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def audit(*options: str) -> Any:
    command = [sys.executable, "scripts/audit.py", *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)


def test_locked_packages_have_no_known_vulnerability_that_a_newer_version_mends() -> None:
    done = audit()

    if re.match(r"not audited: (\d+) of \1 packages", done.stdout):
        pytest.skip(f"PyPI's feed of vulnerabilities is not reached from here: {done.stdout.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in done.stdout.splitlines():
        warnings.warn(line, stacklevel=1)  # which pytest shows at the end, also when all is well


def test_audit_reports_what_a_feed_knows_and_fails_for_what_a_newer_version_mends() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Feed) as feed:
        thread = threading.Thread(target=feed.serve_forever)
        thread.start()
        try:
            done = audit("--service=osv", f"--osv-url=http://127.0.0.1:{feed.server_port}")
        finally:
            feed.shutdown()
            thread.join()

    mended, unmended = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert mended.startswith("jinja2 3.")
    assert ": PYSEC-2026-1 = CVE-2026-1, mended in 99.1; raise it, or waive it with a reason; in locks/" in mended
    assert unmended.startswith("pyyaml 6.")
    assert ": PYSEC-2026-2 = CVE-2026-2, no version mends it yet; watch it; in locks/" in unmended
