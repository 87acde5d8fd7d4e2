"""PostgreSQL: tuning, host-based authentication, password verifiers and SQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence

BEGIN = "# BEGIN MLflow Stack: written at each deploy; put lines of your own below END"
END = "# END MLflow Stack"
IDENT_MAP = "mlflow"

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


def tls(pem: str) -> dict[str, str]:
    """Return server settings for connections with the key and the certificate in one file (PostgreSQL, "SSL Setup")."""
    return {"ssl": "on", "ssl_cert_file": pem, "ssl_key_file": pem}


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


def ensure_sql(role: str, database: str, verifier: str | None) -> str:
    """Return SQL for psql after which a role without special rights owns a database that nobody else may connect to.

    It changes nothing that is so already, except the password, when a `verifier` is given. In UTF-8 whatever the
    cluster's locale is, since names may be anything. By default every role may connect to every database.
    """
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    password = f" PASSWORD {literal(verifier)}" if verifier else ""
    create_role = literal(f"CREATE ROLE {identifier(role)}")
    create_database = literal(
        f"CREATE DATABASE {identifier(database)} OWNER {identifier(role)} TEMPLATE template0 "
        "ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
    )
    owner = f"(SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = {literal(database)})"
    return (
        # A failing statement must not reach the server's log with the verifier in it.
        "SET log_min_error_statement = 'panic';\n"
        f"SELECT {create_role} WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(role)}) \\gexec\n"
        f"ALTER ROLE {identifier(role)} {rights}{password};\n"
        f"SELECT {create_database} WHERE {owner} IS NULL \\gexec\n"
        f"DO $do$ BEGIN IF {owner} <> {literal(role)} THEN "
        f"RAISE 'database % belongs to role %', {literal(database)}, {owner}; END IF; END $do$;\n"
        f"REVOKE CONNECT, TEMPORARY ON DATABASE {identifier(database)} FROM PUBLIC;\n"
    )
