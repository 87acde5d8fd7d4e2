"""The artifact store that several tracking servers share: one directory, told by a mark in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from mlflow_stack.domain import layout

# In the store's top directory, where MLflow itself keeps only directories named by experiments.
MARK = ".mlflow-stack-store"

# Everything as the server's user: a network file system often gives root no rights.
_AS_SERVER = f"runuser -u {layout.TRACKING_USER} -- env -C /"


@dataclass(frozen=True)
class StoreState:
    """The store as one host has it: the uid of the server's user, that of the directory's owner (None: no such user or
    directory), whether the user can write there, and the mark's content ("" without one)."""

    uid: int | None = None
    owner: int | None = None
    writable: bool = False
    mark: str = ""


def read_command(directory: str) -> str:
    """Return a command that prints the state of a store as `parse_state` reads it."""
    path = quote(directory)
    return (
        f"echo uid=$(id -u {layout.TRACKING_USER} 2>/dev/null); [ ! -d {path} ] || echo owner=$(stat -c %u {path}); "
        f"{_AS_SERVER} test -w {path} 2>/dev/null && echo writable=yes; "
        f"echo mark=$({_AS_SERVER} cat {path}/{MARK} 2>/dev/null)"
    )


def parse_state(lines: Sequence[str]) -> StoreState:
    """Parse the output of `read_command`."""
    found = dict(line.split("=", 1) for line in lines)
    uid, owner = found.get("uid"), found.get("owner")
    return StoreState(
        uid=int(uid) if uid else None,
        owner=int(owner) if owner else None,
        writable="writable" in found,
        mark=found.get("mark", ""),
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
