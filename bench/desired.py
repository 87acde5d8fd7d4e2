"""What the other tools are asked to make: the end state of deploy.py, read from a host that deploy.py has made.

So both peers write the very bytes that we write, whatever our roles come to write, and the playbooks hold no copy.
What serves only our own way of working is left out, in their favour: the programs of our own that no unit runs, markers
and stamps, the unit of a model (there is none), directories that only those use.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from bench.end_state import URL
from lab import Host
from lab.inventory import settings
from mlflow_stack.domain.environment import schema_revision
from mlflow_stack.domain.postgresql import dump_role_sql
from mlflow_stack.setting_types import REPOSITORY

POSTGRESQL = "/etc/postgresql/15/main"
ENVIRONMENT_FILE, TRACKING_UNIT = "/etc/mlflow/tracking.env", "/etc/systemd/system/mlflow-tracking.service"
CONFIGURATION = (
    "/etc/mlflow/firewall.nft",
    "/etc/systemd/system/mlflow-firewall.service",
    "/opt/mlflow/libexec/accounts.py",
    "/opt/mlflow/libexec/ready.py",
    "/opt/mlflow/libexec/supervise.py",
    ENVIRONMENT_FILE,
    "/etc/systemd/system/mlflow-production.service",
    "/etc/systemd/system/mlflow-tracking.socket",
    TRACKING_UNIT,
)
DIRECTORIES = (
    "/opt/mlflow/cache",
    "/opt/mlflow/envs",
    "/opt/mlflow/libexec",
    "/opt/mlflow/tools",
    "/etc/mlflow",
    "/var/lib/mlflow",
    "/var/lib/mlflow/artifacts",
    "/var/lib/mlflow-models",
    "/var/backups/mlflow",
)
USERS = ("mlflow", "mlflow-model")
UNITS = ("mlflow-firewall.service", "mlflow-tracking.service", "mlflow-production.service")
PACKAGES = ("ca-certificates", "curl", "nftables", "postgresql-15", "postgresql-client-15")
ROLE, DUMP_ROLE, DATABASE = "mlflow_user", "mlflow_dump", "mlflow_db"
PREFIX, CACHE = "/opt/mlflow/miniconda3", "/opt/mlflow/cache"
CREATE_DATABASE = (
    f'CREATE DATABASE "{DATABASE}" OWNER "{ROLE}" TEMPLATE template0 '
    "ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
)
# Each line of the answer names something that need not be made any more.
DATABASE_QUERY = (
    f"SELECT 'role' FROM pg_roles WHERE rolname = '{ROLE}' "
    f"UNION ALL SELECT 'database' FROM pg_database WHERE datname = '{DATABASE}' "
    f"UNION ALL SELECT 'closed' FROM pg_database WHERE datname = '{DATABASE}' "
    "AND NOT has_database_privilege('public', oid, 'CONNECT') "
    f"UNION ALL SELECT 'dump_role' FROM pg_roles WHERE rolname = '{DUMP_ROLE}'"
)


def desired(host: Host, directory: Path) -> dict[str, Any]:
    """Return the variables of both peers; the files that they copy are put below `directory`, under their own paths."""
    return {
        "files": str(directory),
        "packages": list(PACKAGES),
        "users": [{"name": name, "home": _home(host, name)} for name in USERS],
        "directories": [_state(host, path) for path in DIRECTORIES],
        **_postgresql(host, directory),
        **_conda(host, directory),
        "configuration": [_file(host, path, directory) for path in CONFIGURATION],
        "units": list(UNITS),
        "url": URL,
    }


def _postgresql(host: Host, directory: Path) -> dict[str, Any]:
    paths = (f"{POSTGRESQL}/pg_hba.conf", f"{POSTGRESQL}/pg_ident.conf")
    blocks = {path: _block(_read(host, path)) for path in paths}
    begin, *_, end = blocks[paths[0]]
    return {
        "postgresql_unit": "postgresql.service",
        "tuning": _file(host, f"{POSTGRESQL}/conf.d/50-mlflow.conf", directory),
        "blocks": [{"path": path, "lines": "\n".join(lines[1:-1])} for path, lines in blocks.items()],
        "block_begin": begin.removeprefix("# "),
        "block_end": end.removeprefix("# "),
        "role": ROLE,
        "database": DATABASE,
        "database_query": DATABASE_QUERY,
        "create_database": CREATE_DATABASE,
        "dump_role": DUMP_ROLE,
        "create_dump_role": dump_role_sql(DUMP_ROLE, ROLE, DATABASE),
    }


def _conda(host: Host, directory: Path) -> dict[str, Any]:
    data, lock, uv_lock = (
        settings(host.lab),
        REPOSITORY / "locks" / "mlflow-py3.12.txt",
        REPOSITORY / "locks" / "uv.txt",
    )
    environment = _search(r"^ExecStart=(\S+)/bin/python", _read(host, TRACKING_UNIT))
    uri = _search(r'^MLFLOW_BACKEND_STORE_URI="?([^"\n]+)', _read(host, ENVIRONMENT_FILE))
    uv = "/opt/mlflow/tools/uv-" + _search(r"^uv==([^\s\\]+)", uv_lock.read_text())
    return {
        "conda_prefix": PREFIX,
        "cache": CACHE,
        "installer_url": data["conda_installer_url"].format(version=data["conda_installer_version"], arch="x86_64"),
        "installer_sha256": data["conda_installer_sha256"]["x86_64"],
        "condarc": _file(host, f"{PREFIX}/.condarc", directory),
        "environment_path": environment,
        "lock": str(lock),
        "uv_lock": str(uv_lock),
        "uv": uv,
        "build": _build(environment, uv, uri),
        "schema_revision": schema_revision(lock.read_text()),
    }


def _build(environment: str, uv: str, uri: str) -> dict[str, str]:
    """Return the commands that build the environment and the schema: the same programs and options as ours."""
    python, conda = f"{environment}/bin/python", f"{PREFIX}/bin/conda"
    pip = f"{python} -I -m pip install -q --no-input --require-hashes"
    variables = f"UV_CACHE_DIR={CACHE}/uv-root UV_LINK_MODE=hardlink UV_PYTHON_DOWNLOADS=never"
    uv_install = f"env {variables} {uv}/bin/uv pip install -q --python {python} --require-hashes"
    return {
        "create": f"{conda} create -y -q -p {environment} --override-channels -c conda-forge python=3.12 pip",
        "uv": f"{pip} --target {uv} -r {CACHE}/uv.txt",
        "install": f"{uv_install} -r {CACHE}/mlflow.txt",
        "compile": f"{python} -I -m compileall -qq -j 0 {environment}/lib",
        "schema": f"runuser -u mlflow -- env -C / {environment}/bin/mlflow db upgrade {shlex.quote(uri)}",
    }


def _search(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise ValueError(f"{pattern} is not in:\n{text}")
    return found[1]


def _read(host: Host, path: str) -> str:
    return host.run(f"cat {path}").stdout


def _home(host: Host, user: str) -> str:
    return host.run(f"getent passwd {user}").stdout.split(":")[5]


def _state(host: Host, path: str) -> dict[str, str]:
    mode, owner, group = host.run(f"stat -c '%a %U %G' {path}").stdout.split()
    return {"path": path, "mode": mode, "owner": owner, "group": group}


def _file(host: Host, path: str, directory: Path) -> dict[str, str]:
    copy = directory / path.lstrip("/")
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(_read(host, path))
    return _state(host, path)


def _block(text: str) -> list[str]:
    """Return the lines of our block, the marks included."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("# BEGIN MLflow Stack"))
    end = next(number for number, line in enumerate(lines) if line.startswith("# END MLflow Stack"))
    return lines[begin : end + 1]
