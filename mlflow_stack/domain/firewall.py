"""The firewall: what other hosts may reach on a host, as settings and nftables say it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlflow_stack.domain import layout

RULES_FILE = f"{layout.CONFIG_DIR}/firewall.nft"
UNIT = "mlflow-firewall.service"
TABLE = "inet mlflow_stack"
NFT = "/usr/sbin/nft"
# The unit writes down what the kernel made of our rules: a rule that somebody took away or added since is a difference.
LOADED_FILE = "/run/mlflow-firewall/loaded"
CHECK = f"sh -c '{NFT} -s list table {TABLE} | cmp - {LOADED_FILE}'"

_OPENING = re.compile(
    r"(?P<first>\d{1,5})(-(?P<last>\d{1,5}))?/(?P<protocol>tcp|udp)( from (?P<source>[0-9A-Fa-f.:/]+))?"
)
_OPEN_TO_ALL = re.compile(r'tcp dport (?P<port>\d+) accept comment "(?P<reason>.*)"')


@dataclass(frozen=True, order=True)
class Opening:
    """Ports that other hosts may reach, from `first` to `last` (0: `first` alone).

    `source` is the network that they are reached from, "" for any; `reason` is what asks for it.
    """

    first: int
    last: int = 0
    protocol: str = "tcp"
    source: str = ""
    reason: str = ""

    @property
    def rule(self) -> str:
        """Our rule, as nftables 0.9.8 knows it already."""
        family = "ip6" if ":" in self.source else "ip"
        source = f"{family} saddr {self.source} " if self.source else ""
        ports = f"{self.first}-{self.last}" if self.last else self.first
        return f'{source}{self.protocol} dport {ports} accept comment "{self.reason}"'

    def holds(self, protocol: str, port: int) -> bool:
        """Return whether it is about this port."""
        return protocol == self.protocol and self.first <= port <= (self.last or self.first)


def parse_opening(text: str) -> Opening:
    """Parse an entry of firewall_allow; the message of ValueError completes a sentence about it."""
    match = _OPENING.fullmatch(text)
    first, last = (int(match["first"]), int(match["last"] or match["first"])) if match else (0, 0)
    if not match or not 1 <= first <= last <= 65535:
        raise ValueError('expected "PORT/tcp", "PORT/udp", "FIRST-LAST/tcp" or "PORT/tcp from NETWORK"')
    try:
        source = str(ipaddress.ip_network(match["source"])) if match["source"] else ""
    except ValueError as error:
        raise ValueError(f'expected a network like "10.0.0.0/24" after "from" ({error})') from None
    return Opening(first, last if match["last"] else 0, match["protocol"], source, f"firewall_allow: {text}")


def open_ports(rules: Sequence[str]) -> dict[int, str]:
    """Return the TCP ports that lines of our rules let every host reach, with their reasons."""
    matches = [match for match in map(_OPEN_TO_ALL.fullmatch, rules) if match]
    return {int(match["port"]): match["reason"] for match in matches}
