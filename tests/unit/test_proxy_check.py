"""Settings of a proxy that are refused, and names that are worth a warning."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack import proxy_check
from mlflow_stack.settings import ROLES
from tests.unit.defaults import entry, settings
from tests.unit.domain.test_given_certificates import OTHER_KEY, certificate, pem
from tests.unit.refusals import one_problem, refusal

MODEL: dict[str, Any] = {"uri": "models:/diabetes@champion"}
# Those of the name that is asked for; anything else has none.
Names = Callable[[dict[str, str]], None]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"proxy_users": {}, "production_models": {"diabetes": {**MODEL, "users": {"shop": "env:SHOP"}}}},
            "proxy_users is empty, so that nobody could log in to the tracking server; name one at least",
        ),
        (
            {"proxy_tls": "off"},
            "proxy_tls is 'off' and proxy_bind is '0.0.0.0': passwords would cross the network in the clear; set "
            "proxy_tls to 'self-signed' or 'files', proxy_bind to '127.0.0.1', or, when something with TLS is in front "
            "of it, proxy_clear_text = True",
        ),
        (
            {"proxy_tls": "files"},
            "proxy_tls is 'files': set proxy_tls_certificate to the file of the certificate and proxy_tls_key to a "
            "reference to its key",
        ),
        (
            {"proxy_tls_key": "env:KEY"},
            "proxy_tls_certificate and proxy_tls_key are for proxy_tls = 'files'; it is 'self-signed'",
        ),
        ({"proxy_tls": "tls"}, "proxy_tls: input should be 'self-signed', 'files', 'acme' or 'off'; found 'tls'"),
        (
            {"proxy_bind": "unix"},
            'proxy_bind: expected an IPv4 address of the host, "127.0.0.1" or "0.0.0.0"; found \'unix\'',
        ),
        ({"proxy_port": 0}, "proxy_port: input should be greater than or equal to 1; found 0"),
        ({"proxy_http_port": 443}, "port 443 is claimed twice, by proxy_port and proxy_http_port; give each its own"),
        (
            {"proxy_users": {"alice": "generated", "Alice": "generated"}},
            "proxy_users: 'alice' and 'Alice' are one user to people; remove one of them",
        ),
        (
            {"proxy_users": {"a user": "generated"}},
            "proxy_users['a user']: expected a name of letters, digits and . _ @ -",
        ),
        (
            {"production_bind": "127.0.0.1", "production_models": {"diabetes": MODEL}},
            "production_models['diabetes']['port']: required, but not given; a model needs none only on a Unix socket, "
            "behind a proxy",
        ),
    ],
)
def test_bad_settings_are_refused(data: dict[str, Any], problem: str) -> None:
    assert refusal(entry(groups=ROLES, **data)) == one_problem(problem)


ON: dict[str, Any] = {"tracking_permissions": True, "proxy_users": {"admin": "generated", "alice": "generated"}}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"tracking_admins": ["admin", "bob"]},
            "tracking_admins: 'bob' is not in proxy_users; add a password there, or leave the name out here",
        ),
        (
            {"tracking_experiment_permissions": {"fraud": {"*": "READ", "alcie": "EDIT"}}},
            "tracking_experiment_permissions['fraud']: 'alcie' is not in proxy_users; did you mean 'alice'?",
        ),
        (
            {"tracking_model_permissions": {"*": {"alice": "NO_PERMISSIONS"}}},
            "tracking_model_permissions['*']['alice']: input should be 'READ', 'EDIT', 'MANAGE' or 'DENY'; found "
            "'NO_PERMISSIONS'",
        ),
        (
            {"tracking_model_permissions": {"fraud": {"a user": "READ"}}},
            "tracking_model_permissions['fraud']['a user']: expected a name of letters, digits and . _ @ -, or \"*\"; "
            "found 'a user'",
        ),
        (
            {"tracking_permissions": False, "tracking_experiment_permissions": {"fraud": {"alice": "READ"}}},
            "tracking_experiment_permissions says who may do what, and tracking_permissions is False, so that "
            "everybody may do everything; set tracking_permissions = True, or leave tracking_experiment_permissions "
            "empty",
        ),
        (
            {"proxy_users": {"admin": "generated", "mlflow-stack": "generated"}},
            "proxy_users: 'mlflow-stack' is an account of MLflow Stack's own in MLflow; take another name",
        ),
    ],
)
def test_bad_permissions_are_refused(data: dict[str, Any], problem: str) -> None:
    assert refusal(entry(groups=ROLES, **{**ON, **data})) == one_problem(problem)


def test_permissions_without_a_login_are_refused() -> None:
    assert refusal(entry(**ON)) == one_problem(
        "tracking_permissions needs to know who somebody is, and it is the proxy that asks; put the host into the "
        "group proxy, or set tracking_permissions = False"
    )


def test_users_of_permissions_matter_only_where_there_are_permissions() -> None:
    assert not settings(ROLES, proxy_users={"alice": "generated"}).has_permissions


# What a certificate from Let's Encrypt needs.
ACME: dict[str, Any] = {
    "proxy_tls": "acme",
    "proxy_acme_accept_terms": True,
    "tracking_public_name": "mlflow.example.com",
}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"proxy_acme_accept_terms": False},
            "proxy_tls is 'acme': read the terms of the ACME server's operator, where it has any, and set "
            "proxy_acme_accept_terms = True when you agree",
        ),
        (
            {"proxy_http_port": 8080},
            "proxy_tls is 'acme', and an ACME server asks a host for its name on port 80; proxy_http_port is 8080: set "
            "it to 80",
        ),
        (
            {"tracking_public_name": ""},
            "proxy_tls is 'acme', and clients ask for 10.0.0.1: certificates are for names here; set "
            "tracking_public_name to the name that clients type",
        ),
        (
            {"proxy_bind": "127.0.0.1"},
            "proxy_tls is 'acme' and proxy_bind is '127.0.0.1', where no ACME server could ask for the name; set it to "
            "an address that others reach, or proxy_tls to 'self-signed' or 'files'",
        ),
        (
            {"proxy_tls_certificate": "cert.pem", "proxy_tls_key": "env:KEY"},
            "proxy_tls_certificate and proxy_tls_key are for proxy_tls = 'files'; it is 'acme'",
        ),
        (
            {"proxy_tls": "self-signed", "proxy_acme_email": "admin@example.com"},
            "proxy_acme_email is for proxy_tls = 'acme'; it is 'self-signed'",
        ),
        (
            {"proxy_acme_ca_file": "ca.pem"},
            "proxy_acme_ca_file and proxy_acme_trusted are for proxy_acme_server, which is empty; Let's Encrypt is "
            "known and trusted everywhere",
        ),
        (
            {"proxy_acme_server": "https://ca.example.com/directory", "proxy_acme_ca_file": "/no/such.pem"},
            "proxy_acme_ca_file: /no/such.pem can't be read (No such file or directory)",
        ),
        (
            {"proxy_acme_server": "http://ca.example.com/directory"},
            "proxy_acme_server: expected the address of an ACME directory, with https://; found "
            "'http://ca.example.com/directory'",
        ),
        (
            {"proxy_acme_server": "https://ca.example.com/%s"},
            "proxy_acme_server: expected the address of an ACME directory, with https://; found "
            "'https://ca.example.com/%s'",
        ),
        (
            {"proxy_acme_email": "admin"},
            "proxy_acme_email: expected a mail address, as admin@example.com; found 'admin'",
        ),
    ],
)
def test_certificate_that_no_acme_server_could_give_is_refused(data: dict[str, Any], problem: str) -> None:
    assert refusal(entry(groups=ROLES, **{**ACME, **data})) == one_problem(problem)


def test_host_of_models_that_has_an_address_only_gets_no_certificate_by_acme() -> None:
    models = {"production_models": {"diabetes": MODEL}, "production_tracking_uri": "https://registry.example.com"}

    message = refusal(entry(groups=("production", "proxy"), **{**ACME, **models}))

    assert message == one_problem(
        "proxy_tls is 'acme', and clients ask for 10.0.0.1: certificates are for names here; give the host its name as "
        "address in the inventory"
    )


@pytest.mark.parametrize("found", ["hunter2", "", "env:"])
def test_literal_or_empty_password_of_a_user_is_refused_and_not_shown(found: str) -> None:
    message = refusal(entry(groups=ROLES, proxy_users={"alice": found}))

    assert message == one_problem(
        'proxy_users[\'alice\']: expected a reference: "generated", "env:NAME", "file:PATH" or "cmd:COMMAND"'
    )


def test_proxy_without_anything_on_its_host_is_refused() -> None:
    message = refusal(entry("mlflow1"), entry("gate", ("proxy",), "10.0.0.2"))

    problem = (
        "in the group proxy, but in neither tracking nor production; a proxy serves what is on its own host: put the "
        "host into one of them, or take it out of proxy"
    )
    assert f"  gate: {problem}" in message.splitlines()


@pytest.mark.parametrize("bind", ["0.0.0.0", "10.0.0.1"])
@pytest.mark.parametrize("role", ["tracking", "production"])
def test_server_that_others_reach_without_a_login_is_refused_unless_a_setting_says_so(role: str, bind: str) -> None:
    model = {"diabetes": {**MODEL, "port": 5001}}
    data = {f"{role}_bind": bind, f"{role}_open_to_everybody": False, "production_models": model}

    assert refusal(entry(**data)) == one_problem(
        f"{role}_bind is {bind!r}, where other hosts reach it, and MLflow has no login; put the host into the group "
        f"proxy and leave {role}_bind empty, or set {role}_open_to_everybody = True if everybody there may do "
        "everything"
    )
    assert settings(**{**data, f"{role}_open_to_everybody": True}).openings()


@pytest.mark.parametrize("bind", ["127.0.0.1", "unix", ""])
def test_server_that_only_its_host_reaches_needs_no_leave(bind: str) -> None:
    closed = {"tracking_open_to_everybody": False, "production_open_to_everybody": False}

    found = settings(
        **closed, tracking_bind=bind, production_bind=bind, production_models={"a": {**MODEL, "port": 5001}}
    )

    assert found.openings() == []


def test_host_that_has_no_address_needs_a_name_for_its_users() -> None:
    message = refusal(entry(groups=ROLES, address="@local"))

    assert message == one_problem(
        "tracking_public_name is empty, and @local is no address that clients could ask for; set it to the name that "
        "they type"
    )
    assert settings(ROLES, "@local", tracking_public_name="mlflow.example.com").proxy_names == ("mlflow.example.com",)


@pytest.mark.parametrize("allowed", [{"proxy_clear_text": True}, {"proxy_bind": "127.0.0.1"}])
def test_clear_text_is_taken_when_a_setting_says_so_or_nobody_else_reaches_it(allowed: dict[str, Any]) -> None:
    found = settings(ROLES, proxy_tls="off", proxy_port=8080, **allowed)

    assert (found.proxy_url, found.proxy_http_port) == ("http://10.0.0.1:8080", 0)


def test_certificate_that_is_not_for_the_host_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "certificate").write_text(certificate("a.example.com", ends=3650))
    (tmp_path / "key").write_text(pem(OTHER_KEY))
    files = {
        "proxy_tls": "files",
        "proxy_tls_certificate": str(tmp_path / "certificate"),
        "proxy_tls_key": f"file:{tmp_path / 'key'}",
    }

    message = refusal(entry(groups=ROLES, tracking_public_name="mlflow.example.com", **files))

    where = f"  mlflow1: proxy_tls_certificate: {tmp_path / 'certificate'}"
    assert message.splitlines()[1:] == [
        f"{where}: the certificate is for a.example.com, expected mlflow.example.com",
        f"{where}: the key is not that of the certificate",
    ]


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (
            "env:NO_SUCH_KEY",
            "proxy_tls_key: the environment variable NO_SUCH_KEY is not set; export it before running pyinfra",
        ),
        ("cmd:echo secret; exit 3", "proxy_tls_key: the command 'echo secret; exit 3' exited with status 3"),
        ("cmd:true", "proxy_tls_key: cmd:true is empty; expected the secret there"),
    ],
)
def test_key_that_can_not_be_had_is_refused(tmp_path: Path, key: str, problem: str) -> None:
    (tmp_path / "certificate").write_text("x")
    files = {"proxy_tls": "files", "proxy_tls_certificate": str(tmp_path / "certificate"), "proxy_tls_key": key}

    assert refusal(entry(groups=ROLES, **files)) == one_problem(problem)


def test_certificate_that_can_not_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none"
    files = {"proxy_tls": "files", "proxy_tls_certificate": str(path), "proxy_tls_key": "env:KEY"}

    message = refusal(entry(groups=ROLES, **files))

    assert message == one_problem(f"proxy_tls_certificate: {path} can't be read (No such file or directory)")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "can't be read (No such file or directory)"),
        (b"\xff\xfe", "can't be read (it is no text)"),
        (b"no PEM", ": expected the certificates of authorities in PEM, which begin with -----BEGIN CERTIFICATE-----"),
        (
            certificate(ends=-1, begins=-10).encode(),
            ": the authority CN=ignored.example.com has ended on 2026-05-31; get its new certificate",
        ),
    ],
    ids=["none", "no-text", "no-pem", "ended"],
)
def test_file_of_authorities_that_is_of_no_use_is_refused(tmp_path: Path, text: bytes | None, problem: str) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_bytes(text)
    given = {"production_tracking_uri": "https://registry.example.com", "production_tracking_ca_file": str(path)}

    separator = "" if problem.startswith(":") else " "
    assert refusal(entry(**given)) == one_problem(f"production_tracking_ca_file: {path}{separator}{problem}")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Let names have these addresses."""

    def use(known: dict[str, str]) -> None:
        def look_up(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
            address = known.get(name, name if name[0].isdigit() else "")
            if not address:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return use


@pytest.mark.parametrize(
    ("known", "warning"),
    [
        ({"mlflow.example.com": "10.0.0.1"}, ""),
        ({}, "tracking_public_name: mlflow.example.com has no address yet; users can't reach it before it has"),
        (
            {"mlflow.example.com": "192.0.2.7"},
            "tracking_public_name: mlflow.example.com leads to 192.0.2.7, and this host is 10.0.0.1; users reach it "
            "only if something there passes them on",
        ),
    ],
)
def test_public_name_that_leads_elsewhere_is_worth_a_warning(names: Names, known: dict[str, str], warning: str) -> None:
    names(known)

    assert proxy_check.warning(settings(ROLES, tracking_public_name="mlflow.example.com")) == warning


def test_host_without_a_proxy_or_without_a_name_is_not_looked_up(names: Names) -> None:
    names({})

    assert proxy_check.warning(settings(tracking_public_name="mlflow.example.com")) == ""
    assert proxy_check.warning(settings(ROLES)) == ""
