"""Inventories of hosts in a cloud, checked as a run checks them: with all the data that pyinfra would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra.api.arguments import all_global_arguments
from pyinfra.connectors.ssh import SSHConnector

from mlflow_stack.inventory_check import HostEntry, check_inventory
from mlflow_stack.settings import Settings
from tests.unit.defaults import DEFAULTS

Hosts = Sequence[tuple[str, dict[str, Any]]]
# What pyinfra knows of a host's data itself: none of it is a setting.
OWN = frozenset({name for name, _ in all_global_arguments()} | set(SSHConnector.data_cls.__annotations__))


def checked(groups: Mapping[str, Hosts], **group_data: Any) -> dict[str, Settings]:
    """Return the settings of the hosts of an inventory by name; DeployError has all problems.

    `group_data`: what a file of group_data/ sets for all of them.
    """
    hosts = {name: data for listed in groups.values() for name, data in listed}
    return check_inventory(
        [
            HostEntry(
                name,
                data["ssh_hostname"],
                tuple(group for group, listed in groups.items() if name in dict(listed)),
                {**DEFAULTS, **group_data, **data},
                foreign_keys=OWN,
                host_keys=frozenset(data),
            )
            for name, data in hosts.items()
        ]
    )
