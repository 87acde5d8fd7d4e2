"""The proxy's logins."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack import secret_store
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.login import Login, logins_text
from mlflow_stack.facts.proxy import Logins
from mlflow_stack.look import look
from mlflow_stack.operations.commands import Write

Commands = Generator[StringCommand, None, None]

# Of logins that are new to a host, by host: the run has to write what its plan decided.
_new_salts: dict[tuple[str, str, Login], bytes] = {}


@operation()
def logins(path: str, passwords: Mapping[Login, str]) -> Commands:
    """Ensure that exactly these users of each area have these passwords, by their hashes.

    The hashes are made here, where pyinfra runs, with the salts that the host has: one that is right stays as it is,
    and no password ever reaches the host.
    """
    found = look(Logins, path=path)
    salts = {login: found.salts.get(login) or _new_salt(path, login) for login in passwords}
    file = ManagedFile(path, logins_text(passwords, salts), mode="600", is_secret=True)
    if found.state == file.state():
        host.noop(f"the logins are those of {len(passwords)} users")
        return
    if host.state.is_executing:
        for password in passwords.values():
            secret_store.keep(password)
    yield Write(file)


def _new_salt(path: str, login: Login) -> bytes:
    return _new_salts.setdefault((host.name, path, login), os.urandom(16))
