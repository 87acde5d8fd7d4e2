"""What users and strangers reach, judged on servers on loopback that keep their promises, and that break them."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.conform import calling, reached
from mlflow_stack.conform.calling import THIS_COMPUTERS
from mlflow_stack.conform.checks import Check, NotAsked, Subject, Unknown
from mlflow_stack.conform.working import SEARCH
from mlflow_stack.domain.survey import HostSurvey, Listener
from mlflow_stack.settings import ROLES, Settings
from tests.unit.conform.servers import NAME, Issued, issue, serving
from tests.unit.defaults import settings

ADMIN = ("admin", "correct horse")
SHOP = ("shop", "battery staple")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'",
    "Server": "nginx",
}
Answered = tuple[int, Mapping[str, str], str]


def good(method: str, path: str, headers: Mapping[str, str]) -> Answered:
    """Answer as the proxy of nginx.conf.j2 does."""
    host = headers["Host"].partition(":")[0]
    login = headers.get("Authorization", "").removeprefix("Basic ")
    user = tuple(base64.b64decode(login).decode().split(":")) if login else ()
    allowed = SHOP if path.startswith("/models/") else ADMIN
    if host not in (NAME, "127.0.0.1"):
        return 421, HEADERS, "This server is not called so\n"
    if path == "/health":
        return 200, HEADERS, "{}"
    return (200, HEADERS, "{}") if user == allowed else (401, HEADERS, "")


def lenient(_method: str, _path: str, _headers: Mapping[str, str]) -> Answered:
    """Answer everybody everything."""
    return 200, {"Server": "nginx/1.22.1"}, "{}"


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("issued"))


@pytest.fixture(autouse=True)
def passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_PASSWORD", ADMIN[1])
    monkeypatch.setenv("SHOP_PASSWORD", SHOP[1])


def host(port: int, **data: Any) -> Settings:
    """Return the settings of a host with everything, whose proxy is on a port of loopback."""
    return settings(
        ROLES,
        address="127.0.0.1",
        **{
            "tracking_public_name": NAME,
            "proxy_port": port,
            "proxy_users": {ADMIN[0]: "env:ADMIN_PASSWORD"},
            "production_models": {
                "diabetes": {"uri": "models:/diabetes@champion", "users": {SHOP[0]: "env:SHOP_PASSWORD"}}
            },
            **data,
        },
    )


def found(check: Check, subject: Subject) -> list[str]:
    # What the host has said of its models.
    subject = replace(subject, answers={"6.3": ["diabetes 200 200 1", "status 0"]})
    return [fault.found for fault in check.judge(subject)]


FROM_OUTSIDE = [
    reached.health,
    reached.login,
    reached.ping,
    reached.certificate,
    reached.anonymous,
    reached.wrong_login,
    reached.forged_host,
    reached.headers,
]


@pytest.mark.parametrize("check", FROM_OUTSIDE, ids=lambda check: check.number)
def test_good_proxy_keeps_its_promises(issued: Issued, check: Check) -> None:
    with serving(good, issued.file) as served:
        assert found(check, Subject(host(served.port), trusted=issued.authority)) == []

    assert served.requests or check is reached.certificate


# What each check finds of a server that answers everybody.
LENIENT = {
    reached.anonymous: [
        "POST /models/diabetes/invocations: HTTP 200 without a login",
        f"POST {SEARCH}: HTTP 200 without a login",
        "GET /: HTTP 200 without a login",
        "GET /version: HTTP 200 without a login",
        "GET /metrics: HTTP 200 without a login",
        "GET /api/2.0/mlflow/experiments/get?experiment_id=0: HTTP 200 without a login",
        "GET /graphql: HTTP 200 without a login",
    ],
    reached.wrong_login: ["HTTP 200 for a user and a password that were made up"],
    reached.forged_host: ["HTTP 200 for conform.invalid"],
    reached.headers: [
        "x-content-type-options: missing",
        "x-frame-options: missing",
        "referrer-policy: missing",
        "content-security-policy: missing",
        "server: nginx/1.22.1",
    ],
}


@pytest.mark.parametrize("check", LENIENT, ids=lambda check: check.number)
def test_proxy_that_answers_everybody_is_found(issued: Issued, check: Check) -> None:
    with serving(lenient, issued.file) as served:
        assert found(check, Subject(host(served.port), trusted=issued.authority)) == LENIENT[check]


def test_database_that_is_down_and_a_login_that_is_refused_are_found(issued: Issued) -> None:
    with serving(lambda *_: (503, {}, "MLflow does not work\n"), issued.file) as served:
        subject = Subject(host(served.port), trusted=issued.authority)

        assert found(reached.health, subject) == ["HTTP 503: MLflow does not work"]
        assert found(reached.login, subject) == ["HTTP 503 for the first user of proxy_users"]
        assert found(reached.ping, subject) == ["diabetes: HTTP 503"]


# --- the certificate, and passwords ------------------------------------------------------------------------------


def test_certificate_that_ends_soon_is_found(tmp_path: Path) -> None:
    issued = issue(tmp_path, days=13.2)
    with serving(good, issued.file) as served:
        assert found(reached.certificate, Subject(host(served.port), trusted=issued.authority)) == [
            f"{NAME}: it ends in 13 days",
            "127.0.0.1: it ends in 13 days",
        ]


def test_certificate_that_is_given_for_a_week_is_judged_by_that(tmp_path: Path) -> None:
    issued = issue(tmp_path, days=2, age=4)
    with serving(good, issued.file) as served:
        assert found(reached.certificate, Subject(host(served.port), trusted=issued.authority)) == []


def test_certificate_by_acme_is_for_the_name_and_from_an_authority_that_this_computer_trusts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued, authority = issue(tmp_path, names=(NAME,)), tmp_path / "authority.pem"
    authority.write_text(issued.authority)
    with serving(good, issued.file) as served:
        subject = Subject(host(served.port, proxy_tls="acme", proxy_acme_accept_terms=True), trusted=THIS_COMPUTERS)
        strange = found(reached.certificate, subject)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))

        assert strange == [f"{NAME}: unable to get local issuer certificate"]
        assert found(reached.certificate, subject) == []
        assert found(reached.login, subject) == []


def test_certificate_that_proves_nothing_is_found_and_no_password_is_sent(issued: Issued, tmp_path: Path) -> None:
    ended, another = issue(tmp_path, days=-1), issued.authority
    for trusted, why in (
        (ended.authority, "certificate has expired"),
        (another, "certificate signature failure"),
    ):
        with serving(good, ended.file) as served:
            subject = Subject(host(served.port), trusted=trusted)

            assert found(reached.certificate, subject) == [f"{NAME}: {why}", f"127.0.0.1: {why}"]
            for check in (reached.login, reached.ping):
                with pytest.raises(
                    NotAsked, match=r"no password is sent to a server that does not prove who it is; see 8\.1"
                ):
                    found(check, subject)
        assert served.requests == []


def test_certificate_for_one_of_two_names_is_found(tmp_path: Path) -> None:
    issued = issue(tmp_path, names=(NAME,))
    with serving(good, issued.file) as served:
        subject = Subject(host(served.port), trusted=issued.authority)

        assert found(reached.certificate, subject) == [
            "127.0.0.1: IP address mismatch, certificate is not valid for '127.0.0.1'."
        ]


def test_no_password_is_sent_without_tls() -> None:
    with serving(good) as served:
        subject = Subject(host(served.port, proxy_tls="off", proxy_clear_text=True))
        with pytest.raises(NotAsked, match="no password is sent to a server that can't prove who it is"):
            found(reached.login, subject)

    assert served.requests == []


def test_password_that_is_not_at_hand_is_not_made_up(issued: Issued) -> None:
    for users, why in (
        ({"nobody-had": "generated"}, r"the generated password of nobody-had is not in this checkout \(.secrets/"),
        ({"admin": "env:NOT_SET_HERE"}, "the environment variable NOT_SET_HERE is not set"),
    ):
        with serving(good, issued.file) as served, pytest.raises(NotAsked, match=why):
            found(reached.login, Subject(host(served.port, proxy_users=users), trusted=issued.authority))
        assert served.requests == []


def test_login_is_sent_only_where_a_user_would_send_it(issued: Issued) -> None:
    with serving(good, issued.file) as served:
        subject = Subject(host(served.port), trusted=issued.authority)
        for check in FROM_OUTSIDE:
            found(check, subject)

    with_login = [
        (method, path) for method, path, headers in served.requests if _password(headers) in (ADMIN[1], SHOP[1])
    ]
    assert with_login == [("POST", SEARCH), ("GET", "/models/diabetes/ping")]


def _password(headers: Mapping[str, str]) -> str:
    login = headers.get("Authorization", "").removeprefix("Basic ")
    return base64.b64decode(login).decode().partition(":")[2]


# --- without TLS, and without a proxy ----------------------------------------------------------------------------


def plain(method: str, path: str, _headers: Mapping[str, str]) -> Answered:
    return (403, {}, "Not without TLS") if method == "POST" else (301, {"Location": f"https://{NAME}{path}"}, "")


def test_browser_is_sent_on_and_a_program_is_refused() -> None:
    with serving(plain) as served:
        assert found(reached.redirect, Subject(host(443, proxy_http_port=served.port))) == []
    with serving(lenient) as served:
        assert found(reached.redirect, Subject(host(443, proxy_http_port=served.port))) == [
            "GET: HTTP 200",
            "POST: HTTP 200",
        ]
    with serving(lambda *_: (301, {"Location": "https://evil.example.com/"}, "")) as served:
        assert found(reached.redirect, Subject(host(443, proxy_http_port=served.port))) == [
            "GET: HTTP 301 https://evil.example.com/",
            "POST: HTTP 301",
        ]


def test_servers_that_others_reach_without_a_proxy_are_asked_themselves() -> None:
    def mlflow(_method: str, _path: str, headers: Mapping[str, str]) -> Answered:
        return (200 if headers["Host"].startswith("127.0.0.1") else 403), {}, ""

    with serving(mlflow) as served:
        own = settings(address="127.0.0.1", tracking_bind="0.0.0.0", tracking_port=served.port)
        subject = Subject(own)
        assert found(reached.health, subject) == found(reached.forged_host, subject) == []
    with serving(lenient) as served:
        own = settings(address="127.0.0.1", tracking_bind="0.0.0.0", tracking_port=served.port)
        assert found(reached.forged_host, Subject(own)) == ["HTTP 200 for conform.invalid"]

    assert [(method, path) for method, path, _ in served.requests] == [("POST", SEARCH)]


def test_model_that_was_never_released_is_not_asked(issued: Issued) -> None:
    subject = Subject(host(1), trusted=issued.authority, answers={"6.3": ["diabetes", "status 0"]})

    with pytest.raises(NotAsked, match="no model was released"):
        list(reached.ping.judge(subject))


# --- ports ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def ports(survey: HostSurvey, **data: Any) -> list[str]:
    return found(reached.ports, Subject(settings(address="127.0.0.1", **data), survey))


def test_port_that_nobody_declared_is_found_when_it_is_open(listener: int) -> None:
    survey = HostSurvey(listeners=(Listener(listener, "node", 1, "node.service"), Listener(1, "other", 2, "-")))

    assert ports(survey) == [f"port {listener}/tcp (node) is open from here"]
    assert ports(survey, firewall_allow=[f"{listener}/tcp"]) == []
    assert ports(survey, firewall_allow=[f"{listener}/tcp from 10.0.0.0/8"]) == []
    assert ports(survey, firewall_enabled=False) == []


def test_port_of_ours_that_is_to_be_closed_is_found_when_it_is_open_with_any_firewall(listener: int) -> None:
    for enabled in (True, False):
        assert ports(HostSurvey(), tracking_port=listener, firewall_enabled=enabled) == [
            f"port {listener}/tcp (what the settings close) is open from here"
        ]


def test_ssh_is_open(listener: int) -> None:
    assert ports(HostSurvey(listeners=(Listener(listener, "sshd", 1, "ssh.service"),))) == []


def test_versions_are_judged_by_what_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is spoken is asked of real servers in test_calling.py."""
    subject = Subject(host(443))
    for spoken, faults in (
        (["TLS 1.2"], []),
        (["TLS 1.0", "TLS 1.2"], ["TLS 1.0 is taken"]),
        (["TLS 1.1"], ["TLS 1.1 is taken", "TLS 1.2 is refused"]),
    ):
        monkeypatch.setattr(calling, "speaks", lambda _, version, spoken=spoken: version in spoken)
        assert found(reached.versions, subject) == faults


def test_server_that_does_not_answer_is_unknown_and_no_success() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        subject = Subject(host(free.getsockname()[1]), trusted="")
    for check in (reached.health, reached.anonymous, reached.wrong_login, reached.forged_host, reached.versions):
        with pytest.raises(Unknown):
            found(check, subject)
