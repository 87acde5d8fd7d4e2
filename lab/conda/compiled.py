"""A CPython for hosts whose glibc is older than this machine's: compiled on such a host, since nobody has one ready.

Debian 11 has Python 3.9, for which MLflow 3.17 is not made, and this machine's Pythons don't start there. The source
is Debian 13's (`apt-get source`, checked by apt with Debian's keys), the compiler and the libraries are the old
release's own. Three minutes of two cores, once per recipe: the result is kept in the user's cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from .. import sources
from ..errors import LabError
from ..process import run
from ..requirements import KEYRING

if TYPE_CHECKING:
    from ..host import Host

SUITE, SOURCE = "trixie", "python3.13"
# What it is compiled with. Extension modules that are not in here nobody needs: Tk, DBM.
PACKAGES = (
    "gcc libc6-dev make xz-utils pkg-config libssl-dev zlib1g-dev libbz2-dev liblzma-dev libffi-dev libsqlite3-dev "
    "libreadline-dev libncursesw5-dev uuid-dev"
)
_OPTIONS = "--enable-shared --without-static-libpython --with-ensurepip=no --disable-test-modules"
# The libraries that it was linked with come along, but for the parts of glibc itself.
_BRING_LIBRARIES = (
    r"find {prefix} -name '*.so*' -o -path '*/bin/python3.*' -type f | xargs ldd 2>/dev/null | "
    r"sed -n 's,.* => \(/\(usr/\)\?lib/[^ ]*\) .*,\1,p' | sort -u | "
    r"grep -Ev '/(lib(c|m|dl|rt|util|resolv|pthread|nsl)|ld-linux[^/]*)\.so' | xargs -I% cp -L % {prefix}/lib/"
)


def recipe() -> str:
    """A digest of all that this module does."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def ensure(host: Host, folder: Path) -> Path:
    """The installation below `folder`, named by its version; made on `host` now if there is none.

    Its prefix is its path on this machine, as pyenv's are. Raises CommandFailed with what apt or the compiler said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (found := installed(folder)):
            with tempfile.TemporaryDirectory() as scratch:
                source = _download(Path(scratch))
                found = _compile(host, source, folder)
    return found


def installed(folder: Path) -> Path | None:
    """What `ensure` has made there before."""
    return next(folder.glob("3.*.*[0-9]"), None)


def _download(scratch: Path) -> Path:
    """The source archive, by this machine's apt but none of its lists and sources."""
    (scratch / "lists/partial").mkdir(parents=True)
    line = f"deb-src [signed-by={KEYRING}] {sources.debian_mirror()} {SUITE} main\n"
    (scratch / "sources.list").write_text(line)
    options = {
        "Dir::Etc::SourceList": scratch / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch,
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Check-Date": "false",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
    run(*apt, "update", timeout=300)
    run("env", "-C", str(scratch), *apt, "source", "--download-only", SOURCE, timeout=300)
    archives = list(scratch.glob("*.orig.tar.xz"))
    if len(archives) != 1:
        raise LabError(f"apt-get source {SOURCE} of {SUITE}: expected one archive *.orig.tar.xz, found {archives}")
    return archives[0]


def _compile(host: Host, source: Path, folder: Path) -> Path:
    prefix = folder / source.name.removesuffix(".orig.tar.xz").partition("_")[2]
    host.put("/root/python.tar.xz", source.read_bytes())
    apt = "DEBIAN_FRONTEND=noninteractive apt-get -q"
    host.run(f"{apt} update && {apt} install -y --no-install-recommends {PACKAGES}", timeout=600)
    host.run(
        "set -e; mkdir /root/python; cd /root/python; tar --strip-components=1 -xf /root/python.tar.xz; "
        f"./configure -q --prefix={quote(str(prefix))} {_OPTIONS}; make -s -j$(nproc); make -s install; "
        + _BRING_LIBRARIES.format(prefix=quote(str(prefix))),
        timeout=3600,
    )
    draft = folder / "fetching"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(f"/proc/{host.init()}/root{prefix}", draft, symlinks=True)
    return draft.rename(prefix)
