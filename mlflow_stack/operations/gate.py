"""Gates between hosts."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.operations.refusal import refuse


@operation()
def passed(hosts: Sequence[str], role: str) -> Generator[StringCommand, None, None]:
    """Ensure that this host goes on only when `hosts`, whose `role` it needs, have done all before this point.

    It is declared at one place for all hosts of a stack. pyinfra begins such an operation when every host has ended
    what it has before it, and no host goes on before it has ended on all. Without it hosts with different operations
    are in step only by how many of them each happens to have. A host whose role failed takes part no more, and then
    nothing is tried that needs it; with several, one is enough.
    """
    failed = {other.name for other in host.state.failed_hosts} if host.state.is_executing else set()
    if not hosts or not failed.issuperset(hosts):
        host.noop(f"{role} is ready")
        return
    yield from refuse(
        f"{role} is on {' and '.join(hosts)}, where this run failed; nothing that needs it was done here. Put right "
        "what it says there, then deploy again"
    )
