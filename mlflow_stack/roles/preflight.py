"""Preflight: every host is looked at before any host is changed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from gevent import GreenletExit  # type: ignore[import-untyped]
from pyinfra import logger
from pyinfra.api.exceptions import DeployError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from mlflow_stack import database_check, proxy_check
from mlflow_stack.domain.lock import Holder
from mlflow_stack.domain.obstacles import Needs, obstacles, one_machine_twice
from mlflow_stack.domain.survey import SURVEY_SCRIPT, HostSurvey, parse_survey
from mlflow_stack.facts.host import Survey
from mlflow_stack.inventory_check import load
from mlflow_stack.running import RUN, is_dry, is_prepared
from mlflow_stack.session import Refused, begin
from mlflow_stack.settings import Settings

# How long a command of another run is waited for, and how often it is looked for. The longest is the installation of
# an environment on a slow network.
OTHER_RUN_TIMEOUT_S = 300
OTHER_RUN_PAUSE_S = 5

_UNPREPARED = (
    "config.py was not read, so this run knows none of its options; run pyinfra in the directory of deploy.py and "
    "config.py, without --config; no host was changed"
)

_lock = threading.Lock()
_surveys: dict[State, dict[Host, HostSurvey] | PyinfraError] = {}


def preflight(host: Host) -> HostSurvey:
    """Return the survey of a host; the first call locks and surveys all hosts at once.

    Raises DeployError that lists everything that stands in the way on any host: distribution, systemd, memory, disk,
    ports and who holds them, foreign PostgreSQL or MLflow, sudo, another run, a database that somebody else manages;
    and when config.py was not read.
    A host that is lost meanwhile ends its own deploy.py here, the others go on.
    """
    state = host.state
    with _lock:  # pyinfra loads deploy.py for all hosts at once
        if state not in _surveys:
            _surveys[state] = _survey_all(state)
        surveys = _surveys[state]
    if isinstance(surveys, PyinfraError):
        raise surveys
    if host not in state.active_hosts:
        raise GreenletExit  # pyinfra loads deploy.py for each host in a greenlet, and goes on with the others
    return surveys[host]


def _survey_all(state: State) -> dict[Host, HostSurvey] | PyinfraError:
    """Return the surveys, or the refusal: kept like them, or each host that waits here would survey all again."""
    if not is_prepared():
        return DeployError(_UNPREPARED)  # without --dry in sight, it would lock the hosts
    # Not pyinfra's get_facts: it would wait for a place in the pool that this very call occupies.
    active = state.inventory.get_active_hosts()
    hosts = [host for host in state.inventory if host in active]
    try:
        with ThreadPoolExecutor(max_workers=len(hosts)) as executor:
            surveys = dict(zip(hosts, executor.map(_survey, hosts), strict=True))
    except PyinfraError as error:  # no host is left
        return error
    surveys = {host: survey for host, survey in surveys.items() if host in state.active_hosts}
    with ThreadPoolExecutor(max_workers=len(hosts)) as executor:
        databases = dict(zip(surveys, executor.map(_database_problems, surveys), strict=True))
    problems = [
        f"  {host.name}: {problem}"
        for host in surveys
        if host in state.active_hosts  # it may have been lost meanwhile
        for problem in [*_obstacles(host, surveys[host]), *databases[host]]
    ]
    problems += [f"  {problem}" for problem in one_machine_twice({host.name: surveys[host] for host in surveys})]
    if problems:
        count = "1 obstacle" if len(problems) == 1 else f"{len(problems)} obstacles"
        return DeployError("\n".join([f"{count} on the hosts; no host was changed", *problems]))
    for host, survey in surveys.items():
        for remark in filter(None, (survey.platform.remark, proxy_check.warning(load(host)))):
            logger.warning(f"{host.print_prefix}{remark}")
    return surveys


def _survey(host: Host) -> HostSurvey:
    """Survey a host, in a session with it; a command that a killed run left there gets the time to end."""
    begun = begin(host, RUN, SURVEY_SCRIPT, lock=not is_dry())
    if isinstance(begun, Holder) and begun.run != RUN:  # ours when the inventory has one machine under two names
        return HostSurvey(holder=begun)
    no_session = begun.words or "no word from it" if isinstance(begun, Refused) else ""
    survey = parse_survey(begun) if isinstance(begun, list) else _survey_again(host)
    end = time.monotonic() + OTHER_RUN_TIMEOUT_S
    while survey.other_runs and not survey.holder and time.monotonic() < end:
        logger.info(f"{host.print_prefix}Waiting for another run ({survey.other_runs[0].run}) to end its command")
        time.sleep(OTHER_RUN_PAUSE_S)
        survey = _survey_again(host)
    return replace(survey, no_session=no_session)


def _survey_again(host: Host) -> HostSurvey:
    # Without sudo: the survey asks for it itself, to be able to say what is wrong with it.
    return host.get_fact(Survey, _sudo=False)


def _obstacles(host: Host, survey: HostSurvey) -> list[str]:
    settings = load(host)
    if survey.user not in ("", "root") and not (host.data.get("_sudo") or host.state.config.SUDO):
        return [f'pyinfra is user {survey.user!r} there and not root; add "_sudo": True to the host in the inventory']
    return obstacles(survey, _needs(host.name, settings))


def _database_problems(host: Host) -> list[str]:
    settings = load(host)
    try:
        return database_check.problems(host, settings) if settings.has_foreign_database else []
    except database_check.Unasked as reason:
        logger.warning(f"{host.print_prefix}{reason}")
        return []


def _needs(name: str, settings: Settings) -> Needs:
    # PostgreSQL's is for tracking hosts only: whoever else uses one that was there before has to be named.
    openings = [each for each in settings.openings() if each.reason != "postgresql_port"]
    return Needs(
        min_memory_mib=settings.preflight.min_memory_mib,
        min_free_disk_mib=settings.preflight.min_free_disk_mib,
        ports=settings.ports(),
        installer_architectures=tuple(settings.conda.installer_sha256),
        is_database_host="postgresql" in settings.groups,
        name=name,
        former_name=settings.preflight.former_name,
        openings=openings if settings.firewall.enabled else None,
    )
