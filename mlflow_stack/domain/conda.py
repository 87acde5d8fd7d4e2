"""Miniconda: the installer's file and conda's configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from mlflow_stack.domain import layout

# Anaconda's own channels, whose Terms of Service nobody is to accept by accident.
ANACONDA_CHANNELS = (
    "defaults",
    "https://repo.anaconda.com/pkgs/main",
    "https://repo.anaconda.com/pkgs/r",
    "https://repo.anaconda.com/pkgs/msys2",
)


def condarc(channels: Sequence[str], channel_alias: str, accept_anaconda_tos: bool) -> str:
    """Return the text of PREFIX/.condarc.

    The file replaces the one that Miniconda ships, which names Anaconda's channels. `conda env create` and MLflow have
    no --override-channels, so only this file keeps them away from those (conda.md 1.3).
    """
    settings: dict[str, object] = {
        "channels": list(channels),
        "channel_alias": channel_alias,
        "auto_update_conda": False,
        "notify_outdated_conda": False,
        "always_yes": True,
    }
    if not accept_anaconda_tos:
        settings["denylist_channels"] = list(ANACONDA_CHANNELS)
    header = "# Managed by MLflow Stack (mlflow_stack/domain/conda.py); changes are overwritten.\n"
    return header + yaml.safe_dump(settings, sort_keys=False)


def installer_path(version: str, architecture: str) -> str:
    """Return where the installer is kept; constructor's script refuses to run under a name without .sh."""
    return f"{layout.CACHE_DIR}/Miniconda3-{version}-Linux-{architecture}.sh"


def installation_marker(version: str, sha256: str) -> str:
    """Return the content of the marker that says that an installation is complete."""
    return json.dumps({"installer_version": version, "sha256": sha256}) + "\n"
