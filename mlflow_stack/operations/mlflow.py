"""The tracking database's schema."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.database import as_tracking_user, is_mysql
from mlflow_stack.facts.mlflow import Schema, SchemaState
from mlflow_stack.look import look
from mlflow_stack.operations.refusal import refuse

UNIT, SOCKET = "mlflow-tracking.service", "mlflow-tracking.socket"
# The exit status of on_host/schema.py when a schema is neither the old nor the new one.
HALF_UPGRADED = 4
Commands = Generator[StringCommand, None, None]


@operation()
def schema(
    environment: str, uri: str, target: str, allow_upgrade: bool, passfile: str, servers: Sequence[str]
) -> Commands:
    """Ensure that the tracking database has the schema of the MLflow in `environment`, whose revision is `target`.

    A server start would migrate an older database by itself, silently and one-way, so this comes before it: an empty
    database is initialised; an older one is refused unless `allow_upgrade`, and then dumped before; a newer one is
    always refused. The server is stopped meanwhile, since old code on a new schema fails. It is started again when the
    upgrade fails and has changed nothing, as on PostgreSQL, where it is one transaction. MySQL takes nothing back:
    there the server does not start any more, with its host neither, before the dump is restored. Nor is anything
    upgraded under a server of `servers`, the tracking hosts of the stack, that takes no part in the run any more.
    """
    python = f"{environment}/bin/python"
    state = look(Schema, python=python, uri=uri, passfile=passfile)
    if state.revision == target:
        host.noop(f"the schema is at revision {target}")
        return
    failed = {other.name for other in host.state.failed_hosts}
    away = [name for name in servers if name in failed]
    if refusal := _refusal(state, target, allow_upgrade, away):
        yield from refuse(refusal)
        return
    program = f"{python} -I {layout.LIBEXEC_DIR}/schema.py"
    allowed = "--allow-upgrade" if allow_upgrade and not away else "--refuse-upgrade"
    check = as_tracking_user(f"{program} check {quote(uri)} {target} {allowed}", passfile)
    upgrade = as_tracking_user(
        f"{program} upgrade {quote(uri)} {target} {environment}/bin/mlflow {layout.BACKUP_DIR}", passfile
    )
    # The database may have been out of reach when this was decided, so its state is judged again.
    yield StringCommand(f"{check}; case $? in 0) exit 0;; 3) ;; *) exit 1;; esac; {_while_stopped(upgrade, uri)}")


def _while_stopped(upgrade: str, uri: str) -> str:
    """Return a command that upgrades a schema while the server is stopped.

    Where nothing has changed the unit is still the old one, and a server that ran runs again. The socket is closed
    meanwhile, or the next connection would start the old server; on MySQL, a host that comes up again would.
    """
    stop = f"was=$(systemctl is-active {UNIT}); systemctl stop {UNIT} {SOCKET} 2>/dev/null"
    give_up = f'{{ [ "$was" != active ] || systemctl start {UNIT}; exit 1; }}'
    if not is_mysql(uri):
        return f"{stop}; {upgrade} || {give_up}"
    return (
        f"{stop}; enabled=$(systemctl is-enabled {UNIT} 2>/dev/null); systemctl disable --quiet {UNIT} 2>/dev/null; "
        f"{upgrade}; status=$?; [ $status != {HALF_UPGRADED} ] || exit 1; "
        f'[ "$enabled" != enabled ] || systemctl enable --quiet {UNIT}; [ $status = 0 ] || {give_up}'
    )


def _refusal(state: SchemaState, target: str, allow_upgrade: bool, away: Sequence[str]) -> str:
    """Return why the database must not be touched; "" when it may be brought to `target`."""
    if state.error:
        return ""  # no database yet, or none that answers: the command itself will see
    if not state.known:
        return (
            f"the tracking database has schema revision {state.revision}, which this MLflow does not know: a newer "
            "MLflow made it. Deploy that version or a newer one, or restore a dump of the older database; "
            "tracking_upgrade_database never goes back. Nothing was changed on the database or the running server"
        )
    if state.dump:
        return (
            f"an upgrade of the tracking database has begun and not ended, which MySQL can't take back. Restore "
            f"{state.dump} (docs/how-to/external-database.md), and deploy again. Nothing was changed on the database "
            "or the running server"
        )
    if state.revision is not None and not allow_upgrade:
        return (
            f"the tracking database has schema revision {state.revision}, this MLflow has {target}. An upgrade can't "
            "be undone; set tracking_upgrade_database = True to let this run dump the database and upgrade it, or "
            "deploy the MLflow that it was made with. Nothing was changed on the database or the running server"
        )
    if state.revision is not None and away:
        return (
            f"the tracking database has schema revision {state.revision}, this MLflow has {target}, and this run "
            f"failed on {' and '.join(away)}, or could not reach it, where a server of the old MLflow may run on the "
            "database. Put right what it says there, or take the host out of the inventory; then deploy again. "
            "Nothing was changed on the database or the running server"
        )
    return ""
