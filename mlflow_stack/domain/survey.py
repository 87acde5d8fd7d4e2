"""The survey of a host before anything is changed: one script, its output, and what stands in the way."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow_stack import platforms
from mlflow_stack.domain import layout
from mlflow_stack.domain.lock import SURVEY_LOCK, Holder, parse_holder

# Marks every process of a run on a host, with who runs it (running.py). A run whose pyinfra was killed leaves its last
# command running: sshd does not end what it started. The next run has to wait for that, or both write the same files.
RUN_VARIABLE = "MLFLOW_STACK_RUN"

# Prints KEY=VALUE lines. It runs without sudo and asks for it itself, so that a sudo that wants a password is a
# sentence and not a failed fact; `sudo -n` never waits for one. ss names a port's owner only to root.
SURVEY_SCRIPT = r"""
root=
[ "$(id -u)" = 0 ] || { denied=$(sudo -n true 2>&1) && root='sudo -n' || echo "sudo=$denied"; }
. /etc/os-release 2>/dev/null
echo "user=$(id -un)"
echo "os=$ID"
echo "version=${VERSION_ID:-$VERSION_CODENAME}"
echo "title=$PRETTY_NAME"
echo "machine=$(uname -m)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null)"
[ -d /run/systemd/system ] && echo systemd=yes
awk '/^MemTotal:/ {print "memory_mib=" int($2 / 1024)}' /proc/meminfo
for d in /opt /var; do
  df -Pk "$d" | awk -v d="$d" 'NR == 2 {print "disk=" d " " int($4 / 1024)}'
done
$root ss -Hltnp 2>/dev/null | while read -r line; do
  pid=$(echo "$line" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
  unit=$($root sed -n 's,.*/\([^/]*\.service\).*,\1,p' "/proc/${pid:-0}/cgroup" 2>/dev/null | head -n 1)
  echo "listen=${unit:--} $line"
done
[ -d /opt/mlflow/envs ] && echo deployed=yes
for d in /etc/postgresql/*/*/; do [ -d "$d" ] && echo "cluster=$d"; done
for u in /etc/systemd/system/mlflow*.service /lib/systemd/system/mlflow*.service; do
  [ -f "$u" ] && { grep -q 'MLflow Stack' "$u" && echo "own_unit=$u" || echo "foreign_unit=$u"; }
done
for u in mlflow mlflow-model; do getent passwd "$u" | sed 's/^/passwd=/'; done
$root grep -lsz '^MLFLOW_STACK_RUN=' /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
  run=$($root cat "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | sed -n 's/^MLFLOW_STACK_RUN=//p')
  [ "${run:-$MLFLOW_STACK_RUN}" = "$MLFLOW_STACK_RUN" ] ||
    echo "other_run=$run $pid $(tr '\0' ' ' < "/proc/$pid/cmdline")"
done
echo "name=$($root cat HOST_FILE 2>/dev/null)"
SURVEY_LOCK
true
""".replace("HOST_FILE", layout.HOST_FILE).replace("SURVEY_LOCK", SURVEY_LOCK.strip())

_LISTEN = re.compile(
    r"(?P<unit>\S+)\s+\S+\s+\d+\s+\d+\s+(?P<address>\S+):(?P<port>\d+)\s+\S+(?:\s+users:\(\((?P<users>.*)\)\))?"
)


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket: port, the program and process id that hold it ("" and 0 when unknown), and their unit."""

    port: int
    program: str
    pid: int
    unit: str


@dataclass(frozen=True)
class OtherRun:
    """A process that another run of pyinfra started and that has not ended: who runs it, its id and command line."""

    run: str
    pid: int
    command: str


@dataclass(frozen=True)
class HostSurvey:
    """What a host is.

    `sudo` is the refusal of sudo, empty when root can be had; `holder` another run that has the host's lock;
    `no_session` why this run could not begin its session, empty when it did or has none; `name` what the inventory of
    the last deploy called the host.
    """

    user: str = ""
    sudo: str = ""
    os_id: str = ""
    version_id: str = ""
    title: str = ""
    machine: str = ""
    machine_id: str = ""
    has_systemd: bool = False
    is_deployed: bool = False
    memory_mib: int = 0
    free_disk_mib: Mapping[str, int] | None = None
    listeners: tuple[Listener, ...] = ()
    clusters: tuple[str, ...] = ()
    foreign_units: tuple[str, ...] = ()
    accounts: Mapping[str, str] | None = None
    other_runs: tuple[OtherRun, ...] = ()
    holder: Holder | None = None
    no_session: str = ""
    name: str = ""

    @property
    def platform(self) -> platforms.Platform:
        found = platforms.find_platform(self.os_id, self.version_id)
        if found is None:
            raise KeyError(f"{self.os_id} {self.version_id}")
        return found


def parse_survey(lines: Sequence[str]) -> HostSurvey:
    """Parse the output of SURVEY_SCRIPT."""
    values: dict[str, list[str]] = {}
    for line in lines:
        key, _, value = line.partition("=")
        values.setdefault(key, []).append(value)

    def first(key: str) -> str:
        return values.get(key, [""])[0]

    return HostSurvey(
        user=first("user"),
        sudo=first("sudo"),
        os_id=first("os"),
        version_id=first("version"),
        title=first("title"),
        machine=first("machine"),
        machine_id=first("machine_id"),
        has_systemd="systemd" in values,
        is_deployed="deployed" in values,
        memory_mib=int(first("memory_mib") or 0),
        free_disk_mib={disk.split()[0]: int(disk.split()[1]) for disk in values.get("disk", [])},
        listeners=tuple(filter(None, map(_parse_listener, values.get("listen", [])))),
        clusters=tuple(values.get("cluster", [])),
        foreign_units=tuple(values.get("foreign_unit", [])),
        accounts={entry.split(":")[0]: entry for entry in values.get("passwd", [])},
        other_runs=tuple(map(_parse_other_run, values.get("other_run", []))),
        holder=parse_holder(first("lock")),
        name=first("name"),
    )


def _parse_other_run(line: str) -> OtherRun:
    run, pid, command = line.split(" ", 2)
    return OtherRun(run, int(pid), command.strip())


def _parse_listener(line: str) -> Listener | None:
    match = _LISTEN.match(line)
    if not match:
        return None
    holder = re.search(r'"(?P<program>[^"]+)",pid=(?P<pid>\d+)', match["users"] or "")
    program, pid = (holder["program"], int(holder["pid"])) if holder else ("", 0)
    return Listener(int(match["port"]), program, pid, match["unit"])


@dataclass(frozen=True)
class Needs:
    """What the roles of a host need: minimum memory and disk in MiB, the ports with the settings that claim them.

    `name` is what the inventory calls the host, `former_name` what an earlier one called it.
    """

    min_memory_mib: int
    min_free_disk_mib: int
    ports: Mapping[int, Sequence[str]]
    installer_architectures: Sequence[str]
    is_database_host: bool
    name: str = ""
    former_name: str = ""


# Units that may hold a port already, by the setting that claims it.
OWN_UNITS = {"postgresql": "postgresql@", "tracking": "mlflow-tracking.service", "production": "mlflow-production@"}
# A host that is deployed already has its environments; what is left to build there is at most one model's.
DEPLOYED_DISK_SHARE = 5


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
        claims = needs.ports.get(listener.port)
        if claims and not listener.unit.startswith(OWN_UNITS[claims[0].split("_")[0]]):
            holder = f"{listener.program} (pid {listener.pid})" if listener.program else "another process"
            problems.append(f"port {listener.port} is held by {holder}; stop it, or change {claims[0]}")
    return list(dict.fromkeys(problems))  # one process listens on IPv4 and IPv6


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
        home = {layout.TRACKING_USER: layout.STATE_DIR, layout.PRODUCTION_USER: layout.MODELS_DIR}[user]
        if entry.split(":")[5] != home:
            problems.append(
                f"user {user!r} exists with the home {entry.split(':')[5]!r}, expected {home!r}; "
                "it is somebody else's, rename it"
            )
    return problems
