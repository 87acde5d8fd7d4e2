"""Where artifacts are kept: what has to be seen of it before a tracking server is told to."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain.artifacts import claim_command, difference, left_behind, mark_command, unusable
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.object_store import ObjectStore, check_command
from mlflow_stack.domain.plan import HIDDEN
from mlflow_stack.facts.artifacts import Artifacts, ArtifactStore, StoreProblems
from mlflow_stack.facts.files import FileStates
from mlflow_stack.look import look, look_after_changes, look_at, look_telling, must_not_write
from mlflow_stack.operations.commands import Told
from mlflow_stack.operations.refusal import refuse

Commands = Generator[StringCommand, None, None]


@operation()
def kept(configuration: str, destination: str, moved_from: str) -> Commands:
    """Ensure that no artifacts are left behind: that a server with some goes on where they are, or were copied to.

    Runs and models name their artifacts by paths below the destination (mlflow-artifacts:/…), so at another one they
    would look lost. `configuration` is the file that tells where they are until now.
    """
    former = look(Artifacts, configuration=configuration)
    if problem := left_behind(former, destination, moved_from):
        yield from refuse(problem)
        return
    host.noop(f"no artifacts are anywhere else than in {destination}")


@operation()
def usable(store: ObjectStore, environment: str, configuration: ManagedFile, access: Sequence[ManagedFile]) -> Commands:
    """Ensure, before the server is told of an object store, that it can keep artifacts there and nobody else sees them.

    `access` are the files that let it in: authorities, then credentials. Where the environment is there already this is
    seen before anything is changed, else when that has been built. While the server's files are as declared, its
    readiness gate sees the store at work, and only a plan looks here too.
    """
    files = [configuration, *access]
    states = look(FileStates, paths=tuple(file.path for file in files))
    is_told = all(states.get(file.path) == file.state() for file in files)
    given = "".join(file.content for file in access)
    if not host.state.is_executing and (must_not_write() or not is_told):
        problems = look_telling(StoreProblems, given, store=store, environment=environment, read_only=must_not_write())
        if problems:
            yield from refuse("; ".join(problems))
            return
    if is_told:
        host.noop(f"the server has {store.uri} already")
        return
    yield Told(check_command(store, environment), given, shown=HIDDEN if given else "")


@operation()
def marked(directory: str, first: str) -> Commands:
    """Ensure that the shared directory is there, and that the tracking host `first` has put its mark into it.

    A new store that is root's is given to the server's user, if root may do that; files in it are never given away.
    """
    state = look(ArtifactStore, directory=directory)
    is_new = state.owner == 0 and not state.mark and not state.writable
    claims = host.name == first and is_new and state.is_mounted(directory)
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
