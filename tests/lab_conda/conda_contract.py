"""Running the installer and its conda from the tests, with a clean environment and a time limit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.conda.standin.channels import CI_VARIABLES

TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Site:
    """The directory that is served, its address, and what `publish` returned for it."""

    directory: Path
    url: str
    settings: dict[str, Any]

    @property
    def installer(self) -> Path:
        return next((self.directory / "miniconda").glob("*.sh"))

    def packages(self, subdir: str) -> dict[str, Any]:
        """What the channel's repodata lists for a subdirectory."""
        text = (self.directory / "conda-forge" / subdir / "repodata.json").read_text()
        found: dict[str, Any] = json.loads(text)["packages"]
        return found

    def python_versions(self) -> list[str]:
        return sorted(str(entry["version"]) for entry in self.packages("linux-64").values())

    def newest_312(self) -> str:
        return next(version for version in self.python_versions() if version.startswith("3.12."))

    def add_channel(self, name: str) -> Path:
        """Another channel with the packages of conda-forge."""
        target = self.directory / name
        shutil.copytree(self.directory / "conda-forge", target, copy_function=shutil.copyfile)
        return target


@dataclass(frozen=True)
class Conda:
    """The command line of an installed Miniconda."""

    prefix: Path
    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**environment(self.home), **self.variables}

    def __call__(self, *arguments: str | Path, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.prefix / "bin/conda"), *map(str, arguments)]
        return subprocess.run(command, env={**self.environment, **variables}, input=stdin, check=False,
                              capture_output=True, text=True, timeout=TIMEOUT_SECONDS)  # fmt: skip

    def json(self, *arguments: str | Path, **variables: str) -> Any:
        return json.loads(self(*arguments, "--json", **variables).stdout)

    def configure(self, text: str) -> None:
        """Write the user's .condarc."""
        (self.home / ".condarc").write_text(text)


def environment(home: Path) -> dict[str, str]:
    """This process's variables, less those that conda would read, and with a home of the test's own."""
    dropped = ("CONDA", "LAB_CONDA", "PYTHON")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped) and key not in CI_VARIABLES}
    pip_configuration = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": pip_configuration}


def run_installer(
    installer: Path, *options: str | Path, home: Path, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(installer), *map(str, options)]
    return subprocess.run(command, env={**environment(home), **variables}, input=stdin, check=False,
                          capture_output=True, text=True, timeout=TIMEOUT_SECONDS)  # fmt: skip


def kill_at(step: str, command: list[str], variables: dict[str, str]) -> None:
    """Start a command, and kill it (as a power cut would) when it has reached the middle of a step."""
    asked = {**variables, "LAB_CONDA_HANG_AT": step}
    with subprocess.Popen(command, env=asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        reached = any(line == f"lab: hanging at {step}\n" for line in process.stderr)
        process.kill()

    assert reached, f"{command} ended before it came to {step}"
