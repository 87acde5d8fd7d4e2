"""The tracking server's configuration: the hosts it answers for, and its environment file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote

from mlflow_stack.domain import layout

PASSFILE = f"{layout.CREDENTIALS_DIR}/pgpass"


# What libpq is told to be sure of the database's server: encrypted, and it is the one (libpq, "SSL Support").
VERIFIED = f"sslmode=verify-full&sslrootcert={layout.DATABASE_CA_FILE}"


def verified(uri: str) -> str:
    """Return a SQLAlchemy URI with what is missing of VERIFIED."""
    missing = [each for each in VERIFIED.split("&") if f"{each.partition('=')[0]}=" not in uri]
    return "&".join([uri if "?" in uri else f"{uri}?", *missing]).replace("?&", "?")


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


def pgpass(password: str) -> str:
    """Return a libpq password file that gives `password` to any server (the URI names the only one)."""
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def as_tracking_user(command: str, passfile: str) -> str:
    """Return a command that runs `command` as the tracking server's user, with the database password if there is one.

    The password file is root's alone; systemd hands it over, so it is neither in an argument nor in an environment.
    libpq wants a file that its user alone may read, and since systemd 254 a credential's mode says otherwise (systemd
    issue 29096): the user makes a copy in a directory that goes when the command ends. A plan and a run may be there at
    the same time, so each shell ($$) has a directory of its own.
    """
    if not passfile:
        return f"runuser -u {layout.TRACKING_USER} -- env -C / {command}"
    own = "$RUNTIME_DIRECTORY/pgpass"
    script = f"install --mode=600 $CREDENTIALS_DIRECTORY/pgpass {own}; PGPASSFILE={own} exec {command}"
    return (
        f"systemd-run --quiet --wait --pipe --collect -p User={layout.TRACKING_USER} "
        f"-p LoadCredential=pgpass:{passfile} -p PrivateMounts=yes "
        f"-p RuntimeDirectory=mlflow-stack-$$ -p RuntimeDirectoryMode=0700 sh -c {quote(script)}"
    )


def libpq_uri(uri: str) -> str:
    """Return a SQLAlchemy URI as PostgreSQL's own programs read it."""
    return uri.replace("postgresql+psycopg2://", "postgresql://", 1)
