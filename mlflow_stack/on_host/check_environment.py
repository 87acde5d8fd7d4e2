"""check_environment LOCK: exit 0 when exactly the locked packages are installed in this Python's environment.

A package that is missing, has another version than its lock, or is not in the lock is named on standard error.
"""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

# What conda itself installs beside Python.
FROM_CONDA = {"pip", "setuptools", "wheel", "packaging"}


def normalised(name: str) -> str:
    """Return a distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, str]:
    """Return the versions that a hash-locked requirements file pins."""
    return {normalised(m[1]): m[2] for m in re.finditer(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, re.MULTILINE)}


def differences(wanted: dict[str, str], installed: dict[str, str]) -> list[str]:
    """Return a sentence for each package that is not as the lock says."""
    found = [
        f"{name}: {installed.get(name, 'not')} installed, {version} locked"
        for name, version in wanted.items()
        if installed.get(name) != version
    ]
    surplus = sorted(set(installed) - set(wanted) - FROM_CONDA)
    return found + [f"{name}: {installed[name]} installed, not locked" for name in surplus]


def main() -> int:
    wanted = locked(Path(sys.argv[1]).read_text())
    installed = {normalised(dist.metadata["Name"]): dist.version for dist in distributions()}
    wrong = differences(wanted, installed)
    if wrong:
        print("the environment is not what its lock file says: " + "; ".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
