"""The proxy as clients see it from another host: TLS, logins, models at their paths; nothing passes it by."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from mlflow import MlflowClient

from lab.errors import CommandFailed
from lab.process import wait_until
from tests.e2e.browser import LoggedIn, skip_without_chromium
from tests.e2e.conform import conform
from tests.e2e.load import Load
from tests.e2e.proxied import ADMIN, NAME, SEARCH, SHOP, Proxied, proxied
from tests.e2e.stack import Stack

PROXY, LOGIN, CERTIFICATE = "mlflow-proxy.service", "mlflow-proxy-login.service", "mlflow-proxy-certificate.service"
MIB = 1 << 20


@pytest.fixture(scope="module")
def stack(served: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A served stack to which a proxy was added."""
    with proxied(served, tmp_path_factory.mktemp("ca")) as stack:
        assert stack.fault() == ""
        yield stack


def state(stack: Stack, unit: str, name: str) -> str:
    return stack.host.run(f"systemctl show -P {name} {unit}").stdout.strip()


# --- what clients do ---------------------------------------------------------------------------------------------


def test_second_run_changes_nothing(stack: Proxied) -> None:
    assert stack.converge().changed == []


def test_client_logs_and_reads_with_its_own_variables(
    stack: Proxied, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stack.url)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN[0])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", ADMIN[1])
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(stack.ca))
    content = os.urandom(5 * MIB + 1)
    (tmp_path / "Gewichte ä.bin").write_bytes(content)
    client = MlflowClient()
    run = client.create_run(client.create_experiment("through the proxy — 糖"))
    client.log_metric(run.info.run_id, "rmse", 0.5)

    client.log_artifact(run.info.run_id, str(tmp_path / "Gewichte ä.bin"), "modell/ä")
    returned = client.download_artifacts(run.info.run_id, "modell/ä/Gewichte ä.bin", str(tmp_path / "returned"))

    assert client.get_run(run.info.run_id).data.metrics == {"rmse": 0.5}
    assert hashlib.sha256(Path(returned).read_bytes()).digest() == hashlib.sha256(content).digest()
    assert mlflow.pyfunc.load_model("models:/diabetes@champion") is not None


def test_model_is_at_its_path_with_its_own_users(stack: Proxied) -> None:
    assert len(stack.predict().json()["predictions"]) == 1
    assert stack.ask("GET", "/models/diabetes/ping", SHOP).status_code == 200

    assert stack.predict(ADMIN).status_code == 401
    assert stack.search(SHOP).status_code == 401
    assert stack.ask("GET", "/models/diabetes/docs", SHOP).status_code == 401
    assert stack.ask("GET", "/models/other/invocations", SHOP).status_code == 401


def test_large_request_to_a_model_is_refused_and_to_the_tracking_server_it_is_not(stack: Proxied) -> None:
    large = b"x" * (17 * MIB)
    artifact = "/api/2.0/mlflow-artifacts/artifacts/test-proxy/17-MiB"

    assert stack.ask("POST", "/models/diabetes/invocations", SHOP, data=large).status_code == 413
    assert stack.ask("PUT", artifact, data=large).status_code == 200
    assert stack.ask("GET", artifact).content == large
    assert stack.ask("DELETE", artifact).status_code == 200


def test_health_is_that_of_the_database_and_needs_no_login(stack: Proxied) -> None:
    assert (stack.ask("GET", "/health", None).status_code, stack.ask("GET", "/health", None).text) == (200, "{}")

    stack.host.run("systemctl stop postgresql@15-main")
    try:
        down = stack.ask("GET", "/health", None)
    finally:
        stack.host.run("systemctl start postgresql@15-main")

    assert (down.status_code, down.text) == (503, "MLflow does not work: it, or its database, gives no answer\n")
    assert stack.recovers() < 60
    assert stack.ask("GET", "/health", None).status_code == 200


def test_ui_works_in_a_browser_with_all_the_headers(stack: Proxied, tmp_path: Path) -> None:
    """The browser is told the key to trust, by its SHA-256, once Python has verified the certificate."""
    skip_without_chromium()
    key = certificate(stack).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    trusted = base64.b64encode(hashlib.sha256(key).digest()).decode()
    found = stack.ask("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=diabetes").json()
    experiment = found["experiment"]["experiment_id"]
    runs = stack.ask("POST", "/api/2.0/mlflow/runs/search", json={"experiment_ids": [experiment]}).json()["runs"]
    metrics = [f"{metric['value']:.2f}" for run in runs for metric in run["data"]["metrics"]]

    url = f"{stack.url}/#/experiments/{experiment}/runs?compareRunsMode=CHART"
    wanted = [re.escape(part) for part in ["diabetes", "3 matching runs", *metrics]]
    with LoggedIn(tmp_path / "profile", ADMIN, f"--ignore-certificate-errors-spki-list={trusted}") as browser:
        lacking, text = browser.text(url, wanted)

    assert len(runs) == 3
    assert lacking == [], text


# --- who is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", SEARCH, "/version", "/metrics", "/static-files/index.html", "/graphql", "/%2e/"])
def test_request_without_a_login_is_asked_for_one(stack: Proxied, path: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
        answer = stack.ask(method, path, None)
        assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (
            401,
            'Basic realm="MLflow", charset="UTF-8"',
        ), (method, path)


def test_login_in_bulk_is_slowed_down_and_others_are_served(stack: Proxied) -> None:
    stack.host.run(f"systemctl restart {LOGIN}")  # which forgets the wrong ones of the tests before
    assert stack.search().status_code == 200
    guesses = [stack.search((ADMIN[0], f"guess {number}")).status_code for number in range(20)]

    assert guesses[:10] == [401] * 10
    assert guesses[-5:] == [429] * 5
    refused = stack.search((ADMIN[0], "guess"))
    assert refused.text == f"Too many wrong logins from {stack.host.lab.network.gateway}; wait\n"
    assert refused.headers["Retry-After"] == "6"
    assert stack.search().status_code == 200
    log = stack.host.run(f"journalctl -u {LOGIN} --no-pager -o cat").stdout
    assert f"wrong login for '{ADMIN[0]}' of tracking from {stack.host.lab.network.gateway}" in log
    assert "guess" not in log
    stack.host.run(f"systemctl restart {LOGIN}")  # for the tests after this one


def test_request_for_another_name_is_refused(stack: Proxied) -> None:
    told = f"This server is not called so; it is https://{NAME}\n"
    for host in ("evil.example.com", f"{NAME}.evil.example.com", "localhost", "127.0.0.1"):
        forged = stack.search(headers={"Host": host})
        assert (forged.status_code, forged.text) == (421, told)
    assert stack.search(headers={"Host": NAME}).status_code == 200


def test_browser_s_request_from_another_site_is_refused(stack: Proxied) -> None:
    for origin in ("https://evil.example.com", f"http://{NAME}", f"https://{NAME}.evil.example.com"):
        assert stack.search(headers={"Origin": origin}).status_code == 403, origin
    for origin in (f"https://{NAME}", stack.url):
        assert stack.search(headers={"Origin": origin}).status_code == 200, origin


def test_browser_without_tls_is_sent_on_and_a_program_is_told(stack: Proxied) -> None:
    plain = f"http://{stack.host.address}"
    with requests.Session() as session:
        session.trust_env = False
        sent_on = session.get(f"{plain}/?a=b", allow_redirects=False, timeout=20)
        told = session.post(f"{plain}{SEARCH}", json={}, timeout=20)

    assert (sent_on.status_code, sent_on.headers["Location"]) == (301, f"https://{NAME}/?a=b")
    assert (told.status_code, told.text) == (
        403,
        f"Not without TLS: use https://{NAME}, and change the password that was sent here\n",
    )


def test_every_answer_has_the_headers_that_browsers_heed(stack: Proxied) -> None:
    artifact = "/api/2.0/mlflow-artifacts/artifacts/test-proxy/page.html"
    assert stack.ask("PUT", artifact, data=b"<script>alert(1)</script>").status_code == 200

    for answer in (stack.ask("GET", "/"), stack.ask("GET", "/", None), stack.ask("GET", artifact)):
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "Strict-Transport-Security" not in headers
        assert headers["Server"] == "nginx"
    assert "frame-ancestors 'self'" in stack.ask("GET", "/").headers["Content-Security-Policy"]
    assert stack.ask("GET", artifact).headers["Content-Security-Policy"].startswith("sandbox")
    stack.ask("DELETE", artifact)


def test_nothing_else_of_the_stack_can_be_reached_over_the_network(stack: Proxied) -> None:
    for port in (5000, 5001, 5432):
        with pytest.raises(TimeoutError):
            socket.create_connection((stack.host.address, port), timeout=2)
    listening = stack.host.run("ss -Hltn | awk '{print $4}' | sort -u").stdout.split()
    assert [each for each in listening if not each.startswith(("127.", "[::1]"))] == [
        "0.0.0.0:22",
        "0.0.0.0:443",
        "0.0.0.0:80",
        "[::]:22",
    ]


@pytest.mark.parametrize("socket_name", ["tracking", "production-diabetes", "proxy-login"])
def test_other_users_of_the_host_are_not_let_in_by_the_sockets(stack: Proxied, socket_name: str) -> None:
    path = f"/run/mlflow/{socket_name}.sock"
    curl = f"cd / && runuser -u {{}} -- curl -s --unix-socket {path} http://localhost/ping"
    for user in ("nobody", "deploy"):
        with pytest.raises(CommandFailed):
            stack.host.run(curl.format(user))
    stack.host.run(curl.format("mlflow-proxy"))


def test_slow_clients_do_not_keep_others_waiting(stack: Proxied) -> None:
    """Each sends a byte now and then of a request that never ends."""
    context = ssl.create_default_context(cafile=str(stack.ca))
    slow = []
    for _ in range(150):
        plain = socket.create_connection((stack.host.address, 443), timeout=20)
        slow.append(context.wrap_socket(plain, server_hostname=stack.host.address))
        slow[-1].sendall(f"POST {SEARCH} HTTP/1.1\r\nHost: {NAME}\r\nX-Slow: ".encode())

    start = time.monotonic()
    answers = []
    for connection in slow[:20]:
        connection.sendall(b"a")
        answers.append(stack.search().status_code)

    print(f"20 requests beside 150 slow clients: {time.monotonic() - start:.1f} s")
    assert answers == [200] * 20
    for connection in slow:
        connection.close()


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01garbage\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: mlflow.example.com\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: mlflow.example.com\r\nHost: evil.example.com\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: mlflow.example.com\r\n" + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: mlflow.example.com\r\n\r\n",
    ],
)
def test_malformed_request_is_refused(stack: Proxied, request_text: bytes) -> None:
    context = ssl.create_default_context(cafile=str(stack.ca))
    with (
        socket.create_connection((stack.host.address, 443), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=stack.host.address) as connection,
    ):
        connection.sendall(request_text)
        answer = connection.recv(1000)

    first = answer.splitlines()[0] if answer else b"closed"
    refusals = (b"closed", b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 421 Misdirected Request")
    # HTTP/0.9 has no first line.
    assert first in refusals or answer.startswith(b"This server is not called so"), answer
    assert stack.search().status_code == 200


# --- how it runs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "limit"), [(PROXY, 0.5), (LOGIN, 0.5)])
def test_proxy_has_no_rights_and_no_network_of_its_own(stack: Proxied, unit: str, limit: float) -> None:
    pids = stack.processes(unit)
    status = stack.host.run(
        "; ".join(
            f"grep -hE '^(CapEff|NoNewPrivs|Seccomp|Uid):' /proc/{pid}/status | tr -s '\\t\\n' ' '; echo"
            for pid in pids
        )
    ).stdout.splitlines()
    links = stack.host.run(f"nsenter --net --target {pids[0]} ip -o link | cut -d: -f2").stdout.split()
    exposure = stack.host.run(f"systemd-analyze security --no-pager {unit} | tail -n 1").stdout

    print(exposure)
    assert all("CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2" in line for line in status)
    assert not any(line.startswith("Uid: 0 ") for line in status)
    assert links == ["lo"]
    assert float(exposure.split(":")[1].split()[0]) <= limit


def test_no_worker_waits_for_a_connection_that_another_one_took(stack: Proxied) -> None:
    """Its clients would wait with it until the next connection comes; that happens too seldom to be tried here."""
    pids = stack.processes(PROXY)
    flags = stack.host.run("; ".join(f"grep ^flags: /proc/{pid}/fdinfo/3 /proc/{pid}/fdinfo/4" for pid in pids)).stdout

    found = [int(line.split()[-1], 8) & os.O_NONBLOCK for line in flags.splitlines()]
    assert found == [os.O_NONBLOCK] * 2 * len(pids)
    assert len(pids) > 1


def test_restart_and_reload_lose_no_request(stack: Proxied) -> None:
    with Load(stack.searched) as load:
        time.sleep(1)
        for unit in (PROXY, LOGIN):
            stack.host.run(f"systemctl restart {unit}")
            time.sleep(1)
        stack.host.run(f"systemctl reload {PROXY}")
        time.sleep(1)

    print(f"| restart and reload the proxy | {len(load.answers)} | {len(load.failed)} | {load.longest_s:.1f} |")
    assert load.failed == []


def certificate(stack: Proxied) -> x509.Certificate:
    """Return the certificate that the proxy shows to a new client."""
    context = ssl.create_default_context(cafile=str(stack.ca))
    with (
        socket.create_connection((stack.host.address, 443), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown)


def test_certificate_is_renewed_by_its_timer_and_shown_at_once(stack: Proxied) -> None:
    before = certificate(stack)
    assert state(stack, "mlflow-proxy-certificate.timer", "ActiveState") == "active"
    # As it is thirty days before its end: gone, since a clock can't be set here.
    stack.host.run("rm /etc/mlflow/credentials/proxy/server.pem")

    stack.host.run(f"systemctl start {CERTIFICATE}")

    assert wait_until(lambda: certificate(stack) != before, 20)
    assert certificate(stack).issuer == before.issuer
    assert stack.host.run("stat -c '%a %U %G' /etc/mlflow/credentials/proxy/server.pem").stdout == "600 root root\n"
    assert stack.converge().changed == []


def test_certificate_that_was_replaced_behind_its_back_is_taken(stack: Proxied) -> None:
    stack.host.run("cd /etc/mlflow/credentials/proxy && rm server.pem")

    run = stack.converge()

    assert run.changed == ["Proxy | Make a certificate", "Proxy | Run mlflow-proxy and see it work"]
    assert stack.fault() == ""


def test_rotated_password_works_and_the_old_one_is_refused(stack: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    process, new = state(stack, PROXY, "MainPID"), (ADMIN[0], "a new one")
    monkeypatch.setenv("ADMIN_PASSWORD", new[1])

    run = stack.converge()

    assert run.changed == ["Proxy | Write the logins", "Proxy | Run mlflow-proxy-login and see it refuse"]
    assert (stack.search(new).status_code, stack.search(ADMIN).status_code) == (200, 401)
    assert stack.predict().status_code == 200
    assert state(stack, PROXY, "MainPID") == process
    monkeypatch.setenv("ADMIN_PASSWORD", ADMIN[1])
    assert stack.converge().changed == run.changed


def test_no_password_and_no_hash_is_readable_for_others(stack: Proxied) -> None:
    files = stack.host.run(
        "stat -c '%a %U %G %n' /etc/mlflow/credentials/logins /etc/mlflow/credentials/proxy/*"
    ).stdout
    found = stack.host.run(
        "grep -rlF -e 'correct horse' -e 'battery staple' /etc /var/lib/mlflow* /run /tmp /opt/mlflow/libexec || true"
    )

    assert found.stdout == ""
    assert files.splitlines() == [
        "600 root root /etc/mlflow/credentials/logins",
        "600 root root /etc/mlflow/credentials/proxy/ca.key",
        "600 root root /etc/mlflow/credentials/proxy/server.pem",
    ]


def test_everything_works_after_a_reboot(stack: Proxied) -> None:
    stack.host.reboot()

    print(f"everything works {stack.recovers():.1f} s after SSH")
    assert state(stack, "nginx.service", "LoadState") == "masked"
    assert stack.converge().changed == []


def test_own_certificate_takes_the_place_of_the_self_signed_one(stack: Proxied, tmp_path: Path) -> None:
    pem = stack.host.run("cat /etc/mlflow/credentials/proxy/server.pem").stdout
    split = pem.index("-----BEGIN CERTIFICATE-----")
    (tmp_path / "key").write_text(pem[:split])
    (tmp_path / "certificate").write_text(pem[split:])
    given = {
        "proxy_tls": "files",
        "proxy_tls_certificate": str(tmp_path / "certificate"),
        "proxy_tls_key": f"file:{tmp_path / 'key'}",
    }

    stack.converge(**given)

    assert certificate(stack) == x509.load_pem_x509_certificate(pem[split:].encode())
    assert stack.search().headers["Strict-Transport-Security"] == "max-age=31536000"
    assert stack.host.run("ls /etc/systemd/system | grep certificate || true").stdout == ""
    assert stack.converge(**given).changed == []


def test_fingerprint_that_a_run_prints_is_that_of_the_authority(stack: Proxied) -> None:
    stack.host.run("rm /etc/mlflow/credentials/proxy/server.pem")

    run = stack.converge()

    expected = x509.load_pem_x509_certificate(stack.ca.read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()
    assert expected in run.output
    assert json.dumps(ADMIN[1]) not in run.output


def test_every_promise_that_can_be_asked_is_kept_after_all_this(stack: Proxied) -> None:
    found = conform(stack)

    assert found.is_kept, found.output
