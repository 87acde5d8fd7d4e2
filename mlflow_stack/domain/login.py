"""Logins of the proxy: the file that on_host/login.py reads, a line "AREA USER SALT HASH" for each."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from shlex import quote

from mlflow_stack.domain.files import FileState, parse_states, read_states_command

# Area and name of a user. The areas are "tracking" and, of each model, "models/NAME".
Login = tuple[str, str]
TRACKING_AREA = "tracking"

# The same as in on_host/login.py: 40 ms and 16 MiB for a guess (RFC 7914; OWASP's Password Storage Cheat Sheet).
_COST = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
_TITLE = "# Managed by MLflow Stack: area, user, salt and hash (scrypt) of each login."


def model_area(model: str) -> str:
    return f"models/{model}"


def read_logins_command(path: str) -> str:
    """Return a command that prints the state of a file of logins and the salts in it, never a hash."""
    return f"{read_states_command([path])}; sed -n '/^#/!{{s/ [^ ]*$//;s/^/salt /p}}' {quote(path)} 2>/dev/null || true"


def parse_logins(lines: Sequence[str]) -> tuple[FileState | None, dict[Login, bytes]]:
    """Parse the output of read_logins_command: the file's state, and the salt of each login."""
    salts = [line.split(" ")[1:] for line in lines if line.startswith("salt ")]
    states = parse_states([line for line in lines if not line.startswith("salt ")])
    return next(iter(states.values()), None), {(area, user): bytes.fromhex(salt) for area, user, salt in salts}


def logins_text(passwords: Mapping[Login, str], salts: Mapping[Login, bytes]) -> str:
    """Return the file for these logins; each has a salt."""
    logins = sorted(passwords)
    with ThreadPoolExecutor() as executor:  # hashing leaves the interpreter free
        hashes = executor.map(lambda login: _hash(passwords[login], salts[login]), logins)
    lines = [
        f"{area} {user} {salts[area, user].hex()} {hash_}" for (area, user), hash_ in zip(logins, hashes, strict=True)
    ]
    return "\n".join([_TITLE, *lines, ""])


@functools.lru_cache(maxsize=1024)  # an operation is asked more than once in a run
def _hash(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, **_COST).hex()
