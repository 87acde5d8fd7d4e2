"""The hosts of a running lab as pyinfra takes them: (name, data) per host."""

from __future__ import annotations

import os
import sys
from typing import Any

from .core import DEFAULT_ID, DEFAULT_NETWORK, Lab
from .errors import LabUnavailable
from .host import Host
from .store import read_json


def find(id: str | None = None) -> Lab:
    """The lab `id` (default: LAB_ID), on LAB_NET or, if that is not set, on the network it was begun on."""
    lab_id = id or os.environ.get("LAB_ID", DEFAULT_ID)
    about = Lab(lab_id).store.about
    begun_on = read_json(about)["network"] if about.exists() else DEFAULT_NETWORK
    return Lab(lab_id, os.environ.get("LAB_NET", begun_on))


def connection(host: Host) -> dict[str, Any]:
    """How pyinfra reaches the host: as the user `deploy` with sudo, the host's key known in advance."""
    return {
        "ssh_hostname": host.address,
        "ssh_user": "deploy",
        "ssh_key": str(host.lab.store.key),
        "ssh_known_hosts_file": str(host.lab.store.known_hosts),
        "ssh_strict_host_key_checking": "yes",
        "_sudo": True,
    }


def settings(lab: Lab, release: str = "") -> dict[str, Any]:
    """The product's settings that differ in the lab, where it gets its Miniconda from the lab's own proxy.

    The hosts of some releases have settings of their own (lab/conda/hosts.py).
    """
    files = (lab.store.settings, lab.store.settings_of(release))
    return {name: value for file in files if file.exists() for name, value in read_json(file).items()}


def hosts(lab: Lab | str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """All hosts of the lab (default: the configured one), with connection and settings. LabUnavailable without any."""
    if not isinstance(lab, Lab):
        lab = find(lab)
    found = [(host.name, {**connection(host), **settings(lab, host.record.release)}) for host in lab.hosts()]
    if not found:
        raise _not_up()
    return found


def _not_up() -> LabUnavailable:
    """Within pyinfra an error of pyinfra too, which its command line prints as a sentence, without traceback.

    Elsewhere pyinfra is not imported for it: the lab needs the standard library only.
    """
    message = "the lab is not up: run `make lab` first, or put your own hosts into inventory.py"
    if "pyinfra" not in sys.modules:
        return LabUnavailable(message)
    from pyinfra.api.exceptions import InventoryError  # noqa: PLC0415

    class LabDown(LabUnavailable, InventoryError):
        pass

    return LabDown(message)


def as_file(lab: Lab) -> str:
    """A pyinfra inventory file with these hosts."""
    lines = "".join(f"    {entry!r},\n" for entry in hosts(lab))
    return f'"""The hosts of lab {lab.id}, as `python -m lab inventory` printed them."""\n\nhosts = [\n{lines}]\n'
