"""A base image of Debian's packages, where no registry is reached: a small Debian with its own Python."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from mlflow_stack.image import buildah

# venv has the pip that installs the installer; wheels take libstdc++ for granted.
PACKAGES = ("ca-certificates", "libstdc++6", "python3", "python3-venv")
# Without it usrmerge would come, and all of Perl with it.
MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
TIMEOUT_S = 1800


class BaseFailed(Exception):
    """mmdebstrap has ended with an error, after saying why."""


def reference(suite: str) -> str:
    return f"localhost/mlflow-base:{suite}"


def command(suite: str, target: Path) -> list[str]:
    """Return what makes the root directory; of essential packages alone, without apt.

    mmdebstrap copies this machine's name servers and name, which are nobody else's business.
    """
    return [
        *("mmdebstrap", "--variant=essential", "--format=tar", f"--hook-dir={MERGED_USR}"),
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
        "--dpkgopt=force-unsafe-io",
        '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname" "$1/etc/dpkg/dpkg.cfg.d/99mmdebstrap"',
        suite,
        str(target),
    ]


def make(suite: str) -> str:
    """Make the base image of a release of Debian, over one of the same name; return its reference."""
    with tempfile.TemporaryDirectory(prefix="mlflow-base-") as directory:
        target = Path(directory) / "root.tar"
        done = subprocess.run(command(suite, target), stdout=2, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise BaseFailed(f"`mmdebstrap` ended with status {done.returncode}; it says why above")
        buildah.make(target, reference(suite))
    return reference(suite)
