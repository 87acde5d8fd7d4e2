"""Python environments: immutable directories named by the digest of what they are made of."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from mlflow_stack.domain import layout


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an environment consists of.

    `conda_packages` are conda specs ("python=3.12"), `requirements` is the text of a pip requirements file. `locked`
    says that it pins every package with hashes. `builder` is the user that runs the package installer: requirements
    that a model brings may run code of their own while they are installed, so they never are installed by root.
    """

    name: str
    conda_packages: tuple[str, ...]
    channels: tuple[str, ...]
    requirements: str = field(repr=False)
    locked: bool = True
    builder: str = "root"

    @property
    def digest(self) -> str:
        facts = [self.conda_packages, self.channels, self.requirements, self.locked]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    @property
    def path(self) -> str:
        return f"{layout.ENVS_DIR}/{self.name}-{self.digest}"

    @property
    def marker(self) -> str:
        """Content of the marker file that is written when the environment is complete."""
        facts = {"conda_packages": self.conda_packages, "channels": self.channels, "locked": self.locked}
        return json.dumps({"name": self.name, "digest": self.digest, **facts}, indent=1) + "\n"


class ModelEnvironmentError(ValueError):
    """A model's conda.yaml does not describe an environment that can serve it."""


def model_environment(name: str, conda_yaml: str, channels: tuple[str, ...]) -> EnvironmentSpec:
    """Return the environment that a model's own conda.yaml describes.

    Its channels are replaced by ours (`channels`), which is how a mirror, and the refusal of Anaconda's channels, hold
    for models too. Raises ModelEnvironmentError when Python or MLflow is missing.
    """
    try:
        document: Any = yaml.safe_load(conda_yaml)
        dependencies = list(document["dependencies"])
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise ModelEnvironmentError(f"its conda.yaml can't be read ({type(error).__name__})") from None
    conda = tuple(str(item) for item in dependencies if not isinstance(item, dict))
    pip = [str(line) for item in dependencies if isinstance(item, dict) for line in item.get("pip", [])]
    if not any(re.match(r"python\b", package) for package in conda):
        raise ModelEnvironmentError("its conda.yaml names no python version")
    if not any(re.match(r"mlflow\b", line) for line in pip):
        raise ModelEnvironmentError("its conda.yaml has no mlflow among the pip packages, which serves it")
    return EnvironmentSpec(
        name=f"model-{name}",
        conda_packages=tuple(package.replace(" ", "") for package in conda),
        channels=channels,
        requirements="".join(f"{line}\n" for line in pip),
        locked=False,
        builder=layout.PRODUCTION_USER,
    )


def schema_revision(lock: str) -> str | None:
    """Return the database schema revision of the MLflow in a lock file, from its header (scripts/lock.py)."""
    match = re.search(r"^# mlflow-schema-revision: (\S+)$", lock, re.MULTILINE)
    return match[1] if match else None
