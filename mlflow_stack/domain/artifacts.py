"""The directory that artifacts are kept in, where several tracking servers share it: told by a mark in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from mlflow_stack.domain import layout

# In the store's top directory, where MLflow itself keeps only directories named by experiments.
MARK = ".mlflow-stack-store"

# Everything as the server's user: a network file system often gives root no rights.
_AS_SERVER = f"runuser -u {layout.TRACKING_USER} -- env -C /"


# File systems on a disk, or in the memory, of one host (filesystems(5)).
_OF_ONE_HOST = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "jfs", "f2fs", "bcachefs", "reiserfs"),
    *("vfat", "exfat", "ntfs3", "overlay", "squashfs", "tmpfs", "ramfs", "rootfs"),
)


@dataclass(frozen=True)
class StoreState:
    """The store as one host has it: the uid of the server's user, that of the directory's owner (None: no such user or
    directory), whether the user can write there, and the mark's content ("" without one). `mount` is where what the
    directory is on is mounted, and of what type that is."""

    uid: int | None = None
    owner: int | None = None
    writable: bool = False
    mark: str = ""
    mount: tuple[str, str] = ("", "")

    def is_mounted(self, directory: str) -> bool:
        """Return whether something is mounted there on purpose: at the very directory, or a network file system."""
        return self.mount[0] == directory or self.mount[1] not in _OF_ONE_HOST


def read_command(directory: str) -> str:
    """Return a command that prints the state of a store as `parse_state` reads it."""
    path = quote(directory)
    return (
        f"echo uid=$(id -u {layout.TRACKING_USER} 2>/dev/null); [ ! -d {path} ] || echo owner=$(stat -c %u {path}); "
        f"{_AS_SERVER} test -w {path} 2>/dev/null && echo writable=yes; "
        f"echo mount=$(findmnt -n -o TARGET,FSTYPE -T {path} 2>/dev/null | tail -n 1); "
        f"echo mark=$({_AS_SERVER} cat {path}/{MARK} 2>/dev/null)"
    )


def parse_state(lines: Sequence[str]) -> StoreState:
    """Parse the output of `read_command`."""
    found = dict(line.split("=", 1) for line in lines)
    uid, owner = found.get("uid"), found.get("owner")
    target, _, kind = found.get("mount", "").rpartition(" ")
    return StoreState(
        uid=int(uid) if uid else None,
        owner=int(owner) if owner else None,
        writable="writable" in found,
        mark=found.get("mark", ""),
        mount=(target, kind),
    )


def claim_command(directory: str) -> str:
    """Return a command that gives an empty directory of root's to the server's user; it fails where root may not."""
    owner = f"{layout.TRACKING_USER}:{layout.TRACKING_USER}"
    return f'[ -z "$(ls -A {quote(directory)})" ] && chown {owner} {quote(directory)} && chmod 750 {quote(directory)}'


def mark_command(directory: str) -> str:
    """Return a command that marks a store; whoever is first wins, also where two hosts do it at once."""
    path = quote(f"{directory}/{MARK}")
    # `set -C` opens the file with O_EXCL.
    script = f"umask 077; set -C; cat /proc/sys/kernel/random/uuid > {path}"
    return f"{_AS_SERVER} sh -c {quote(script)}"


def unusable(state: StoreState, directory: str) -> str:
    """Return why the server can't use the store; "" when it can."""
    if state.owner is None:
        return (
            f"{directory} is not there, but tracking_artifacts_shared says that it is a network file system of all "
            "tracking hosts; mount it, then deploy again"
        )
    if not state.is_mounted(directory):
        target, kind = state.mount
        return (
            f"nothing is mounted at {directory}: it is part of {target}, {kind} of this host alone, but "
            "tracking_artifacts_shared says that it is a network file system of all tracking hosts; mount it, then "
            "deploy again"
        )
    if state.uid is not None and not state.writable:
        return (
            f"{directory} belongs to uid {state.owner}, and user {layout.TRACKING_USER}, uid {state.uid} here, can't "
            f"write to it; give it to uid {state.uid} where it is exported, then deploy again"
        )
    return ""


def difference(state: StoreState, first: StoreState, first_host: str, directory: str) -> str:
    """Return why the store of this host is not usable as the one that `first_host` has; "" when it is the same one."""
    if state.uid is not None and first.uid is not None and state.uid != first.uid:
        return (
            f"user {layout.TRACKING_USER} has uid {state.uid} here and uid {first.uid} on {first_host}; files in "
            f"{directory} belong to a uid, so give it the same one on both (usermod --uid, with the server stopped)"
        )
    if state.mark and first.mark and state.mark != first.mark:
        return (
            f"{directory} is one store here and another on {first_host}; mount the same network file system on both, "
            "and move the artifacts of one into the other"
        )
    if first.mark and not state.mark:
        return (
            f"{directory} is not the store that {first_host} has: the mark {MARK} that it made there is missing here; "
            "mount the same network file system on both"
        )
    return ""


@dataclass(frozen=True)
class FormerStore:
    """Where a tracking server has kept artifacts until now ("": there is none yet), and whether it has any there. Of an
    object store nobody asks that: it counts as having some."""

    destination: str = ""
    has_artifacts: bool = False


def read_former_command(configuration: str) -> str:
    """Return a command that prints, by the configuration that a server has, what `parse_former` reads.

    A directory that can't be looked into is not taken for empty.
    """
    find = f'{_AS_SERVER} find "$d" -type f ! -name {MARK} -print -quit'
    return (
        f"d=$(sed -n 's/^MLFLOW_ARTIFACTS_DESTINATION=\"\\(.*\\)\"$/\\1/p' {quote(configuration)} 2>/dev/null); "
        '[ -z "$d" ] || { echo "destination=$d"; '
        f'found=$({find} 2>/dev/null) && [ -z "$found" ] || echo artifacts=yes; }}'
    )


def parse_former(lines: Sequence[str]) -> FormerStore:
    """Parse the output of `read_former_command`."""
    found = dict(line.split("=", 1) for line in lines)
    return FormerStore(found.get("destination", ""), "artifacts" in found)


def left_behind(former: FormerStore, destination: str, moved_from: str) -> str:
    """Return why a server must not go on with another destination; "" when it may."""
    if not former.has_artifacts or former.destination in (destination, moved_from):
        return ""
    return (
        f"the artifacts of this server are in {former.destination} and would be missing in {destination}; copy them "
        f"there, and set tracking_artifacts_moved_from = {former.destination!r}, or keep the destination. Nothing is "
        f"removed from {former.destination}"
    )
