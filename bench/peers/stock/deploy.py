"""The end state of deploy.py, with no model, in pyinfra's own operations. Its data are what bench/desired.py returns.

Written as pyinfra's documentation teaches: an operation per resource, `_if` for what follows from a change, a fact
before what is built once. The guards of a block are one fact each, so that a second run does not ask seven times.
"""

from shlex import quote

from pyinfra.context import host
from pyinfra.facts.files import File
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, postgres, server, systemd
from pyinfra.operations.util import any_changed

data = host.data

apt.packages(name="Install packages", packages=data.packages, update=True, cache_time=86400, no_recommends=True)

for user in data.users:
    server.user(  # noqa: S604  # the shell is the user's
        name=f"Create user {user['name']}",
        user=user["name"],
        home=user["home"],
        shell="/usr/sbin/nologin",
        system=True,
        ensure_home=False,
    )

for item in data.directories:
    files.directory(
        name=f"Create {item['path']}", path=item["path"], mode=item["mode"], user=item["owner"], group=item["group"]
    )


def put(item: dict[str, str]):  # type: ignore[no-untyped-def]  # pyinfra's OperationMeta
    """Ensure a file of desired.py with its mode and owner."""
    return files.put(
        name=f"Write {item['path']}",
        src=f"{data.files}{item['path']}",
        dest=item["path"],
        mode=item["mode"],
        user=item["owner"],
        group=item["group"],
    )


# --- PostgreSQL ---

tuned = put(data.tuning)
blocks = [
    files.block(
        name=f"Let the server's user in by the Unix socket ({item['path']})",
        path=item["path"],
        content=item["lines"].splitlines(),
        before=True,
        after=True,  # both: at the beginning of the file
        marker="# {mark}",
        begin=data.block_begin,
        end=data.block_end,
    )
    for item in data.blocks
]
systemd.service(name="Restart PostgreSQL", service=data.postgresql_unit, restarted=True, _if=any_changed(tuned))
systemd.service(name="Reload PostgreSQL", service=data.postgresql_unit, reloaded=True, _if=any_changed(*blocks))
systemd.service(name="Run PostgreSQL", service=data.postgresql_unit, running=True, enabled=True)
postgres.role(name="Create the role", role=data.role, _sudo_user="postgres")
created = postgres.database(
    name="Create the database",
    database=data.database,
    owner=data.role,
    template="template0",
    encoding="UTF8",
    lc_collate="C.UTF-8",
    lc_ctype="C.UTF-8",
    _sudo_user="postgres",
)
postgres.sql(
    name="Close the database to other roles",
    sql=f'REVOKE CONNECT, TEMPORARY ON DATABASE "{data.database}" FROM PUBLIC',
    _sudo_user="postgres",
    _if=any_changed(created),
)
dump_role = postgres.role(name="Create the role for dumps", role=data.dump_role, _sudo_user="postgres")
server.shell(
    name="Let the role for dumps read the database",
    commands=[f"printf %s {quote(data.create_dump_role)} | psql -Xq -v ON_ERROR_STOP=1 -d postgres"],
    _sudo_user="postgres",
    _if=any_changed(dump_role),
)

# --- Miniconda and the environment ---

if not host.get_fact(File, path=f"{data.conda_prefix}/bin/conda"):
    files.download(
        name="Download the installer",
        src=data.installer_url,
        dest=f"{data.cache}/miniconda.sh",
        sha256sum=data.installer_sha256,
    )
    server.shell(name="Install Miniconda", commands=[f"bash {data.cache}/miniconda.sh -b -p {data.conda_prefix}"])

put(data.condarc)

if not host.get_fact(File, path=f"{data.environment_path}/bin/mlflow"):
    files.put(name="Copy the lock of uv", src=data.uv_lock, dest=f"{data.cache}/uv.txt")
    files.put(name="Copy the lock of MLflow", src=data.lock, dest=f"{data.cache}/mlflow.txt")
    build = data.build
    server.shell(
        name="Build the environment",
        commands=[build["create"], build["uv"], build["install"], f"{build['compile']} || true"],
    )

# --- MLflow ---


def says(command: str, expected: str) -> bool:
    """Return whether a command on the host prints `expected` now."""
    return (host.get_fact(Command, command=f"{command} 2> /dev/null || true") or "").strip() == expected


revision = f"runuser -u postgres -- psql -XAtq -d {data.database} -c 'SELECT version_num FROM alembic_version'"
server.shell(
    name="Bring the schema up to date",
    commands=[data.build["schema"]],
    _if=lambda: not says(revision, data.schema_revision),
)

written = [put(item) for item in data.configuration]
systemd.daemon_reload(name="Load the units", _if=any_changed(*written))
for unit in data.units:
    # In this order: the other one would start a server and then start it again.
    systemd.service(name=f"Restart {unit}", service=unit, restarted=True, _if=any_changed(*written))
    systemd.service(name=f"Run {unit}", service=unit, running=True, enabled=True)

ask = f"curl -sf -o /dev/null -H 'Content-Type: application/json' -d '{{\"max_results\": 1}}' {data.url}"
server.shell(
    name="Wait until the server answers",
    commands=[f"for i in $(seq 240); do {ask} && exit 0; sleep 0.5; done; exit 1"],
    _if=lambda: not says(f"{ask} && echo yes", "yes"),
)
