"""conda's configuration: .condarc files from the least to the most specific, then CONDA_* variables.

Search path and keys: https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from .errors import CondaError

ROOT = Path(sys.prefix)


@dataclass
class Config:
    """The settings that this stand-in honours, with conda's own defaults."""

    channels: list[str] = field(default_factory=list)
    channel_alias: str = "https://conda.anaconda.org"
    custom_channels: dict[str, str] = field(default_factory=dict)
    default_channels: list[str] = field(
        default_factory=lambda: ["https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"]
    )
    allowlist_channels: list[str] = field(default_factory=list)
    denylist_channels: list[str] = field(default_factory=list)
    always_yes: bool = False
    always_copy: bool = False
    auto_update_conda: bool = True
    notify_outdated_conda: bool = True
    offline: bool = False
    pkgs_dirs: list[str] = field(default_factory=list)
    envs_dirs: list[str] = field(default_factory=list)
    plugins: dict[str, Any] = field(default_factory=dict)

    @property
    def packages(self) -> Path:
        """The package cache that new packages go to."""
        return Path(self.pkgs_dirs[0])


def user_file() -> Path:
    """The invoking user's .condarc."""
    return Path.home() / ".condarc"


def system_file() -> Path:
    """The installation's .condarc, which `conda config --system` writes."""
    return ROOT / ".condarc"


def files() -> list[Path]:
    """Every .condarc that may exist, the least specific first."""
    paths = [Path("/etc/conda/.condarc"), Path("/var/lib/conda/.condarc"), system_file(), user_file()]
    paths += [Path(os.environ["CONDA_PREFIX"]) / ".condarc"] if os.environ.get("CONDA_PREFIX") else []
    return paths + ([Path(os.environ["CONDARC"])] if os.environ.get("CONDARC") else [])


def read_file(path: Path) -> dict[str, Any]:
    """The mapping in one .condarc ({} if there is none); raises CondaError(ConfigurationLoadError)."""
    try:
        content = yaml.safe_load(path.read_text()) if path.is_file() else None
    except yaml.YAMLError as error:
        raise CondaError(
            "ConfigurationLoadError", f"Unable to load configuration file.\n  path: {path}\n  reason: {error}"
        ) from None
    if content is not None and not isinstance(content, dict):
        raise CondaError(
            "ConfigurationLoadError", f"Unable to load configuration file.\n  path: {path}\n  reason: not a mapping"
        )
    return content or {}


def load() -> Config:
    """Merge files and variables; lists of a more specific file come first, other values replace."""
    config = Config()
    for path in files():
        _merge(config, read_file(path), str(path))
    _merge(config, _variables(), "envvars")
    config.envs_dirs = [*config.envs_dirs, str(ROOT / "envs")]
    config.pkgs_dirs = config.pkgs_dirs or [str(ROOT / "pkgs")]
    return config


def _variables() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for known in fields(Config):
        text = os.environ.get(f"CONDA_{known.name.upper()}")
        if text and known.name in ("envs_dirs", "pkgs_dirs", "channels"):
            found[known.name] = text.split(os.pathsep if known.name == "envs_dirs" else ",")
        elif text and known.name not in ("custom_channels", "plugins"):
            found[known.name] = yaml.safe_load(text)
    if os.environ.get("CONDA_ENVS_PATH"):  # the older name, which MLflow sets
        found.setdefault("envs_dirs", os.environ["CONDA_ENVS_PATH"].split(os.pathsep))
    return found


def _merge(config: Config, values: dict[str, Any], source: str) -> None:
    for key, value in values.items():
        if key not in {known.name for known in fields(Config)}:
            continue  # real conda has some hundred keys more; an unknown one is no error there either
        current = getattr(config, key)
        if not isinstance(value, type(current)):
            raise CondaError(
                "InvalidTypeError",
                f"Parameter {key} = {value!r} declared in {source} has type {type(value).__name__}.\n"
                f"Valid types:\n  - {type(current).__name__}",
            )
        setattr(config, key, _joined(current, value) if key != "default_channels" else value)


def _joined(current: Any, value: Any) -> Any:
    if isinstance(current, list):
        return [*value, *(entry for entry in current if entry not in value)]
    return {**current, **value} if isinstance(current, dict) else value
