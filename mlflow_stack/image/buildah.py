"""Debian's buildah, the only program that makes and reads images.

Where it keeps them, and how it isolates what it runs, are its own variables and files: CONTAINERS_STORAGE_CONF,
BUILDAH_ISOLATION, containers-storage.conf(5).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 3600


class BuildahFailed(Exception):
    """buildah has ended with an error; the text is the last thing that it said."""


def is_there() -> bool:
    return shutil.which("buildah") is not None


def has(reference: str) -> bool:
    """Return whether there is such an image on this machine."""
    asked = ["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", reference]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


def build(context: Path, reference: str, arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> None:
    """Build the image that a directory describes; what is said meanwhile goes to standard error.

    Secrets are files that are there while a command runs, and stay in no layer. Docker's format, since OCI's has no
    health check.
    """
    options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    options += [f"--secret=id={name},src={path}" for name, path in secrets.items()]
    _run("build", "--format=docker", "--layers=false", "--pull=false", *options, f"--tag={reference}", str(context))


@contextmanager
def container(image: str) -> Iterator[str]:
    """A container of an image, fetched if it is not here, to run commands in; it is gone afterwards."""
    name = _output("from", "--pull=false", image).strip()
    try:
        yield name
    finally:
        _output("rm", name)


def output_of(container_name: str, *command: str) -> str:
    """Return what a command prints in a container."""
    return _output("run", container_name, "--", *command)


def make(root: Path, reference: str) -> None:
    """Make an image of one layer from an archive of a root directory."""
    with container("scratch") as name:
        _output("add", "--quiet", name, str(root), "/")
        _output("commit", "--quiet", name, reference)


def push(reference: str, destination: str, digest_file: Path, options: list[str]) -> None:
    """Push an image to a registry, and write its digest there into a file; the login is buildah's (`buildah login`)."""
    _run("push", f"--digestfile={digest_file}", *options, reference, f"docker://{destination}")


def _run(*arguments: str) -> None:
    # Standard output is for what a command of ours answers.
    done = subprocess.run(["buildah", *arguments], stdout=2, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise BuildahFailed(f"`buildah {arguments[0]}` ended with status {done.returncode}; it says why above")


def _output(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode:
        raise BuildahFailed((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    return done.stdout
