"""Builds images: what is wrong is said before anything is built, and what is there already is left as it is."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mlflow_stack.image import buildah, contents, models
from mlflow_stack.image.contents import Contents
from mlflow_stack.image_settings import ImageSettings
from mlflow_stack.setting_types import REPOSITORY

SBOMS = REPOSITORY / "build" / "image"
SBOM = "/opt/mlflow/sbom.cdx.json"
ASK_PYTHON = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"


class ImageRefused(Exception):
    """No image can be built; the text says why, a line each."""


@dataclass(frozen=True)
class Built:
    """An image that is there: its reference, and the file that says what is in it. 0 seconds: it was there before."""

    reference: str
    sbom: Path
    seconds: float


def tracking(settings: ImageSettings, *, again: bool = False) -> Built:
    """Ensure the tracking server's image; build it also when it is there with `again`, for a newer base."""
    problems = obstacles(settings)
    try:
        wanted = contents.tracking(settings)
    except OSError as error:
        raise ImageRefused("\n".join([*problems, f"{error.filename}: not found; run `make lock`"])) from None
    return _ensure(wanted, settings, problems, again)


def model(settings: ImageSettings, source: str, *, again: bool = False) -> Built:
    """Ensure the image of a model (a directory or a URI)."""
    problems = obstacles(settings)
    with tempfile.TemporaryDirectory(prefix="mlflow-image-") as directory:
        try:
            chosen = models.find(source, Path(directory))
            environment, python = models.environment(chosen)
        except models.ModelRefused as refusal:
            raise ImageRefused("\n".join([*problems, str(refusal)])) from None
        return _ensure(contents.model(settings, chosen, environment, python), settings, problems, again)


def obstacles(settings: ImageSettings) -> list[str]:
    """Return what keeps this machine from building any image."""
    problems = [] if buildah.is_there() else ["buildah: not found; install it, on Debian: apt-get install buildah"]
    path = settings.package_ca_file
    if path and not Path(path).expanduser().is_file():
        problems.append(f"image_package_ca_file: {path}: no such file")
    return problems


def _ensure(wanted: Contents, settings: ImageSettings, problems: list[str], again: bool) -> Built:
    if problems:
        raise ImageRefused("\n".join(problems))
    seconds = 0.0
    if again or not buildah.has(wanted.reference):
        if problem := wrong_base(wanted):
            raise ImageRefused(problem)
        start = time.monotonic()
        _build(wanted, settings)
        seconds = time.monotonic() - start
    return Built(wanted.reference, _sbom(wanted.reference), seconds)


def wrong_base(wanted: Contents) -> str:
    """Return why nothing can be built on the base image; "" when it is as it has to be."""
    try:
        with buildah.container(wanted.base) as name:
            found = _python(name)
    except buildah.BuildahFailed as error:
        return (
            f"image_base: {wanted.base} can't be had: {error}; name one that is, or make one: python -m mlflow_stack "
            "image base"
        )
    if found == wanted.python:
        return ""
    has = f"Python {found}" if found else "no Python 3 with its venv"
    return f"image_base: {wanted.base} has {has}, expected Python {wanted.python}"


def _python(container: str) -> str:
    """Return the version of a container's Python, "" where it has none that can make an environment."""
    try:
        return buildah.output_of(container, "python3", "-I", "-c", ASK_PYTHON).strip()
    except buildah.BuildahFailed:
        return ""


def _build(wanted: Contents, settings: ImageSettings) -> None:
    with tempfile.TemporaryDirectory(prefix="mlflow-image-") as directory:
        context, index, authorities = Path(directory, "context"), Path(directory, "index"), Path(directory, "ca")
        wanted.write(context)
        given = settings.package_ca_file
        authorities.write_bytes(Path(given).expanduser().read_bytes() if given else b"")
        index.write_text(index_variables(settings))
        arguments = {
            "BASE": wanted.base,
            "LOCKED": "true" if wanted.locked else "false",
            "TITLE": wanted.name,
            "VERSION": wanted.version,
        }
        buildah.build(context, wanted.reference, arguments, {"index": index, "ca": authorities})


def index_variables(settings: ImageSettings) -> str:
    """Return where packages come from, for pip and uv, as a shell reads it."""
    url, variables = settings.package_index_url, []
    if url:
        variables += [f"PIP_INDEX_URL='{url}'", f"UV_DEFAULT_INDEX='{url}'"]
    if settings.package_ca_file:
        variables += ["PIP_CERT=/run/secrets/ca", "SSL_CERT_FILE=/run/secrets/ca"]
    return "".join(f"export {variable}\n" for variable in variables)


def _sbom(reference: str) -> Path:
    """Write what is in the image beside it; return the file."""
    path = SBOMS / f"{reference.rpartition('/')[2].replace(':', '-')}.cdx.json"
    with buildah.container(reference) as name:
        text = buildah.output_of(name, "cat", SBOM)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
