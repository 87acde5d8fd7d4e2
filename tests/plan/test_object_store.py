"""An object store in a plan and in a run: when it is tried, what is shown of it, and what stops before any change."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from mlflow_stack.domain.object_store import CREDENTIALS_FILE, ObjectStore
from tests.plan.conftest import Plan, Planner, answers_when_done, host
from tests.plan.test_plan import KEPT, TRACKING

SEE = "Tracking | See that the object store works"
WRITE = "Tracking | Write what lets mlflow-tracking into the object store"
URI, ASKED = "s3://bucket/mlflow", "object_store.py s3://"
# What the planner's environment holds (tests/plan/conftest.py).
SECRET = "hunter2"
BUCKET: dict[str, Any] = {
    "tracking_artifacts_destination": URI,
    "tracking_artifacts_region": "eu-central-1",
    "tracking_artifacts_access_key_id": "AKIA1",
    "tracking_artifacts_credentials": "env:DB_PASSWORD",
}
MOVED = f'mv -fT "$new" {CREDENTIALS_FILE}'
PUBLIC = f"{URI}: bucket bucket is public, its ACL lets everybody in; block its public access"


def groups(found: Any) -> dict[str, list[Any]]:
    return {"postgresql": [found], "tracking": [found]}


def changes(found: Plan) -> list[str]:
    return [name for name, hosts in found.changes.items() if hosts]


@pytest.fixture(scope="module")
def fresh(plan: Planner) -> Plan:
    return plan(**groups(host("mlflow1", **BUCKET)))


@pytest.fixture(scope="module")
def deployed(plan: Planner) -> dict[str, list[Any]]:
    """What a host answers that has the store."""
    answers = answers_when_done(plan(_json=True, **groups(host("mlflow1", **BUCKET))).document)
    return with_secret(answers, SECRET)


def with_secret(answers: dict[str, list[Any]], secret: str) -> dict[str, list[Any]]:
    """Return what the host answers with this secret in its file of the credentials."""
    states = [*_others(answers["FileStates"]), credentials(secret)]
    service = [*_others(answers["Service"]), f"file={credentials(secret)}"]
    return {**answers, "FileStates": states, "Service": service}


def credentials(secret: str) -> str:
    """Return the state of a host's file of the credentials."""
    text = ObjectStore(URI, access_key_id="AKIA1").credentials_text(secret)
    return f"600 root root {hashlib.sha256(text.encode()).hexdigest()} {CREDENTIALS_FILE}"


def _others(states: list[str]) -> list[str]:
    return [line for line in states if not line.endswith(CREDENTIALS_FILE)]


def test_store_is_tried_before_anything_of_the_tracking_server_is_changed(fresh: Plan) -> None:
    tracking = [name for name in fresh.operations if name.startswith("Tracking | ")]

    assert fresh.status == 0, fresh.output
    assert tracking == [KEPT, SEE, WRITE, *TRACKING]
    assert changes(fresh)[changes(fresh).index(SEE) - 1] == "Conda | Build the MLflow environment"


def test_environment_of_the_host_has_the_client_of_the_store(fresh: Plan) -> None:
    requirements = fresh.of("mlflow1", "Conda | Build the MLflow environment")

    assert "+boto3==" in requirements
    assert "+google-cloud-storage==" not in requirements


def test_plan_shows_how_the_store_is_tried_and_no_secret(fresh: Plan) -> None:
    command, told = fresh.of("mlflow1", SEE).splitlines()

    assert re.fullmatch(
        r"    \$ timeout -k 30 120 runuser -u mlflow -- env -C / PYTHONPATH=\S+ TMPDIR=/var/tmp "
        r"AWS_DEFAULT_REGION=eu-central-1 "
        r"/opt/mlflow/envs/mlflow-[0-9a-f]{12}/bin/python -I -W ignore /opt/mlflow/libexec/object_store.py "
        r"s3://bucket/mlflow \|\| .*",
        command,
    )
    assert told == "        the content is secret and not shown"
    assert fresh.of("mlflow1", WRITE) == (
        f"    {CREDENTIALS_FILE} (new, 600 root:root)\n        the content is secret and not shown"
    )
    assert SECRET not in fresh.output + fresh.text


def test_host_with_an_object_store_has_no_directory_for_artifacts(fresh: Plan) -> None:
    assert "/var/lib/mlflow/artifacts" not in fresh.of("mlflow1", "Base | Create users and directories")


def test_run_that_has_nothing_to_do_does_not_ask_the_store(plan: Planner, deployed: dict[str, list[Any]]) -> None:
    found = plan(_run=True, **groups(host("mlflow1", answers=deployed, replies={ASKED: [PUBLIC]}, **BUCKET)))

    assert found.status == 0, found.output
    assert len(found.commands["@fake/mlflow1"]) == 2


def test_plan_of_a_deployed_host_looks_at_the_store_and_writes_nothing_there(
    plan: Planner, deployed: dict[str, list[Any]]
) -> None:
    found = plan(**groups(host("mlflow1", answers=deployed, **BUCKET)))

    (asked,) = [command for command in found.commands["@fake/mlflow1"] if ASKED in command]
    assert (found.status, changes(found)) == (0, [])
    assert f"{URI} --read-only" in asked
    assert SECRET not in asked


@pytest.mark.parametrize("run", [False, True])
def test_store_that_does_not_work_stops_the_run_before_any_change(plan: Planner, run: bool) -> None:
    found = plan(_run=run, **groups(host("mlflow1", replies={ASKED: [PUBLIC]}, **BUCKET)))

    assert found.status == 1
    assert f"1 obstacle on the hosts; no host was changed @fake/mlflow1: {SEE}: {PUBLIC}" in " ".join(
        found.output.split()
    )
    assert all(command.startswith(("root=\n", "# MLflow Stack looks", "if [ -f")) for command in _commands(found))


def _commands(found: Plan) -> list[str]:
    return found.commands["@fake/mlflow1"]


def test_run_tries_a_new_secret_before_it_is_taken_to_the_host(plan: Planner, deployed: dict[str, list[Any]]) -> None:
    found = plan(_run=True, **groups(host("mlflow1", answers=with_secret(deployed, "another"), **BUCKET)))

    assert found.status == 0, found.output
    told = [number for number, command in enumerate(_commands(found)) if ASKED in command]
    written = [number for number, command in enumerate(_commands(found)) if MOVED in command]
    restarted = [number for number, command in enumerate(_commands(found)) if "systemctl restart" in command]
    looked, tried = told
    assert looked < tried < written[0] < restarted[0]
    assert not any("--read-only" in _commands(found)[number] for number in told)
    assert SECRET not in found.output


def test_server_that_has_artifacts_in_its_directory_is_not_moved_to_a_bucket_without_them(plan: Planner) -> None:
    before = {"Artifacts": ["destination=/var/lib/mlflow/artifacts", "artifacts=yes"]}

    refused = plan(**groups(host("mlflow1", answers=before, **BUCKET)))
    moved = {**BUCKET, "tracking_artifacts_moved_from": "/var/lib/mlflow/artifacts"}
    planned = plan(**groups(host("mlflow1", answers=before, **moved)))

    assert refused.status == 1
    assert (
        f"1 obstacle on the hosts; no host was changed @fake/mlflow1: {KEPT}: the artifacts of this server are in "
        f"/var/lib/mlflow/artifacts and would be missing in {URI}; copy them there, and set "
        "tracking_artifacts_moved_from = '/var/lib/mlflow/artifacts', or keep the destination. Nothing is removed from "
        "/var/lib/mlflow/artifacts" in " ".join(refused.output.split())
    )
    assert planned.status == 0, planned.output


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"tracking_artifacts_credentials": "cmd:echo two words"},
            "tracking_artifacts_credentials: expected one line without blanks there; correct what 'cmd:echo two words' "
            "refers to",
        ),
        (
            {"tracking_artifacts_credentials": "file:/not/there"},
            "tracking_artifacts_credentials: /not/there can't be read (No such file or directory)",
        ),
        (
            {"tracking_artifacts_endpoint": "https://minio.example.com", "tracking_artifacts_ca_file": "/not/there"},
            "tracking_artifacts_ca_file: /not/there can't be read (No such file or directory)",
        ),
    ],
)
def test_reference_to_what_is_not_there_or_can_not_be_that_is_refused(
    plan: Planner, data: dict[str, Any], problem: str
) -> None:
    found = plan(**groups(host("mlflow1", **{**BUCKET, **data})))

    assert found.status == 1
    assert problem in " ".join(found.output.split())
    assert changes(found) == []
