"""The artifact store that several tracking servers share."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain.artifacts import StoreState, claim_command, difference, mark_command, unusable
from mlflow_stack.facts.artifacts import ArtifactStore
from mlflow_stack.look import look
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


def _state_on(name: str, directory: str) -> StoreState:
    """Return what another host of the inventory has; nothing when it can't be asked."""
    other = host.inventory.get_host(name)
    try:
        found: StoreState = (
            StoreState() if other in host.state.failed_hosts else other.get_fact(ArtifactStore, directory=directory)
        )
    except ConnectError:
        found = StoreState()
    return found


@operation()
def same_store(directory: str, first: str) -> Commands:
    """Ensure, before a server starts, that this host's directory is the very one that the tracking host `first` has.

    It comes after `marked` on all hosts, so that the mark of `first` is there to be found. Two servers with artifacts
    of their own behind one address would lose every second one to their users. While `first` can't be reached, a store
    with a mark is taken for its own. Copies of a directory, as on a host
    that was made from the disk of another, have the same mark and can't be told apart.
    """
    if host.name == first:
        host.noop(f"{directory} is the store of {first} itself")
        return
    # In a run both are asked anew, since the mark may be younger than the look.
    mine = (host.get_fact if host.state.is_executing else look)(ArtifactStore, directory=directory)
    if problem := difference(mine, _state_on(first, directory), first, directory):
        yield from refuse(problem)
        return
    host.noop(f"{directory} is the store of {first}")
