"""The stand-in Miniconda installer: a shell header, then a gzip'ed tar of the base environment.

gzip, because a minimal Debian has neither bzip2 nor xz.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

from ..process import run
from .packages import EPOCH, Index, add_files, files, index, stem
from .standin import __version__

STANDIN = Path(__file__).parent / "standin"

# What the header copies into place, with the prefix filled in, when everything is unpacked.
_PLACED = ("conda.sh", "activate.sh", "deactivate.sh")
_CONDA = """#!@PREFIX@/bin/python -IB
import sys
from conda_standin.cli import main
sys.exit(main())
"""
_CONDARC = "channels:\n  - defaults\n"  # as Miniconda ships it, also over an older file


def version(python: str) -> str:
    """The version of the installer whose base has this Python, as in its file name; "3.12" gives py312_26.5.3-0."""
    return f"py{python.replace('.', '')}_{__version__}-0"


def build(python: Path, python_index: Index, yaml_wheel: Path, scratch: Path, target: Path) -> None:
    """Write the installer to `target`, from the relocatable Python tree and a PyYAML wheel."""
    base = scratch / "base"
    shutil.copytree(python, base, symlinks=True, ignore=shutil.ignore_patterns("info", "include"))
    packages = next(base.glob("lib/python3.*/site-packages"))
    _add_conda(packages, yaml_wheel)
    run("env", "PYTHONHASHSEED=0", str(base / "bin/python"), "-m", "compileall", "-q",
        "--invalidation-mode", "unchecked-hash", "-s", str(base), str(packages), timeout=120)  # fmt: skip
    for path in files(packages):
        os.utime(path, (EPOCH, EPOCH))
    _write_records(base, packages, python_index)
    _add_placed(base / ".installer")
    payload = _archive(base)
    header = (STANDIN / "installer.sh").read_text()
    header = header.replace("@MD5@", hashlib.md5(payload, usedforsecurity=False).hexdigest())
    header = header.replace("@NAME@", f"{target.stem} (stand-in)")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(header.encode() + payload)


def _add_conda(packages: Path, yaml_wheel: Path) -> None:
    (packages / "conda_standin").mkdir()
    for module in STANDIN.glob("*.py"):
        shutil.copyfile(module, packages / "conda_standin" / module.name)
    with zipfile.ZipFile(yaml_wheel) as wheel:  # its C extension is optional, and bound to one Python
        for name in wheel.namelist():
            if name.startswith("yaml/") and name.endswith(".py"):
                wheel.extract(name, packages)


def _write_records(base: Path, packages: Path, python_index: Index) -> None:
    """Record python and conda, so that `conda list` and readers of conda-meta find in base what is there."""
    (base / "conda-meta").mkdir()
    own = sorted(str(path.relative_to(base)) for path in files(packages) if path.name != "README.txt")
    rest = sorted(str(path.relative_to(base)) for path in files(base) if str(path.relative_to(base)) not in own)
    major, minor = map(int, str(python_index["version"]).split(".")[:2])
    depends = [f"python >={major}.{minor},<{major}.{minor + 1}.0a0"]
    conda = index("conda", __version__, f"py{major}{minor}_0", depends=depends)
    for content, names in ((python_index, rest), (conda, [*own, "bin/conda", "condabin/conda"])):
        record = {**content, "channel": "standin/linux-64", "files": names, "fn": f"{stem(content)}.tar.bz2", "url": ""}
        (base / "conda-meta" / f"{stem(content)}.json").write_text(json.dumps(record, indent=2, sort_keys=True))


def _add_placed(folder: Path) -> None:
    folder.mkdir()
    for name in _PLACED:
        shutil.copyfile(STANDIN / name, folder / name)
    (folder / "conda").write_text(_CONDA)
    (folder / "condarc").write_text(_CONDARC)


def _archive(base: Path) -> bytes:
    buffer = BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=EPOCH) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        add_files(tar, base, files(base))
    return buffer.getvalue()
