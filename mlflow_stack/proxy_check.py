"""Who is let in: servers without a login, what is wrong with a proxy's names, certificate, users and TLS, and rules
about users who are not there."""

from __future__ import annotations

import datetime
import difflib
import errno
import socket
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pyinfra.api.exceptions import DeployError

from mlflow_stack import secret_store
from mlflow_stack.domain.listening import is_address, is_local
from mlflow_stack.domain.permissions import RESERVED
from mlflow_stack.domain.tracking_server import MODELS_USER
from mlflow_stack.settings import Settings


def problems(settings: Settings) -> Iterator[str]:
    """Yield, a sentence each, what is open to others without a login, and what keeps a proxy from being set up."""
    yield from _open_servers(settings)
    if settings.has_permissions:
        yield from _permission_problems(settings)
    if "production" in settings.groups and settings.production.tracking_ca_file:
        yield from authority_problems("production_tracking_ca_file", settings.production.tracking_ca_file)
    if "tracking" in settings.groups and settings.tracking.database_ca_file:
        yield from authority_problems("tracking_database_ca_file", settings.tracking.database_ca_file)
    if settings.has_proxy:
        yield from _proxy_problems(settings)


def _open_servers(settings: Settings) -> Iterator[str]:
    binds = {"tracking": settings.tracking_bind, "production": settings.production_bind}
    if not settings.production.models:
        del binds["production"]
    for role, bind in binds.items():
        if role in settings.groups and not is_local(bind) and not getattr(settings, role).open_to_everybody:
            yield (
                f"{role}_bind is {bind!r}, where other hosts reach it, and MLflow has no login; put the host into the "
                f"group proxy and leave {role}_bind empty, or set {role}_open_to_everybody = True if everybody there "
                "may do everything"
            )


def _permission_problems(settings: Settings) -> Iterator[str]:
    if not settings.has_proxy:
        yield (
            "tracking_permissions needs to know who somebody is, and it is the proxy that asks; put the host into the "
            "group proxy, or set tracking_permissions = False"
        )
        return
    tracking, users = settings.tracking, settings.proxy.users
    for name in RESERVED:
        if name in users and name != MODELS_USER:
            yield f"proxy_users: {name!r} is an account of MLflow Stack's own in MLflow; take another name"
    named = {"tracking_admins": tracking.admins}
    for setting in ("experiment_permissions", "model_permissions"):
        rules = getattr(tracking, setting)
        named |= {f"tracking_{setting}[{resource!r}]": list(rules[resource]) for resource in rules}
    for setting, names in named.items():
        for name in names:
            if name not in users and name != "*":
                near = difflib.get_close_matches(name, users, n=1)
                advice = f"did you mean {near[0]!r}?" if near else "add a password there, or leave the name out here"
                yield f"{setting}: {name!r} is not in proxy_users; {advice}"


def _proxy_problems(settings: Settings) -> Iterator[str]:
    if not {"tracking", "production"} & set(settings.groups):
        yield (
            "in the group proxy, but in neither tracking nor production; a proxy serves what is on its own host: put "
            "the host into one of them, or take it out of proxy"
        )
    if settings.proxy_names[0].startswith("@"):
        yield (
            f"tracking_public_name is empty, and {settings.proxy_names[0]} is no address that clients could ask for; "
            "set it to the name that they type"
        )
    yield from _login_problems(settings)
    if settings.proxy.tls == "off" and not is_local(settings.proxy.bind) and not settings.proxy.clear_text:
        yield (
            f"proxy_tls is 'off' and proxy_bind is {settings.proxy.bind!r}: passwords would cross the network in the "
            "clear; set proxy_tls to 'self-signed' or 'files', proxy_bind to '127.0.0.1', or, when something with TLS "
            "is in front of it, proxy_clear_text = True"
        )
    if settings.proxy.tls == "acme":
        yield from _acme_problems(settings)
    if settings.proxy.tls == "files":
        yield from _certificate_problems(settings)


def _acme_problems(settings: Settings) -> Iterator[str]:
    name, ca_file = settings.proxy_names[0], settings.proxy.acme_ca_file
    if is_address(name):
        remedy = "set tracking_public_name to the name that clients type"
        if "tracking" not in settings.groups:
            remedy = "give the host its name as address in the inventory"
        yield f"proxy_tls is 'acme', and clients ask for {name}: certificates are for names here; {remedy}"
    if is_local(settings.proxy.bind):
        yield (
            f"proxy_tls is 'acme' and proxy_bind is {settings.proxy.bind!r}, where no ACME server could ask for the "
            "name; set it to an address that others reach, or proxy_tls to 'self-signed' or 'files'"
        )
    if ca_file:
        yield from authority_problems("proxy_acme_ca_file", ca_file)


def _login_problems(settings: Settings) -> Iterator[str]:
    models = {name: settings.production.models[name].users for name in settings.proxied_models()}
    yield from _doubled("proxy_users", settings.proxy.users)
    if MODELS_USER in settings.proxy.users:
        yield (
            f"proxy_users: {MODELS_USER!r} is the user that hosts of models log in as, with a password of their own; "
            "take another name"
        )
    for name, users in models.items():
        yield from _doubled(f"production_models[{name!r}]['users']", users)
    if settings.proxy.users:
        return
    if "tracking" in settings.groups:
        yield "proxy_users is empty, so that nobody could log in to the tracking server; name one at least"
    for name, users in models.items():
        if not users:
            yield (
                f"proxy_users is empty and so is production_models[{name!r}]['users'], so that nobody could log in to "
                "the model; name one at least"
            )


def _doubled(setting: str, users: Iterable[str]) -> Iterator[str]:
    """Yield the names that differ by upper and lower case alone."""
    seen: dict[str, str] = {}
    for name in users:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            yield f"{setting}: {other!r} and {name!r} are one user to people; remove one of them"


def authority_problems(setting: str, path: str) -> Iterator[str]:
    """Yield what is wrong with a file of authorities that a setting names."""
    try:
        text = _text(path)
    except OSError as error:
        yield f"{setting}: {path} can't be read ({error.strerror})"
        return
    for fault in _judges().authority_faults(text, datetime.datetime.now(datetime.timezone.utc)):
        yield f"{setting}: {path}: {fault}"


def _judges() -> ModuleType:
    """Return what judges certificates; a run without any does not wait until it is loaded."""
    return import_module("mlflow_stack.domain.given_certificates")


def _text(path: str) -> str:
    """Return what is in a file; raise OSError with the reason when it can't be read."""
    try:
        return Path(path).expanduser().read_text()
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "it is no text") from None


def _certificate_problems(settings: Settings) -> Iterator[str]:
    path = settings.proxy.tls_certificate
    try:
        chain = _text(path)
    except OSError as error:
        yield f"proxy_tls_certificate: {path} can't be read ({error.strerror})"
        return
    try:
        key = secret_store.resolve(settings.proxy.tls_key, "proxy_tls_key")
    except DeployError as error:
        yield str(error)
        return
    now = datetime.datetime.now(datetime.timezone.utc)
    for fault in _judges().faults(chain, key, settings.proxy_names[:1], now):
        yield f"proxy_tls_certificate: {path}: {fault}"


def warning(settings: Settings) -> str:
    """Return a sentence about a public name that leads nowhere, or elsewhere, as seen from here; "" when all is well.

    No more than a warning: the name may be made after the host, and a load balancer has an address of its own.
    """
    name = settings.proxy_names[0] if settings.has_proxy else ""
    if not name or name == settings.host_address or is_address(name):
        return ""
    try:
        addresses = _addresses(name)
    except OSError:
        return f"tracking_public_name: {name} has no address yet; users can't reach it before it has"
    try:
        own = _addresses(settings.host_address)
    except OSError:  # an alias of ~/.ssh/config
        return ""
    if addresses & own:
        return ""
    return (
        f"tracking_public_name: {name} leads to {', '.join(sorted(addresses))}, and this host is "
        f"{settings.host_address}; users reach it only if something there passes them on"
    )


def _addresses(name: str) -> set[str]:
    return {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
