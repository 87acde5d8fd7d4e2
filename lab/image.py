"""The base system of a host: a Debian release made by mmdebstrap, once per recipe, kept as an archive.

The archive (`~/.cache/mlflow-stack-lab/`, or below $XDG_CACHE_HOME) is what a CI cache carries from run to run. It is
unpacked once per machine, below /var/cache/mlflow-stack-lab/, where all labs use it as the read-only lower layer of
their hosts. Both may be removed at any time that no lab is up.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from pathlib import Path

from . import sources
from .errors import LabUnavailable
from .process import run

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlflow-stack-lab"
UNPACKED = Path("/var/cache/mlflow-stack-lab")

# libpam-systemd: without it SSH sessions live in ssh.service's own group. libnss-systemd: names for DynamicUser=.
PACKAGES = (
    "systemd-sysv,dbus,libpam-systemd,libnss-systemd,openssh-server,sudo,python3,"
    "ca-certificates,curl,iproute2,iputils-ping,procps"
)
OPTIONS = (
    "--mode=root",
    "--variant=minbase",
    f"--include={PACKAGES}",
    "--aptopt=Acquire::Check-Valid-Until false",
    "--aptopt=Acquire::Check-Date false",
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    '--customize-hook=chroot "$1" useradd --create-home --shell /bin/bash deploy',
    # As Debian's adduser makes it: what runs as another user can't even look into the home it is started from.
    '--customize-hook=chmod 700 "$1/home/deploy"',
    '--customize-hook=echo "deploy ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/deploy"',
    '--customize-hook=chmod 440 "$1/etc/sudoers.d/deploy"',
    # Every host gets a key of its own.
    '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_*',
    # mmdebstrap leaves its options in the result: hosts would keep the proxy that the image was built with.
    '--customize-hook=rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
)


def recipe(release: str, mirror: str) -> str:
    """The name of the image: it changes with everything that goes into it, except the day's packages."""
    content = "\n".join([release, mirror, *OPTIONS])
    return f"{release}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def ensure(release: str, proxy_url: str) -> Path:
    """Ensure that the base system is unpacked on this machine; its directory. One to two minutes the first time.

    Raises LabUnavailable without a Debian mirror, CommandFailed with mmdebstrap's complaint.
    """
    mirror = sources.debian_mirror()
    if not mirror:
        raise LabUnavailable("no Debian mirror in this machine's apt sources: set LAB_MIRROR to the URL of one")
    name = recipe(release, mirror)
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        archive, directory = CACHE / f"{name}.tar.zst", UNPACKED / name
        if not archive.exists():
            _build(release, mirror, proxy_url, archive)
        if not directory.exists():
            _unpack(archive, directory)
    return directory


def _build(release: str, mirror: str, proxy_url: str, archive: Path) -> None:
    draft = archive.with_name(f"draft-{archive.name}")
    plain = re.sub(r"^https:", "http:", mirror)  # https would bypass the proxy, which asks the mirror by https itself
    proxy = f'--aptopt=Acquire::http::Proxy "{proxy_url}"'
    # With mounts of its own: one that is killed would leave this machine's /dev/shm mounted in what it left in /tmp.
    run("unshare", "--mount", "mmdebstrap", *OPTIONS, proxy, release, str(draft), plain, timeout=900)
    draft.replace(archive)


def _unpack(archive: Path, directory: Path) -> None:
    draft = directory.with_name(f"draft-{directory.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    run("tar", "--zstd", "-xpf", str(archive), "-C", str(draft), "--numeric-owner", "--xattrs-include=*", timeout=300)
    draft.chmod(0o755)
    draft.replace(directory)


def glibc_version(root: Path) -> tuple[int, ...]:
    """The glibc release of an unpacked system, read from the library itself; () if it has none."""
    for library in (*root.glob("usr/lib/*/libc.so.6"), *root.glob("lib/*/libc.so.6")):
        if found := re.search(rb"GNU C Library .* version (\d+)\.(\d+)", library.read_bytes()):
            return tuple(map(int, found.groups()))
    return ()


def systemd_version(root: Path) -> int:
    """The systemd release of an unpacked system, read from the name of its shared library; 0 if it has none."""
    name = "systemd/libsystemd-shared-*.so"  # in lib/ itself where that is no link to usr/lib yet, as in Debian 11
    for library in (*root.glob(f"usr/lib/**/{name}"), *root.glob(f"lib/{name}")):
        if found := re.search(r"shared-(\d+)", library.name):
            return int(found[1])
    return 0
