"""What stands in the way of a deploy, by the survey of a host and what its roles need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow_stack import platforms
from mlflow_stack.domain import layout
from mlflow_stack.domain.firewall import Opening
from mlflow_stack.domain.survey import HostSurvey, Listener


@dataclass(frozen=True)
class Needs:
    """What the roles of a host need: minimum memory and disk in MiB, the ports with the settings that claim them.

    `name` is what the inventory calls the host, `former_name` what an earlier one called it. `openings` is what the
    firewall leaves open, None without one.
    """

    min_memory_mib: int
    min_free_disk_mib: int
    ports: Mapping[int, Sequence[str]]
    installer_architectures: Sequence[str]
    is_database_host: bool
    name: str = ""
    former_name: str = ""
    openings: Sequence[Opening] | None = None


# Units that may hold a port already, by the setting that claims it.
OWN_UNITS = {
    "postgresql": "postgresql@",
    "tracking": "mlflow-tracking.",
    "production": "mlflow-production@",
    "proxy": "mlflow-proxy.",
}
_HOMES = {
    layout.TRACKING_USER: layout.STATE_DIR,
    layout.PRODUCTION_USER: layout.MODELS_DIR,
    layout.PROXY_USER: layout.PROXY_DIR,
}
# A host that is deployed already has its environments; what is left to build there is at most one model's.
DEPLOYED_DISK_SHARE = 5
# UDP: a host gets its own address by these (DHCP; the rules let the second one in, the first one is read raw).
_DHCP_CLIENT = (68, 546)
# UDP: a program gets a port from here on for what it asks others, whose answers are let in (ip_local_port_range).
_FIRST_CLIENT_PORT = 32768


def obstacles(survey: HostSurvey, needs: Needs) -> list[str]:
    """Return, a sentence each, what has to be put right before this host can be deployed to."""
    if survey.holder:
        return [f"{survey.holder}; wait until it has ended, or end it there"]
    if survey.sudo:
        return [
            f"user {survey.user!r} can't become root without a password (sudo: {survey.sudo.removeprefix('sudo: ')}); "
            f"allow it in /etc/sudoers.d: {survey.user} ALL=(ALL) NOPASSWD: ALL"
        ]
    if survey.no_session:
        return [
            f"this run can't lock the host, nor notice when it is lost ({survey.no_session}); expected that "
            f"user {survey.user!r} may run bash as root, and that root can write /run"
        ]
    if platforms.find_platform(survey.os_id, survey.version_id) is None:
        found = survey.title or "an unknown system without /etc/os-release"
        return [f"{found} is not supported; expected {platforms.supported()}"]
    return [
        *_other_run_obstacles(survey),
        *_name_obstacles(survey, needs),
        *_machine_obstacles(survey, needs),
        *_port_obstacles(survey, needs),
        *_firewall_obstacles(survey, needs),
        *_foreign_obstacles(survey, needs),
    ]


def _other_run_obstacles(survey: HostSurvey) -> list[str]:
    return [
        f"another run ({first.run}) is still at work: {first.command[:160]} (pid {first.pid}); wait until it has ended"
        for first in survey.other_runs[:1]
    ]


def _name_obstacles(survey: HostSurvey, needs: Needs) -> list[str]:
    if survey.name in ("", needs.name, needs.former_name):
        return []
    return [
        f"this machine was deployed as {survey.name!r}, and the inventory calls it {needs.name!r}; correct the address "
        f"if it is another machine's, or set preflight_former_name = {survey.name!r} for this host if it was renamed"
    ]


def one_machine_twice(surveys: Mapping[str, HostSurvey]) -> list[str]:
    """Return, a sentence each, which names of an inventory stand for one machine."""
    names: dict[str, list[str]] = {}
    for name, survey in surveys.items():
        names.setdefault(survey.machine_id, []).append(name)
    return [
        f"{' and '.join(same)}: one machine, by its /etc/machine-id {machine_id}; list it once, or, if one is a "
        "copy of the other, give it an id of its own: rm /etc/machine-id; systemd-machine-id-setup"
        for machine_id, same in names.items()
        if machine_id and len(same) > 1
    ]


def _machine_obstacles(survey: HostSurvey, needs: Needs) -> list[str]:
    problems = []
    if not survey.has_systemd:
        problems.append("systemd is not running; MLflow Stack needs a host that is booted with it, not a container")
    if survey.machine not in needs.installer_architectures:
        problems.append(
            f"architecture {survey.machine!r} has no installer in conda_installer_sha256, "
            f"which knows {', '.join(needs.installer_architectures)}"
        )
    if survey.memory_mib < needs.min_memory_mib:
        problems.append(
            f"{survey.memory_mib} MiB of memory, expected {needs.min_memory_mib}; "
            "take a larger host or lower preflight_min_memory_mib"
        )
    expected = needs.min_free_disk_mib // (DEPLOYED_DISK_SHARE if survey.is_deployed else 1)
    for directory, free in (survey.free_disk_mib or {}).items():
        if free < expected:
            problems.append(
                f"{free} MiB free below {directory}, expected {expected}; "
                "free some or lower preflight_min_free_disk_mib"
            )
    return problems


def _port_obstacles(survey: HostSurvey, needs: Needs) -> list[str]:
    problems = []
    for listener in survey.listeners:
        claims = needs.ports.get(listener.port) if listener.protocol == "tcp" else None
        if claims and not listener.unit.startswith(OWN_UNITS[claims[0].split("_")[0]]):
            problems.append(f"port {listener.port} is held by {listener.holder}; stop it, or change {claims[0]}")
    return list(dict.fromkeys(problems))  # one process listens on IPv4 and IPv6


def _firewall_obstacles(survey: HostSurvey, needs: Needs) -> list[str]:
    """Name what other hosts reach now and no longer would; where the firewall is there already, they do not now."""
    if needs.openings is None or survey.firewall:
        return []
    problems = []
    for listener in survey.listeners:
        port, is_open = f"{listener.port}/{listener.protocol}", _stays_open(listener, needs.openings, survey.ssh_ports)
        if not (is_open or listener.is_local or _is_client(listener) or _is_ours(listener, survey, needs)):
            problems.append(
                f"port {port} of {listener.holder} would be closed to other hosts; list it in firewall_allow, as "
                f'"{port}" to keep it open or as "{port} from 127.0.0.1" to close it, or set firewall_enabled = False'
            )
    return list(dict.fromkeys(problems))


def _stays_open(listener: Listener, openings: Sequence[Opening], ssh_ports: Sequence[int]) -> bool:
    is_ssh = listener.protocol == "tcp" and listener.port in ssh_ports
    return is_ssh or any(each.holds(listener.protocol, listener.port) for each in openings)


def _is_client(listener: Listener) -> bool:
    """Return whether a UDP socket is that of somebody who asks; one of no program is the kernel's (as WireGuard's)."""
    asks = bool(listener.program) and listener.port >= _FIRST_CLIENT_PORT
    return listener.protocol == "udp" and (asks or listener.port in _DHCP_CLIENT)


def _is_ours(listener: Listener, survey: HostSurvey, needs: Needs) -> bool:
    """Return whether a role answers for it, or _port_obstacles does. A PostgreSQL that was there before has users."""
    if listener.unit.startswith(OWN_UNITS["postgresql"]):
        return needs.is_database_host and survey.is_deployed
    is_claimed = listener.protocol == "tcp" and listener.port in needs.ports
    return is_claimed or listener.unit.startswith(
        tuple(OWN_UNITS[role] for role in ("tracking", "production", "proxy"))
    )


def _foreign_obstacles(survey: HostSurvey, needs: Needs) -> list[str]:
    problems = [
        f"{unit} was not written by MLflow Stack; stop it, move it away and keep its data"
        for unit in survey.foreign_units
    ]
    if needs.is_database_host:
        ours = f"{survey.platform.postgresql_conf_dir}/"
        problems += [
            f"a PostgreSQL cluster of another version or name is in {cluster}; expected {ours} or none"
            for cluster in survey.clusters
            if cluster != ours
        ]
    for user, entry in (survey.accounts or {}).items():
        home = _HOMES[user]
        if entry.split(":")[5] != home:
            problems.append(
                f"user {user!r} exists with the home {entry.split(':')[5]!r}, expected {home!r}; "
                "it is somebody else's, rename it"
            )
    return problems
