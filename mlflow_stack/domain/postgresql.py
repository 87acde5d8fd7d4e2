"""PostgreSQL: tuning, host-based authentication, password verifiers and SQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping, Sequence

BEGIN = "# BEGIN MLflow Stack: written at each deploy; put lines of your own below END"
END = "# END MLflow Stack"
IDENT_MAP = "mlflow"
_BLOCK = re.compile(rf"{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)

SCRAM_ITERATIONS = 4096  # PostgreSQL's own default


def tuning(memory_mib: int, memory_share: float, max_connections: int) -> dict[str, str]:
    """Return server settings for a host with `memory_mib` of memory.

    The rules are pgtune's for web applications (pgtune.leopard.in.ua), with our own share for shared_buffers: MLflow
    usually lives on the same host. Sizes are whole MiB, so that equal hosts give equal files.
    """
    # A kernel update moves the memory by some MiB, which is no reason to restart a database.
    memory_mib = memory_mib // 256 * 256
    shared_buffers = max(128, round(memory_mib * memory_share))
    work_mem = max(4, (memory_mib // 2 - shared_buffers) // (max_connections * 3))
    return {
        "max_connections": str(max_connections),
        "shared_buffers": f"{shared_buffers}MB",
        "effective_cache_size": f"{max(256, memory_mib // 2)}MB",
        "maintenance_work_mem": f"{min(2048, max(64, memory_mib // 16))}MB",
        "work_mem": f"{work_mem}MB",
        "min_wal_size": "256MB",
        "max_wal_size": "2GB",
        "checkpoint_completion_target": "0.9",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "password_encryption": "scram-sha-256",
        "ssl_min_protocol_version": "TLSv1.2",
    }


def configuration(settings: Mapping[str, str]) -> str:
    """Return the text of conf.d/50-mlflow.conf."""
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    return "\n".join(
        ["# Managed by MLflow Stack (mlflow_stack/domain/postgresql.py); changes are overwritten.", *lines, ""]
    )


def hba_lines(database: str, role: str, client_networks: Sequence[str]) -> list[str]:
    """Return our lines of pg_hba.conf: the Unix socket without a password, other hosts by TLS and SCRAM only."""
    local = f"local    {database}  {role}  peer  map={IDENT_MAP}"
    return [local, *(f"hostssl  {database}  {role}  {network}  scram-sha-256" for network in client_networks)]


def with_block(text: str, lines: Sequence[str]) -> str:
    """Return a file with our block in front of everybody else's lines, which stay as they are.

    pg_hba.conf and pg_ident.conf take the first line that matches, so ours have to come first.
    """
    block = "\n".join([BEGIN, *lines, END, ""])
    return block + _BLOCK.sub("", text)


def literal(value: str) -> str:
    """Quote a string for SQL."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def scram_verifier(password: str, salt: bytes | None = None, iterations: int = SCRAM_ITERATIONS) -> str:
    """Return what PostgreSQL stores for a password (RFC 5802), so that the password itself is never sent.

    The same salt gives the same verifier, which is how a password on a host is compared with a wanted one.
    """
    salt = salt if salt is not None else os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{parts[0]}${parts[1]}:{parts[2]}"


def role_sql(role: str, exists: bool, verifier: str | None) -> str:
    """Return SQL that creates a role, or takes every right from it that it should not have."""
    verb = "ALTER" if exists else "CREATE"
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    password = f" PASSWORD {literal(verifier)}" if verifier else ""
    # A failing statement must not reach the server's log with the verifier in it.
    return f"SET log_min_error_statement = 'panic';\n{verb} ROLE {identifier(role)} {rights}{password};\n"


def database_sql(database: str, owner: str) -> str:
    """Return SQL that creates a database; in UTF-8 whatever the cluster's locale is, since names may be anything."""
    return (
        f"CREATE DATABASE {identifier(database)} OWNER {identifier(owner)} TEMPLATE template0 "
        "ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';\n"
    )


def revoke_sql(database: str) -> str:
    """Return SQL that keeps every other role out of a database; by default each role may connect to each database."""
    return f"REVOKE CONNECT, TEMPORARY ON DATABASE {identifier(database)} FROM PUBLIC;\n"
