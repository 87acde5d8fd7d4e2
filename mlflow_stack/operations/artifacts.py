"""The artifact store that several tracking servers share."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain.artifacts import claim_command, difference, mark_command, unusable
from mlflow_stack.facts.artifacts import ArtifactStore
from mlflow_stack.look import look, look_after_changes, look_at
from mlflow_stack.operations.refusal import refuse

Commands = Generator[StringCommand, None, None]


@operation()
def marked(directory: str, first: str) -> Commands:
    """Ensure that the shared directory is there, and that the tracking host `first` has put its mark into it.

    A new store that is root's is given to the server's user, if root may do that; files in it are never given away.
    """
    state = look(ArtifactStore, directory=directory)
    claims = host.name == first and state.owner == 0 and not state.mark and not state.writable
    if not claims and (problem := unusable(state, directory)):
        yield from refuse(problem)
        return
    if host.name != first or state.mark:
        host.noop(f"{directory} is marked by {first}")
        return
    if claims:
        yield StringCommand(claim_command(directory))
    yield StringCommand(mark_command(directory))


@operation()
def same_store(directory: str, first: str) -> Commands:
    """Ensure, before a server starts, that this host's directory is the very one that the tracking host `first` has.

    It comes after `marked` on all hosts, so that the mark of `first` is there to be found. Two servers with artifacts
    of their own behind one address would lose every second one to their users. While `first` can't be reached, a store
    with a mark is taken for its own. Copies of a directory, as on a host that was made from the disk of another, have
    the same mark and can't be told apart.
    """
    if host.name == first:
        host.noop(f"{directory} is the store of {first} itself")
        return
    # Not the look alone: the mark may be of this very run.
    mine = look_after_changes(ArtifactStore, directory=directory)
    theirs = look_at(host.inventory.get_host(first), ArtifactStore, directory=directory)
    if problem := difference(mine, theirs, first, directory):
        yield from refuse(problem)
        return
    host.noop(f"{directory} is the store of {first}")
