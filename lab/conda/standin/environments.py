"""Environments on disk: where they are, what they hold, what conda remembers of them."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from . import __version__
from .config import ROOT, Config
from .errors import CondaError
from .specs import Record


def is_environment(prefix: Path) -> bool:
    """Whether conda takes the folder for an environment."""
    return (prefix / "conda-meta" / "history").is_file()


def locate(name: str | None, prefix: str | None, config: Config, *, new: bool = False) -> Path:
    """The folder that -n NAME or -p PREFIX mean; raises CondaError(EnvironmentNameNotFound) unless `new`."""
    if prefix:
        return Path(os.path.abspath(Path(prefix).expanduser()))
    if not name:
        return Path(os.environ.get("CONDA_PREFIX") or ROOT)
    if name in ("base", "root"):
        return ROOT
    places = [Path(folder).expanduser() / name for folder in config.envs_dirs]
    for place in places:
        if is_environment(place):
            return place
    if new:
        return places[0]
    raise CondaError(
        "EnvironmentNameNotFound",
        f"Could not find conda environment: {name}\n"
        "You can list all discoverable environments with `conda info --envs`.\n",
    )


def require(prefix: Path) -> Path:
    """The same folder, if it is an environment; raises CondaError(EnvironmentLocationNotFound)."""
    if not is_environment(prefix):
        raise CondaError("EnvironmentLocationNotFound", f"Not a conda environment: {prefix}", location=str(prefix))
    return prefix


def records(prefix: Path) -> list[Record]:
    """The installed packages, by name."""
    found = [json.loads(path.read_text()) for path in (prefix / "conda-meta").glob("*.json")]
    return sorted(found, key=lambda record: str(record["name"]))


def describe(record: Record) -> dict[str, Any]:
    """A package as conda's JSON output shows it."""
    base = str(record["channel"]).removesuffix(f"/{record['subdir']}")
    return {
        "base_url": base,
        "build_number": record.get("build_number", 0),
        "build_string": record["build"],
        "channel": base.rsplit("/", 1)[-1],
        "dist_name": f"{record['name']}-{record['version']}-{record['build']}",
        "name": record["name"],
        "platform": record["subdir"],
        "version": record["version"],
    }


def add_history(prefix: Path, specs: list[str]) -> None:
    """Note this command in conda-meta/history, which also makes the folder an environment."""
    folder = prefix / "conda-meta"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==",
        f"# cmd: {' '.join(sys.argv)}",
        f"# conda version: {__version__}",
        *(f"+{record['channel']}::{describe(record)['dist_name']}" for record in records(prefix)),
        *([f"# update specs: {specs}"] if specs else []),
    ]
    with (folder / "history").open("a") as history:
        history.write("\n".join(lines) + "\n")


# ---- ~/.conda/environments.txt -------------------------------------------------------------------------------------


def _register_file() -> Path:
    return Path.home() / ".conda" / "environments.txt"


def _registered() -> list[str]:
    path = _register_file()
    return path.read_text().split() if path.is_file() else []


def register(prefix: Path) -> None:
    """Remember an environment outside envs_dirs too."""
    if prefix != ROOT and str(prefix) not in _registered():
        _register_file().parent.mkdir(parents=True, exist_ok=True)
        _register_file().write_text("\n".join([*_registered(), str(prefix)]) + "\n")


def unregister(prefix: Path) -> None:
    """Forget a removed environment."""
    remaining = [path for path in _registered() if path != str(prefix)]
    if remaining != _registered():
        _register_file().write_text("".join(f"{path}\n" for path in remaining))


def known(config: Config) -> list[str]:
    """Every environment that conda can find: base, those below envs_dirs, those registered."""
    below = [path for folder in config.envs_dirs for path in sorted(Path(folder).expanduser().glob("*"))]
    found = [ROOT, *below, *map(Path, _registered())]
    return list(dict.fromkeys(str(path) for path in found if is_environment(path)))
