"""What a plan shows of a proxy: its units, its configuration, and no secret."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_stack.roles.proxy import LOGINS, NGINX_CONF
from tests.plan.conftest import FRESH, Plan, Planner, host

MODELS = {"diabetes": {"uri": "models:/diabetes@champion", "users": {"shop": "env:DB_PASSWORD"}}}
PROXY = [
    "Proxy | Install the programs of the proxy",
    "Proxy | Write the logins",
    "Proxy | Write the unit of mlflow-proxy-login",
    "Proxy | Run mlflow-proxy-login and see it refuse",
    "Proxy | Make a certificate",
    "Proxy | Write the renewal of the certificate",
    "Proxy | Run the timer of the renewal",
    "Proxy | Write the units and configuration of mlflow-proxy",
    "Proxy | Run mlflow-proxy and see it work",
]


def behind(**settings: Any) -> dict[str, list[Any]]:
    """Return the groups of one fresh host with everything on it, the proxy too."""
    data = {"production_models": MODELS, "tracking_public_name": "mlflow.example.com"}
    everything = [host("mlflow1", **{**data, "proxy_users": {"admin": "env:DB_PASSWORD"}, **settings})]
    return dict.fromkeys(("postgresql", "tracking", "production", "proxy"), everything)


@pytest.fixture(scope="module")
def fresh(plan: Planner) -> Plan:
    found = plan(**behind())
    assert found.status == 0, found.output
    return found


def test_proxy_comes_after_the_tracking_server_and_before_the_models(fresh: Plan) -> None:
    first = fresh.operations.index(PROXY[0])

    assert fresh.operations[first : first + len(PROXY)] == PROXY
    assert fresh.operations[first - 1] == "Tracking | Run mlflow-tracking and see it work"
    assert fresh.operations[first + len(PROXY)].startswith("Production | ")


def test_distribution_s_nginx_is_kept_from_starting_when_it_is_installed(fresh: Plan) -> None:
    commands = fresh.of("mlflow1", "Base | Install packages").splitlines()

    assert commands[0].strip() == "$ systemctl mask --quiet nginx.service"
    assert "install -y --no-install-recommends" in commands[2]
    assert " nginx openssl" in commands[2]


def test_servers_behind_it_are_on_sockets_for_its_group(fresh: Plan) -> None:
    tracking = fresh.of("mlflow1", "Tracking | Write the unit and configuration of mlflow-tracking")
    models = fresh.of("mlflow1", "Production | Write the units and configuration of mlflow-production")

    assert "+ListenStream=/run/mlflow/tracking.sock" in tracking
    assert "+ListenStream=/run/mlflow/production-diabetes.sock" in models
    for text in (tracking, models):
        assert "+SocketGroup=mlflow-proxy" in text
        assert "+PrivateNetwork=yes" in text


def test_tracking_server_answers_for_the_name_and_the_address_of_the_proxy(fresh: Plan) -> None:
    text = fresh.of("mlflow1", "Tracking | Write the unit and configuration of mlflow-tracking")

    assert '+MLFLOW_SERVER_CORS_ALLOWED_ORIGINS="https://mlflow.example.com"' in text
    assert '+MLFLOW_SERVER_ALLOWED_HOSTS="mlflow.example.com,mlflow.example.com:*,' in text


def test_firewall_is_open_for_the_ports_of_the_proxy_alone(fresh: Plan) -> None:
    rules = fresh.of("mlflow1", "Firewall | Write the rules and the unit of mlflow-firewall")

    assert [line.split(" comment ")[1] for line in rules.splitlines() if "dport" in line and "comment" in line] == [
        '"SSH"',
        '"proxy_http_port"',
        '"proxy_port"',
    ]


def test_configuration_is_shown_whole_and_no_password_or_hash_is(fresh: Plan) -> None:
    written = fresh.of("mlflow1", "Proxy | Write the units and configuration of mlflow-proxy")
    logins = fresh.of("mlflow1", "Proxy | Write the logins")

    assert f"    {NGINX_CONF} (new, 644 root:root)" in written
    assert "+        server_name mlflow.example.com;" in written
    assert f"    {LOGINS} (new, 600 root:root)" in logins
    assert logins.endswith("the content is secret and not shown")
    assert "hunter2" not in fresh.output
    assert "scrypt" not in logins


@pytest.mark.parametrize("port", [443, 80])
def test_port_that_another_server_holds_is_named(plan: Planner, port: int) -> None:
    held = f'listen=apache2.service tcp LISTEN 0 511 *:{port} *:* users:(("apache2",pid=712,fd=4))'
    setting = {443: "proxy_port", 80: "proxy_http_port"}[port]

    found = plan(**behind(survey=[*FRESH, held]))

    assert found.status == 1
    assert f"@fake/mlflow1: port {port} is held by apache2 (pid 712); stop it, or change {setting}" in found.output


def test_without_tls_there_is_no_certificate_and_one_port(plan: Planner) -> None:
    found = plan(**behind(proxy_tls="off", proxy_bind="127.0.0.1", proxy_port=8080))

    assert found.status == 0, found.output
    assert "Proxy | Make a certificate" not in found.operations
    socket = found.of("mlflow1", "Proxy | Write the units and configuration of mlflow-proxy")
    assert [line for line in socket.splitlines() if "ListenStream=" in line and "run" not in line] == [
        line for line in socket.splitlines() if "ListenStream=127.0.0.1:8080" in line
    ]


# --- a certificate by ACME ---------------------------------------------------------------------------------------

ACME = {"proxy_tls": "acme", "proxy_acme_accept_terms": True}
WITH_ACME = [
    "Proxy | Install the programs of the proxy",
    "Proxy | Write the logins",
    "Proxy | Write the unit of mlflow-proxy-login",
    "Proxy | Run mlflow-proxy-login and see it refuse",
    "Proxy | Make a certificate until there is one",
    "Proxy | Write the units and configuration of mlflow-proxy",
    "Proxy | Run mlflow-proxy and see it work",
    "Proxy | Write the renewal of the certificate",
    "Proxy | Run the timer of the renewal",
    "Proxy | Get the certificate from the ACME server",
]


@pytest.fixture(scope="module")
def by_acme(plan: Planner) -> Plan:
    found = plan(**behind(**ACME))
    assert found.status == 0, found.output
    return found


def test_certificate_is_got_by_a_proxy_that_runs_with_one_of_the_host_s_own_until_then(by_acme: Plan) -> None:
    first = by_acme.operations.index(WITH_ACME[0])

    assert by_acme.operations[first : first + len(WITH_ACME)] == WITH_ACME
    assert "certificate.sh ensure " in by_acme.of("mlflow1", WITH_ACME[4])
    assert "systemctl start mlflow-proxy-certificate.service" in by_acme.of("mlflow1", WITH_ACME[-1])


def test_certbot_is_installed_without_its_own_timer(by_acme: Plan) -> None:
    commands = by_acme.of("mlflow1", "Base | Install packages").splitlines()

    assert commands[0].strip() == "$ systemctl mask --quiet nginx.service certbot.timer"
    assert " nginx openssl certbot" in commands[2]


def test_proxy_shows_what_an_acme_server_asks_for_and_nothing_else_without_tls(by_acme: Plan) -> None:
    written = by_acme.of("mlflow1", "Proxy | Write the units and configuration of mlflow-proxy")

    assert "+        location ^~ /.well-known/acme-challenge/ {" in written
    assert "+            root /var/lib/mlflow-acme/challenges;" in written
    assert "location = /ca.crt" not in written


def test_certificate_that_is_well_is_left_to_its_timer(plan: Planner) -> None:
    found = plan(**behind(**ACME, answers={"OwnCertificate": ["ends: Feb 25 05:50:11 2027 GMT"]}))

    assert found.status == 0, found.output
    assert WITH_ACME[-1] in found.operations
    assert not found.changes[WITH_ACME[-1]]
