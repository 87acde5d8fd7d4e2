"""A stack on Cloud Run from nothing to its end, by the real gcloud against the stand-in: what each command changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gcp.apis.storage import secret_value
from tests.gcp.stack import DIGEST, NEWER, Done, Stack, standing_in

SERVICE = "europe-west1-run/apis/serving.knative.dev/v1/services"
JOBS = "europe-west1-run/apis/run.googleapis.com/v1/jobs"
SQL = "sqladmin/sql/v1beta4/instances"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with standing_in(tmp_path_factory.mktemp("gcp")) as stack:
        yield stack


@pytest.fixture(scope="module")
def story(stack: Stack) -> dict[str, Done]:
    """Return what each command of the story did, by the name of the chapter."""
    told = {"planned": stack.run("plan"), "registry": stack.run("apply")}
    stack.push(DIGEST)
    told |= {"made": stack.run("apply"), "as declared": stack.run("plan")}
    stack.declared["gcp_max_instances"] = 5
    told["more instances"] = stack.run("apply")
    stack.push(NEWER)
    told |= {"newer image": stack.run("apply"), "outputs": stack.run("outputs"), "ended": stack.run("destroy")}
    return told


def test_every_request_and_answer_is_known_to_the_published_schemas(stack: Stack, story: dict[str, Done]) -> None:
    assert len(stack.cloud.requests) > 100
    assert stack.cloud.complaints == []


def test_plan_of_an_empty_project_changes_nothing_and_says_so_by_its_status(story: dict[str, Done]) -> None:
    planned = story["planned"]

    assert (planned.status, planned.changes, planned.err) == (2, [], "")
    assert planned.out.endswith("2 steps to take, with 2 commands\n")


def test_first_apply_makes_the_registry_alone(story: dict[str, Done]) -> None:
    registry = story["registry"]

    assert (registry.status, registry.changes) == (
        0,
        ["POST serviceusage/v1/services:batchEnable", "POST artifactregistry/v1/locations/europe-west1/repositories"],
    )
    assert registry.out == (
        "enable APIs of project my-project-1\n"
        "create registry europe-west1-docker.pkg.dev/my-project-1/mlflow\n"
        "note: everything else comes when the image is there: push "
        "europe-west1-docker.pkg.dev/my-project-1/mlflow/mlflow-tracking:3.17.2, and apply again\n"
        "2 steps taken\n"
    )


def test_second_apply_makes_everything_else_in_order(story: dict[str, Done]) -> None:
    made = story["made"]

    assert (made.status, made.err) == (0, "")
    assert made.changes == [
        "POST iam/v1/serviceAccounts",
        "POST storage/storage/v1/b",
        "PATCH storage/storage/v1/b/my-project-1-mlflow",
        "POST secretmanager/v1/secrets",
        "POST secretmanager/v1/secrets/mlflow-database-password:addVersion",
        "PUT storage/storage/v1/b/my-project-1-mlflow/iam",
        "POST cloudresourcemanager/v1:setIamPolicy",
        "POST secretmanager/v1/secrets/mlflow-database-password:setIamPolicy",
        f"POST {SQL}",
        f"POST {SQL}/mlflow/databases",
        f"POST {SQL}/mlflow/users",
        f"POST {JOBS}",
        f"POST {JOBS}/mlflow-migrate:run",
        f"POST {SERVICE}",
    ]


def test_bucket_is_closed_from_its_first_moment(story: dict[str, Done]) -> None:
    created = next(each for each in story["made"].requests if each.path == "/storage/v1/b")

    assert created.body == {
        "name": "my-project-1-mlflow",
        "location": "europe-west1",
        "iamConfiguration": {
            "publicAccessPrevention": "enforced",
            "uniformBucketLevelAccess": {"enabled": True},
        },
    }


def test_password_of_the_database_is_the_one_in_the_secret_and_nowhere_on_this_machine(
    stack: Stack, story: dict[str, Done]
) -> None:
    password = secret_value(stack.cloud, "mlflow-database-password")

    user = next(each for each in story["made"].requests if each.path.endswith("/users") and each.changes)
    kept = [path for path in stack.directory.rglob("*") if path.is_file() and password in path.read_text("latin-1")]
    assert user.body["password"] == password
    assert kept == []
    assert password not in story["made"].out + story["as declared"].out


def test_rights_are_on_the_stack_s_own_things_alone(stack: Stack, story: dict[str, Done]) -> None:
    account = "serviceAccount:mlflow-tracking@my-project-1.iam.gserviceaccount.com"

    found = {name: policy["bindings"] for name, policy in stack.cloud.policies.items()}

    condition = {
        "title": "mlflow-stack-mlflow",
        "expression": "resource.name == 'projects/my-project-1/instances/mlflow' && "
        "resource.type == 'sqladmin.googleapis.com/Instance'",
    }
    assert found == {
        "b/my-project-1-mlflow": [{"role": "roles/storage.objectAdmin", "members": [account]}],
        "projects/my-project-1": [{"role": "roles/cloudsql.client", "members": [account], "condition": condition}],
        "projects/my-project-1/secrets/mlflow-database-password": [
            {"role": "roles/secretmanager.secretAccessor", "members": [account]}
        ],
    }


def test_second_plan_has_nothing_to_do(story: dict[str, Done]) -> None:
    again = story["as declared"]

    assert (again.status, again.out, again.changes) == (0, "nothing to do\n", [])


def test_more_instances_are_one_request(story: dict[str, Done]) -> None:
    more = story["more instances"]

    assert (more.status, more.changes) == (0, [f"PUT {SERVICE}/mlflow"])
    annotations = more.requests[-1].body["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/maxScale"] == "5"


def test_newer_image_comes_after_a_backup_and_its_migration(story: dict[str, Done]) -> None:
    newer = story["newer image"]

    assert (newer.status, newer.changes) == (
        0,
        [
            f"PUT {JOBS}/mlflow-migrate",
            f"POST {SQL}/mlflow/backupRuns",
            f"POST {JOBS}/mlflow-migrate:run",
            f"PUT {SERVICE}/mlflow",
        ],
    )
    container = newer.requests[-1].body["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"europe-west1-docker.pkg.dev/my-project-1/mlflow/mlflow-tracking@{NEWER}"


def test_outputs_name_the_server(story: dict[str, Done]) -> None:
    assert '"tracking_uri": "https://mlflow-123456789012.europe-west1.run.app"' in story["outputs"].out


def test_end_keeps_the_data(stack: Stack, story: dict[str, Done]) -> None:
    ended = story["ended"]

    assert (ended.status, ended.changes) == (
        0,
        [f"DELETE {SERVICE}/mlflow", f"DELETE {JOBS}/mlflow-migrate", f"PATCH {SQL}/mlflow"],
    )
    assert {"b/my-project-1-mlflow", "instances/mlflow", "instances/mlflow/databases/mlflow_db"} <= set(
        stack.cloud.things
    )
    assert secret_value(stack.cloud, "mlflow-database-password")
