"""The settings of group_data/all.py as a host's data, and hosts made of them."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from mlflow_stack.inventory_check import HostEntry, check_inventory
from mlflow_stack.settings import ROLES, Settings

REPOSITORY = Path(__file__).resolve().parents[2]
GROUP_DATA = REPOSITORY / "group_data"


def group_data(path: Path) -> dict[str, Any]:
    """Return what a file of group_data/ sets."""
    return {name: value for name, value in runpy.run_path(str(path)).items() if not name.startswith("_")}


# The groups of a host that has everything on it, without a proxy.
ALL_ON_ONE = tuple(role for role in ROLES if role != "proxy")
OPEN = {"tracking_open_to_everybody": True, "production_open_to_everybody": True}
DEFAULTS = group_data(GROUP_DATA / "all.py")


def entry(
    name: str = "mlflow1", groups: tuple[str, ...] = ALL_ON_ONE, address: str = "10.0.0.1", **data: Any
) -> HostEntry:
    """Return a host with the default settings, changed by `data`; servers may be open, which few tests are about."""
    return HostEntry(name, address, groups, {**DEFAULTS, **OPEN, **data}, host_keys=frozenset(data))


def settings(groups: tuple[str, ...] = ALL_ON_ONE, address: str = "10.0.0.1", **data: Any) -> Settings:
    """Return the settings of a host that is alone in its inventory."""
    return check_inventory([entry(groups=groups, address=address, **data)])["mlflow1"]
