"""Artifacts in an object store: a served host moves from its directory to a bucket, and goes on from there.

The stores are on this machine, where hosts reach them as they would a server of their own: moto, which lets the
tracking server do what docs/how-to/object-store.md says and nothing else, and an emulator of Google's. Who trains and
logs does so on a laptop that reaches neither and has credentials for none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mlflow import MlflowClient

from lab import Lab
from tests.e2e import registry, web
from tests.e2e.conform import conform
from tests.e2e.conftest import NAME
from tests.e2e.laptop import Laptop, laptop
from tests.e2e.leaks import Watcher
from tests.e2e.stack import Run, Stack
from tests.object_stores import REGION, S3Server, gcs_emulator, s3_server

DIRECTORY, CREDENTIALS = "/var/lib/mlflow/artifacts", "/etc/mlflow/credentials/artifacts"
VARIABLE = "E2E_STORE_KEY"
SEE = "Tracking | See that the object store works"
WRITE = "Tracking | Write what lets mlflow-tracking into the object store"
READY = "Tracking | Run mlflow-tracking and see it work"
# What somebody does on a laptop: log a file, have it back, and say in which run it is.
LOG = """
import sys, mlflow
sent, directory = sys.argv[1:]
mlflow.set_experiment("laptop")
with mlflow.start_run() as run:
    mlflow.log_artifact(sent, "modell/ä")
mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="modell/ä", dst_path=directory)
print(run.info.run_id)
"""
REACH = "import socket, sys; socket.socket().connect((sys.argv[1], int(sys.argv[2])))"


@dataclass(frozen=True)
class Moved:
    """What happened to a served host, in order; `watcher` looked for the key's secret all the while. The training was
    on the laptop."""

    stack: Stack
    laptop: Laptop
    s3: S3Server
    bucket: str
    refused: Run
    plan: Run
    first: Run
    second: Run
    release: Run
    last: Run
    watcher: Watcher


def settings(s3: S3Server, bucket: str, key_id: str) -> dict[str, Any]:
    return {
        "tracking_artifacts_destination": f"s3://{bucket}/mlflow",
        "tracking_artifacts_endpoint": s3.url,
        "tracking_artifacts_region": REGION,
        "tracking_artifacts_access_key_id": key_id,
        "tracking_artifacts_credentials": f"env:{VARIABLE}",
    }


def copy(stack: Stack, s3: S3Server, bucket: str, key: tuple[str, str]) -> None:
    """Copy what is in the directory into the bucket, as rclone does it for the how-to."""
    directory, client = Path(f"/proc/{stack.host.init()}/root{DIRECTORY}"), s3.client(key)
    for path in directory.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), bucket, f"mlflow/{path.relative_to(directory)}")


@pytest.fixture(scope="module")
def moved(lab: Lab, served: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    """Refuse to leave artifacts behind, copy them, deploy twice, train, and deploy twice more."""
    directory, home = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("laptop")
    with ExitStack() as stack:
        s3 = stack.enter_context(s3_server(directory, lab.network.gateway))
        bucket = s3.bucket("artifacts")
        key = s3.user(bucket, "mlflow")
        stack.enter_context(s3.closed())
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(VARIABLE, key[1])
        own = stack.enter_context(laptop(lab, home, served.url))
        served.settings |= settings(s3, bucket, key[0])
        watcher = Watcher([served.host], key[1], [directory])
        with watcher:
            served.recovers()
            refused = served.deploy()
            copy(served, s3, bucket, key)
            served.settings["tracking_artifacts_moved_from"] = DIRECTORY
            plan, first, second = served.plan(), served.converge(), served.converge()
            own.run("examples/train_diabetes.py")
            release, last = served.converge(), served.converge()
            for run in (refused, plan, first, second, release, last):
                watcher.read("the output of a run", run.output)
        yield Moved(served, own, s3, bucket, refused, plan, first, second, release, last, watcher)


def test_server_does_not_leave_its_artifacts_behind(moved: Moved) -> None:
    assert (moved.refused.status, moved.refused.changed) == (1, [])
    assert (
        f"the artifacts of this server are in {DIRECTORY} and would be missing in s3://{moved.bucket}/mlflow; copy "
        f"them there, and set tracking_artifacts_moved_from = '{DIRECTORY}', or keep the destination. Nothing is "
        f"removed from {DIRECTORY}" in " ".join(moved.refused.output.split())
    )


def test_host_moves_to_the_bucket_by_one_run_as_planned(moved: Moved) -> None:
    tracking = [name for name in moved.first.changed if name.startswith("Tracking | ")]

    assert moved.first.changed == moved.plan.planned
    assert tracking == [SEE, WRITE, "Tracking | Write the unit and configuration of mlflow-tracking", READY]
    assert moved.second.changed == moved.last.changed == []


def test_artifacts_of_before_are_read_through_the_server_and_are_still_in_the_directory(moved: Moved) -> None:
    client, kept = MlflowClient(moved.stack.url), moved.stack.host.run(f"find {DIRECTORY} -type f | wc -l").stdout
    (experiment,) = client.search_experiments(filter_string="name = 'diabetes'")
    oldest = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])[0]

    assert "diabetes.csv" in [file.path for file in client.list_artifacts(oldest.info.run_id)]
    assert int(kept) > 0


def test_artifact_of_a_laptop_is_in_the_bucket_and_comes_back_identical(moved: Moved, tmp_path: Path) -> None:
    sent, content = tmp_path / "Gewichte ä.bin", os.urandom(20_000_000)
    sent.write_bytes(content)

    run_id = moved.laptop.run("-c", LOG, str(sent), str(tmp_path / "returned")).split()[-1]

    (returned,) = (path for path in (tmp_path / "returned").rglob("*") if path.is_file())
    experiment = MlflowClient(moved.stack.url).get_run(run_id).info.experiment_id
    assert returned.read_bytes() == content
    assert f"mlflow/{experiment}/{run_id}/artifacts/modell/ä/{sent.name}" in names(moved)


def test_laptop_reaches_the_tracking_server_and_not_the_store(moved: Moved) -> None:
    server, store = urlsplit(moved.stack.url), urlsplit(moved.s3.url)

    moved.laptop.run("-c", REACH, str(server.hostname), str(server.port))
    with pytest.raises(AssertionError, match="No route to host"):
        moved.laptop.run("-c", REACH, str(store.hostname), str(store.port))


def names(moved: Moved) -> list[str]:
    with_rights = moved.s3.client(_key(moved.stack))
    pages = with_rights.get_paginator("list_objects_v2").paginate(Bucket=moved.bucket, Prefix="mlflow/")
    return [each["Key"] for page in pages for each in page.get("Contents", ())]


def _key(stack: Stack) -> tuple[str, str]:
    return stack.settings["tracking_artifacts_access_key_id"], os.environ[VARIABLE]


def test_model_of_a_laptop_is_registered_and_served_from_the_bucket(moved: Moved) -> None:
    model = registry.registered(moved.stack, "2")
    elsewhere = moved.stack.host.run(f"find {DIRECTORY} -path '*{model.model_id}*'").stdout

    assert [name for name in names(moved) if name.endswith(f"{model.model_id}/artifacts/MLmodel")]
    assert elsewhere == ""
    assert "Production | Release model diabetes" in moved.release.changed
    assert moved.stack.fault() == ""


def test_secret_of_the_key_is_only_where_root_and_the_server_can_read_it(moved: Moved) -> None:
    assert moved.watcher.findings == set()
    assert f"{NAME}: {CREDENTIALS} (600 root)" in moved.watcher.kept
    assert moved.watcher.samples > 10


def test_promises_are_kept_with_an_object_store(moved: Moved) -> None:
    found = conform(moved.stack)

    assert found.is_kept, found.output


def test_server_that_was_killed_or_whose_host_was_started_again_has_its_store(moved: Moved) -> None:
    moved.stack.host.crash()
    moved.stack.host.start()
    moved.stack.recovers()

    path = f"{moved.stack.url}/api/2.0/mlflow-artifacts/artifacts/after-a-crash.txt"
    assert web.put(path, b"kept").status == 200
    assert web.get(path).body == "kept"


def test_secret_that_is_wrong_is_refused_before_anything_is_changed(
    moved: Moved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "another")

    refused = moved.stack.deploy()

    assert (refused.status, refused.changed) == (1, [])
    assert (
        f"s3://{moved.bucket}/mlflow: the credentials are not known there; correct tracking_artifacts_credentials"
        in " ".join(refused.output.split())
    )
    assert moved.stack.fault() == ""


def test_key_is_rotated_by_one_run(moved: Moved) -> None:
    with moved.s3.open():
        key_id, secret = moved.s3.user(moved.bucket, "mlflow", name="rotated")
    moved.stack.settings["tracking_artifacts_access_key_id"], os.environ[VARIABLE] = key_id, secret

    run, again = moved.stack.converge(), moved.stack.converge()

    assert (run.changed, again.changed) == ([SEE, WRITE, READY], [])


def test_bucket_that_was_opened_to_everybody_is_found_by_a_plan(moved: Moved) -> None:
    with moved.s3.open():
        moved.s3.client().put_bucket_acl(Bucket=moved.bucket, ACL="public-read")
        plan = moved.stack.plan()
        moved.s3.client().put_bucket_acl(Bucket=moved.bucket, ACL="private")

    assert plan.status == 1
    assert (
        f"s3://{moved.bucket}/mlflow: bucket {moved.bucket} is public, its ACL lets everybody in; block its public "
        "access" in " ".join(plan.output.split())
    )


def test_host_moves_on_to_google_and_keeps_nothing_of_the_key(moved: Moved, tmp_path: Path, lab: Lab) -> None:
    """Its artifacts are left where they are: that they were copied is what the setting says."""
    with gcs_emulator(tmp_path, lab.network.gateway, ["artifacts"]) as url:
        run = moved.stack.converge(
            tracking_artifacts_destination="gs://artifacts/mlflow",
            tracking_artifacts_endpoint=url,
            tracking_artifacts_region="",
            tracking_artifacts_access_key_id="",
            tracking_artifacts_credentials="",
            tracking_artifacts_moved_from=f"s3://{moved.bucket}/mlflow",
            production_models={},
        )
        moved.laptop.run("examples/train_diabetes.py")

        listed = web.get(f"{url}/storage/v1/b/artifacts/o?prefix=mlflow/").json["items"]
        left = moved.stack.host.run(f"ls {CREDENTIALS} 2>/dev/null; true").stdout

    assert run.changed[:2] == ["Conda | Build the MLflow environment", SEE]
    assert [each["name"] for each in listed if each["name"].endswith("/artifacts/MLmodel")]
    assert left == ""
