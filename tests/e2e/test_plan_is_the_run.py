"""The plan is the run: what a plan lists is compared with what the host's own SSH server was then told to execute."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lab import Host, Lab
from mlflow_stack.domain.survey import SURVEY_SCRIPT
from mlflow_stack.facts.batch import TITLE
from tests.e2e.stack import REPOSITORY, Stack
from tests.turns import of_today

LOG = "/run/commands-of-deploy"
# The login shell of the SSH user, which sshd gives every command of pyinfra to.
RECORDER = f"""#!/bin/bash
[ "$1" = -c ] && echo "$(printf %s "$2" | base64 -w 0)" >> {LOG}
exec /bin/bash "$@"
"""
# What only the commands have that look, or keep the session of a run, in a plan and in a run alike.
LOOKS = (SURVEY_SCRIPT.strip()[:40], TITLE, "mlflow-stack-session")

CONDARC = "/opt/mlflow/miniconda3/.condarc"
TRACKING_UNIT = "/etc/systemd/system/mlflow-tracking.service"
DROP_IN = f"{TRACKING_UNIT}.d"
RELOAD = "systemctl daemon-reload"
HBA = "/etc/postgresql/15/main/pg_hba.conf"
SQL = "runuser -u postgres -- psql -qc"

# What somebody does to a deployed host by hand, and what a plan then lists.
DRIFTS = {
    "hand-edited unit": f"sed -i s/TimeoutStopSec=.*/TimeoutStopSec=7/ {TRACKING_UNIT}",
    "drop-in of somebody else": f"mkdir -p {DROP_IN} && printf '[Service]\\nNice=5\\n' > {DROP_IN}/nice.conf",
    "line in front of ours in pg_hba.conf": f"sed -i '1i local all all trust' {HBA}",
    "mode of pg_hba.conf opened": f"chmod 666 {HBA}",
    "edited .condarc": f"echo 'ssl_verify: false' >> {CONDARC}",
    "mode of a file opened": "chmod 666 /etc/mlflow/tracking.env",
    "file of ours removed": "rm /etc/mlflow/production/diabetes.env",
    "tracking stopped": "systemctl stop mlflow-tracking",
    "tracking disabled": "systemctl disable -q mlflow-tracking",
    "tracking masked": f"systemctl disable -q --now mlflow-tracking; ln -sf /dev/null {TRACKING_UNIT}; {RELOAD}",
    "model stopped": "systemctl stop mlflow-production@diabetes",
    "model killed for good": "systemctl disable -q --now mlflow-production@diabetes",
    "PostgreSQL stopped": "systemctl stop postgresql@15-main",
    "PostgreSQL disabled and masked": "systemctl disable -q --now postgresql; systemctl mask -q postgresql@15-main",
    "role that may not log in": f"{SQL} 'ALTER ROLE mlflow_user NOLOGIN'",
    "role for dumps that may write": f"{SQL} 'GRANT INSERT ON runs TO mlflow_dump' mlflow_db",
    "role with a right too many": f"{SQL} 'ALTER ROLE mlflow_user CREATEDB'",
    "database opened to everybody": f"{SQL} 'GRANT CONNECT ON DATABASE mlflow_db TO PUBLIC'",
    "firewall flushed": "nft flush ruleset",
    "rule added to the firewall": "nft insert rule inet mlflow_stack input accept",
    "marker of the MLflow environment deleted": "rm /opt/mlflow/envs/mlflow-*/.mlflow-stack.json",
    "Python of the MLflow environment deleted": "rm /opt/mlflow/envs/mlflow-*/bin/python",
    "release without its marker": "rm /var/lib/mlflow-models/diabetes/current/.mlflow-stack.json",
}


def record(host: Host) -> None:
    """Make the host keep every command that comes in over SSH."""
    host.put("/usr/local/bin/recorder", RECORDER)
    host.run(
        f"chmod 755 /usr/local/bin/recorder; install -m 666 /dev/null {LOG}; usermod -s /usr/local/bin/recorder deploy"
    )


def executed(host: Host) -> list[str]:
    """Return what was executed since the last call, without the sudo and the environment in front of it."""
    log = host.run(f"cat {LOG}; : > {LOG}").stdout
    scripts = [shlex.split(base64.b64decode(line).decode())[-1] for line in log.split()]
    return [script.split(" && ", 1)[1] if script.startswith("export ") else script for script in scripts]


def looks(command: str) -> bool:
    return any(part in command for part in LOOKS)


def listed(stack: Stack, **overrides: Any) -> list[str]:
    """Return the commands that a plan lists."""
    done = mlflow_stack("plan", "--json", str(stack.inventory(**overrides)))
    assert done.returncode in (0, 2), done.stderr
    operations = json.loads(done.stdout)["hosts"][stack.host.name]["operations"]
    return [command["command"] for operation in operations for command in operation["commands"]]


def mlflow_stack(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run python -m mlflow_stack as a script would."""
    return subprocess.run(
        [sys.executable, "-m", "mlflow_stack", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env=dict(os.environ, NO_COLOR="1"),
    )


def compare(stack: Stack, case: str) -> tuple[list[str], list[str]]:
    """Plan and run; return the commands that the plan listed, and those that were executed and change something."""
    executed(stack.host)
    before = stack.fingerprint()
    plan = listed(stack)
    assert stack.fingerprint() == before
    looked = executed(stack.host)
    stack.converge()
    run = [command for command in executed(stack.host) if not looks(command)]
    missing, surplus = Counter(run) - Counter(plan), Counter(plan) - Counter(run)
    print(f"| {case} | {len(plan)} | {len(run)} | {missing.total()} | {surplus.total()} |")
    assert [command for command in looked if not looks(command)] == []
    return plan, run


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    served.recovers()  # a clone has just been started
    record(served.host)
    return served


def test_run_on_a_fresh_host_is_its_plan(lab: Lab, tmp_path: Path) -> None:
    lab.down("mlflow1")
    fresh = Stack(lab.up("mlflow1"), tmp_path)
    record(fresh.host)

    plan, run = compare(fresh, "fresh host")

    assert len(plan) > 30
    assert run == plan


def test_run_on_a_converged_host_is_its_plan(stack: Stack) -> None:
    plan, run = compare(stack, "converged host")

    assert run == plan == []


@pytest.mark.parametrize("drift", of_today(DRIFTS, 2))
def test_run_on_a_drifted_host_is_its_plan(stack: Stack, drift: str) -> None:
    stack.host.run(DRIFTS[drift])

    plan, run = compare(stack, drift)

    assert len(plan) > 0
    assert run == plan
    assert listed(stack) == []
    assert stack.fault() == ""
