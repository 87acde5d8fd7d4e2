"""SSH into the hosts: one key pair for the lab, one per host, and each host known by its key before its first boot."""

from __future__ import annotations

from pathlib import Path

from .network import Network
from .process import run
from .store import Store


class Access:
    def __init__(self, store: Store, network: Network, comment: str) -> None:
        self.store, self.network, self.comment = store, network, comment

    def ensure_keys(self) -> None:
        """Ensure all key pairs, and that each address is known by the key of the host that has it now."""
        _make(self.store.key, self.comment)
        lines = []
        for record in self.store.hosts():
            public = _make(self.store.host_directory(record.name) / "hostkey", record.name)
            lines.append(f"{self.network.address(record.number)} {' '.join(public.split()[:2])}\n")
        self.store.known_hosts.write_text("".join(lines))

    def public_key(self) -> str:
        return self.store.key.with_suffix(".pub").read_text()

    def command(self) -> list[str]:
        """The beginning of an ssh command that asks nothing and reads none of the user's configuration."""
        options = {
            "UserKnownHostsFile": self.store.known_hosts,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "ConnectTimeout": 2,
        }
        return ["ssh", "-F", "none", "-i", str(self.store.key), *(f"-o{key}={value}" for key, value in options.items())]


def _make(file: Path, comment: str) -> str:
    """Ensure the key pair; its public part."""
    if not file.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file))
    return file.with_suffix(".pub").read_text()
