"""`python -m mlflow_stack conform` as a whole, on hosts of pyinfra's @fake connector."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mlflow_stack.conform.command import ASK
from mlflow_stack.conform.gather import DIRECTORY_VARIABLE, WAIVED_VARIABLE
from tests.plan.conftest import REPOSITORY, host, looked
from tests.unit.recorded import lines

# A host with a database and a tracking server that others reach, without models: what it says when all is well.
SURVEY = [line for line in lines("deployed", "Survey") if "5001" not in line and not line.startswith("name=")]
RIGHTS = dict.fromkeys(("super", "createdb", "createrole", "replication", "bypassrls"), False)
CONFINED = "Uid:999 CapEff:0000000000000000 CapBnd:0000000000000000 NoNewPrivs:1 Seccomp:2"
PEER = {"line": 1, "type": "local", "database": ["all"], "user": ["all"], "address": None, "method": "peer"}
CLOSED = ("/etc/mlflow", "/var/lib/mlflow", "/var/lib/mlflow-stack", "/var/backups/mlflow", "/var/lib/mlflow/artifacts")
WELL = {
    "4.1": ["fsync on", "full_page_writes on", "synchronous_commit on"],
    "5.1": ["d 700 root root /etc/mlflow/credentials"],
    "5.2": [f"750 {path}" for path in CLOSED],
    "5.3": ["secrets 1"],
    "5.4": ["secrets 1"],
    "5.5": ["secrets 1"],
    "6.1": [
        f"Id={unit}.service ActiveState=active UnitFileState=enabled"
        for unit in ("postgresql", "postgresql@15-main", "mlflow-firewall", "mlflow-tracking")
    ],
    "6.2": ["200"],
    "8.7": ["403"],
    "8.10": ["same", "policy drop"],
    "8.11": [],
    "8.13": [
        f"→ Overall exposure level for {unit}.service: {score} OK 🙂"
        for unit, score in (("mlflow-firewall", 2.8), ("mlflow-tracking", 0.9))
    ],
    "8.14": [f"mlflow-tracking.service 12 {CONFINED}"],
    "8.15": [json.dumps({**RIGHTS, "of": []})],
    "8.16": [json.dumps({"owner": "mlflow_user", "public": False, "others": []})],
    "8.17": [json.dumps([{**PEER, "error": None}])],
    "8.19": [],
    "8.20": ["mlflow L 999:/usr/sbin/nologin", "mlflow-model L 997:/usr/sbin/nologin"],
    "8.24": [json.dumps({**RIGHTS, **dict.fromkeys(("creates", "writes", "member", "password"), False)})],
}
NOT_ASKED = 3  # what is asked from outside: a host without an address has no outside
Conformed = subprocess.CompletedProcess[str]


def says(name: str, *, survey: Sequence[str] = SURVEY, **changed: Sequence[str]) -> Any:
    """Return a host for an inventory that says that all is well, but for what is `changed`, by number ("c8_9")."""
    answers = {**WELL, **{number.removeprefix("c").replace("_", "."): said for number, said in changed.items()}}
    own = [*survey, f"name=@fake/{name}"] if survey else []
    probes = [[*said, "", "status 0"] for said in (own, [], *answers.values())]
    entry, data = host(name, tracking_bind="0.0.0.0")
    return entry, {**data, "fake_responses": {"echo '----8<---- ": looked({"Probe": probes})}}


def conform(directory: Path, *options: str, **groups: list[Any]) -> Conformed:
    inventory = directory / "inventory.py"
    inventory.write_text("".join(f"{group} = {hosts!r}\n" for group, hosts in groups.items()))
    return subprocess.run(
        [sys.executable, "-m", "mlflow_stack", "conform", str(inventory), *options],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
    )


def everywhere(*hosts: Any) -> Mapping[str, list[Any]]:
    return {"postgresql": [*hosts], "tracking": [*hosts]}


def test_stack_that_keeps_its_promises_ends_with_0(tmp_path: Path) -> None:
    done = conform(tmp_path, "--junit", str(tmp_path / "junit.xml"), **everywhere(says("mlflow1")))

    assert (done.returncode, done.stderr) == (0, "")
    assert f"\n@fake/mlflow1: {len(WELL)} hold, {NOT_ASKED} not asked, " in done.stdout
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()  # noqa: S314  # our own
    held = [case.get("name", "").split()[0] for case in root.iter("testcase") if not list(case)]
    assert held == list(WELL)


def test_promise_that_is_broken_on_one_host_ends_with_2_and_names_host_and_number(tmp_path: Path) -> None:
    open_key = ["d 700 root root /etc/mlflow/credentials", "f 644 root root /etc/mlflow/credentials/pgpass"]

    done = conform(tmp_path, **everywhere(says("mlflow1"), says("mlflow2", c5_1=open_key)))

    assert (done.returncode, done.stderr) == (2, "")
    assert [line for line in done.stdout.splitlines() if "FAILS" in line or "UNKNOWN" in line] == [
        "@fake/mlflow2  5.1   FAILS       Passwords, keys and hashes are in files that their one user alone can read"
    ]
    assert "found: /etc/mlflow/credentials/pgpass is 644 root root\n" in done.stdout
    assert f"\n@fake/mlflow2: {len(WELL) - 1} hold, 1 failed, " in done.stdout


def test_promise_that_is_broken_and_waived_ends_with_0(tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("- {number: 6.2, host: '@fake/mlflow1', reason: it is being moved, until: 2027-01-31}\n")

    done = conform(tmp_path, "--waivers", str(waivers), **everywhere(says("mlflow1", c6_2=["500"])))

    assert (done.returncode, done.stderr) == (0, "")
    assert "until 2027-01-31: it is being moved" in done.stdout


def test_bad_waivers_are_refused_before_pyinfra_is_started(tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("- {number: 9.9, host: all, reason: it is being moved, until: 2027-01-31}\n")

    done = conform(tmp_path, "--waivers", str(waivers), tracking=["no host of any kind"])

    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        f"{waivers}: 1 problem; no host was asked\n"
        "  waiver 1: number: there is no check 9.9; docs/promises.md lists them\n",
    )


def test_waiver_for_a_host_that_is_not_in_the_inventory_is_refused(tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("- {number: 8.9, host: '@fake/mlfow1', reason: it is being moved, until: 2027-01-31}\n")

    done = conform(tmp_path, "--waivers", str(waivers), **everywhere(says("mlflow1")))

    assert (done.returncode, done.stdout) == (1, "")
    assert "the waivers can't be used; no host was asked\n" in done.stderr
    assert "  host: @fake/mlfow1 is not in the inventory; did you mean @fake/mlflow1?\n" in done.stderr


def test_report_that_could_not_be_written_is_refused_before_pyinfra_is_started(tmp_path: Path) -> None:
    done = conform(tmp_path, "--junit", str(tmp_path / "none/junit.xml"), tracking=["no host of any kind"])

    assert (done.returncode, done.stderr) == (
        1,
        f"{tmp_path}/none/junit.xml: there is no such directory; no host was asked\n",
    )


def test_bad_settings_are_refused_as_in_a_run(tmp_path: Path) -> None:
    name, data = says("mlflow1")

    done = conform(tmp_path, **everywhere((name, {**data, "tracking_prot": 1})))

    assert (done.returncode, done.stdout) == (1, "")
    assert "@fake/mlflow1: tracking_prot: unknown setting; did you mean tracking_port?" in done.stderr
    assert done.stderr.endswith("inventory.py: no host was asked; pyinfra says why\n")


@pytest.mark.parametrize(
    ("survey", "reason"),
    [
        ([], "pyinfra is user '' there and not root; add \"_sudo\": True to the host in the inventory"),
        (lines("fresh", "Survey"), "nothing of MLflow Stack is there; run the deploy first"),
        (
            [*SURVEY, "name=db1"],
            "this machine was deployed under the name db1; check its address in the inventory",
        ),
    ],
)
def test_host_that_can_not_be_judged_ends_with_1_and_is_no_success_for_a_ci_system(
    tmp_path: Path, survey: list[str], reason: str
) -> None:
    junit = tmp_path / "junit.xml"
    unfit = says("mlflow2", survey=survey)

    done = conform(tmp_path, "--junit", str(junit), **everywhere(says("mlflow1"), unfit))

    assert (done.returncode, done.stderr) == (1, f"@fake/mlflow2: {reason}; it was not asked\n")
    assert f"\n@fake/mlflow1: {len(WELL)} hold, " in done.stdout
    error = ElementTree.parse(junit).find("testsuite[@name='hosts']/testcase[@classname='@fake/mlflow2']/error")  # noqa: S314
    assert error is not None


def test_limit_is_pyinfra_s(tmp_path: Path) -> None:
    done = conform(tmp_path, "--limit", "@fake/mlflow2", **everywhere(says("mlflow1"), says("mlflow2")))

    assert done.returncode == 0
    assert {line.split()[0] for line in done.stdout.splitlines() if line.startswith("@fake")} == {
        "@fake/mlflow2",
        "@fake/mlflow2:",
    }


def test_host_is_asked_everything_in_one_command_and_nothing_is_declared(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.py"
    inventory.write_text("".join(f"{group} = {hosts!r}\n" for group, hosts in everywhere(says("mlflow1")).items()))
    variables = {DIRECTORY_VARIABLE: str(tmp_path), WAIVED_VARIABLE: "[]"}

    done = subprocess.run(
        [sys.executable, "-m", "pyinfra", str(inventory), str(ASK), "--dry", "--json", "--debug"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, **variables},
    )

    assert len(re.findall(r"\[fake\] simulating command on", done.stderr)) == 1
    assert json.loads(done.stdout)["plan"] == []
