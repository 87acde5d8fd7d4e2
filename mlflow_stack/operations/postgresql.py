"""The PostgreSQL server, its role and its database."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Generator, Sequence
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack import secret_store
from mlflow_stack.domain import postgresql as pg
from mlflow_stack.domain.files import ManagedBlock, ManagedFile
from mlflow_stack.domain.postgresql import Cluster
from mlflow_stack.facts.postgresql import PSQL, Postgresql, PostgresqlState
from mlflow_stack.look import look, look_after_changes
from mlflow_stack.operations.commands import Sql, Write
from mlflow_stack.operations.refusal import refuse

Commands = Generator[StringCommand, None, None]
# Of configuration files: mode, owner, group.
OWNER = ("640", "postgres", "postgres")


@operation()
def server(
    cluster: Cluster,
    bin_dir: str,
    configuration: str,
    hba_lines: Sequence[str],
    ident_lines: Sequence[str],
) -> Commands:
    """Ensure that the server runs, starts at boot, and has loaded our settings and our lines of pg_hba and pg_ident.

    Only a drop-in file and a marked block are ours; everybody else's lines stay. The new drop-in is checked by the
    server program itself before it replaces the old one. A restart is made only when a setting asks for one.
    """
    state = look(Postgresql, cluster=cluster)
    files = _changed_files(state, cluster.conf_dir, bin_dir, configuration, hba_lines, ident_lines)
    if not files and state.enabled and _has_loaded_its_files(state):
        host.noop(f"{cluster.unit} runs with its present configuration")
        return
    for file in files:
        yield Write(file)
    yield StringCommand(_apply_command(cluster.unit, cluster.port))


def _has_loaded_its_files(state: PostgresqlState) -> bool:
    return bool(state.server) and not state.server["pending_restart"] and not state.server["stale"]


def _changed_files(
    state: PostgresqlState,
    conf_dir: str,
    bin_dir: str,
    configuration: str,
    hba_lines: Sequence[str],
    ident_lines: Sequence[str],
) -> list[ManagedFile | ManagedBlock]:
    # -C makes the server read its whole configuration; the drop-in is tried as the last file of it.
    check = (
        f'chmod 755 "$d"; runuser -u postgres -- {bin_dir}/postgres -C max_connections '
        f'-c config_file="$new" -D {quote(conf_dir)} > /dev/null'
    )
    drop_in = ManagedFile(f"{conf_dir}/conf.d/50-mlflow.conf", configuration, *OWNER, check=check)
    files: list[ManagedFile | ManagedBlock] = [drop_in] if state.files.get(drop_in.path) != drop_in.state() else []
    for name, text, lines in (("pg_hba.conf", state.hba, hba_lines), ("pg_ident.conf", state.ident, ident_lines)):
        block = ManagedBlock(f"{conf_dir}/{name}", tuple(lines), pg.BEGIN, pg.END, *OWNER)
        found = state.files.get(block.path)
        if block.text(text or "") != text or not found or (found.mode, found.owner, found.group) != OWNER:
            files.append(block)
    return files


def _apply_command(unit: str, port: int) -> str:
    """Return a command that makes the server use its files: start, reload, or restart when a setting needs it.

    Bad lines in pg_hba.conf are found before the reload, since the server would go on with the old ones in silence. A
    line for TLS is none of them: a server that runs without says that it can't match, and takes it (hba.c).
    """
    psql = f"{PSQL} -p {port}"
    return (
        f"set -e; systemctl unmask --quiet postgresql.service {unit}; "
        f"systemctl enable --quiet postgresql.service {unit}; systemctl start {unit}; "
        # A server that is up but does not answer on its port has not taken a changed port yet.
        f"echo 'SELECT 1' | {psql} > /dev/null 2>&1 || systemctl restart {unit}; "
        f"""bad=$(echo "SELECT 'line ' || line_number || ' ' || error FROM pg_hba_file_rules WHERE error > '' """
        f"""AND error NOT LIKE '%record cannot match because%'" """
        f"""| {psql}); if [ -n "$bad" ]; then echo "pg_hba.conf: $bad" >&2; exit 1; fi; """
        f"systemctl reload {unit}; now=$(date +%s.%N); "
        # A reload is a signal: the server takes it a moment later.
        f"""for i in $(seq 50); do [ "$(echo "SELECT extract(epoch FROM pg_conf_load_time()) > $now - 0.2" """
        f"""| {psql})" = t ] && break; sleep 0.1; done; """
        f"""if [ -n "$(echo "SELECT name FROM pg_settings WHERE pending_restart" | {psql})" ]; """
        f"then systemctl restart {unit}; fi; "
        f"echo 'SELECT 1' | {psql} > /dev/null"
    )


@operation()
def database(cluster: Cluster, password: str | None = None) -> Commands:
    """Ensure that a role without special rights owns a UTF-8 database that no other role may connect to.

    Nothing is ever dropped. The role has exactly the rights named here: more are taken away, which pyinfra's
    postgres.role can't do; and `password`, when given, is compared and sent as its SCRAM verifier on standard input,
    which pyinfra's puts on the command line and never finds unchanged. None leaves the password alone. One that was
    generated in this run never takes the place of another: that is what a checkout without its .secrets/ would do.
    """
    role, database = cluster.role, cluster.database
    state, new_file = look(Postgresql, cluster=cluster), secret_store.new_file(password or "")
    if new_file and not state.server:
        # A server that was down says only now whether the role has a password.
        state = look_after_changes(Postgresql, cluster=cluster)
    found_role, found_database = state.server.get("role"), state.server.get("database")
    if found_database and found_database["owner"] != role:
        yield from refuse(
            f"database {database} belongs to role {found_database['owner']!r}, expected {role!r}; set "
            "postgresql_database to another name, or hand it over with ALTER DATABASE … OWNER TO"
        )
        return
    if new_file and found_role and found_role["salt"]:
        yield from refuse(
            f"the password of role {role} was generated elsewhere; bring {new_file} of that checkout, or set "
            "postgresql_password to env:, file: or cmd:"
        )
        return
    verifier = _changed_verifier(found_role, password)
    is_private = found_database and not found_database["public_connect"]
    if found_role and not _has_wrong_rights(found_role) and is_private and not verifier:
        host.noop(f"role {role} and database {database} are as declared")
        return
    # All of it at once, whatever is missing: a server that is down or not there yet can't say what that is.
    sql = pg.ensure_sql(role, database, verifier)
    if host.state.is_executing:
        secret_store.keep(password or "")
    yield Sql(f"{PSQL} -p {cluster.port}", sql, shown=sql.replace(verifier, "***") if verifier else sql)


def _has_wrong_rights(role: dict[str, object]) -> bool:
    rights = ("super", "createdb", "createrole", "replication", "bypassrls")
    return any(role[right] for right in rights) or not role["login"]


def _changed_verifier(role: dict[str, str] | None, password: str | None) -> str | None:
    if password is None:
        return None
    if not role or not role["salt"]:
        return pg.scram_verifier(password)
    same_salt = pg.scram_verifier(password, base64.b64decode(role["salt"]), int(role["iterations"]))
    if hashlib.sha256(same_salt.encode()).hexdigest() == role["verifier_sha256"]:
        return None
    return pg.scram_verifier(password)


@operation()
def dump_role(cluster: Cluster) -> Commands:
    """Ensure that the role for dumps may read the whole database, now and later, and nothing else.

    It has no password: on the server's host root and the server's own user are it (pg_ident.conf).
    """
    state = look(Postgresql, cluster=cluster)
    found = state.server.get("dump_role")
    if found and _may_only_read(found):
        host.noop(f"role {cluster.dump_role} may read database {cluster.database}, and nothing else")
        return
    sql = pg.dump_role_sql(cluster.dump_role, cluster.role, cluster.database)
    yield Sql(f"{PSQL} -p {cluster.port}", sql, shown=sql)


def _may_only_read(found: dict[str, object]) -> bool:
    too_much = any(found[right] for right in ("password", "member", "creates", "writes"))
    return not _has_wrong_rights(found) and not too_much and all(found[r] for r in ("connects", "reads", "reads_new"))
