"""A certificate by ACME: Debian's certbot, through the proxy of the host, from a server of the lab (pebble).

pebble is Let's Encrypt's own server for tests (https://github.com/letsencrypt/pebble): it asks the host on port 80 as
they do, and its root is new with each start, so that nobody trusts it by accident.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from requests.adapters import HTTPAdapter

from lab import Host, Lab
from lab.process import wait_until
from tests.e2e import web
from tests.e2e.conform import conform
from tests.e2e.load import Load
from tests.e2e.proxied import ADMIN, NAME, Proxied, passwords
from tests.e2e.stack import REPOSITORY, Stack
from tests.e2e.test_proxy import CERTIFICATE

OTHER, REFUSED = "other.example.com", "refused.example.com"
PEM = "/etc/mlflow/credentials/proxy/server.pem"
GET = "Proxy | Get the certificate from the ACME server"
SELF_SIGNED = {"proxy_tls": "self-signed", "proxy_acme_server": "", "proxy_acme_ca_file": "", "proxy_acme_email": ""}
PEBBLE = """[Service]
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0
ExecStart=/usr/bin/pebble -config /etc/pebble/pebble.json
"""


@dataclass(frozen=True)
class Server:
    """The ACME server, on a host of its own; `authority` is that of its own certificate, `root` that of what it gives.

    Both are files, in PEM.
    """

    host: Host
    authority: Path
    root: Path

    @property
    def url(self) -> str:
        return f"https://{self.host.address}:14000/dir"

    def start(self, client: Host) -> None:
        """Install and start it; `client` is the host that the names lead to."""
        self.host.run("apt-get -q update && apt-get -q install -y --no-install-recommends pebble openssl", timeout=600)
        self.host.run(f"echo {client.address} {NAME} {OTHER} {REFUSED} >> /etc/hosts")
        self.host.put("/root/certificate.sh", (REPOSITORY / "mlflow_stack/on_host/certificate.sh").read_text())
        self.host.run("install -d -m 700 /etc/pebble")
        self.host.run(f"sh /root/certificate.sh ensure /etc/pebble /etc/pebble/ca.crt {self.host.address}")
        self.host.put("/etc/pebble/pebble.json", json.dumps({"pebble": self.configuration()}))
        self.host.put("/etc/systemd/system/pebble.service", PEBBLE)
        self.host.run("systemctl start pebble")
        self.authority.write_text(self.host.run("cat /etc/pebble/ca.crt").stdout)
        assert wait_until(self.answers, 20), self.host.journal("pebble")

    def configuration(self) -> dict[str, Any]:
        return {
            "listenAddress": f"{self.host.address}:14000",
            "managementListenAddress": f"{self.host.address}:15000",
            "certificate": "/etc/pebble/server.pem",
            "privateKey": "/etc/pebble/server.pem",
            "httpPort": 80,
            "tlsPort": 443,
            "domainBlocklist": [REFUSED],
        }

    def answers(self) -> bool:
        """Fetch the root; return whether it was to be had."""
        with requests.Session() as session:
            session.trust_env = False
            url = f"https://{self.host.address}:15000/roots/0"
            try:
                self.root.write_text(session.get(url, verify=str(self.authority), timeout=10).text)
            except requests.RequestException:
                return False
        return True


class ByName(HTTPAdapter):
    """Connects to the address of a URL, and wants a certificate for a name there."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, server_hostname=self.name, assert_hostname=self.name, **options)


class Certified(Proxied):
    """The served stack behind a proxy with a certificate from the server; clients trust `ca` and ask for `name`."""

    name = NAME

    def ask(self, method: str, path: str, auth: tuple[str, str] | None = ADMIN, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", ByName(self.name))
            return session.request(method, f"{self.url}{path}", auth=auth, verify=str(self.ca), timeout=60, **options)

    def leaf(self) -> x509.Certificate:
        """Return the certificate that the proxy shows; SSLError when it is not for the name, or not of the root."""
        context = ssl.create_default_context(cafile=str(self.ca))
        with (
            socket.create_connection((self.host.address, 443), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname=self.name) as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
        assert shown
        return x509.load_der_x509_certificate(shown)


@pytest.fixture(scope="module")
def server(lab: Lab, served: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("acme")
    server = Server(lab.up("acme1"), directory / "authority.pem", directory / "root.pem")
    server.start(served.host)
    yield server
    lab.down("acme1")


@pytest.fixture(scope="module")
def stack(served: Stack, server: Server) -> Iterator[Certified]:
    """A served stack to which a proxy was added, with a certificate from the server."""
    served.recovers()
    stack = Certified.of(served)
    assert isinstance(stack, Certified)
    stack.ca = server.root
    stack.settings |= {
        "proxy_tls": "acme",
        "proxy_acme_server": server.url,
        "proxy_acme_ca_file": str(server.authority),
        "proxy_acme_accept_terms": True,
        "proxy_acme_email": "admin@example.com",
    }
    with passwords():
        stack.converge()
        yield stack


def test_client_that_trusts_the_root_of_the_server_is_served(stack: Certified) -> None:
    names = stack.leaf().extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    assert names.get_values_for_type(x509.DNSName) == [NAME]
    assert stack.leaf().issuer.rfc4514_string().startswith("CN=Pebble Intermediate CA")
    assert stack.fault() == ""
    assert "Strict-Transport-Security" not in stack.search().headers


def test_second_run_changes_nothing(stack: Certified) -> None:
    assert stack.converge().changed == []


def test_promises_are_kept_as_who_trusts_the_root_sees_them(
    stack: Certified, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.root))

    conformed = conform(stack)

    assert conformed.is_kept, conformed.output
    assert {"mlflow1 8.1", "mlflow1 6.5"} <= conformed.held


def test_certbot_is_confined_leaves_nothing_readable_and_has_no_timer_of_its_own(stack: Certified) -> None:
    exposure = stack.host.run(f"systemd-analyze security --no-pager {CERTIFICATE} | tail -n 1").stdout
    keys = stack.host.run(
        "find /etc/mlflow/credentials -name '*key*' -o -name server.pem | xargs stat -c '%a %U'"
    ).stdout
    left = stack.host.run("find /var/lib/mlflow-acme/challenges -type f; ls /etc/letsencrypt/accounts", check=False)

    print(exposure)
    assert float(exposure.split(":")[1].split()[0]) <= 1.4
    assert set(keys.splitlines()) <= {"600 root", "400 root"}
    assert left.stdout == ""
    assert stack.host.run("systemctl is-enabled certbot.timer", check=False).stdout == "masked\n"
    assert stack.host.run("systemctl is-active mlflow-proxy-certificate.timer").stdout == "active\n"


def test_nothing_is_shown_without_tls_but_what_an_acme_server_asks_for(stack: Certified) -> None:
    plain = f"http://{stack.host.address}"
    stack.host.put("/var/lib/mlflow-acme/challenges/.well-known/acme-challenge/token", "token.thumbprint")
    try:
        shown = web.get(f"{plain}/.well-known/acme-challenge/token")
    finally:
        stack.host.run("rm -r /var/lib/mlflow-acme/challenges/.well-known")

    assert (shown.status, shown.body) == (200, "token.thumbprint")
    assert web.get(f"{plain}/.well-known/acme-challenge/other").status == 404
    assert web.get(f"{plain}/.well-known/acme-challenge/..%2f..%2f..%2flog%2fletsencrypt.log").status in (400, 404)
    with requests.Session() as session:
        session.trust_env = False
        sent_on = session.get(f"{plain}/.well-known/", allow_redirects=False, timeout=20)
    assert (sent_on.status_code, sent_on.headers["Location"]) == (301, f"https://{NAME}/.well-known/")
    assert "[warn]" not in stack.host.run("journalctl -u mlflow-proxy --no-pager").stdout


def test_renewal_leaves_a_certificate_alone_that_is_well(stack: Certified) -> None:
    before = stack.leaf()

    stack.host.run(f"systemctl start {CERTIFICATE}")

    assert stack.leaf() == before


def test_renewal_loses_no_request(stack: Certified) -> None:
    before = stack.leaf()
    # As it is when a third of its time is left: no longer there, since a clock can't be set here.
    stack.host.run(f"rm {PEM}")
    with Load(stack.searched) as load:
        time.sleep(1)
        stack.host.run(f"systemctl start {CERTIFICATE}")
        time.sleep(1)

    print(f"| renew the certificate | {len(load.answers)} | {len(load.failed)} | {load.longest_s:.1f} |")
    assert load.failed == []
    assert wait_until(lambda: stack.leaf() != before, 20)
    assert stack.converge().changed == []


def test_server_that_is_down_is_named_and_the_proxy_works_with_a_certificate_of_the_host_s_own(
    stack: Certified, server: Server, tmp_path: Path
) -> None:
    stack.host.run(f"rm {PEM}")
    server.host.cut()
    try:
        run = stack.deploy()
    finally:
        server.host.mend()

    own = tmp_path / "own.crt"
    own.write_text(stack.host.run("cat /etc/mlflow/proxy/ca.crt").stdout)
    stack.ca = own
    without = stack.fault()
    stack.ca = server.root
    told = [line for line in run.output.splitlines() if f"{GET}: {server.url} gave no certificate for {NAME}: " in line]
    assert run.status == 1
    assert told, run.output
    assert told[-1].endswith("; what was there before stays in use; put that right and run again")
    assert without == ""

    assert wait_until(server.answers, 20)
    stack.host.run(f"systemctl start {CERTIFICATE}")
    # nginx is told to reload, and does it a moment later.
    assert wait_until(lambda: stack.fault() == "", 20), stack.fault()
    assert stack.converge().changed == []


def test_another_name_gets_a_certificate_of_its_own(stack: Certified) -> None:
    run = stack.converge(tracking_public_name=OTHER)

    stack.name = OTHER
    assert GET in run.changed
    assert stack.fault() == ""


def test_refusal_of_the_server_is_told_and_the_certificate_of_before_stays(stack: Certified, server: Server) -> None:
    before = stack.leaf()

    run = stack.deploy(tracking_public_name=REFUSED)

    assert run.status == 1
    assert (
        f"{server.url} gave no certificate for {REFUSED}: Order included an identifier for which issuance is forbidden "
        f'by policy: "{REFUSED}"; what was there before stays in use' in run.output
    )
    assert stack.leaf() == before
    assert stack.fault() == ""
    assert "PRIVATE KEY" not in run.output


def test_host_goes_back_to_a_certificate_of_its_own(stack: Certified, tmp_path: Path) -> None:
    stack.converge(**SELF_SIGNED)

    stack.name, stack.ca = NAME, tmp_path / "ca.crt"
    # nginx is told to reload, and does it a moment later.
    assert wait_until(lambda: "BEGIN CERTIFICATE" in web.get(f"http://{stack.host.address}/ca.crt").body, 20)
    stack.ca.write_text(web.get(f"http://{stack.host.address}/ca.crt").body)
    assert stack.fault() == ""
    assert stack.converge(**SELF_SIGNED).changed == []
