"""Accounts and permissions in MLflow."""

from __future__ import annotations

from collections.abc import Generator
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack import secret_store
from mlflow_stack.domain import layout
from mlflow_stack.domain.database import as_tracking_user
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.facts.files import FileStates
from mlflow_stack.facts.mlflow import Permissions, PermissionsState
from mlflow_stack.look import look
from mlflow_stack.operations.mlflow import SOCKET, UNIT
from mlflow_stack.operations.refusal import refuse

Commands = Generator[StringCommand, None, None]


@operation()
def accounts(
    environment: str, uri: str, target: str, wanted: str, key_file: ManagedFile, allow_upgrade: bool, passfile: str
) -> Commands:
    """Ensure that MLflow has an account for each user, its password as it follows from the key, and its permissions.

    `wanted` is for on_host/permissions.py, which writes them into MLflow's tables in one transaction, before the server
    asks for them: whoever is let in by the login is known to MLflow from its first request on. Accounts that are not
    wanted stay, without the right to everything, and so do permissions that users have granted each other. The tables
    are made when they are missing; those of an older MLflow are upgraded as the tracking database is (mlflow.schema),
    after a dump and only with `allow_upgrade`; those of a newer one are refused.
    """
    python, key = f"{environment}/bin/python", look(FileStates, paths=(key_file.path,)).get(key_file.path)
    state = look(Permissions, python=python, uri=uri, passfile=passfile, wanted=wanted)
    # One that can't be read may turn out to be an older one.
    upgrades = state.revision not in (None, target) or (allow_upgrade and bool(state.error))
    if key == key_file.state() and not state.error and state.revision == target and not state.differences:
        host.noop("; ".join(["accounts and permissions are as declared", *state.waiting]))
        return
    if upgrades and (refusal := _refusal(state, target, allow_upgrade)):
        yield from refuse(refusal)
        return
    if host.state.is_executing:
        secret_store.keep(key_file.content.strip())
    allowed = "--allow-upgrade" if allow_upgrade else "--refuse-upgrade"
    program = f"{python} -I {layout.LIBEXEC_DIR}/permissions.py apply {quote(uri)} {quote(wanted)}"
    command = as_tracking_user(f"{program} {target} {layout.BACKUP_DIR} {allowed}", passfile)
    command = f"{command} < {key_file.path}"
    if upgrades:
        command = (
            f"was=$(systemctl is-active {UNIT}); systemctl stop {UNIT} {SOCKET} 2>/dev/null; "
            f'{command} || {{ [ "$was" != active ] || systemctl start {UNIT}; exit 1; }}'
        )
    yield StringCommand(command)


def _refusal(state: PermissionsState, target: str, allow_upgrade: bool) -> str:
    """Return why tables of another revision must not be touched; "" when they may be brought to `target`."""
    found = f"MLflow's tables for accounts and permissions have schema revision {state.revision}"
    if not state.known:
        return (
            f"{found}, which this MLflow does not know: a newer MLflow made it. Deploy that version or a newer one, or "
            "set tracking_permissions = False. Nothing was changed on the database or the running server"
        )
    if not allow_upgrade:
        return (
            f"{found}, this MLflow has {target}. An upgrade can't be undone; set tracking_upgrade_database = True to "
            "let this run dump the database and upgrade them. Nothing was changed on the database or the running server"
        )
    return ""
