"""The tracking server's configuration: the hosts it answers for, and its environment file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def allowed_hosts(names: Sequence[str]) -> list[str]:
    """Return the Host headers that the server accepts: those for `names`.

    MLflow's own list is replaced, not extended, and "X:*" does not match a bare "X" (mlflow.md 1.3).
    """
    return [pattern for name in dict.fromkeys(names) for pattern in (name, f"{name}:*")]


def allowed_origins(names: Sequence[str], port: int) -> list[str]:
    """Return the Origin headers that the server accepts; browsers send one with the UI's own POSTs.

    The first of `names`, which users type, may stand for a proxy with TLS too.
    """
    return [f"http://{name}:{port}" for name in dict.fromkeys(names)] + [f"https://{names[0]}"]


def environment_file(variables: Mapping[str, str]) -> str:
    """Return the text of a systemd EnvironmentFile; values are quoted, so that any character arrives as it is."""
    lines = ["# Managed by MLflow Stack (mlflow_stack/roles); changes are overwritten."]
    for name, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`")
        lines.append(f'{name}="{escaped}"')
    return "\n".join([*lines, ""])
