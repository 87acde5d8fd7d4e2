"""Where this machine gets its packages from: the lab's hosts get theirs from the same places, through the proxy."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from urllib.parse import urlsplit

from .process import run

# pip's own parser knows its configuration files, its environment variables and its built-in default.
_PIP_INDEX = """
from pip._internal.commands import create_command
print(create_command("download").parser.get_default_values().index_url)
"""


@functools.cache  # asking takes half a second
def apt_repositories() -> list[str]:
    """The repositories of this machine's apt sources, whatever their format; LAB_MIRROR, if set, comes first.

    LAB_MIRROR is for machines that are not Debian: the URL of a Debian mirror.
    """
    chosen = os.environ.get("LAB_MIRROR", "").rstrip("/")
    if not shutil.which("apt-get"):
        return [chosen] if chosen else []
    listed = run("apt-get", "indextargets", "--format", "$(REPO_URI)").stdout.split()
    return list(dict.fromkeys(url.rstrip("/") for url in [chosen, *listed] if url))


def debian_mirror() -> str | None:
    """The repository of Debian itself, not of its security updates or of somebody else; None if there is none."""
    named = (url for url in apt_repositories() if urlsplit(url).path.endswith("/debian"))
    return os.environ.get("LAB_MIRROR", "").rstrip("/") or next(named, None)


@functools.cache
def pip_index() -> str | None:
    """The package index that pip uses on this machine; None if no Python here has a pip."""
    for python in (sys.executable, "python3"):
        asked = run(python, "-c", _PIP_INDEX, check=False)
        if asked.returncode == 0:
            return asked.stdout.strip().rstrip("/")
    return None
