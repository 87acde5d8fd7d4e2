"""Secrets that hosts of a stack share."""

from __future__ import annotations

from collections.abc import Sequence

from pyinfra.api.exceptions import DeployError
from pyinfra.context import host

from mlflow_stack import secret_store


def set_by(holders: Sequence[str], reference: str, setting: str, stack: str) -> str:
    """Return the password that the hosts `holders` set, for this one, which needs it.

    Raises DeployError when it would be a new one, and --limit leaves out all who could set it.
    """
    password = secret_store.resolve(reference, setting, stack=stack)
    new_file = secret_store.new_file(password)
    if new_file and not any(map(_is_in_run, holders)):
        raise DeployError(
            f"{new_file} is not there, and --limit leaves out {' and '.join(holders)}, where a generated password is "
            "set; bring that file of the checkout that has it, or run without --limit"
        )
    return password


def shared_by(holders: Sequence[str], reference: str, setting: str, stack: str) -> str:
    """Return the secret that the hosts `holders` have alike, of which this is one.

    Raises DeployError when it would be a new one, and --limit leaves out one of them.
    """
    secret = secret_store.resolve(reference, setting, stack=stack)
    new_file, left_out = secret_store.new_file(secret), [name for name in holders if not _is_in_run(name)]
    if new_file and left_out:
        raise DeployError(
            f"{new_file} is not there, and --limit leaves out {' and '.join(left_out)}, which would go on with the "
            "secret of before; bring that file of the checkout that has it, or run without --limit"
        )
    return secret


def _is_in_run(name: str) -> bool:
    return bool(host.state.is_host_in_limit(host.state.inventory.get_host(name)))
