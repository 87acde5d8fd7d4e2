"""The proxy in front of the servers of a host: mlflow-proxy, an nginx of ours, with mlflow-proxy-login behind it."""

from __future__ import annotations

from collections.abc import Mapping

from pyinfra.api.deploy import deploy

from mlflow_stack import secret_store
from mlflow_stack.domain import layout, listening
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.login import TRACKING_AREA, Login, model_area
from mlflow_stack.domain.permissions import KEY_FILE
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.domain.tracking_server import MODELS_PASSWORD, MODELS_USER
from mlflow_stack.operations import files, proxy, service
from mlflow_stack.roles import proxy_certificate
from mlflow_stack.roles.base import program
from mlflow_stack.roles.conda import mlflow_environment
from mlflow_stack.roles.proxy_certificate import PEM
from mlflow_stack.roles.tracking import permissions_key
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

UNIT, LOGIN = "mlflow-proxy", "mlflow-proxy-login"
NGINX_CONF, LOGINS = f"{layout.PROXY_DIR}/nginx.conf", f"{layout.CREDENTIALS_DIR}/logins"
PROGRAMS = ("login.py",)
# nginx tries its configuration where it is written, with the paths that it has outside the unit's sandbox.
_CHECK = (
    f'sed -e "s,/run/mlflow-proxy/server.pem,{PEM}," -e "s,/run/mlflow-proxy,$d," "$new" > "$d/try"; '
    '/usr/sbin/nginx -t -q -c "$d/try"'
)


@deploy("Proxy")
def deploy_login(settings: Settings, survey: HostSurvey) -> None:
    """Ensure that users of the proxy are known, and to MLflow too where it asks who they are."""
    units, key = _login_units(settings, survey), permissions_key(settings)
    programs = (*PROGRAMS, "acme-certificate.sh") if settings.uses_acme else PROGRAMS
    files.managed(name="Install the programs of the proxy", files=[*map(program, programs)])
    proxy.logins(name="Write the logins", path=LOGINS, passwords=_passwords(settings))
    files.managed(name="Write the unit of mlflow-proxy-login", files=[*key, *units])
    service.ready(
        name="Run mlflow-proxy-login and see it refuse",
        unit=f"{LOGIN}.service",
        socket=f"{LOGIN}.socket",
        files=[*key, *units],
        watched=[LOGINS, *(f"{layout.LIBEXEC_DIR}/{name}" for name in ("login.py", "accounts.py"))],
        check=f"{_ready(settings)} login unix:{layout.LOGIN_SOCKET}",
        timeout_s=30,
    )


@deploy("Proxy")
def deploy_proxy(settings: Settings, survey: HostSurvey) -> None:
    """Ensure that what is on this host is reached with TLS and a login, and that both really are in force."""
    units = _units(settings, survey)
    proxy_certificate.before_the_start(settings, survey)
    files.managed(name="Write the units and configuration of mlflow-proxy", files=units)
    service.ready(
        name="Run mlflow-proxy and see it work",
        unit=f"{UNIT}.service",
        socket=f"{UNIT}.socket",
        files=units,
        check=_works(settings),
        timeout_s=30,
        reloads=True,
    )
    proxy_certificate.after_the_start(settings, survey, _works(settings))


def _passwords(settings: Settings) -> dict[Login, str]:
    """Return the password of each user of each area."""
    areas = {TRACKING_AREA: users_of(settings)} if "tracking" in settings.groups else {}
    areas |= {model_area(model): users_of(settings, model) for model in settings.proxied_models()}
    found = {
        (area, user): secret_store.resolve(reference, f"{setting}.{user}", stack=settings.inventory.stack)
        for area, (setting, users) in areas.items()
        for user, reference in users.items()
    }
    if TRACKING_AREA in areas and settings.models_are_elsewhere:
        password = secret_store.resolve(*MODELS_PASSWORD, stack=settings.inventory.stack)
        found[TRACKING_AREA, MODELS_USER] = password
    return found


def users_of(settings: Settings, model: str = "") -> tuple[str, Mapping[str, str]]:
    """Return who may log in to a model, or to the tracking server: the setting that names them, and references to
    their passwords. A model without users of its own has those of the proxy."""
    own = settings.production.models[model].users if model else {}
    return (f"production_models.{model}.users", own) if own else ("proxy_users", settings.proxy.users)


def _pem(settings: Settings) -> str:
    return "" if settings.proxy.tls == "off" else f" --certificate {PEM}"


def _login_units(settings: Settings, survey: HostSurvey) -> list[ManagedFile]:
    socket, unit = f"{layout.UNIT_DIR}/{LOGIN}.socket", f"{layout.UNIT_DIR}/{LOGIN}.service"
    key_file = KEY_FILE if settings.has_permissions else ""
    text = render(unit, environment=mlflow_environment(settings).path, logins=LOGINS, key_file=key_file)
    return [
        ManagedFile(socket, render(socket, stream=layout.LOGIN_SOCKET)),
        ManagedFile(unit, text, check=survey.platform.verify_unit),
    ]


def _units(settings: Settings, survey: HostSurvey) -> list[ManagedFile]:
    socket, unit = f"{layout.UNIT_DIR}/{UNIT}.socket", f"{layout.UNIT_DIR}/{UNIT}.service"
    wanted, http_port, tls = settings.proxy, settings.proxy_http_port, settings.proxy.tls != "off"
    no_network = all(server.startswith("unix:") for server in upstreams(settings).values())
    return [
        ManagedFile(NGINX_CONF, nginx_conf(settings, survey.platform.tls_groups), check=_CHECK),
        ManagedFile(socket, render(socket, bind=wanted.bind, port=wanted.port, http_port=http_port)),
        ManagedFile(
            unit,
            render(unit, tls=tls, http_port=http_port, no_network=no_network),
            check=survey.platform.verify_unit,
        ),
    ]


def nginx_conf(settings: Settings, tls_groups: str) -> str:
    """Return the configuration of nginx; `tls_groups` as its platform has them."""
    wanted = settings.proxy
    return render(
        NGINX_CONF,
        bind=wanted.bind,
        port=wanted.port,
        http_port=settings.proxy_http_port,
        tls=wanted.tls != "off",
        tls_groups=tls_groups,
        hsts=settings.sends_hsts,
        challenges=layout.ACME_CHALLENGES if settings.uses_acme else "",
        own_authority=wanted.tls == "self-signed",
        names=settings.proxy_names,
        url=settings.proxy_url,
        login_socket=layout.LOGIN_SOCKET,
        tracking="tracking" in settings.groups,
        models=settings.proxied_models(),
        max_request_mib=wanted.max_request_mib,
        upstreams=upstreams(settings),
    )


def upstreams(settings: Settings) -> dict[str, str]:
    """Return what nginx passes requests on to, by the name that it has in the configuration."""
    found = {"tracking": settings.own_tracking_uri} if "tracking" in settings.groups else {}
    found |= {f"model-{model}": settings.model_url(model) for model in settings.proxied_models()}
    return {name: url.removeprefix("http://") for name, url in found.items()}


def _ready(settings: Settings) -> str:
    return f"{mlflow_environment(settings).path}/bin/python -I {layout.LIBEXEC_DIR}/ready.py"


def _works(settings: Settings) -> str:
    return f"{_ready(settings)} proxy {_own_address(settings)}{_pem(settings)}"


def _own_address(settings: Settings) -> str:
    """Return the arguments of the readiness check: where the host itself reaches the proxy, by which name, and what
    answers there without a login and what only with one."""
    address = f"{listening.own_address(settings.proxy.bind)}:{settings.proxy.port} {settings.proxy_names[0]}"
    closed = ["/"] if "tracking" in settings.groups else []
    closed += [f"/models/{model}/ping" for model in settings.proxied_models()]
    return f"{address} {' '.join(closed)}{' --tracking' if 'tracking' in settings.groups else ''}"
