"""Secrets: references in the settings, resolved where pyinfra runs. No secret is ever a setting itself."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

from pyinfra.api.exceptions import DeployError

from mlflow_stack.setting_types import REPOSITORY

STORE = REPOSITORY / ".secrets"
COMMAND_TIMEOUT_S = 60


def resolve(reference: str, setting: str, store: Path = STORE, stack: str = "") -> str:
    """Return the secret that a reference names.

    "generated" makes one for each stack and keeps it in `store`/[<stack>/]<setting> (mode 600); "env:NAME",
    "file:PATH" and "cmd:COMMAND" read it. Raises DeployError, which never holds any output of the command, when
    nothing is there.
    """
    kind, _, argument = reference.partition(":")
    readers = {"generated": _generated, "env": _environment, "file": _file, "cmd": _command}
    path = store / stack / setting
    secret = readers[kind](argument, path).strip("\n")
    if not secret:
        where = path if kind == "generated" else reference
        raise DeployError(f"{setting}: {where} is empty; expected the secret there")
    return secret


def _generated(_argument: str, path: Path) -> str:
    if not path.exists():
        path.parent.parent.mkdir(mode=0o700, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(secrets.token_hex(24) + "\n")
        part.rename(path)
    return path.read_text()


def _environment(name: str, path: Path) -> str:
    if name not in os.environ:
        raise DeployError(f"{path.name}: the environment variable {name} is not set; export it before running pyinfra")
    return os.environ[name]


def _file(name: str, path: Path) -> str:
    try:
        return Path(name).expanduser().read_text()
    except OSError as error:
        raise DeployError(f"{path.name}: {name} can't be read ({error.strerror})") from None


def _command(command: str, path: Path) -> str:
    # The operator's own command line, with pipes if they like: that is what the setting is.
    argv = ["sh", "-c", command]
    try:
        result = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise DeployError(f"{path.name}: the command {command!r} did not end within {COMMAND_TIMEOUT_S} s") from None
    if result.returncode:
        raise DeployError(f"{path.name}: the command {command!r} exited with status {result.returncode}")
    return result.stdout
