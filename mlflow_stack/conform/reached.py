"""Checks of what users and strangers reach, asked from here over the network."""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from pyinfra.api.exceptions import DeployError

from mlflow_stack import secret_store
from mlflow_stack.conform import calling
from mlflow_stack.conform.calling import STRANGER, Answer, Server, call
from mlflow_stack.conform.checks import (
    EVERY,
    LOGIN,
    PROXY,
    REACHED_MODELS,
    REACHED_TRACKING,
    REDIRECT,
    TLS,
    Fault,
    NotAsked,
    Subject,
    Unknown,
    check,
)
from mlflow_stack.conform.database import LEFT_DAYS
from mlflow_stack.conform.working import BODY, SEARCH, asked, models
from mlflow_stack.roles import proxy as proxy_role
from mlflow_stack.roles import proxy_certificate
from mlflow_stack.roles.proxy import users_of
from mlflow_stack.settings import Settings

RENEW = f"systemctl start {proxy_certificate.RENEWAL}, or give new files (docs/how-to/https-and-login.md)"
NGINX = f"journalctl -u {proxy_role.UNIT} on the host says why; then run the deploy again"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "same-origin",
    "content-security-policy": "frame-ancestors 'self'",
}


def proxy(subject: Subject, trusted: str = "") -> Server:
    """Return the proxy of a host; `trusted`: see calling.Server."""
    settings = subject.settings
    tls = None if settings.proxy.tls == "off" else trusted
    return Server(settings.host_address, settings.proxy.port, settings.proxy_names[0], tls)


def _tracking(subject: Subject) -> Server:
    if subject.settings.has_proxy:
        return proxy(subject)
    return Server(subject.settings.host_address, subject.settings.tracking.port, subject.settings.tracking_public_name)


def _search(server: Server, headers: Mapping[str, str] | None = None) -> Answer:
    return call(server, "POST", SEARCH, headers, BODY.encode())


# --- as users ------------------------------------------------------------------------------------------------------


@check("6.4", "Asked as users ask, the tracking server says that it and its database work", REACHED_TRACKING)
def health(subject: Subject) -> Iterator[Fault]:
    server = _tracking(subject)
    answer = call(server, "GET", "/health") if subject.settings.has_proxy else _search(server)
    if answer.status != 200:
        yield Fault(f"HTTP {answer.status}: {answer.text.strip()[:200]}", "HTTP 200", NGINX)


@check("6.5", "A user who logs in reads experiments", LOGIN)
def login(subject: Subject) -> Iterator[Fault]:
    headers = _login(subject, *users_of(subject.settings))
    answer = _search(_proved(subject), headers)
    if answer.status != 200:
        yield Fault(f"HTTP {answer.status} for the first user of proxy_users", "HTTP 200")


@check("6.6", "Asked as users ask, each model says that it works", REACHED_MODELS)
def ping(subject: Subject) -> Iterator[Fault]:
    settings = subject.settings
    served = [model for model, answers in asked(subject).items() if answers]
    if not served:
        raise NotAsked("no model was released")
    for model in served:
        if settings.has_proxy:
            headers = _login(subject, *users_of(settings, model))
            answer = call(_proved(subject), "GET", f"/models/{model}/ping", headers)
        else:
            port = settings.production.models[model].port
            answer = call(Server(settings.host_address, port, settings.host_address), "GET", "/ping")
        if answer.status != 200:
            yield Fault(f"{model}: HTTP {answer.status}", "HTTP 200", NGINX)


def _login(subject: Subject, setting: str, users: Mapping[str, str]) -> dict[str, str]:
    """Return the login of the first user; NotAsked where the password is not at hand."""
    if not users:
        raise NotAsked("it has no user whose password this computer could know")
    user, reference = next(iter(users.items()))
    name, stack = f"{setting}.{user}", subject.settings.inventory.stack
    if not secret_store.is_at_hand(reference, name, stack=stack):
        raise NotAsked(f"the generated password of {user} is not in this checkout (.secrets/{stack}{name})")
    try:
        return calling.basic(user, secret_store.resolve(reference, name, stack=stack))
    except DeployError as error:
        raise NotAsked(str(error)) from None


def _proved(subject: Subject) -> Server:
    """Return the proxy when it has proved who it is; NotAsked otherwise: no password is sent to anybody else."""
    server = proxy(subject, subject.trusted)
    if not server.trusted:
        raise NotAsked("no password is sent to a server that can't prove who it is")
    try:
        calling.connect(server).close()
    except ssl.SSLError:
        raise NotAsked("no password is sent to a server that does not prove who it is; see 8.1") from None
    except OSError as error:
        raise Unknown(f"{server.address}:{server.port}: no connection ({error})") from None
    return server


# --- as strangers --------------------------------------------------------------------------------------------------


@check("8.1", "The proxy proves who it is, by each of its names, and not by what is about to end", TLS)
def certificate(subject: Subject) -> Iterator[Fault]:
    if not subject.trusted:
        yield Fault("there is no certificate of an authority on the host", "/etc/mlflow/proxy/ca.crt")
        return
    settings = subject.settings
    # Who gives certificates to others gives them for names, and not for this host's address.
    names = settings.proxy_names if settings.proxy.tls == "self-signed" else settings.proxy_names[:1]
    for name in names:
        server = replace(proxy(subject, subject.trusted), name=name)
        try:
            with calling.connect(server) as connection:
                assert isinstance(connection, ssl.SSLSocket)
                shown = connection.getpeercert() or {}
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            yield Fault(f"{name}: {why}", "a certificate for this name, of its authority", RENEW)
            continue
        except OSError as error:
            raise Unknown(f"{server.address}:{server.port}: no connection ({error})") from None
        begin, end = (ssl.cert_time_to_seconds(str(shown[each])) / 86400 for each in ("notBefore", "notAfter"))
        days, wanted = end - time.time() / 86400, min(LEFT_DAYS, (end - begin) / 6)  # some are given for a week
        if days < wanted:
            yield Fault(f"{name}: it ends in {days:.0f} days", f"{wanted:.0f} days", RENEW)


@check("8.2", "The proxy speaks TLS 1.2, and nothing older", TLS)
def versions(subject: Subject) -> Iterator[Fault]:
    server = proxy(subject)
    for version in calling.VERSIONS:
        wanted = version == "TLS 1.2"
        if calling.speaks(server, version) != wanted:
            yield Fault(f"{version} is {'refused' if wanted else 'taken'}", "taken" if wanted else "refused", NGINX)


@check("8.3", "Without TLS browsers are sent on to it, and programs are refused", REDIRECT)
def redirect(subject: Subject) -> Iterator[Fault]:
    settings = subject.settings
    server = Server(settings.host_address, settings.proxy_http_port, settings.proxy_names[0])
    sent_on = call(server, "GET", "/")
    if sent_on.status != 301 or sent_on.headers.get("location") != f"{settings.proxy_url}/":
        found = f"HTTP {sent_on.status} {sent_on.headers.get('location', '')}".strip()
        yield Fault(f"GET: {found}", f"301 to {settings.proxy_url}/", NGINX)
    told = _search(server)
    if told.status != 403:
        yield Fault(f"POST: HTTP {told.status}", "403", NGINX)


@check("8.4", "Nobody is answered without a login, but by /health and /ca.crt", PROXY)
def anonymous(subject: Subject) -> Iterator[Fault]:
    for method, path in _closed(subject.settings):
        answer = call(proxy(subject), method, path, body=BODY.encode() if method == "POST" else None)
        if answer.status != 401:
            yield Fault(f"{method} {path}: HTTP {answer.status} without a login", "401", NGINX)


def _closed(settings: Settings) -> list[tuple[str, str]]:
    found = [("POST", f"/models/{model}/invocations") for model in models(settings)]
    if "tracking" in settings.groups:
        paths = ("/", "/version", "/metrics", "/api/2.0/mlflow/experiments/get?experiment_id=0", "/graphql")
        found += [("POST", SEARCH), *(("GET", path) for path in paths)]
    return found


@check("8.5", "A login that nobody has is refused", PROXY)
def wrong_login(subject: Subject) -> Iterator[Fault]:
    method, path = _closed(subject.settings)[0]
    made_up = calling.basic(STRANGER, secrets.token_hex(16))
    answer = call(proxy(subject), method, path, made_up, BODY.encode())
    if answer.status not in (401, 429):
        yield Fault(f"HTTP {answer.status} for a user and a password that were made up", "401", NGINX)


@check("8.6", "A request by a name that is not the server's is refused", REACHED_TRACKING)
def forged_host(subject: Subject) -> Iterator[Fault]:
    answer = _search(_tracking(subject), {"Host": STRANGER})
    expected = 421 if subject.settings.has_proxy else 403
    if answer.status != expected:
        yield Fault(f"HTTP {answer.status} for {STRANGER}", str(expected))


@check("8.8", "Answers carry what keeps a browser from being led astray", LOGIN)
def headers(subject: Subject) -> Iterator[Fault]:
    answer, settings = call(proxy(subject), "GET", "/"), subject.settings
    expected = dict(HEADERS)
    if settings.sends_hsts:
        expected["strict-transport-security"] = "max-age="
    for name, value in expected.items():
        if not answer.headers.get(name, "").startswith(value):
            yield Fault(f"{name}: {answer.headers.get(name, 'missing')}", value, NGINX)
    if answer.headers.get("server") not in (None, "nginx"):
        yield Fault(f"server: {answer.headers['server']}", "nginx, without its version", NGINX)


@check("8.9", "Of what listens, only SSH and what the settings name can be reached from elsewhere", EVERY)
def ports(subject: Subject) -> Iterator[Fault]:
    settings, survey = subject.settings, subject.survey
    allowed = settings.openings()
    names = {each.port: each.program or each.unit for each in survey.listeners if each.protocol == "tcp"}
    # Without a firewall of ours, what others listen on is not ours to judge.
    tried = {*settings.ports(), *(names if settings.firewall.enabled else ())} - {*survey.ssh_ports}
    closed = [port for port in sorted(tried) if not any(each.holds("tcp", port) for each in allowed)]
    for port in calling.open_ports(settings.host_address, closed) if closed else []:
        what = names.get(port) or "what the settings close"
        yield Fault(f"port {port}/tcp ({what}) is open from here", "closed", "name it in firewall_allow, or stop it")


CHECKS = (
    *(health, login, ping, certificate, versions, redirect, anonymous),
    *(wrong_login, forged_host, headers, ports),
)
