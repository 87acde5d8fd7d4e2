"""Make the lock files (`make lock`), or check them without the network (`python scripts/lock.py --check`).

A version that is locked already stays until its source no longer allows it, or until `--upgrade`: two runs in a row
write the same files. Needs uv, which requirements-dev.txt brings. Why it is done this way: docs/adr/0004.
"""

import argparse
import hashlib
import importlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# glibc 2.28 is older than that of any distribution we support; wheels for it run on all of them.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
UV = (sys.executable, "-m", "uv")
CURE = "run `make lock`"
NARROW = "bound the differing package in the source file to a version that has wheels for each platform"
ADDRESS = re.compile(r"\S*://\S*|^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b.*")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
# Of the tracking database, and of the tables for accounts and permissions in it.
REVISIONS = re.compile(r"^# mlflow-(?:auth-)?schema-revision: ([0-9a-f]{12})$", re.MULTILINE)
READ_REVISIONS = """
from importlib.util import find_spec
from alembic.script import ScriptDirectory
package, = find_spec("mlflow").submodule_search_locations
for migrations in ("store/db_migrations", "server/auth/db/migrations"):
    print(ScriptDirectory(package + "/" + migrations).get_current_head())
"""


@dataclass(frozen=True)
class Lock:
    """One lock file, what it is made from (paths below ROOT), and how.

    The lock of an add-on names the one that it is installed with as its `base`: it holds none of those packages, and
    what it holds agrees with them.
    """

    path: str
    sources: tuple[str, ...]
    options: tuple[str, ...]
    extras: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    python: str | None = None
    hashed: bool = True
    base: str = ""


HASHED = ("--generate-hashes", "--only-binary", ":all:")
UNIVERSAL = ("--universal", "--python-version", PYTHONS[0])
EXTRAS = ("aws", "examples", "dev")
# What the MLflow environment of a host gets when its settings need it (mlflow_stack/domain/environment.py).
ADDONS = ("mysql", "s3", "gcs", "azure")


def addon(name: str, python: str) -> Lock:
    """Return the lock of an add-on to the MLflow environment for one version of Python."""
    base = f"locks/mlflow-py{python}.txt"
    options = (*HASHED, "--python-version", python, "--constraint", base)
    return Lock(f"locks/{name}-py{python}.txt", (f"locks/{name}.in",), options, platforms=PLATFORMS, base=base)


LOCKS = (
    Lock("locks/uv.txt", ("locks/uv.in",), (*HASHED, *UNIVERSAL)),
    Lock("locks/sbom.txt", ("locks/sbom.in",), (*HASHED, *UNIVERSAL)),
    *(
        Lock(
            f"locks/mlflow-py{python}.txt",
            ("locks/mlflow.in",),
            (*HASHED, "--python-version", python),
            platforms=PLATFORMS,
            python=python,
        )
        for python in PYTHONS
    ),
    *(addon(name, python) for name in ADDONS for python in PYTHONS),
    Lock("requirements.txt", ("pyproject.toml",), UNIVERSAL, hashed=False),
    Lock(
        "requirements-dev.txt",
        ("pyproject.toml", "locks/uv.in", *(f"locks/{name}.in" for name in ADDONS)),
        (*UNIVERSAL, "--constraint", "requirements.txt", *(f"--extra={extra}" for extra in EXTRAS)),
        extras=EXTRAS,
        hashed=False,
    ),
)


# --- making ---------------------------------------------------------------------------------------------------------


def make(upgrade: bool) -> None:
    """Write every lock file. Raises SystemExit with uv's own words when something cannot be resolved."""
    revisions = schema_revisions()
    for lock in LOCKS:
        text = resolve(lock, upgrade)
        (ROOT / lock.path).write_text(header(lock, revisions) + text)
        print(f"{lock.path}: {len(pins(text))} packages")


def resolve(lock: Lock, upgrade: bool) -> str:
    """Return the pins of `lock`, the same on each of its platforms. SystemExit when they differ."""
    texts = {platform: compiled(lock, platform, upgrade) for platform in lock.platforms or ("",)}
    first, *others = texts.values()
    if any(other != first for other in others):
        sys.exit(f"{lock.path}: {' and '.join(texts)} resolve differently, expected one lock for all; {NARROW}")
    return first


def compiled(lock: Lock, platform: str, upgrade: bool) -> str:
    """Return what uv resolves the sources of `lock` to. The present lock goes in, as uv prefers the versions in it."""
    target = ("--python-platform", platform) if platform else ()
    left_out = [f"--no-emit-package={name}" for name in sorted(names(lock.base))] if lock.base else []
    options = (*lock.options, *target, *left_out, *(("--upgrade",) if upgrade else ()))
    present = ROOT / lock.path
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "lock.txt"
        output.write_text(present.read_text() if present.exists() else "")
        # Without a header, as uv's would name this machine's paths.
        run_uv("pip", "compile", *lock.sources, *options, "--no-header", "--quiet", "--output-file", str(output))
        return output.read_text()


def schema_revisions() -> list[str]:
    """Return the database revisions that the MLflow of locks/mlflow.in migrates to, read from that very package."""
    options = ("--isolated", "--no-project", "--python", sys.executable, "--with-requirements", "locks/mlflow.in")
    return run_uv("run", *options, "--", "python", "-", script=READ_REVISIONS).split()


def run_uv(*arguments: str, script: str = "") -> str:
    command = [*UV, *arguments]
    done = subprocess.run(command, cwd=ROOT, input=script, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        sys.exit(f"`uv {' '.join(arguments)}` failed; change the source file it names:\n{done.stderr}")
    return done.stdout


def header(lock: Lock, revisions: list[str]) -> str:
    made = f"# Made by `make lock` from {' and '.join(lock.sources)}; do not edit.\n"
    if lock.base:
        return f"{made}# installed with: {lock.base}, sha256 {digest(lock.base)}\n"
    if not lock.python:
        return made
    tracking, auth = revisions
    return (
        f"{made}# python: {lock.python}\n# mlflow-schema-revision: {tracking}\n# mlflow-auth-schema-revision: {auth}\n"
    )


def digest(path: str) -> str:
    """Return by what an add-on knows the packages that it was made for."""
    requirements = sorted(str(pin.requirement) for pin in pins((ROOT / path).read_text()))
    return hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:12]


# --- checking -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pin:
    """One locked package: `line` counts from 1."""

    line: int
    requirement: Requirement
    hashed: bool


def pins(text: str) -> list[Pin]:
    """Parse a lock file; comments and options are skipped. Raises InvalidRequirement for any other line."""
    found: list[Pin] = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        entry = line
        while entry.endswith("\\"):
            entry = entry[:-1] + next(lines, (0, ""))[1]
        requirement = entry.split(" #")[0].split("--hash")[0].strip()
        if requirement and not requirement.startswith(("#", "-")):
            found.append(Pin(number, Requirement(requirement), bool(HASH.search(entry))))
    return found


def names(path: str) -> set[str]:
    """Return the names of the packages in a lock file, as PEP 503 compares them."""
    return {canonicalize_name(pin.requirement.name) for pin in pins((ROOT / path).read_text())}


def wanted(lock: Lock) -> Iterator[tuple[str, Requirement]]:
    """Yield (source, requirement) for everything that `lock` must satisfy."""
    for source in lock.sources:
        text = (ROOT / source).read_text()
        yield from ((source, r) for r in (project(text, lock.extras) if source.endswith(".toml") else listed(text)))


def listed(text: str) -> list[Requirement]:
    return [pin.requirement for pin in pins(text)]


def project(text: str, extras: tuple[str, ...]) -> list[Requirement]:
    # Python 3.10 has no tomllib; mypy and pytest bring tomli there.
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    table = toml.loads(text)["project"]
    lists = [table["dependencies"], *(table["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for lines in lists for line in lines]


def problems(lock: Lock) -> Iterator[str]:
    """Yield what is wrong with a lock file, one sentence each: where, found, expected, what to do."""
    try:
        text = (ROOT / lock.path).read_text()
    except FileNotFoundError:
        yield f"{lock.path}: not found; {CURE}"
        return
    if lock.base and not (ROOT / lock.base).exists():
        return  # which is said of that one
    yield from text_problems(lock, text)
    try:
        locked = pins(text)
    except InvalidRequirement as error:
        yield f"{lock.path}: {error}; {CURE}"
        return
    yield from hash_problems(lock, locked)
    yield from version_problems(lock, locked)
    yield from addon_problems(lock, locked)


def text_problems(lock: Lock, text: str) -> Iterator[str]:
    revisions = REVISIONS.findall(text)
    expected = header(lock, revisions if len(revisions) == 2 else ["<12 hexadecimal digits>"] * 2)
    if not text.startswith(expected):
        yield f"{lock.path}:1: does not begin with these lines; {CURE}\n{expected.rstrip()}"
    for number, line in enumerate(text.splitlines(), 1):
        if address := ADDRESS.search(line):
            yield f"{lock.path}:{number}: names a package index ({address[0].strip()}), expected none; {CURE}"


def hash_problems(lock: Lock, locked: list[Pin]) -> Iterator[str]:
    for pin in locked:
        if lock.hashed and not pin.hashed:
            yield f"{lock.path}:{pin.line}: {pin.requirement} has no sha256 hash, expected at least one; {CURE}"


def version_problems(lock: Lock, locked: list[Pin]) -> Iterator[str]:
    for source, requirement in wanted(lock):
        name = canonicalize_name(requirement.name)
        same = [pin for pin in locked if canonicalize_name(pin.requirement.name) == name]
        if not same:
            yield f"{lock.path}: {name} is missing, expected {requirement} as in {source}; {CURE}"
        for pin in same:
            version = str(pin.requirement.specifier).removeprefix("==")
            if not requirement.specifier.contains(version, prereleases=True):
                yield f"{lock.path}:{pin.line}: found {pin.requirement}, expected {requirement} as in {source}; {CURE}"


def addon_problems(lock: Lock, locked: list[Pin]) -> Iterator[str]:
    present = names(lock.base) if lock.base else set()
    for pin in locked:
        if canonicalize_name(pin.requirement.name) in present:
            yield f"{lock.path}:{pin.line}: {pin.requirement} is in {lock.base} too, expected in one of them; {CURE}"


def main() -> None:
    """Parse the command line; exit status 1 when a check or a resolution fails."""
    parser = argparse.ArgumentParser(description="Make the lock files, or check them without the network.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--check", action="store_true", help="only check; needs no network")
    group.add_argument("--upgrade", action="store_true", help="take the newest versions that the sources allow")
    arguments = parser.parse_args()
    if not arguments.check:
        make(arguments.upgrade)
    if found := [problem for lock in LOCKS for problem in problems(lock)]:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
