"""The lab's own network: a bridge on this machine and one network namespace per host, with no way out.

Addresses are set from outside, in the namespace the host is then started in: nothing has to be configured in the
host, and its address is there before its first process.
"""

from __future__ import annotations

import json
from pathlib import Path

from .process import run


class Network:
    """One /24: .1 is this machine (and the package proxy), a host with number N has address .N"""

    def __init__(self, lab_id: str, prefix: str) -> None:
        self.lab_id, self.prefix = lab_id, prefix
        self.bridge = f"{lab_id}0"
        self.gateway = f"{prefix}.1"

    def address(self, number: int) -> str:
        return f"{self.prefix}.{number}"

    def hardware_address(self, number: int) -> str:
        """Fixed per address: with a new one at every start, neighbours would send to the old one for half a minute."""
        return "02:00:" + ":".join(f"{int(octet):02x}" for octet in self.address(number).split("."))

    def namespace(self, name: str) -> str:
        return f"{self.lab_id}-{name}"

    def link(self, number: int) -> str:
        return f"{self.lab_id}-{number}"

    @property
    def is_up(self) -> bool:
        return Path(f"/sys/class/net/{self.bridge}").exists()

    def up(self) -> None:
        """Ensure the bridge with its address, and the guard route.

        The guard (a route of last resort, "unreachable") keeps traffic for the lab on this machine while the bridge
        is missing: without it the default route would carry such packets out.
        """
        self._guard("replace")
        if not self.is_up:
            run("ip", "link", "add", self.bridge, "address", self.hardware_address(1), "type", "bridge")
        run("ip", "addr", "replace", f"{self.gateway}/24", "dev", self.bridge)
        run("ip", "link", "set", self.bridge, "up")

    def down(self) -> None:
        """Ensure that nothing of this network is left; namespaces of hosts included.

        The directory /run/netns, where iproute2 keeps all namespaces of a machine, stays.
        """
        for namespace in self.namespaces():
            run("ip", "netns", "del", namespace, check=False)
        for link in Path("/sys/class/net").glob(f"{self.lab_id}-*"):
            run("ip", "link", "del", link.name, check=False)
        run("ip", "link", "del", self.bridge, check=False)
        self._guard("del", check=False)

    def _guard(self, verb: str, check: bool = True) -> None:
        run("ip", "route", verb, "unreachable", f"{self.prefix}.0/24", "metric", "4000000", check=check)

    def namespaces(self) -> list[str]:
        return sorted(path.name for path in Path("/run/netns").glob(f"{self.lab_id}-*"))

    def attach(self, name: str, number: int) -> None:
        """Ensure the host's namespace, with its address on `eth0` and no default route."""
        namespace, link = self.namespace(name), self.link(number)
        self.detach(name, number)
        run("ip", "netns", "add", namespace)
        peer = ("peer", "name", "eth0", "netns", namespace, "address", self.hardware_address(number))
        run("ip", "link", "add", link, "type", "veth", *peer)
        run("ip", "link", "set", link, "master", self.bridge, "up")
        run("ip", "-n", namespace, "addr", "add", f"{self.address(number)}/24", "dev", "eth0")
        run("ip", "-n", namespace, "link", "set", "eth0", "up")
        run("ip", "-n", namespace, "link", "set", "lo", "up")

    def detach(self, name: str, number: int) -> None:
        """Ensure that the host has neither namespace nor link. The link goes first: deleting it is done on return."""
        run("ip", "link", "del", self.link(number), check=False)
        run("ip", "netns", "del", self.namespace(name), check=False)

    def set_link(self, number: int, state: str) -> None:
        """Plug the host's cable in ("up") or out ("down"); the host sees the carrier change."""
        run("ip", "link", "set", self.link(number), state)

    def strangers(self) -> list[str]:
        """Interfaces of this machine, other than the bridge, with an address in the lab's network."""
        links = json.loads(run("ip", "-j", "-4", "addr").stdout)
        return [
            f"{address['local']} on {link['ifname']}"
            for link in links
            for address in link["addr_info"]
            if link["ifname"] != self.bridge and address["local"].startswith(f"{self.prefix}.")
        ]
