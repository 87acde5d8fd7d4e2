"""The firewall: mlflow-firewall, one table of nftables."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.deploy import deploy

from mlflow_stack.domain import firewall as rules
from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.firewall import Opening, open_ports
from mlflow_stack.domain.obstacles import OWN_UNITS
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.operations import files, firewall, service
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

# The roles whose servers may move to another port; see old_openings.
SERVERS = ("tracking", "production", "proxy")


@deploy("Firewall")
def deploy_firewall(settings: Settings, survey: HostSurvey) -> None:
    """Ensure that other hosts reach SSH and what the settings name, and nothing else; or that no firewall is ours.

    It comes before the roles: no server of theirs listens without it, and hosts that wait for this one reach it. What
    still is reached by a port of before stays open until `close_old_ports`, when the server has moved: a run that fails
    on the way cuts nobody off.
    """
    if settings.firewall.enabled:
        _load(settings, survey, [*openings(settings, survey), *old_openings(settings, survey)])
    else:
        firewall.absent(name="Remove the firewall")


@deploy("Firewall")
def close_old_ports(settings: Settings, survey: HostSurvey) -> None:
    """Ensure that ports which the servers have left are closed; last, when they work on the new ones."""
    if settings.firewall.enabled and old_openings(settings, survey):
        _load(settings, survey, openings(settings, survey), ", without the ports of before")


def openings(settings: Settings, survey: HostSurvey) -> list[Opening]:
    """Return what other hosts may reach."""
    return [*(Opening(port, reason="SSH") for port in survey.ssh_ports), *settings.openings()]


def old_openings(settings: Settings, survey: HostSurvey) -> list[Opening]:
    """Return the ports by which other hosts reach a server of ours now, and are to do so no more.

    Where the firewall is there already, a port that it has closed is not among them. Nor is one of PostgreSQL: its
    clients move with it, in the same run.
    """
    wanted, own = openings(settings, survey), tuple(OWN_UNITS[each] for each in SERVERS)
    used = {each.port for each in survey.listeners if each.unit.startswith(own) and not each.is_local}
    now = open_ports(survey.firewall) if survey.firewall else dict.fromkeys(used, "until its server has moved")
    return [
        Opening(port, reason=now[port])
        for port in used & set(now)
        if not any(each.holds("tcp", port) for each in wanted)
    ]


def rules_text(allowed: Sequence[Opening]) -> str:
    """Return the rules, in the order of the ports: what stays open has its line where it was."""
    return render(rules.RULES_FILE, table=rules.TABLE, openings=sorted(allowed))


def unit_text() -> str:
    names = {"table": rules.TABLE, "nft": rules.NFT, "rules_file": rules.RULES_FILE, "loaded_file": rules.LOADED_FILE}
    return render(f"{layout.UNIT_DIR}/{rules.UNIT}", **names)


def _load(settings: Settings, survey: HostSurvey, allowed: Sequence[Opening], which: str = "") -> None:
    unit_file, check = f"{layout.UNIT_DIR}/{rules.UNIT}", f'{rules.NFT} -c -f "$new"'
    configuration = [
        ManagedFile(rules.RULES_FILE, rules_text(allowed), mode="640", check=check),
        ManagedFile(unit_file, unit_text(), check=survey.platform.verify_unit),
    ]
    files.managed(name=f"Write the rules and the unit of mlflow-firewall{which}", files=configuration)
    service.ready(
        name=f"Load the rules of mlflow-firewall and see them in force{which}",
        unit=rules.UNIT,
        files=configuration,
        check=rules.CHECK,
        timeout_s=0,
    )
