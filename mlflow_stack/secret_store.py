"""Secrets: references in the settings, resolved where pyinfra runs. No secret is ever a setting itself."""

from __future__ import annotations

import functools
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

from pyinfra.api.exceptions import DeployError

from mlflow_stack.setting_types import REPOSITORY

STORE = REPOSITORY / ".secrets"
COMMAND_TIMEOUT_S = 60

# Generated in this run, by the file that is to keep them. Somewhere else there may be a checkout that has the file, so
# nothing is written before it is known that nobody has the secret yet.
_new: dict[Path, str] = {}


def resolve(reference: str, setting: str, store: Path = STORE, stack: str = "") -> str:
    """Return the secret that a reference names.

    "generated" reads that of the stack in `store`/[<stack>/]<setting>, or makes one, which `keep` writes there;
    "env:NAME", "file:PATH" and "cmd:COMMAND" read it. Raises DeployError, which never holds any output of the command,
    when nothing is there.
    """
    kind, _, argument = reference.partition(":")
    readers: dict[str, Callable[[str, Path], str]] = {
        "generated": _generated,
        "env": _environment,
        "file": _file,
        "cmd": _command,
    }
    path = store / stack / setting
    secret = readers[kind](argument, path).strip("\n")
    if not secret:
        where = path if kind == "generated" else reference
        raise DeployError(f"{setting}: {where} is empty; expected the secret there")
    return secret


def is_at_hand(reference: str, setting: str, store: Path = STORE, stack: str = "") -> bool:
    """Return whether `resolve` would read a secret that is there already, and not generate one."""
    return reference != "generated" or (store / stack / setting).exists()


def new_file(secret: str) -> str:
    """Return where a secret is to be kept that was generated in this run, and was not kept yet; "" for any other."""
    return next((os.path.relpath(path, REPOSITORY) for path, new in _new.items() if new == secret), "")


def keep(secret: str) -> None:
    """Write a secret that was generated in this run to its file (mode 600), for the next runs; leave others alone."""
    for path in [path for path, new in _new.items() if new == secret]:
        path.parent.parent.mkdir(mode=0o700, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(secret + "\n")
        part.rename(path)
        del _new[path]


def _generated(_argument: str, path: Path) -> str:
    return path.read_text() if path.exists() else _new.setdefault(path, secrets.token_hex(24))


def _environment(name: str, path: Path) -> str:
    if name not in os.environ:
        raise DeployError(f"{path.name}: the environment variable {name} is not set; export it before running pyinfra")
    return os.environ[name]


def _file(name: str, path: Path) -> str:
    try:
        return Path(name).expanduser().read_text()
    except OSError as error:
        raise DeployError(f"{path.name}: {name} can't be read ({error.strerror})") from None


@functools.cache  # once in a run, however many hosts and models it is for: it may ask somebody, or take its time
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
