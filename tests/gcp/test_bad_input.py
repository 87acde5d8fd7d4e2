"""What the real gcloud is refused, and what becomes of it: one sentence for each, all at once, nothing half-made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from tests.gcp.stack import Stack, standing_in

BUCKET = {"name": "my-project-1-mlflow", "projectNumber": "999", "location": "US"}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with standing_in(tmp_path) as stack:
        yield stack
        assert stack.cloud.complaints == []


def test_all_that_is_in_the_way_is_said_at_once_and_nothing_is_made(stack: Stack) -> None:
    stack.with_registry()
    stack.declared["gcp_image"] = "mlflow-tracking:3.18.0"
    stack.cloud.things["b/my-project-1-mlflow"] = BUCKET
    stack.cloud.policies["b/my-project-1-mlflow"] = {
        "bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]
    }
    stack.cloud.things["instances/mlflow"] = {
        "name": "mlflow",
        "region": "us-central1",
        "databaseVersion": "POSTGRES_17",
        "settings": {},
    }
    stack.cloud.fail("GET secretmanager", 403, "PERMISSION_DENIED", "Permission secretmanager.secrets.list denied")

    applied = stack.run("apply")

    assert (applied.status, applied.changes) == (1, [])
    assert applied.err == (
        "6 problems; nothing was changed\n"
        "  secrets: can't be looked at ([None] does not have permission to access projects instance [my-project-1] (or "
        "it may not exist): Permission secretmanager.secrets.list denied)\n"
        "  gcp_image: mlflow-tracking:3.18.0 is not in europe-west1-docker.pkg.dev/my-project-1/mlflow, which has "
        "mlflow-tracking:3.17.2; push it (docs/how-to/gcp.md), or name one that is there\n"
        "  gcp_bucket: gs://my-project-1-mlflow is of another project (number 999, expected 123456789012); choose "
        "another name\n"
        "  gcp_bucket: gs://my-project-1-mlflow is in us, and gcp_region is europe-west1; a bucket can't be moved: "
        "choose another name, or that region\n"
        "  gcp_bucket: gs://my-project-1-mlflow is open to allUsers; take these rights away, if what is in it is not "
        "for the public, or choose another name\n"
        "  gcp_region: Cloud SQL instance mlflow has us-central1, and europe-west1 is declared; that can't be changed "
        "in place: declare what it has, or choose another gcp_name\n"
    )


def test_bucket_that_is_somebody_else_s_is_refused(stack: Stack) -> None:
    message = "ada@example.com does not have storage.buckets.get access to the Google Cloud Storage bucket."
    stack.cloud.fail("GET storage", 403, "PERMISSION_DENIED", message)

    planned = stack.run("plan")

    assert (planned.status, planned.changes) == (1, [])
    assert planned.err.startswith(
        "1 problem; nothing was changed\n  bucket gs://my-project-1-mlflow: can't be looked at ("
    )
    assert planned.err.endswith(
        "; names of buckets are shared by all customers, so it may be somebody else's: choose another gcp_bucket\n"
    )


def test_login_that_has_expired_is_refused(stack: Stack) -> None:
    (stack.directory / "token").write_text("expired")

    planned = stack.run("plan")

    assert (planned.status, planned.changes) == (1, [])
    assert planned.err.startswith(
        "1 problem; nothing was changed\n  gcloud is not logged in, or its login has expired ("
    )
    assert planned.err.endswith("); run `gcloud auth login`, or in a pipeline `gcloud auth login --cred-file=…`\n")


def test_login_that_is_missing_is_refused(stack: Stack) -> None:
    with mock.patch.dict(os.environ):
        del os.environ["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]
        planned = stack.run("plan")

    assert (planned.status, planned.requests) == (1, [])
    assert planned.err.startswith(
        "1 problem; nothing was changed\n  gcloud is not logged in, or its login has expired ("
    )


def test_project_that_is_not_there_is_refused(stack: Stack) -> None:
    stack.declared["gcp_project"] = "my-project-2"

    planned = stack.run("plan")

    assert (planned.status, planned.changes) == (1, [])
    assert planned.err.startswith(
        "1 problem; nothing was changed\n  gcp_project: my-project-2 is not there, or not yours ("
    )
    assert planned.err.endswith("); `gcloud projects list` lists yours\n")


def test_what_fails_half_way_leaves_a_list_of_what_was_made_and_is_gone_on_from(stack: Stack) -> None:
    stack.with_registry()
    stack.cloud.fail("POST sqladmin.*instances$", 400, "INVALID_ARGUMENT", "The quota of instances is used up")

    stopped, left = stack.run("apply"), stack.run("plan")

    assert stopped.status == 1
    assert stopped.err == (
        "create Cloud SQL instance mlflow: failed (INVALID_ARGUMENT: The quota of instances is used up)\n"
        "  done: create service account mlflow-tracking@my-project-1.iam.gserviceaccount.com\n"
        "  done: create bucket gs://my-project-1-mlflow\n"
        "  done: create secret mlflow-database-password\n"
        "  done: grant roles/storage.objectAdmin on bucket gs://my-project-1-mlflow\n"
        "  done: grant roles/cloudsql.client on Cloud SQL instance mlflow\n"
        "  done: grant roles/secretmanager.secretAccessor on secret mlflow-database-password\n"
        "the same command goes on from here\n"
    )
    assert left.status == 2
    assert left.out.splitlines()[0] == "create Cloud SQL instance mlflow"
