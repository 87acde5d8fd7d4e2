"""The survey of a host before anything is changed: one script, and what its output says."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow_stack import platforms
from mlflow_stack.domain import layout
from mlflow_stack.domain.firewall import RULES_FILE
from mlflow_stack.domain.lock import SURVEY_LOCK, Holder, parse_holder

# Marks every process of a run on a host, with who runs it (running.py). A run whose pyinfra was killed leaves its last
# command running: sshd does not end what it started. The next run has to wait for that, or both write the same files.
RUN_VARIABLE = "MLFLOW_STACK_RUN"

# Prints KEY=VALUE lines. It runs without sudo and asks for it itself, so that a sudo that wants a password is a
# sentence and not a failed fact; `sudo -n` never waits for one. ss names a port's owner only to root; systemd (1) holds
# those of socket units. In a session, which may be root by sudo, $user is who logged in and $ssh_port the port of this
# host that they came by.
SURVEY_SCRIPT = (
    r"""
root=
[ "$(id -u)" = 0 ] || { denied=$(sudo -n true 2>&1) && root='sudo -n' || echo "sudo=$denied"; }
. /etc/os-release 2>/dev/null
echo "user=${user:-$(id -un)}"
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
$root ss -Hltunp 2>/dev/null | while read -r line; do
  pid=$(echo "$line" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
  unit=$($root sed -n 's,.*/\([^/]*\.service\).*,\1,p' "/proc/${pid:-0}/cgroup" 2>/dev/null | head -n 1)
  [ "$pid" != 1 ] || unit=$(systemctl list-sockets --no-legend | awk -v "at=$(echo "$line" | awk '{print $5}')" '
    { sub(/.*:/, ":", at) } substr($1, length($1) - length(at) + 1) == at { print $2; exit }')
  echo "listen=${unit:--} $line"
done
echo "ssh_port=${ssh_port:-${SSH_CONNECTION##* }}"
systemctl show -P Listen ssh.socket sshd.socket 2>/dev/null | sed -n 's/.*:\([0-9]*\) (Stream)$/ssh_socket=\1/p'
$root cat RULES_FILE 2>/dev/null | sed -n 's/^ *\(.* accept\)/firewall=\1/p'
[ -d /opt/mlflow/envs ] && echo deployed=yes
for d in /etc/postgresql/*/*/; do [ -d "$d" ] && echo "cluster=$d"; done
for u in /etc/systemd/system/mlflow*.service /lib/systemd/system/mlflow*.service; do
  [ -f "$u" ] && { grep -q 'MLflow Stack' "$u" && echo "own_unit=$u" || echo "foreign_unit=$u"; }
done
for u in mlflow mlflow-model mlflow-proxy; do getent passwd "$u" | sed 's/^/passwd=/'; done
$root grep -lsz '^MLFLOW_STACK_RUN=' /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
  run=$($root cat "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | sed -n 's/^MLFLOW_STACK_RUN=//p')
  [ "${run:-$MLFLOW_STACK_RUN}" = "$MLFLOW_STACK_RUN" ] ||
    echo "other_run=$run $pid $(tr '\0\n' '  ' < "/proc/$pid/cmdline")"
done
echo "name=$($root cat HOST_FILE 2>/dev/null)"
SURVEY_LOCK
true
""".replace("HOST_FILE", layout.HOST_FILE)
    .replace("RULES_FILE", RULES_FILE)
    .replace("SURVEY_LOCK", SURVEY_LOCK.strip())
)

_LISTEN = re.compile(
    r"(?P<unit>\S+)\s+(?P<protocol>tcp|udp)\s+\S+\s+\d+\s+\d+\s+(?P<address>\S+):(?P<port>\d+)\s+\S+"
    r"(?:\s+users:\(\((?P<users>.*)\)\))?"
)
_NO_BRACKETS = str.maketrans("", "", "[]")
_SSH_UNITS = ("ssh.service", "sshd.service")


@dataclass(frozen=True)
class Listener:
    """A socket that others can send to: port, the program and process id that hold it ("" and 0 when unknown, or when
    it is the kernel's), their unit, and the address and protocol ("tcp" or "udp")."""

    port: int
    program: str
    pid: int
    unit: str
    address: str = "*"
    protocol: str = "tcp"

    @property
    def is_local(self) -> bool:
        """Return whether only the host itself reaches it."""
        try:
            address = ipaddress.ip_address(self.address.translate(_NO_BRACKETS).partition("%")[0])
        except ValueError:  # "*"
            return False
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback

    @property
    def holder(self) -> str:
        return f"{self.program} (pid {self.pid})" if self.program else "another process"


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
    the last deploy called the host; `ssh_port` the port of the host that this run came by, 0 when not by SSH;
    `ssh_sockets` those on which systemd may listen for sshd; `firewall` those of our rules that let
    something in, none without a firewall of ours.
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
    ssh_port: int = 0
    ssh_sockets: tuple[int, ...] = ()
    firewall: tuple[str, ...] = ()

    @property
    def ssh_ports(self) -> tuple[int, ...]:
        """The TCP ports of SSH: where its servers listen, and that of this run's own connection, whatever answers it.

        When nothing is found it is 22: a server that is down at this moment must not be shut out when it comes back.
        """
        ports = {listener.port for listener in self.listeners if listener.unit in _SSH_UNITS}
        ports |= {listener.port for listener in self.listeners if listener.port in self.ssh_sockets}
        return tuple(sorted(ports | {self.ssh_port} - {0})) or (22,)

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
        ssh_port=int(first("ssh_port") or 0),
        ssh_sockets=tuple(int(port) for port in values.get("ssh_socket", [])),
        firewall=tuple(values.get("firewall", [])),
    )


def _parse_other_run(line: str) -> OtherRun:
    run, pid, command = f"{line} ".split(" ", 2)  # a process that has just ended has no command line
    return OtherRun(run, int(pid), command.strip())


def _parse_listener(line: str) -> Listener | None:
    match = _LISTEN.match(line)
    if not match:
        return None
    holder = re.search(r'"(?P<program>[^"]+)",pid=(?P<pid>\d+)', match["users"] or "")
    program, pid = (holder["program"], int(holder["pid"])) if holder else ("", 0)
    return Listener(int(match["port"]), program, pid, match["unit"], match["address"], match["protocol"])
