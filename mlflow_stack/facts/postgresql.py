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
from mlflow_stack.domain.postgresql import literal

PSQL = "runuser -u postgres -- psql -X -A -t -q -v ON_ERROR_STOP=1 -d postgres"
_CUT = "----8<----"


@dataclass(frozen=True)
class PostgresqlState:
    """`files`: mode, owner and checksum of our drop-in, pg_hba.conf and pg_ident.conf, by path. `hba`, `ident`: the
    texts of the latter two, None when absent. `server`: what the running server says, {} when it is down.

    `server` has: role (attributes, and of its password's verifier only salt, iterations and SHA-256), database (owner,
    encoding, public_connect), pending_restart (settings), stale (True: a configuration file, or the certificate, is
    newer than what the server has loaded).
    """

    files: Mapping[str, FileState] = field(default_factory=dict)
    hba: str | None = None
    ident: str | None = None
    enabled: bool = False
    server: dict[str, Any] = field(default_factory=dict)


class Postgresql(FactBase[PostgresqlState]):
    """The cluster whose configuration is in `conf_dir`, with our role and database."""

    default = PostgresqlState

    def command(self, conf_dir: str, unit: str, port: int, role: str, database: str, pem: str = "") -> StringCommand:
        files = [f"{conf_dir}/conf.d/50-mlflow.conf", f"{conf_dir}/pg_hba.conf", f"{conf_dir}/pg_ident.conf"]
        newest = " ".join(quote(file) for file in [*files, *([pem] if pem else [])])
        # awk 1: as cat, but with a newline at the end, since another section follows.
        return StringCommand(
            f"{read_states_command(files)}; echo '{_CUT}'; "
            f"awk 1 {quote(files[1])} 2>/dev/null; echo '{_CUT}'; awk 1 {quote(files[2])} 2>/dev/null; echo '{_CUT}'; "
            f"systemctl is-enabled {quote(unit)} 2>/dev/null; echo '{_CUT}'; "
            f"newest=$(stat -c %.Y {newest} 2>/dev/null | sort -n | tail -n 1); "
            f'echo {quote(_server_query(role, database))} | sed "s/@newest@/${{newest:-0}}/" | '
            f"{PSQL} -p {port} 2>/dev/null; true"
        )

    def process(self, output: list[str]) -> PostgresqlState:
        states, hba, ident, enabled, server = _sections(output)
        return PostgresqlState(
            files=parse_states(states),
            hba="".join(f"{line}\n" for line in hba) or None,
            ident="".join(f"{line}\n" for line in ident) or None,
            enabled="enabled" in enabled or "enabled-runtime" in enabled,
            server=json.loads("\n".join(server)) if server else {},
        )


def _sections(output: list[str]) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in output:
        if line == _CUT:
            sections.append([])
        else:
            sections[-1].append(line)
    return sections + [[] for _ in range(5 - len(sections))]


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
  'stale', @newest@ > extract(epoch FROM pg_conf_load_time()))
""".replace("\n", " ")
