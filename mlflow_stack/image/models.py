"""The model that an image is for: a directory, or one that is fetched from the tracking server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from mlflow_stack.domain.environment import EnvironmentSpec, ModelEnvironmentError, model_environment
from mlflow_stack.domain.model_uri import EXPECTED, parse_model_uri

# What a model's conda.yaml may ask of conda: an image has Python of its own, and pip's packages.
FROM_CONDA = ("python", "pip", "setuptools", "wheel")


class ModelRefused(Exception):
    """The model can't be made an image of; the text says why."""


@dataclass(frozen=True)
class Model:
    """A model on this machine. `version` is that of the registry, as v3, or the model's own id."""

    directory: Path
    name: str
    version: str

    @property
    def image_name(self) -> str:
        return f"mlflow-model-{re.sub('[^a-z0-9]+', '-', self.name.lower()).strip('-') or 'model'}"


def find(source: str, downloads: Path) -> Model:
    """Return the model of a directory or of a URI; the latter is downloaded into `downloads` (MLFLOW_TRACKING_URI).

    An alias is resolved now: an image never changes. Raises ModelRefused.
    """
    if Path(source, "MLmodel").is_file():
        return described(Path(source).resolve(), Path(source).resolve().name)
    if Path(source).exists():
        raise ModelRefused(f"{source}: holds no MLmodel; expected the directory of a model, or {EXPECTED}")
    try:
        wanted = parse_model_uri(source)
    except ValueError as error:
        raise ModelRefused(f"{error}, or the directory of a model") from None
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise ModelRefused(f"{source}: set MLFLOW_TRACKING_URI to the tracking server that it is from")
    return described(_downloaded(source, downloads), wanted.name or wanted.reference)


def _downloaded(uri: str, downloads: Path) -> Path:
    from mlflow.artifacts import download_artifacts  # noqa: PLC0415  # it takes seconds
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        return Path(download_artifacts(artifact_uri=uri, dst_path=str(downloads / "model")))
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelRefused(f"{uri}: can't be had from {os.environ['MLFLOW_TRACKING_URI']}: {reason}") from None


def described(directory: Path, name: str) -> Model:
    """Return the model in a directory; one that was registered says under which name and version."""
    facts = yaml.safe_load((directory / "MLmodel").read_text())
    registered = directory / "registered_model_meta"
    if registered.is_file():
        meta = yaml.safe_load(registered.read_text())
        return Model(directory, str(meta["model_name"]), f"v{meta['model_version']}")
    return Model(directory, name, str(facts.get("model_id") or facts.get("model_uuid") or "0"))


def environment(model: Model) -> tuple[EnvironmentSpec, str]:
    """Return the environment that the model asks for, and its version of Python, as 3.12; raise ModelRefused."""
    path = model.directory / "conda.yaml"
    try:
        spec = model_environment("image", path.read_text(), ())
    except OSError as error:
        raise ModelRefused(f"{path}: can't be read ({error.strerror}); log the model with its environment") from None
    except ModelEnvironmentError as error:
        raise ModelRefused(f"{path}: {error}") from None
    strangers = [line for line in spec.conda_packages if re.split("[<>=!~ ]", line)[0] not in FROM_CONDA]
    if strangers:
        raise ModelRefused(f"{path}: asks conda for {' and '.join(strangers)}, and an image has packages of pip alone")
    python = next(line for line in spec.conda_packages if re.match(r"python(?![A-Za-z0-9_.-])", line))
    version = re.search(r"=\s*(3\.\d+)", python)
    if not version:
        raise ModelRefused(
            f"{path}: {python!r} does not say which Python; expected python=3.MINOR, as MLflow writes it"
        )
    return spec, version[1]
