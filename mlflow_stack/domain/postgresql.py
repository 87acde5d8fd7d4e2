"""PostgreSQL: tuning, host-based authentication, password verifiers and SQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BEGIN = "# BEGIN MLflow Stack: written at each deploy; put lines of your own below END"
END = "# END MLflow Stack"
IDENT_MAP = "mlflow"

SCRAM_ITERATIONS = 4096  # PostgreSQL's own default


@dataclass(frozen=True)
class Cluster:
    """A server with our database in it: `role` owns that, `dump_role` may read it.

    `pem`: file of the server's own certificate, which it has to have loaded as its configuration; "" for none.
    """

    conf_dir: str
    unit: str
    port: int
    role: str
    dump_role: str
    database: str
    pem: str = ""


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


def hba_lines(database: str, role: str, dump_role: str, client_networks: Sequence[str]) -> list[str]:
    """Return our lines of pg_hba.conf: the Unix socket without a password, other hosts by TLS and SCRAM only.

    `dump_role` is for this host alone.
    """
    local = [f"local    {database}  {name}  peer  map={IDENT_MAP}" for name in (role, dump_role)]
    return [*local, *(f"hostssl  {database}  {role}  {network}  scram-sha-256" for network in client_networks)]


def ident_lines(role: str, role_user: str, dump_role: str) -> list[str]:
    """Return our lines of pg_ident.conf: `role_user` is the user of the system who is `role`.

    Who could be the superuser by the same socket, or by becoming that user, may be `dump_role`.
    """
    users = {role_user: role, "postgres": dump_role, "root": dump_role}
    return [f"{IDENT_MAP}  {user}  {name}" for user, name in users.items()]


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


RIGHTS = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


def ensure_sql(role: str, database: str, verifier: str | None) -> str:
    """Return SQL for psql after which a role without special rights owns a database that nobody else may connect to.

    It changes nothing that is so already, except the password, when a `verifier` is given. In UTF-8 whatever the
    cluster's locale is, since names may be anything. By default every role may connect to every database.
    """
    password = f" PASSWORD {literal(verifier)}" if verifier else ""
    create_database = literal(
        f"CREATE DATABASE {identifier(database)} OWNER {identifier(role)} TEMPLATE template0 "
        "ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
    )
    owner = f"(SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = {literal(database)})"
    return (
        # A failing statement must not reach the server's log with the verifier in it.
        "SET log_min_error_statement = 'panic';\n"
        f"{_create_role(role)}"
        f"ALTER ROLE {identifier(role)} {RIGHTS}{password};\n"
        f"SELECT {create_database} WHERE {owner} IS NULL \\gexec\n"
        f"DO $do$ BEGIN IF {owner} <> {literal(role)} THEN "
        f"RAISE 'database % belongs to role %', {literal(database)}, {owner}; END IF; END $do$;\n"
        f"REVOKE CONNECT, TEMPORARY ON DATABASE {identifier(database)} FROM PUBLIC;\n"
    )


def _create_role(role: str) -> str:
    create = literal(f"CREATE ROLE {identifier(role)}")
    return f"SELECT {create} WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(role)}) \\gexec\n"


def dump_role_sql(dump_role: str, role: str, database: str) -> str:
    """Return SQL for psql after which `dump_role` may read all that `role` has in the database, and change nothing.

    What `role` makes later is readable too, by its default privileges. Rights that were given to it beside are taken
    away, and so is the right of every role to make tables in the schema public, which PostgreSQL before 15 gives. The
    name pg_read_all_data would say it shorter, is missing before 14, and reads the tables of all databases.
    """
    reader, owner = identifier(dump_role), identifier(role)
    kinds = ("TABLES", "SEQUENCES")
    return (
        f"{_create_role(dump_role)}"
        f"ALTER ROLE {reader} {RIGHTS} PASSWORD NULL;\n"
        "SELECT format('REVOKE %I FROM %I', pg_get_userbyid(roleid), pg_get_userbyid(member)) FROM pg_auth_members "
        f"WHERE pg_get_userbyid(member) = {literal(dump_role)} \\gexec\n"
        f"GRANT CONNECT ON DATABASE {identifier(database)} TO {reader};\n"
        f"\\connect {identifier(database)}\n"
        f"GRANT USAGE, CREATE ON SCHEMA public TO {owner};\n"
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;\n"
        f"REVOKE ALL ON SCHEMA public FROM {reader};\n"
        f"GRANT USAGE ON SCHEMA public TO {reader};\n"
        + "".join(
            f"REVOKE ALL ON ALL {kind} IN SCHEMA public FROM {reader};\n"
            f"GRANT SELECT ON ALL {kind} IN SCHEMA public TO {reader};\n"
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON {kind} TO {reader};\n"
            for kind in kinds
        )
    )
