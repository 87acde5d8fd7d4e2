"""Hosts for the comparison: fresh ones, clones of a converged one, and the way to them with a round-trip time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.end_state import ANSWERS
from bench.relay import relay
from bench.tools import Target
from lab import Host, Lab
from mlflow_stack.domain import layout

FIRST = "bench1"  # the host that the layers are made of
FRESH, CONVERGED = "fresh", "converged"  # the layers
FIRST_PORT = 22000  # of the relay, on the lab's own address
LOGGED = "journalctl -t sshd -o cat --no-pager | grep -c 'Starting session: .* for deploy' || true"
READY_S = 600  # ten servers start at once on the cores of one machine
# Fresh hosts whose disks fit into 24 GiB of memory, beside what runs on them: 1.4 GB each.
IN_MEMORY = 5


def clear(lab: Lab) -> None:
    """Remove all hosts; the lab and its layers stay."""
    if names := [host.name for host in lab.hosts()]:
        lab.down(*names)


def prepare(lab: Lab) -> None:
    """Make the layer of fresh hosts: sshd logs each command, and python3-apt is there, as on Debian's cloud images.

    Ansible's apt would install it by itself, but fails to in the process that Mitogen keeps. The lists of packages are
    removed again, and old, so that every tool has to fetch them.
    """
    host = lab.up(FIRST)
    log_commands(host)
    host.run("apt-get -q update && apt-get -q install -y --no-install-recommends python3-apt", timeout=300)
    host.run("rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin && touch -d '1 week ago' /var/lib/apt/lists")
    lab.snapshot(FIRST, FRESH)


def fresh(lab: Lab, count: int) -> list[Host]:
    """Return clones of the fresh host, in place of the hosts there are."""
    clear(lab)
    in_memory = count <= IN_MEMORY
    return [lab.up(f"bench{number}", layers=[FRESH], ram=in_memory) for number in range(1, count + 1)]


def converged(lab: Lab, count: int) -> list[Host]:
    """Return so many clones of the converged host, all of them answering; those that run already stay."""
    hosts = [lab.up(f"bench{number}", layers=[CONVERGED]) for number in range(1, count + 1)]
    for host in hosts:
        # A clone still has the name under which our inventory knew the first one.
        host.run(f"[ ! -e {layout.HOST_FILE} ] || sed -i 's/\\b{FIRST}\\b/{host.name}/' {layout.HOST_FILE}")
        host.run(
            f"i=0; until {ANSWERS}; do i=$((i + 1)); [ $i -lt {READY_S} ] || exit 1; sleep 1; done", timeout=READY_S * 2
        )
    return hosts


@contextmanager
def reached(hosts: Sequence[Host], round_trip_ms: int, known_hosts: Path) -> Iterator[list[Target]]:
    """Lead to the hosts through the relay while the context lasts; `known_hosts` is written for it."""
    gateway = hosts[0].lab.network.gateway
    targets = [Target(host, gateway, FIRST_PORT + host.record.number) for host in hosts]
    known_hosts.write_text("".join(f"[{gateway}]:{target.port} {_key(target.host)}\n" for target in targets))
    routes = {f"{gateway}:{target.port}": f"{target.host.address}:22" for target in targets}
    with relay(round_trip_ms, routes):
        yield targets


def log_commands(host: Host) -> None:
    """Let the host's sshd log what `count_commands` counts."""
    host.put("/etc/ssh/sshd_config.d/bench.conf", "LogLevel VERBOSE\n")
    host.run("systemctl reload ssh")


def count_commands(host: Host) -> int:
    """Return how many commands and file transfers the SSH user has begun since boot, as sshd logs them."""
    return int(host.run(LOGGED).stdout)


def _key(host: Host) -> str:
    return " ".join((host.lab.store.host_directory(host.name) / "hostkey.pub").read_text().split()[:2])
