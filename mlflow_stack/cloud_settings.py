"""The settings of a stack without hosts: group_data/all.py, and over it what one file for the cloud sets."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import DeployError

from mlflow_stack.inventory_check import HostEntry, check_host
from mlflow_stack.setting_types import REPOSITORY
from mlflow_stack.settings import Settings

GROUP_DATA = REPOSITORY / "group_data"


def load_cloud(cloud: str, path: Path | None = None, group_data: Path = GROUP_DATA) -> Settings:
    """Return the settings for a cloud ("gcp"), from all.py and `path`, or else group_data/<cloud>.py if there is one.

    They are typed and checked as those of hosts are. Raises DeployError that lists every problem.
    """
    own = path or group_data / f"{cloud}.py"
    data = _read(group_data / "all.py") | (_read(own) if path or own.exists() else {})
    # Of what hosts have roles for, a stack in a cloud has the tracking server.
    settings, problems = check_host(HostEntry(cloud, "", ("tracking",), data))
    if problems or settings is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"{count} in the settings for {cloud}; nothing was changed", *(f"  {each}" for each in problems)]
        raise DeployError("\n".join(lines))
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        found = runpy.run_path(str(path))
    except OSError as error:
        raise DeployError(f"{path}: can't be read ({error.strerror}); expected a file of settings") from None
    except Exception as error:  # whatever Python says of a file that is not Python, or that fails
        raise DeployError(f"{path}: {type(error).__name__}: {error}; expected a file of settings") from None
    return {name: value for name, value in found.items() if not name.startswith("_")}
