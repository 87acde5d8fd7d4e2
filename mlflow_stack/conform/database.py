"""Checks of the database: of PostgreSQL, which only its own host can answer, and of one that others manage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from shlex import quote
from typing import Any

from mlflow_stack.conform.checks import DATABASE, FOREIGN_DATABASE, SERVED_DATABASE, Fault, Subject, Unknown, check
from mlflow_stack.domain import layout
from mlflow_stack.domain.database import as_tracking_user, passfile
from mlflow_stack.domain.environment import schema_revision
from mlflow_stack.domain.listening import is_loopback
from mlflow_stack.domain.postgresql import identifier, literal
from mlflow_stack.facts.postgresql import PSQL, dump_role_query
from mlflow_stack.roles.conda import mlflow_environment
from mlflow_stack.settings import Settings

LEFT_DAYS = 14
RELOAD = "take that out of the files of PostgreSQL (conf.d, pg_hba.conf), and reload it"
RIGHTS = ("super", "createdb", "createrole", "replication", "bypassrls")
# How pg_hba.conf lets somebody in who has shown nothing, or whose password anybody on the way can read.
UNPROVED = ("trust", "password", "ident")


def _psql(settings: Settings, query: str, database: str = "postgres") -> str:
    return f"cd /; {PSQL} -F ' ' -p {settings.postgresql.port} -d {database} -c {quote(query)}"


def _durable(settings: Settings) -> str:
    names = "('fsync', 'full_page_writes', 'synchronous_commit')"
    query = (
        f"SELECT name, setting FROM pg_settings WHERE name IN {names} UNION ALL "
        "SELECT split_part(one, '=', 1), split_part(one, '=', 2) FROM pg_db_role_setting, unnest(setconfig) AS one "
        f"WHERE split_part(one, '=', 1) IN {names}"
    )
    return f"cd /; {PSQL} -F ' ' -p {settings.postgresql.port} -c {quote(query)}"


@check("4.1", "What the database has confirmed is on the disk, also after a power cut", DATABASE, _durable)
def durable(subject: Subject) -> Iterator[Fault]:
    found = [line.partition(" ")[::2] for line in subject.lines("4.1")]
    if len(found) < 3:
        raise Unknown("the database does not say")
    for name, value in found:
        if value == "off":
            yield Fault(f"{name} is off", "on", f"take {name} out of the files of PostgreSQL, or reset it, and reload")


def _role(settings: Settings) -> str:
    columns = ", ".join(f"'{right}', rol{right}" for right in RIGHTS)
    members = "SELECT coalesce(json_agg(b.rolname), '[]') FROM pg_auth_members m JOIN pg_roles b ON b.oid = m.roleid"
    role = literal(settings.postgresql.role)
    return _psql(
        settings,
        f"SELECT json_build_object({columns}, 'of', ({members} WHERE m.member = r.oid)) FROM pg_roles r "
        f"WHERE rolname = {role}",
    )


@check("8.15", "The role of the tracking server has no rights but those of an owner", DATABASE, _role)
def role(subject: Subject) -> Iterator[Fault]:
    name = subject.settings.postgresql.role
    found = _json(subject.lines("8.15"), f"there is no role {name}")
    for right in RIGHTS:
        if found[right]:
            yield Fault(f"role {name} has {right}", f"no{right}")
    for other in found["of"]:
        yield Fault(
            f"role {name} has the rights of {other}", "of no other role", f"REVOKE {identifier(other)} FROM {name}"
        )


def _json(lines: list[str], nothing: str) -> Any:
    if not lines:
        raise Unknown(nothing)
    return json.loads("\n".join(lines))


def _connect(settings: Settings) -> str:
    database = literal(settings.postgresql.database)
    roles = "SELECT coalesce(json_agg(rolname), '[]') FROM pg_roles WHERE rolname <> pg_get_userbyid(datdba)"
    known = f"rolname <> {literal(settings.postgresql.dump_role)}"
    able = "has_database_privilege(oid, d.oid, 'CONNECT') AND NOT rolsuper AND rolname !~ '^pg_'"
    public = " OR ".join(f"has_database_privilege('public', oid, '{right}')" for right in ("CONNECT", "TEMPORARY"))
    return _psql(
        settings,
        f"SELECT json_build_object('owner', pg_get_userbyid(datdba), 'public', {public}, "
        f"'others', ({roles} AND {known} AND {able})) FROM pg_database d WHERE datname = {database}",
    )


@check("8.16", "No role but the owner and the one for dumps may connect to the database", DATABASE, _connect)
def connect(subject: Subject) -> Iterator[Fault]:
    wanted = subject.settings.postgresql
    found = _json(subject.lines("8.16"), f"there is no database {wanted.database}")
    if found["owner"] != wanted.role:
        remedy = f"ALTER DATABASE {wanted.database} OWNER TO {wanted.role}"
        yield Fault(f"the owner of {wanted.database} is {found['owner']}", wanted.role, remedy)
    if found["public"]:
        yield Fault(f"every role may connect to {wanted.database}", f"{wanted.role} alone")
        return
    for other in found["others"]:
        remedy = f"REVOKE CONNECT ON DATABASE {wanted.database} FROM {identifier(other)}"
        yield Fault(f"{other} may connect to {wanted.database}", f"{wanted.role} alone", remedy)


def _dump_role(settings: Settings) -> str:
    wanted = settings.postgresql
    return _psql(settings, dump_role_query(wanted.dump_role, wanted.role), wanted.database)


@check("8.24", "The role for dumps may read the database, and change nothing", DATABASE, _dump_role)
def dump_role(subject: Subject) -> Iterator[Fault]:
    name = subject.settings.postgresql.dump_role
    found = _json(subject.lines("8.24"), f"there is no role {name}")
    wrong = [
        *((right, f"has {right}") for right in RIGHTS),
        ("creates", "may create tables"),
        ("writes", "may change a table"),
        ("member", "has the rights of another role"),
        ("password", "has a password"),
    ]
    for right, what in wrong:
        if found[right]:
            yield Fault(f"role {name} {what}", "it may read", "run the deploy again")


def _rules(settings: Settings) -> str:
    rule = (
        "json_build_object('line', line_number, 'type', type, 'database', database, 'user', user_name, "
        "'address', address, 'method', auth_method, 'error', error)"
    )
    return _psql(settings, f"SELECT json_agg({rule} ORDER BY line_number) FROM pg_hba_file_rules")


@check("8.17", "PostgreSQL lets nobody into the database unproved, and other hosts by TLS alone", DATABASE, _rules)
def rules(subject: Subject) -> Iterator[Fault]:
    database = subject.settings.postgresql.database
    for rule in _json(subject.lines("8.17"), "pg_hba.conf has no rule"):
        where = f"line {rule['line']} of pg_hba.conf"
        # A line for TLS is no fault of a server that runs without (hba.c).
        if rule["error"]:
            if "record cannot match because" not in rule["error"]:
                yield Fault(f"{where}: {rule['error']}", "no error", RELOAD)
        elif {database, "all", "sameuser", "samerole"} & {*rule["database"]}:
            yield from _rule(rule, where)


def _rule(rule: dict[str, Any], where: str) -> Iterator[Fault]:
    if rule["method"] in UNPROVED:
        yield Fault(f"{where} lets {', '.join(rule['user'])} in by {rule['method']}", "peer, scram-sha-256", RELOAD)
    is_own = rule["type"] == "local" or is_loopback(rule["address"] or "") or rule["address"] == "samehost"
    if rule["type"] in ("host", "hostnossl") and not is_own and rule["method"] != "reject":
        yield Fault(f"{where} lets {rule['address']} in without TLS", "hostssl", RELOAD)


def _tls(settings: Settings) -> str:
    names = "('ssl', 'ssl_min_protocol_version', 'password_encryption')"
    query = f"SELECT name, setting FROM pg_settings WHERE name IN {names}"
    left = f"openssl x509 -in {quote(settings.postgresql_certificate.pem)} -noout -checkend {LEFT_DAYS * 86400}"
    return f"{_psql(settings, query)} || exit; {left} > /dev/null && echo 'left yes' || echo 'left no'"


@check("8.18", "The database is reached by TLS 1.2 or newer, with a certificate that lasts", SERVED_DATABASE, _tls)
def tls(subject: Subject) -> Iterator[Fault]:
    found = dict(line.split(" ", 1) for line in subject.lines("8.18"))
    expected = {"ssl": ("on",), "ssl_min_protocol_version": ("TLSv1.2", "TLSv1.3")}
    for name, values in {**expected, "password_encryption": ("scram-sha-256",)}.items():
        if found.get(name) not in values:
            yield Fault(f"{name} is {found.get(name, 'unknown')}", " or ".join(values))
    if found.get("left") != "yes":
        yield Fault(f"its certificate ends within {LEFT_DAYS} days", "one that is renewed 30 days before its end")


def _needs(settings: Settings) -> str:
    environment, uri = mlflow_environment(settings), settings.database_uri
    target = schema_revision(environment.requirements)
    program = f"{environment.path}/bin/python -I {layout.LIBEXEC_DIR}/schema.py needs {quote(uri)} {target}"
    return as_tracking_user(program, passfile(uri) if settings.database_needs_password else "")


@check("6.9", "A database of others is reached, and is as MLflow needs it", FOREIGN_DATABASE, _needs)
def needs(subject: Subject) -> Iterator[Fault]:
    for sentence in subject.lines("6.9"):
        yield Fault(sentence, "a database as docs/how-to/external-database.md says", "put that right there")


CHECKS = (durable, role, connect, dump_role, rules, tls, needs)
