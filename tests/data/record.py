"""Record what every fact's command prints on a real host, before and after a deploy: `python -m tests.data.record`.

It makes a lab of its own, deploys to its one host, trains the example, deploys again, and removes the lab. The outputs
go to tests/data/debian-12/{fresh,deployed}/<Fact>.txt; the first line of each is the command, shortened.
Run it again when the command of a fact changes; the tests of facts and operations read these files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lab import Host, Lab
from mlflow_stack.domain import layout
from mlflow_stack.domain.certificates import HostCertificate
from mlflow_stack.domain.object_store import ObjectStore
from mlflow_stack.domain.permissions import wanted as wanted_permissions
from mlflow_stack.domain.postgresql import Cluster
from mlflow_stack.domain.tracking_server import TrackingServer
from mlflow_stack.facts import artifacts, certificates, conda, files, firewall, mlflow, postgresql, proxy, service
from mlflow_stack.facts import host as host_facts

REPOSITORY = Path(__file__).resolve().parents[2]
DIRECTORY = Path(__file__).resolve().parent / "debian-12"
LAB_ID = os.environ.get("LAB_ID", "mrecord")
NETWORK = os.environ.get("LAB_NET", "10.77.23")
COMMAND_LENGTH = 200
NO_ENVIRONMENT = "/opt/mlflow/envs/mlflow-none"

PREFIX = "/opt/mlflow/miniconda3"
PYTHON = f"{PREFIX}/bin/python"
READY = f"{PYTHON} -I {layout.LIBEXEC_DIR}/ready.py"
TRACKING_URI = "http://127.0.0.1:5000"
DATABASE_URI = "postgresql+psycopg2://mlflow_user@/mlflow_db?host=/var/run/postgresql&port=5432"
# The password of the one user of the proxy.
PASSWORD = "sesame"
LOGINS = f"{layout.CREDENTIALS_DIR}/logins"
WANTED = wanted_permissions(["admin"], ["admin"], {"fraud": {"admin": "READ"}}, {})
MODEL = {"diabetes": {"kind": "alias", "name": "diabetes", "reference": "champion"}}


def facts(environment: str) -> list[tuple[Any, dict[str, Any]]]:
    """Return each fact with the arguments that the roles give it on a host with everything."""
    return [
        (host_facts.Survey, {}),
        (
            host_facts.InstalledPackages,
            {"packages": ("ca-certificates", "curl", "nftables", "postgresql-15", "postgresql-client-15")},
        ),
        (
            host_facts.Layout,
            {
                "users": ("mlflow", "mlflow-model"),
                "directories": (layout.OPT_DIR, layout.CONFIG_DIR, layout.BACKUP_DIR),
            },
        ),
        (
            files.FileStates,
            {"paths": (f"{layout.CONFIG_DIR}/tracking.env", f"{layout.LIBEXEC_DIR}/fetch.sh", "/bin/sh")},
        ),
        (files.FileTexts, {"paths": (f"{layout.CONFIG_DIR}/tracking.env", "/etc/debian_version", "/bin/sh")}),
        (conda.Conda, {"prefix": PREFIX}),
        (conda.Environment, {"path": environment}),
        (conda.Environments, {}),
        (
            postgresql.Postgresql,
            {
                "cluster": Cluster(
                    conf_dir="/etc/postgresql/15/main",
                    unit="postgresql@15-main.service",
                    port=5432,
                    role="mlflow_user",
                    dump_role="mlflow_dump",
                    database="mlflow_db",
                )
            },
        ),
        (mlflow.Schema, {"python": f"{environment}/bin/python", "uri": DATABASE_URI, "passfile": ""}),
        # Both hosts are without permissions, where it prints nothing.
        (
            mlflow.Permissions,
            {"python": f"{environment}/bin/python", "uri": DATABASE_URI, "passfile": "", "wanted": WANTED},
        ),
        (mlflow.Models, {"python": PYTHON, "server": TrackingServer(TRACKING_URI), "wanted": json.dumps(MODEL)}),
        (
            service.Service,
            {
                "unit": "mlflow-tracking.service",
                # All of them, and in the role's order, or the digest is not the one that the unit was proved with.
                "files": (
                    f"{layout.CONFIG_DIR}/tracking.env",
                    f"{layout.UNIT_DIR}/mlflow-tracking.socket",
                    f"{layout.UNIT_DIR}/mlflow-tracking.service",
                ),
                "watched": (f"{environment}/{layout.MARKER}", layout.SUPERVISOR),
                "ready": f"READY_READ_ONLY=1 {READY} tracking {TRACKING_URI} --artifacts",
                "only_if": "",
            },
        ),
        (service.EnabledInstances, {"umbrella": "mlflow-production"}),
        (firewall.FirewallRemains, {}),
        (artifacts.ArtifactStore, {"directory": f"{layout.STATE_DIR}/artifacts"}),
        (artifacts.Artifacts, {"configuration": f"{layout.CONFIG_DIR}/tracking.env"}),
        # Both hosts are without an object store's client, where it prints nothing.
        (
            artifacts.StoreProblems,
            {"store": ObjectStore("s3://bucket/mlflow"), "environment": NO_ENVIRONMENT, "read_only": True},
        ),
        *PROXY_FACTS,
    ]


# Recorded last, since the proxy changes where the servers of a host listen.
CERTIFICATE = HostCertificate(layout.PROXY_TLS_DIR, layout.PROXY_AUTHORITY, ("mlflow.example.com", f"{NETWORK}.11"))
PROXY_FACTS: list[tuple[Any, dict[str, Any]]] = [
    (proxy.Logins, {"path": LOGINS}),
    (certificates.OwnCertificate, {"certificate": CERTIFICATE}),
    (certificates.OwnAuthority, {"certificate": CERTIFICATE}),
]


def record(host: Host, state: str) -> None:
    """Record all facts of a host below DIRECTORY/state."""
    environment = host.run(f"ls -d /opt/mlflow/envs/mlflow-* 2>/dev/null || echo {NO_ENVIRONMENT}").stdout.strip()
    record_facts(host, state, facts(environment), environment)
    # The one fact that asks for root itself, as a user that can't have it.
    survey = host_facts.Survey().command().get_raw_value()
    path = DIRECTORY / state / "Survey-without-sudo.txt"
    save(path, survey, host.run(survey, user="deploy-without-sudo").stdout)


def record_facts(host: Host, state: str, wanted: list[tuple[Any, dict[str, Any]]], environment: str) -> None:
    for fact, arguments in wanted:
        command = fact().command(**arguments).get_raw_value()
        path = DIRECTORY / state / f"{fact.__name__}.txt"
        save(path, command.replace(environment, NO_ENVIRONMENT), host.run(command).stdout)


def deploy_proxy() -> None:
    """Deploy once more, with a proxy on the same host."""
    settings = {
        "tracking_public_name": "mlflow.example.com",
        "proxy_users": {"admin": f"cmd:echo {PASSWORD}"},
        "tracking_bind": "",
        "production_bind": "",
    }
    inventory = (REPOSITORY / "inventory.py").read_text()
    with tempfile.NamedTemporaryFile("w", suffix=".py") as written:
        written.write(f"{inventory}\nfor _, _data in _hosts:\n    _data.update({settings!r})\nproxy = _hosts\n")
        written.flush()
        run("-m", "pyinfra", written.name, "deploy.py", "-y")


def save(path: Path, command: str, output: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{shortened(command)}\n{output}")


def shortened(command: str) -> str:
    """Return the first line of a recording: a command on one line, cut where it gets long."""
    line = " ".join(command.split())
    return line if len(line) <= COMMAND_LENGTH else f"{line[:COMMAND_LENGTH]} …"


def run(*arguments: str) -> None:
    """Run a program of this repository against the lab; raise CalledProcessError when it fails."""
    environment = {**os.environ, "LAB_ID": LAB_ID, "LAB_NET": NETWORK}
    subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, env=environment, check=True, timeout=1200)


def main() -> None:
    lab = Lab(LAB_ID, NETWORK)
    try:
        host = lab.up("mlflow1")
        host.run(
            "useradd -m deploy-without-sudo && cp -r ~deploy/.ssh ~deploy-without-sudo/ && "
            "chown -R deploy-without-sudo: ~deploy-without-sudo"
        )
        record(host, "fresh")
        run("-m", "pyinfra", "inventory.py", "deploy.py", "-y")
        run("examples/train_diabetes.py", "--tracking-uri", f"http://{host.address}:5000")
        run("-m", "pyinfra", "inventory.py", "deploy.py", "-y")
        record(host, "deployed")
        deploy_proxy()
        record_facts(host, "deployed", PROXY_FACTS, NO_ENVIRONMENT)
    finally:
        lab.down()


if __name__ == "__main__":
    main()
