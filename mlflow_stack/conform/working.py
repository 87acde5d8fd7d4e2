"""Checks that what is promised to work does, asked on the host itself; reached.py asks as users do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote

from mlflow_stack.conform.checks import EVERY, MODELS, TRACKING, Fault, NotAsked, Subject, Unknown, check
from mlflow_stack.domain import firewall, layout
from mlflow_stack.domain.permissions import KEY_FILE, OWN_USER
from mlflow_stack.roles import postgresql, production, proxy, proxy_certificate, tracking
from mlflow_stack.settings import Settings

CURL = "curl -sS --max-time 15 -H 'Content-Type: application/json'"
SEARCH, BODY = "/api/2.0/mlflow/experiments/search", json.dumps({"max_results": 1})
LOG = "journalctl -u {} -n 50 on the host says why; then run the deploy again"


def address(server: str, path: str) -> str:
    """Return what curl needs to ask a server of its own host, as settings name it."""
    if server.startswith("unix:"):
        return f"--unix-socket {quote(server.removeprefix('unix:'))} {quote(f'http://localhost{path}')}"
    return quote(f"{server}{path}")


def asking(settings: Settings) -> str:
    """Return curl as it asks the tracking server on its own host, with our login where the server wants one."""
    if not settings.has_permissions:
        return CURL
    python = f"{quote(settings.conda.prefix)}/bin/python -I"
    return f"{python} {layout.LIBEXEC_DIR}/accounts.py {KEY_FILE} {OWN_USER} | {CURL} -H @-"


def units(settings: Settings) -> list[str]:
    """Return the units of ours that are to run on a host, but those of models."""
    found = [firewall.UNIT] if settings.firewall.enabled else []
    if "tracking" in settings.groups:
        found.append(tracking.UNIT)
    if "production" in settings.groups:
        found.append(f"{production.UMBRELLA}.service")
    if settings.has_proxy:
        found += [f"{proxy.LOGIN}.service", f"{proxy.UNIT}.service"]
        if settings.proxy.tls in ("self-signed", "acme"):
            found.append(f"{proxy_certificate.RENEWAL}.timer")
    if settings.serves_database:
        found.append(f"{postgresql.RENEWAL}.timer")
    return found


def models(settings: Settings) -> list[str]:
    return list(settings.production.models) if "production" in settings.groups else []


def released(model: str) -> str:
    """Return a shell condition: there is something to serve. One that is not required may not have been trained yet."""
    return f"[ -e {layout.MODELS_DIR}/{model}/current ]"


def _units(settings: Settings) -> str:
    of_models = [
        f"{'true' if settings.production.models[model].required else released(model)} "
        f'&& set -- "$@" {quote(f"{production.UMBRELLA}@{model}.service")}'
        for model in models(settings)
    ]
    database = ["postgresql.service", "'postgresql@*'"] if "postgresql" in settings.groups else []
    show = 'systemctl show -p Id -p ActiveState -p UnitFileState -- "$@" | paste -sd " " | sed "s/  /\\n/g"'
    failed = "systemctl list-units --failed --plain --no-legend 'mlflow-*' 'postgresql@*' | sed 's/^/failed /'"
    return "\n".join([f"set -- {' '.join([*database, *map(quote, units(settings))])}", *of_models, show, failed])


@check("6.1", "Every service runs, starts with the host, and none has failed", EVERY, _units)
def services(subject: Subject) -> Iterator[Fault]:
    lines = subject.lines("6.1")
    shown = [dict(pair.split("=", 1) for pair in line.split()) for line in lines if line.startswith(("Id=", "Active"))]
    if not shown:
        raise Unknown("systemd names no unit")
    for unit in shown:
        name, state, enabled = unit["Id"], unit["ActiveState"], unit.get("UnitFileState", "")
        # Debian's umbrella of the clusters only has to be there at the next boot.
        if state != "active" and name != "postgresql.service":
            yield Fault(f"{name} is {state}", "active", LOG.format(name))
        if not enabled.startswith("enabled") and not name.startswith("postgresql@"):
            yield Fault(f"{name} is {enabled or 'not there'}", "enabled")
    if "postgresql" in subject.settings.groups and not any(unit["Id"].startswith("postgresql@") for unit in shown):
        yield Fault("no cluster of PostgreSQL is started", "postgresql@<version>-main active")
    names = {unit["Id"] for unit in shown}
    for name in [line.split()[1] for line in lines if line.startswith("failed ")]:
        if name not in names:
            yield Fault(f"{name} has failed", "none has", LOG.format(name))


def _search(settings: Settings) -> str:
    server = settings.own_tracking_uri
    return f"{asking(settings)} -o /dev/null -w '%{{http_code}}\\n' -d {quote(BODY)} {address(server, SEARCH)}; true"


@check("6.2", "The tracking server answers with what is in its database", TRACKING, _search)
def database(subject: Subject) -> Iterator[Fault]:
    status = "".join(subject.lines("6.2")) or "000"
    if status != "200":
        found = "no answer to a search" if status == "000" else f"HTTP {status} for a search"
        yield Fault(f"{found} of experiments", "HTTP 200", LOG.format(tracking.UNIT))


def _predict(settings: Settings) -> str:
    parts = []
    for model in models(settings):
        server, home = settings.model_url(model), f"{layout.MODELS_DIR}/{model}/current"
        example = f"{home}/model/serving_input_example.json"
        ping = f"{CURL} -o /dev/null -w '%{{http_code}}' {address(server, '/ping')}"
        ask = f"{CURL} -w '\\n%{{http_code}}' --data-binary @{quote(example)} {address(server, '/invocations')}"
        predicted = (
            f"[ -f {quote(example)} ] && {ask} | awk '/\"predictions\"/ {{ ok = 1 }} END {{ print $0, ok + 0 }}'"
        )
        parts.append(f'{released(model)} && echo "{model} $({ping}) $({predicted})" || echo "{model}"')
    return "\n".join([*parts, "true"])


@check("6.3", "Each model that was released predicts for its input example", MODELS, _predict)
def predictions(subject: Subject) -> Iterator[Fault]:
    said = asked(subject)
    if not any(said.values()) and not any(model.required for model in subject.settings.production.models.values()):
        raise NotAsked("no model was released")
    for model, answers in said.items():
        unit = f"{production.UMBRELLA}@{model}.service"
        if not answers:
            if subject.settings.production.models[model].required:
                yield Fault(f"{model} was never released", "a model", "register it, and run the deploy again")
        elif answers[0] != "200":
            yield Fault(f"{model}: HTTP {answers[0]} for /ping", "HTTP 200", LOG.format(unit))
        elif answers[1:] not in ([], ["200", "1"]):
            yield Fault(f"{model}: HTTP {answers[1]} and no prediction", "predictions", LOG.format(unit))


def asked(subject: Subject) -> dict[str, list[str]]:
    """Return what each model answered on its host; nothing for one that was never released."""
    return {model: answers for model, *answers in map(str.split, subject.lines("6.3"))}


CHECKS = (services, database, predictions)
