"""What a deployed host is, whoever made it: the benchmark holds every tool to the same lines."""

from __future__ import annotations

from typing import Any

from lab import Host

URL = "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search"
ASK = f"""curl -s -o /dev/null -H 'Content-Type: application/json' -d '{{"max_results": 1}}' {URL}"""
ANSWERS = f"[ $({ASK} -w '%{{http_code}}') = 200 ]"


def end_state(host: Host, wanted: dict[str, Any]) -> list[str]:
    """Return what was asked for (desired.py) as it is on a host; CommandFailed when something is not there at all."""
    script = "; ".join(["set -e", *_system(wanted), *_database(wanted), *_environment(wanted), *_services(wanted)])
    return host.run(script).stdout.splitlines()


def _system(wanted: dict[str, Any]) -> list[str]:
    files = " ".join(file["path"] for file in [wanted["tuning"], wanted["condarc"], *wanted["configuration"]])
    users = " ".join(user["name"] for user in wanted["users"])
    return [
        f"dpkg-query -W -f='${{Package}} ${{Version}} ${{db:Status-Status}}\\n' {' '.join(wanted['packages'])}",
        f"getent passwd {users} | cut -d: -f1,6,7",
        f"stat -c '%n %a %U %G' {files} {' '.join(item['path'] for item in wanted['directories'])}",
        f"sha256sum {files} {' '.join(block['path'] for block in wanted['blocks'])}",
    ]


def _database(wanted: dict[str, Any]) -> list[str]:
    role, dump_role, database = wanted["role"], wanted["dump_role"], wanted["database"]
    psql = "runuser -u postgres -- psql -XAtq"
    rights = "rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
    return [
        f"""{psql} -c "SELECT name, setting FROM pg_settings WHERE sourcefile LIKE '%mlflow%' ORDER BY name" """
        f"""-c "SELECT rolname, {rights} FROM pg_roles WHERE rolname IN ('{role}', '{dump_role}') ORDER BY 1" """
        f"""-c "SELECT pg_get_userbyid(datdba), encoding, datcollate, datctype, datacl FROM pg_database """
        f"""WHERE datname = '{database}'" """,
        f"{psql} -d {database} -c 'SELECT version_num FROM alembic_version' "
        f"""-c "SELECT tablename, tableowner, has_table_privilege('{dump_role}', tablename, 'SELECT') FROM pg_tables """
        """WHERE schemaname = 'public' ORDER BY 1" """,
    ]


def _environment(wanted: dict[str, Any]) -> list[str]:
    path = wanted["environment_path"]
    return [
        f"echo packages $({path}/bin/python -I -m pip list --format freeze | sha256sum)",
        f"echo compiled files $(find {path}/lib -name '*.pyc' | wc -l)",
    ]


def _services(wanted: dict[str, Any]) -> list[str]:
    units = " ".join([wanted["postgresql_unit"], *wanted["units"]])
    return [
        f"for u in {units}; do echo $u $(systemctl is-enabled $u) $(systemctl is-active $u); done",
        "nft -s list table inet mlflow_stack",
        "systemctl is-active 'postgresql@*'",  # the cluster; postgresql.service is only the umbrella
        f"{ASK} -w 'HTTP %{{http_code}}\\n'",
    ]
