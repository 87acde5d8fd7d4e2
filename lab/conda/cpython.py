"""A pyenv CPython, copied into a folder that works wherever it is put, as conda-forge's python package does.

The system libraries that its extension modules need come along, and every binary looks for them relative to itself.
It still needs the glibc it was built with, or a newer one: built on Debian 12 it runs on Debian 12 and later, not on
11 (compiled.py).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ..process import run
from .tools import interpreter, minor

# Parts of glibc itself: they must be the host's own.
_GLIBC = re.compile(r"(linux-vdso|ld-linux|lib(c|m|dl|rt|util|resolv|pthread|nsl)\.so)")
# Extension modules that are tests, or that would pull in Tk, NIS or a DBM.
_DROPPED_MODULE = re.compile(r"(_tkinter|nis|_dbm|_gdbm|_test|_ctypes_test|_xx|xx)")
_DROPPED_FOLDERS = (
    "test", "tkinter", "idlelib", "turtledemo", "site-packages", "lib2to3/tests", "distutils/tests", "ctypes/test",
    "sqlite3/test", "unittest/test",
)  # fmt: skip
_RUN_PATHS = {"bin": "$ORIGIN/../lib", "lib": "$ORIGIN", "lib-dynload": "$ORIGIN/../.."}


def copy(prefix: Path, into: Path, patchelf: Path) -> None:
    """Fill the folder `into` with a relocatable copy of the installation at `prefix`; needs ldd and strip."""
    version = minor(prefix)
    program, stdlib = into / "bin" / f"python{version}", into / "lib" / f"python{version}"
    program.parent.mkdir(parents=True)
    shutil.copy2(interpreter(prefix), program)
    for alias in ("python3", "python"):
        program.with_name(alias).symlink_to(program.name)
    shutil.copytree(prefix / "lib" / stdlib.name, stdlib, ignore=_ignored(prefix), symlinks=True)
    (stdlib / "site-packages").mkdir()
    (stdlib / "site-packages" / "README.txt").write_text("Packages go here.\n")
    shutil.copytree(prefix / "include", into / "include", symlinks=True)
    for library in prefix.glob(f"lib/libpython{version}.so.1.0"):  # none, if pyenv built it without --enable-shared
        shutil.copy2(library, into / "lib" / library.name)
        (into / "lib" / f"libpython{version}.so").symlink_to(library.name)
    modules = sorted((stdlib / "lib-dynload").glob("*.so"))
    binaries = [program, *sorted(into.glob("lib/libpython*.1.0")), *modules]
    binaries += _bring_libraries([interpreter(prefix), *_originals(modules, prefix)], prefix, into / "lib")
    for binary in binaries:
        binary.chmod(0o755)
        run("strip", "--strip-unneeded", str(binary))
        run(str(patchelf), "--set-rpath", _RUN_PATHS[binary.parent.name], str(binary))


def _ignored(prefix: Path) -> Callable[[str, list[str]], set[str]]:
    stdlib = prefix / "lib" / f"python{minor(prefix)}"

    def ignored(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if _is_dropped(Path(os.path.relpath(Path(folder, name), stdlib)))}

    return ignored


def _is_dropped(path: Path) -> bool:
    if path.parent.name == "__pycache__":
        # The ready bytecode comes along, as in conda's own packages: services may not write to their environment.
        # Optimised variants nobody runs; _sysconfigdata is edited for each prefix, which makes its bytecode stale.
        return ".opt-" in path.name or path.name.startswith("_sysconfigdata")
    if path.parent.name == "lib-dynload":
        return bool(_DROPPED_MODULE.match(path.name))
    return str(path) in _DROPPED_FOLDERS or path.name.startswith("config-")


def _originals(modules: list[Path], prefix: Path) -> list[Path]:
    return [prefix / "lib" / f"python{minor(prefix)}" / "lib-dynload" / module.name for module in modules]


def _bring_libraries(binaries: list[Path], prefix: Path, into: Path) -> list[Path]:
    brought: dict[str, Path] = {}
    for binary in binaries:  # ldd lists what the libraries need in turn, too
        for name, path in _needed(binary, prefix):
            if name not in brought and not _GLIBC.match(name) and not name.startswith("libpython"):
                brought[name] = into / name
                shutil.copyfile(path.resolve(), into / name)
    return [brought[name] for name in sorted(brought)]


def _needed(binary: Path, prefix: Path) -> Iterator[tuple[str, Path]]:
    # The libraries that an installation has itself (compiled.py) count, not this machine's of the same name.
    for line in run("env", f"LD_LIBRARY_PATH={prefix}/lib", "ldd", str(binary)).stdout.splitlines():
        match = re.match(r"\s*(\S+) => (/\S+)", line)
        if match:
            yield match[1], Path(match[2])
