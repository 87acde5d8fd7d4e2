"""No secret is shown: a deploy with passwords is watched from its first plan to its last run.

The same one is that of the database, that by which a host of models logs in at the tracking server, and the key of
MLflow's permissions, which are on hosts, and that of a user of the proxy, which never leaves this machine except in a
login.

A deploy that shows its secret in every way we know proves that the watcher would have seen it.
"""

from __future__ import annotations

import base64
import http.client
import os
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import Lab
from lab.inventory import connection
from mlflow_stack.on_host.database import pgpass
from tests.e2e import web
from tests.e2e.leaks import HERE, Watcher
from tests.e2e.stack import DEPLOY_TIMEOUT_S, MODEL, REPOSITORY
from tests.e2e.topology import Topology

VARIABLE = "E2E_SECRET"
CANARY = f"canary{secrets.token_hex(8)}"
PASSFILE = "/etc/mlflow/credentials/pgpass"
# Where secrets that MLflow Stack generates are kept; here they are canaries too.
GENERATED = [REPOSITORY / ".secrets/leaks" / name for name in ("mlflow-production", "tracking-permissions")]
DROP_IN = "/run/systemd/system/mlflow-tracking.service.d"
PSQL = "runuser -u postgres -- psql -Xqc"
# What -v, -vv, --diff and --debug show, the longer ones show too.
VERBOSITIES = ("", "-vvv", "-vvv --diff --debug-all")
# Where a run breaks off, the host that is made to fail, how, and how it is mended.
FAILURES = {
    "where the database takes the password": (
        "db1",
        f"{PSQL} 'ALTER SYSTEM SET default_transaction_read_only = on' -c 'SELECT pg_reload_conf()'",
        f"{PSQL} 'ALTER SYSTEM RESET default_transaction_read_only' -c 'SELECT pg_reload_conf()'",
    ),
    "where the password is written": ("web1", f"rm {PASSFILE}; mkdir {PASSFILE}", f"rmdir {PASSFILE}"),
    "where the server starts with it": (
        "web1",
        f"mkdir -p {DROP_IN} && printf '[Service]\\nExecStartPre=/bin/false\\n' > {DROP_IN}/fail.conf",
        f"rm -r {DROP_IN}; systemctl daemon-reload",
    ),
}


class Deploys:
    """Deploys of one inventory, each named, whose output goes to the watcher. `statuses`: how each of them ended."""

    def __init__(self, stack: Topology, watcher: Watcher) -> None:
        self.stack, self.watcher = stack, watcher
        self.statuses: dict[str, int] = {}
        self.logins: list[int] = []
        self.rotations = 0

    def rotate(self) -> str:
        """Make the password another one: each holds the canary, and whatever has to be quoted somewhere."""
        self.rotations += 1
        os.environ[VARIABLE] = f"{CANARY}: p@ss'word\\with$everything-{self.rotations}"
        for file in GENERATED:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_text(f"{os.environ[VARIABLE]}\n")
        return os.environ[VARIABLE]

    def run(self, name: str, options: str, program: str = "pyinfra", **overrides: Any) -> None:
        arguments = [str(self.stack.inventory(**overrides)), *(["deploy.py"] if program == "pyinfra" else ["--json"])]
        command = [sys.executable, "-m", *program.split(), *arguments, *options.split()]
        done = subprocess.run(
            command,
            cwd=self.stack.repository,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=DEPLOY_TIMEOUT_S,
            check=False,
        )
        self.watcher.read(f"output of {name}", done.stdout + done.stderr)
        self.statuses[name] = done.returncode
        print(f"{name}: {done.returncode}")

    def story(self) -> None:
        self.rotate()
        self.run("plan of the first run", "--dry -vvv --diff")
        self.run("first run", "-y")
        self.train()
        self.run("run that releases a model", "-y")
        self.run("second run", "-y")
        for options in VERBOSITIES:
            self.rotate()
            self.run(f"plan of a rotation {options}".strip(), f"--dry {options}")
            self.run(f"rotation {options}".strip(), f"-y {options}")
        self.rotate()
        self.run("plan as JSON", "", program="mlflow_stack plan")
        self.run("operations", "--dry --debug-operations")
        for name, (host, fail, mend) in FAILURES.items():
            self.rotate()
            self.stack.hosts[host].run(fail)
            self.run(f"failure {name}", "-y -vvv --diff --debug", tracking_ready_timeout_s=10)
            self.stack.hosts[host].run(mend)
        self.rotate()
        self.stack.interrupt(f"grep -q -- -{self.rotations}$ {PASSFILE}")
        self.run("last run", "-y")
        self.logins = [self.log_in(os.environ[VARIABLE]), self.log_in(f"wrong {CANARY}")]

    def train(self) -> None:
        """Train a model as a user of the proxy."""
        authority = self.stack.directory / "ca.crt"
        authority.write_text(self.authority())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
            patch.setenv("MLFLOW_TRACKING_PASSWORD", os.environ[VARIABLE])
            patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority))
            self.stack.train()

    def authority(self) -> str:
        return web.get(f"http://{self.stack.hosts['web1'].address}/ca.crt").body

    def log_in(self, password: str) -> int:
        """Return the status of a request with this password, for what the proxy writes down of it."""
        host = self.stack.hosts["web1"]
        context = ssl.create_default_context(cadata=self.authority())
        connection = http.client.HTTPSConnection(host.address, context=context, timeout=20)
        login = base64.b64encode(f"admin:{password}".encode()).decode()
        connection.request("GET", "/version", headers={"Authorization": f"Basic {login}"})
        status = connection.getresponse().status
        connection.close()
        return status


@dataclass
class Watch:
    """What came of the watched deploys."""

    deploys: Deploys
    watcher: Watcher
    password: str
    credential: str = field(repr=False)


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """Directories of their own for what pyinfra, or anything that it starts, leaves on this machine."""
    directories = {"TMPDIR": tmp_path_factory.mktemp("tmp"), "HOME": tmp_path_factory.mktemp("home")}
    with pytest.MonkeyPatch.context() as patch:
        for variable, directory in directories.items():
            patch.setenv(variable, str(directory))
        patch.setenv(VARIABLE, CANARY)
        patch.setenv("NO_COLOR", "1")
        yield list(directories.values())


# --- the real deploy ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def watch(lab: Lab, controller: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Two fresh hosts, a tracking server with its proxy, and database and models, deployed to in every way there is."""
    hosts = {name: lab.up(name) for name in ("db1", "web1")}
    stack = Topology(tmp_path_factory.mktemp("watch"), hosts, tracking="web1", production="db1")
    apart = {"postgresql": ["db1"], "tracking": ["web1"], "production": ["db1"], "proxy": ["web1"]}
    stack.arrange(
        {"leaks": list(hosts), **apart},
        leaks={"inventory_stack": "leaks"},
        postgresql={"postgresql_password": f"env:{VARIABLE}"},
        production={"production_models": MODEL},
        proxy={"proxy_users": {"admin": f"env:{VARIABLE}"}, "tracking_permissions": True},
    )
    stack.url = f"https://{hosts['web1'].address}"
    begin = time.monotonic()
    with Watcher(list(hosts.values()), CANARY, [*controller, stack.directory]) as watcher:
        deploys = Deploys(stack, watcher)
        deploys.story()
        seconds = time.monotonic() - begin
        credential = hosts["web1"].run(f"cat {PASSFILE}").stdout
    print(f"{watcher.samples} samples in {seconds:.0f} s, the longest {watcher.longest_s:.2f} s after the one before")
    print(f"{len(watcher.findings)} findings; searched in {time.monotonic() - begin - seconds:.0f} s")
    yield Watch(deploys, watcher, os.environ[VARIABLE], credential)
    lab.down(*hosts)


def test_deploy_shows_its_secret_nowhere(watch: Watch) -> None:
    assert sorted(watch.watcher.findings) == []


def test_every_run_ended_as_it_was_to(watch: Watch) -> None:
    statuses = watch.deploys.statuses

    assert {name for name, status in statuses.items() if status} == {
        "plan as JSON",  # 2: there are changes
        *(f"failure {name}" for name in FAILURES),
    }
    assert statuses["plan as JSON"] == 2


def test_secret_was_rotated_and_arrived(watch: Watch) -> None:
    assert watch.deploys.rotations == len(VERBOSITIES) + len(FAILURES) + 3
    assert watch.credential == pgpass(watch.password)
    assert watch.deploys.logins == [200, 401]


def test_watcher_saw_the_secret_where_it_belongs(watch: Watch) -> None:
    assert watch.watcher.kept >= {
        f"web1: {PASSFILE} (600 root)",
        "web1: /run/mlflow-tracking/pgpass (600 mlflow)",
        "web1: /etc/mlflow/credentials/permissions-key (600 root)",
        "db1: /etc/mlflow/credentials/tracking-password (600 root)",
    }


def test_watcher_looked_again_and_again(watch: Watch) -> None:
    assert watch.watcher.samples > 20 * len(watch.deploys.statuses)


# --- a deploy that shows its secret -------------------------------------------------------------------------------

# A command, which finds the secret in $s (it came on standard input), and what the watcher says of it.
LEAKS = {
    "argument": ("sh -c 'sleep 1; exit' leak \"$s\"", "leaky: arguments: sh -c sleep 1; exit leak ***"),
    "environment": ('PGPASSWORD="$s" sleep 1', "leaky: environment of sleep: PGPASSWORD=***"),
    "file for a moment": ('echo "$s" > /tmp/leak; sleep 1; rm /tmp/leak', "leaky: /tmp/leak (644 root)"),
    "log": ('umask 077; echo "$s" > /var/log/leak.log', "leaky: /var/log/leak.log (600 root)"),
    "history": ('umask 077; echo "$s" > /root/.bash_history', "leaky: /root/.bash_history (600 root)"),
    "base64": ('echo "user:$s" | base64 -w 0 > /opt/leak', "leaky: /opt/leak (644 root)"),
    "secret file that is open for a moment": (
        'mkdir -p /etc/mlflow/credentials; echo "$s" > /etc/mlflow/credentials/a; sleep 1; '
        "chmod 600 /etc/mlflow/credentials/a",
        "leaky: /etc/mlflow/credentials/a (644 root)",
    ),
    "secret file that is open while it is empty": (
        "mkdir -p /etc/mlflow/credentials/.new; cd /etc/mlflow/credentials/.new; : > b; sleep 1; chmod 600 b; "
        'echo "$s" > b',
        "leaky: /etc/mlflow/credentials/.new/b (644 root)",
    ),
    "secret file of somebody else": (
        'umask 077; mkdir -p /etc/mlflow/credentials; echo "$s" > /etc/mlflow/credentials/c; '
        "chown nobody /etc/mlflow/credentials/c",
        "leaky: /etc/mlflow/credentials/c (600 nobody)",
    ),
    "journal": ('echo "$s" | logger --tag leak', "leaky: journal of leak: MESSAGE=***"),
    "unit": (
        'umask 077; printf "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStop=/bin/true\\n'
        'Environment=PASSWORD=%s\\n" "$s" > /etc/systemd/system/leak.service; '
        "systemctl daemon-reload; systemctl start leak",
        "leaky: systemctl show '*', as nobody: Environment=PASSWORD=***",
    ),
    "output": ('echo "$s"', "output of a leaky run: [leaky] ***"),
}
DEPLOY = """
import os, subprocess, tempfile
from pathlib import Path
from typing import Any
from pyinfra.operations import server

secret = os.environ[{variable!r}]
Path(tempfile.gettempdir(), "leak").write_text(secret)
subprocess.run(["sh", "-c", "sleep 1; exit", "leak here", secret])
for name, command in {commands!r}.items():
    server.shell(name=name, commands=[f"read -r s; {{command}}"], _stdin=secret + "\\n")
server.shell(name="command", commands=[f": {{secret}}"])
"""


@pytest.fixture(scope="module")
def leaky(lab: Lab, controller: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    host, directory = lab.up("leaky"), tmp_path_factory.mktemp("leaky")
    commands = {name: command for name, (command, _) in LEAKS.items()}
    (directory / "deploy.py").write_text(DEPLOY.format(variable=VARIABLE, commands=commands))
    (directory / "inventory.py").write_text(f"hosts = [({host.name!r}, {connection(host)!r})]\n")
    os.environ[VARIABLE] = CANARY
    with Watcher([host], CANARY, controller) as watcher:
        done = _pyinfra(directory)
        watcher.read("output of a leaky run", done.stdout + done.stderr)
    assert done.returncode == 0, done.stderr
    yield watcher
    lab.down(host.name)


def _pyinfra(directory: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pyinfra", "inventory.py", "deploy.py", "-y", "-vvv"]
    return subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, check=False)


@pytest.mark.parametrize("leak", LEAKS)
def test_watcher_sees_a_leak(leaky: Watcher, leak: str) -> None:
    _, message = LEAKS[leak]

    assert message in leaky.findings


def test_watcher_sees_a_secret_in_a_command(leaky: Watcher) -> None:
    logged = "deploy : PWD=/home/deploy ; USER=root ; COMMAND=/usr/bin/sh -c ': ***"

    assert f"leaky: journal of sudo: MESSAGE=  {logged}" in leaky.findings


def test_watcher_sees_leaks_on_this_machine(leaky: Watcher, controller: list[Path]) -> None:
    seen = {finding for finding in leaky.findings if finding.startswith(HERE)}

    assert seen == {
        f"{HERE}: arguments: sh -c sleep 1; exit leak here ***",
        f"{HERE}: {controller[0]}/leak (644 root)",
    }
