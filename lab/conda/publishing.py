"""Publishing the channel and the installer, built once per recipe and kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import LabUnavailable
from . import build, installer, tools

_KEPT_BUILDS = 3


def reasons() -> list[str]:
    """Why the channel and the installer can not be built on this machine; empty if they can."""
    found = []
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        found.append(f"this is {platform.system()} on {platform.machine()}: the test channel is for Linux on x86_64")
    if not tools.pythons() or tools.minor(tools.pythons()[0]) != "3.12":
        found.append(f"no CPython 3.12 below {tools.pyenv_root()}/versions: run `pyenv install 3.12`")
    needed = {"strip": "binutils", "ldd": "libc-bin"}
    missing = [program for program in needed if not shutil.which(program)]
    return found + [f"no `{program}` on PATH: install the package {needed[program]}" for program in missing]


def publish(directory: Path, base_url: str, pythons: Sequence[Path] = ()) -> dict[str, object]:
    """Ensure the channel and the installer below `directory`, which an HTTP server publishes at `base_url`.

    `pythons` are the installations to repackage, the installer's own first; none for this machine's. Returns the
    settings that make the product use them; `{version}` and `{arch}` in the URL are for the product to fill in. The
    first call builds for about half a minute into ~/.cache, later ones copy. Raises LabUnavailable with
    all of `reasons`, and CommandFailed if a wheel can not be downloaded.
    """
    if reasons():
        raise LabUnavailable("; ".join(reasons()))
    pythons = list(pythons) or tools.pythons()
    built = _built(pythons)
    # Copies, not links: a test that damages a published file must not damage the cache.
    shutil.copytree(built, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("sha256"))
    return {
        "conda_installer_url": f"{base_url}/miniconda/Miniconda3-{{version}}-Linux-{{arch}}.sh",
        "conda_installer_version": installer.version(tools.minor(pythons[0])),
        "conda_installer_sha256": {"x86_64": (built / "sha256").read_text()},
        "conda_channel_alias": base_url,
    }


def cache() -> Path:
    """Where builds, and what they are made of, are kept."""
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlflow-stack-lab" / "conda"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _built(pythons: list[Path]) -> Path:
    """The cached build for this recipe and these Pythons, made now if there is none."""
    caches = cache()
    target = caches / tools.fingerprint(pythons)
    with (caches / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once: one builds, one waits
        if not target.is_dir():
            _drop_old(caches)
            with tempfile.TemporaryDirectory(dir=caches, prefix="building-") as scratch:
                build.build(pythons, Path(scratch), caches / "wheels").rename(target)
    return target


def _drop_old(caches: Path) -> None:
    """Remove what killed builds left, and all but the latest whole ones; the caller holds the lock."""
    for leftover in caches.glob("building-*"):
        shutil.rmtree(leftover)
    builds = sorted(caches.glob("[0-9a-f]*[0-9a-f]"), key=lambda path: path.stat().st_mtime)
    for path in builds[: -(_KEPT_BUILDS - 1)]:
        shutil.rmtree(path)
