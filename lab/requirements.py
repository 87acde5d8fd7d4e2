"""Why this machine can not run a lab: all reasons, each with what to do about it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import cgroups, sources
from .network import Network
from .process import run

# program -> Debian's package
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "zstd": "zstd",
    "mount": "mount",
    "unshare": "util-linux",
}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Each is tried in namespaces that end with the command, so nothing stays.
PROBES = {
    "bridges and veth pairs (kernel modules bridge, veth)": (
        "unshare --net sh -c 'ip link add probe0 type bridge && ip link add probe1 type veth peer name probe2'"
    ),
    "overlay file systems (kernel module overlay)": (
        "unshare --mount sh -c 'mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir l u w m &&"
        " mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m'"
    ),
    "time namespaces (Linux 5.6, CONFIG_TIME_NS)": "unshare --time true",
}


def missing(network: Network) -> list[str]:
    """The reasons, as sentences; empty if there are none."""
    reasons = _programs()
    if os.geteuid():
        return [f"it needs root (this is uid {os.geteuid()}): run it with sudo", *reasons]
    if not reasons:
        reasons += _kernel() + _network(network)
    return reasons + _packages()


def _programs() -> list[str]:
    packages = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    if not KEYRING.exists():
        packages.add("debian-archive-keyring")
    line = "apt-get install -y --no-install-recommends " + " ".join(sorted(packages))
    return [f"programs are missing: {line}"] if packages else []


def _kernel() -> list[str]:
    reasons = []
    unified = cgroups.own().get(cgroups.UNIFIED)
    if not unified or not list(Path(unified).glob("cgroup.controllers")):
        reasons.append("no cgroup v2 hierarchy at /sys/fs/cgroup or /sys/fs/cgroup/unified: mount one")
    for feature, probe in PROBES.items():
        tried = run("sh", "-c", probe, check=False)
        if tried.returncode:
            reasons.append(f"no {feature}: {tried.stderr.strip()}")
    return reasons


def _network(network: Network) -> list[str]:
    return [
        f"the lab's network {network.prefix}.0/24 is in use ({stranger}): set LAB_NET to other three octets"
        for stranger in network.strangers()
    ]


def _packages() -> list[str]:
    reasons = []
    if not sources.debian_mirror():
        reasons.append("no Debian mirror in this machine's apt sources: set LAB_MIRROR to the URL of one")
    if not sources.pip_index():
        reasons.append("no pip, whose package index the hosts are to use: apt-get install -y python3-pip")
    return reasons
