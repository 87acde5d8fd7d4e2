"""What a command line asks for: package specs, spec files, environment files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import CondaError


@dataclass
class Request:
    """Specs, or the lines of an @EXPLICIT file, and what an environment file adds."""

    specs: list[str] = field(default_factory=list)
    explicit: list[str] | None = None
    channels: list[str] = field(default_factory=list)
    pip: list[str] = field(default_factory=list)
    name: str | None = None
    folder: Path = Path(".")


def read(packages: list[str], files: list[str]) -> Request:
    """Gather all of it; raises CondaError(EnvironmentFileNotFound, EnvironmentFileInvalid)."""
    request = Request(specs=[text for package in packages for text in package.split(" & ")])
    for name in files:
        path = Path(name).expanduser()
        if not path.is_file():
            raise CondaError("EnvironmentFileNotFound", f"'{path.absolute()}' file not found", filename=str(path))
        if path.suffix in (".yml", ".yaml"):
            _read_environment(path, request)
        else:
            _read_list(path.read_text(), request)
    return request


def _read_list(text: str, request: Request) -> None:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if "@EXPLICIT" in lines:
        request.explicit = [line for line in lines if line != "@EXPLICIT"]
    else:
        request.specs += lines


def _read_environment(path: Path, request: Request) -> None:
    try:
        content: Any = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise CondaError("EnvironmentFileInvalid", f"{path} is no valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise CondaError("EnvironmentFileInvalid", f"{path} is no environment file: expected a mapping")
    request.name = content.get("name")
    request.channels = list(content.get("channels") or [])
    request.folder = path.absolute().parent
    for entry in content.get("dependencies") or []:
        if isinstance(entry, dict):
            request.pip += entry.get("pip") or []
        else:
            request.specs.append(entry)
    if request.pip and not any(spec.split("::")[-1].startswith("pip") for spec in request.specs):
        request.specs.append("pip")  # conda warns, then does the same
