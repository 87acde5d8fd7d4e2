"""Packages, accounts and directories of a host."""

from __future__ import annotations

import posixpath
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain.bounds import within
from mlflow_stack.facts.host import InstalledPackages, Layout
from mlflow_stack.look import look
from mlflow_stack.operations.refusal import refuse


@operation()
def packages(
    names: Sequence[str], never_started: Mapping[str, str] | None = None
) -> Generator[StringCommand, None, None]:
    """Ensure that Debian packages are installed; installed ones are left at their version.

    `never_started` are units, by package, that are masked before this run installs the package: what brings them would
    start them. Where the package was there before, its unit is somebody's and is left alone.

    pyinfra's apt.packages either never refreshes the package lists, which fails on a fresh host, or refreshes them
    again whenever they are older than a limit, which makes a second run a change. This one does it only to install.
    """
    installed = look(InstalledPackages, packages=tuple(names))
    missing = [name for name in names if name not in installed]
    if not missing:
        host.noop(f"packages {', '.join(names)} are installed")
        return
    # The lock timeout waits for unattended-upgrades instead of failing (apt.conf(5), DPkg::Lock::Timeout).
    apt = "env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
    masked = [unit for package, unit in (never_started or {}).items() if package in missing]
    if masked:
        yield StringCommand(f"systemctl mask --quiet {' '.join(map(quote, masked))}")
    yield StringCommand(within(600, f"{apt} update"))
    yield StringCommand(within(1800, f"{apt} install -y --no-install-recommends {' '.join(map(quote, missing))}"))


@dataclass(frozen=True)
class User:
    """A system user with a group of its own name, no shell and no password."""

    name: str
    home: str


@dataclass(frozen=True)
class Directory:
    """A directory as it should be; `mode` is octal digits."""

    path: str
    mode: str = "755"
    owner: str = "root"
    group: str = "root"

    @property
    def expected(self) -> str:
        return f"{self.mode} {self.owner} {self.group}"


def _directory_command(item: Directory, found: str) -> str:
    """Return a command that makes a directory, or gives it its mode and owner.

    Below a directory that the owner can write, it is made as the owner: root would follow a link that was put there
    meanwhile. A directory with somebody else's files in it is not taken from them.
    """
    path = quote(item.path)
    as_root = f"install -d -m {item.mode} -o {item.owner} -g {item.group} {path}"
    if item.owner == "root":
        return as_root
    if found and found.split()[1] != item.owner:
        return f'[ -z "$(ls -A {path})" ] || {{ echo {path} holds files of another user >&2; exit 1; }}; {as_root}'
    as_owner = f"runuser -u {item.owner} -- env -C / install -d -m {item.mode} {path}"
    parent = quote(posixpath.dirname(item.path))
    return f'if [ "$(stat -c %U {parent})" = {item.owner} ]; then {as_owner}; else {as_root}; fi'


@operation()
def layout(users: Sequence[User], directories: Sequence[Directory]) -> Generator[StringCommand, None, None]:
    """Ensure that system users and directories exist, with these modes and owners; nothing is ever removed.

    One operation for all of them, because pyinfra's server.user and files.directory read several facts for each.
    """
    state = look(Layout, users=tuple(user.name for user in users), directories=tuple(item.path for item in directories))
    commands = []
    for user in users:
        if f"user:{user.name}" not in state:
            commands.append(
                f"useradd --system --user-group --home-dir {quote(user.home)} --no-create-home "
                f"--shell /usr/sbin/nologin {quote(user.name)}"
            )
    for item in directories:
        found = state.get(item.path, "")
        if found == "link":
            yield from refuse(f"{item.path} is a symbolic link; expected a directory, or none")
            return
        # A leading digit is setgid or the sticky bit, which somebody may have set on purpose.
        if found[-len(item.expected) :] != item.expected:
            commands.append(_directory_command(item, found))
    if not commands:
        host.noop("users and directories are as declared")
        return
    yield StringCommand("set -e; " + "; ".join(commands))
