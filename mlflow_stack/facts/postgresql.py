"""Facts about PostgreSQL: the whole server in one command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain.files import FileState, parse_states, read_states_command
from mlflow_stack.domain.postgresql import Cluster, identifier, literal

PSQL = "runuser -u postgres -- psql -X -A -t -q -v ON_ERROR_STOP=1 -d postgres"
_CUT = "----8<----"


@dataclass(frozen=True)
class PostgresqlState:
    """`files`: mode, owner and checksum of our drop-in, pg_hba.conf and pg_ident.conf, by path. `hba`, `ident`: the
    texts of the latter two, None when absent. `server`: what the running server says, {} when it is down.

    `server` has: role (attributes, and of its password's verifier only salt, iterations and SHA-256), database (owner,
    encoding, public_connect), pending_restart (settings), stale (True: a configuration file, or the certificate, is
    newer than what the server has loaded), and, when both are there, dump_role (attributes, and its rights in the
    database).
    """

    files: Mapping[str, FileState] = field(default_factory=dict)
    hba: str | None = None
    ident: str | None = None
    enabled: bool = False
    server: dict[str, Any] = field(default_factory=dict)


class Postgresql(FactBase[PostgresqlState]):
    """A cluster's files and server, with our database and its roles."""

    default = PostgresqlState

    def command(self, cluster: Cluster) -> StringCommand:
        files = [f"{cluster.conf_dir}/{name}" for name in ("conf.d/50-mlflow.conf", "pg_hba.conf", "pg_ident.conf")]
        newest = " ".join(quote(file) for file in [*files, *([cluster.pem] if cluster.pem else [])])
        # awk 1: as cat, but with a newline at the end, since another section follows.
        return StringCommand(
            f"{read_states_command(files)}; echo '{_CUT}'; "
            f"awk 1 {quote(files[1])} 2>/dev/null; echo '{_CUT}'; awk 1 {quote(files[2])} 2>/dev/null; echo '{_CUT}'; "
            f"systemctl is-enabled {quote(cluster.unit)} 2>/dev/null; echo '{_CUT}'; "
            f"newest=$(stat -c %.Y {newest} 2>/dev/null | sort -n | tail -n 1); "
            f'printf "%s\\n" {quote(_query(cluster))} | sed "s/@newest@/${{newest:-0}}/" | '
            f"{PSQL} -p {cluster.port} 2>/dev/null; true"
        )

    def process(self, output: list[str]) -> PostgresqlState:
        states, hba, ident, enabled, server = _sections(output)
        return PostgresqlState(
            files=parse_states(states),
            hba="".join(f"{line}\n" for line in hba) or None,
            ident="".join(f"{line}\n" for line in ident) or None,
            enabled="enabled" in enabled or "enabled-runtime" in enabled,
            server=_answers(server),
        )


def _answers(lines: list[str]) -> dict[str, Any]:
    """Return what the server says of itself and, where it has the database, of the rights there."""
    server, *rights = map(json.loads, lines or ["{}"])
    return {**server, "dump_role": rights[0]} if rights else dict(server)


def _sections(output: list[str]) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in output:
        if line == _CUT:
            sections.append([])
        else:
            sections[-1].append(line)
    return sections + [[] for _ in range(5 - len(sections))]


def _query(cluster: Cluster) -> str:
    """Return a script for psql; rights on tables are told by the database that has them alone."""
    database = cluster.database
    return (
        f"{_server_query(cluster.role, database)}\n"
        f"SELECT EXISTS (SELECT FROM pg_database WHERE datname = {literal(database)}) AS there \\gset\n"
        f"\\if :there\n\\connect {identifier(database)}\n{dump_role_query(cluster.dump_role, cluster.role)}\n\\endif"
    )


def _server_query(role: str, database: str) -> str:
    # pg_conf_load_time() is the moment of the last reload.
    return f"""
SELECT json_build_object(
  'role', (SELECT json_build_object('super', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole,
      'login', rolcanlogin, 'replication', rolreplication, 'bypassrls', rolbypassrls,
      'iterations', substring(rolpassword from 'SCRAM-SHA-256.([0-9]+):'),
      'salt', substring(rolpassword from 'SCRAM-SHA-256.[0-9]+:([^$]+)'),
      'verifier_sha256', encode(sha256(convert_to(rolpassword, 'UTF8')), 'hex'))
    FROM pg_authid WHERE rolname = {literal(role)}),
  'database', (SELECT json_build_object('owner', pg_get_userbyid(datdba), 'encoding', pg_encoding_to_char(encoding),
      'public_connect', has_database_privilege('public', oid, 'CONNECT'))
    FROM pg_database WHERE datname = {literal(database)}),
  'pending_restart', (SELECT coalesce(json_agg(name), '[]') FROM pg_settings WHERE pending_restart),
  'stale', @newest@ > extract(epoch FROM pg_conf_load_time()));
""".replace("\n", " ")


def dump_role_query(dump_role: str, role: str) -> str:
    """Return SQL that says, in JSON, what the role for dumps may do in the database in which it is asked."""
    # A new table gets its rights from pg_default_acl: one line there for tables, one for sequences.
    return f"""
SELECT json_build_object('super', rolsuper, 'createdb', rolcreatedb, 'createrole', rolcreaterole,
  'login', rolcanlogin, 'replication', rolreplication, 'bypassrls', rolbypassrls,
  'password', rolpassword IS NOT NULL, 'member', EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid),
  'connects', has_database_privilege(oid, current_database(), 'CONNECT'),
  'creates', has_schema_privilege(oid, 'public', 'CREATE'),
  'reads', NOT EXISTS (SELECT FROM pg_class c WHERE relnamespace = 'public'::regnamespace
    AND relkind IN ('r', 'p', 'v', 'm', 'S') AND NOT has_table_privilege(r.oid, c.oid, 'SELECT')),
  'writes', EXISTS (SELECT FROM pg_class c WHERE relnamespace = 'public'::regnamespace
    AND relkind IN ('r', 'p', 'v', 'm', 'S')
    AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')),
  'reads_new', 2 = (SELECT count(*) FROM pg_default_acl, aclexplode(defaclacl)
    WHERE grantee = r.oid AND privilege_type = 'SELECT' AND defaclnamespace = 'public'::regnamespace
    AND pg_get_userbyid(defaclrole) = {literal(role)}))
FROM pg_authid r WHERE rolname = {literal(dump_role)};
""".replace("\n", " ")
