"""Which channel the hosts of a release use; each is published once per lab.

This machine's Pythons run on hosts whose glibc is as new as its own, or newer. Hosts with an older one get a channel
with one Python that was compiled for them. It is a 3.13, so that is their `conda_python` in the lab: the installer, the
packages, the lock file for 3.13 and every wheel in it are then really installed on the old glibc, but the default,
3.12, is not tried there.
"""

from __future__ import annotations

import os
from pathlib import Path

from .. import image
from ..core import Lab
from ..store import write_json
from . import compiled, publishing
from .tools import minor

COMPILER = "compiler"


def ensure(lab: Lab, release: str, base: Path | None) -> None:
    """Ensure the channel for all, and if `base`, the image of a new host, needs it, the one for its release.

    Raises what `publishing.publish` and `compiled.ensure` raise.
    """
    url = f"{lab.proxy_url}/static"
    if not lab.store.settings.exists():
        write_json(lab.store.settings, publishing.publish(lab.store.static, url))
    if base and image.glibc_version(base) < own_glibc() and not lab.store.settings_of(release).exists():
        python = _compile(lab, release, publishing.cache() / "pythons" / f"{base.name}-{compiled.recipe()}")
        found = publishing.publish(lab.store.static / release, f"{url}/{release}", [python])
        write_json(lab.store.settings_of(release), {**found, "conda_python": minor(python)})


def own_glibc() -> tuple[int, ...]:
    """The glibc of this machine; () if it has another C library."""
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return tuple(map(int, version.split(".")[:2])) if name == "glibc" else ()


def _compile(lab: Lab, release: str, folder: Path) -> Path:
    """A Python that runs on the release; a host is up for as long as it takes to make one, if there is none."""
    if found := compiled.installed(folder):
        return found
    workshop = Lab(lab.id, lab.network.prefix, conda=False, upstreams=lab.upstreams)
    try:
        return compiled.ensure(workshop.up(COMPILER, release=release), folder)
    finally:
        workshop.down(COMPILER)
