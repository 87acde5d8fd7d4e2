"""What makes a host of a base system: its name, its keys, and where its packages come from.

Names are written at every start, because a clone starts from the files of the host it was made of.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

USERS = ("root", "home/deploy")
_PEERS = re.compile(r"# lab peers\n.*?# end of lab peers\n", re.DOTALL)


def name_host(root: Path, name: str, machine_id: str) -> None:
    """Ensure hostname, machine id and no name server. The id is ours, not systemd's: so a clone gets its own."""
    write(root / "etc/hostname", f"{name}\n")
    write(root / "etc/machine-id", f"{machine_id}\n", mode=0o444)
    write(root / "etc/resolv.conf", "# The lab has no name service: see /etc/hosts\n")


def install_keys(root: Path, host_key: Path, authorized_key: str) -> None:
    """Ensure the host's SSH key, known to the lab before the first boot, and the lab's access as root and deploy."""
    public = host_key.with_suffix(".pub")
    write(root / "etc/ssh/ssh_host_ed25519_key", host_key.read_text(), mode=0o600)
    write(root / "etc/ssh/ssh_host_ed25519_key.pub", public.read_text())
    for home in USERS:
        owner = (root / home).stat()
        directory = root / home / ".ssh"
        directory.mkdir(mode=0o700, exist_ok=True)
        os.chown(directory, owner.st_uid, owner.st_gid)
        write(directory / "authorized_keys", authorized_key, mode=0o600)
        os.chown(directory / "authorized_keys", owner.st_uid, owner.st_gid)


def use_proxy(root: Path, proxy_url: str) -> None:
    """Ensure that apt, pip and uv take packages from the lab's proxy, so that a deploy needs no option for it."""
    site = proxy_url.removeprefix("http://")
    write(
        root / "etc/apt/apt.conf.d/90lab",
        f'Acquire::http::Proxy "{proxy_url}";\n'
        'Acquire::Check-Valid-Until "false";\n'  # mirrors that are frozen at a date, and clocks that are not
        'Acquire::Check-Date "false";\n',
    )
    index = f"{proxy_url}/simple/"
    write(root / "etc/pip.conf", f"[global]\nindex-url = {index}\ntrusted-host = {site.partition(':')[0]}\n")
    write(root / "etc/uv/uv.toml", f'allow-insecure-host = ["{site}"]\n\n[[index]]\nurl = "{index}"\ndefault = true\n')


def name_peers(root: Path, name: str, peers: Mapping[str, str]) -> None:
    """Ensure that /etc/hosts names the peers (name to address). What others wrote into the file stays."""
    path = root / "etc/hosts"
    if not path.exists() or f"127.0.1.1 {name}\n" not in path.read_text():
        write(path, f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {name}\n")
    rest = _PEERS.sub("", path.read_text())
    lines = "".join(f"{address} {peer}\n" for peer, address in peers.items() if peer != name)
    path.write_text(f"{rest}# lab peers\n{lines}# end of lab peers\n")


def write(path: Path, content: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(content)
