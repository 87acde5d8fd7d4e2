"""What a plan says, from what there is and what is declared."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from mlflow_stack.gcp.plan import Difference, Plan, unlike
from mlflow_stack.gcp.stack import make_plan
from mlflow_stack.gcp.survey import Found
from tests.unit.gcp.found import (
    ACCOUNT,
    LOGIN,
    NEWER,
    PASSWORD,
    bucket,
    image,
    instance,
    nothing,
    policy,
    registry,
    settings,
    whole,
)

OTHER_IMAGE = "europe-west1-docker.pkg.dev/my-project-1/mlflow/mlflow-tracking@sha256:"


def steps(plan: Plan) -> list[str]:
    return [str(step) for step in plan.steps]


def text(plan: Plan) -> str:
    return "\n".join(plan.lines())


def planned(data: dict[str, Any] | None = None, **answers: Any) -> Plan:
    """Return the plan for a whole stack of which something is found otherwise, or is declared otherwise now."""
    return make_plan(settings(**(data or {})), whole(settings(), **answers), {})


def test_empty_project_gets_the_registry_first_and_alone() -> None:
    plan = make_plan(settings(), nothing(), {})

    assert text(plan) == (
        "enable APIs of project my-project-1\n"
        "    artifactregistry.googleapis.com: enabled\n"
        "    cloudresourcemanager.googleapis.com: enabled\n"
        "    iam.googleapis.com: enabled\n"
        "    run.googleapis.com: enabled\n"
        "    secretmanager.googleapis.com: enabled\n"
        "    sqladmin.googleapis.com: enabled\n"
        "    $ gcloud services enable artifactregistry.googleapis.com cloudresourcemanager.googleapis.com "
        "iam.googleapis.com run.googleapis.com secretmanager.googleapis.com sqladmin.googleapis.com\n"
        "\n"
        "create registry europe-west1-docker.pkg.dev/my-project-1/mlflow\n"
        "    format: docker\n"
        "    location: europe-west1\n"
        "    $ gcloud artifacts repositories create mlflow --repository-format=docker --location=europe-west1 "
        "--labels=mlflow-stack=mlflow\n"
        "\n"
        "note: everything else comes when the image is there: push "
        "europe-west1-docker.pkg.dev/my-project-1/mlflow/mlflow-tracking:3.17.2, and apply again\n"
        "2 steps to take, with 2 commands"
    )


def test_everything_else_is_made_in_the_order_in_which_it_is_needed() -> None:
    plan = make_plan(settings(), registry(), {})

    assert steps(plan) == [
        "create service account mlflow-tracking@my-project-1.iam.gserviceaccount.com",
        "create bucket gs://my-project-1-mlflow",
        "create secret mlflow-database-password",
        "grant roles/storage.objectAdmin on bucket gs://my-project-1-mlflow",
        "grant roles/cloudsql.client on Cloud SQL instance mlflow",
        "grant roles/secretmanager.secretAccessor on secret mlflow-database-password",
        "create Cloud SQL instance mlflow",
        "create database mlflow_db",
        "create database user mlflow_user",
        "create Cloud Run job mlflow-migrate",
        "run Cloud Run job mlflow-migrate",
        "create Cloud Run service mlflow",
    ]


def test_plan_of_a_bucket_and_a_database_names_every_field_and_every_command() -> None:
    lines = text(make_plan(settings(), registry(), {})).split("\n\n")

    assert [lines[1], lines[6]] == [
        "create bucket gs://my-project-1-mlflow\n"
        "    uniform access: on\n"
        "    public access prevention: enforced\n"
        "    versioning: on\n"
        '    lifecycle: [{"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}}]\n'
        "    $ gcloud storage buckets create gs://my-project-1-mlflow --location=europe-west1 "
        "--uniform-bucket-level-access --public-access-prevention\n"
        "    $ gcloud storage buckets update gs://my-project-1-mlflow --versioning --lifecycle-file=/dev/stdin "
        "--update-labels=mlflow-stack=mlflow",
        "create Cloud SQL instance mlflow\n"
        "    gcp_region: europe-west1\n"
        "    gcp_database_version: POSTGRES_17\n"
        "    running: ALWAYS\n"
        "    edition: ENTERPRISE\n"
        "    tier: db-custom-1-3840\n"
        "    disk, GB: 10\n"
        "    availability: ZONAL\n"
        "    nightly backup: on\n"
        "    point-in-time recovery: on\n"
        "    protection from deletion: on\n"
        "    public address: on\n"
        "    TLS: ENCRYPTED_ONLY\n"
        "    $ gcloud beta sql instances create mlflow --region=europe-west1 --database-version=POSTGRES_17 "
        "--activation-policy=always --edition=enterprise --tier=db-custom-1-3840 --storage-size=10GB "
        "--availability-type=ZONAL --backup-start-time=02:00 --enable-point-in-time-recovery --deletion-protection "
        "--assign-ip --ssl-mode=ENCRYPTED_ONLY --labels=mlflow-stack=mlflow --flags-file=-\n"
        "        (a secret, on standard input)",
    ]


def test_no_secret_is_in_a_plan_or_an_argument() -> None:
    wanted = settings(gcp_public=True)

    for found in (registry(), whole(wanted, {"ada": LOGIN})):
        plan = make_plan(wanted, found, {"ada": "another"})
        secrets = [command.stdin for step in plan.steps for command in step.commands if command.is_secret]
        values = {value for secret in secrets for value in secret.replace('"', " ").split() if len(value) > 20}
        assert secrets
        assert not [value for value in {*values, PASSWORD, LOGIN, "another"} if value in text(plan)]


@pytest.mark.parametrize(
    "data",
    [{}, {"gcp_public": True}, {"gcp_invokers": ["user:ada@example.com", "group:all@example.com"]}],
    ids=["by-iam", "by-its-own-login", "by-iam-for-some"],
)
def test_stack_that_is_as_declared_has_nothing_to_do(data: dict[str, Any]) -> None:
    passwords = {"ada": LOGIN} if data.get("gcp_public") else {}

    plan = make_plan(settings(**data), whole(settings(**data), passwords), passwords)

    assert text(plan) == "nothing to do"


@pytest.mark.parametrize(
    ("data", "answers", "shown"),
    [
        pytest.param(
            {"gcp_max_instances": 5},
            {},
            "change Cloud Run service mlflow\n"
            "    spec.template.metadata.annotations.autoscaling.knative.dev/maxScale: 3 -> 5\n"
            "    $ gcloud run services replace - --region=europe-west1\n",
            id="more-instances",
        ),
        pytest.param(
            {"gcp_database_tier": "db-custom-2-7680", "gcp_database_highly_available": True},
            {},
            "change Cloud SQL instance mlflow\n"
            "    tier: db-custom-1-3840 -> db-custom-2-7680\n"
            "    availability: ZONAL -> REGIONAL\n"
            "    $ gcloud sql instances patch mlflow --tier=db-custom-2-7680 --availability-type=REGIONAL\n",
            id="larger-database",
        ),
        pytest.param(
            {},
            {"instances": [instance(activationPolicy="NEVER")]},
            "change Cloud SQL instance mlflow\n"
            "    running: NEVER -> ALWAYS\n"
            "    $ gcloud sql instances patch mlflow --activation-policy=always\n",
            id="database-that-was-stopped",
        ),
        pytest.param(
            {},
            {"bucket": bucket(versioning={"enabled": False}, iamConfiguration={})},
            "change bucket gs://my-project-1-mlflow\n"
            "    uniform access: not set -> on\n"
            "    public access prevention: not set -> enforced\n"
            "    versioning: off -> on\n"
            "    $ gcloud storage buckets update gs://my-project-1-mlflow --uniform-bucket-level-access "
            "--public-access-prevention --versioning\n",
            id="bucket-without-protection",
        ),
        pytest.param(
            {"gcp_bucket_keep_days": 7},
            {},
            "change bucket gs://my-project-1-mlflow\n"
            '    lifecycle: [{"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}}] -> '
            '[{"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 7}}]\n'
            "    $ gcloud storage buckets update gs://my-project-1-mlflow --lifecycle-file=/dev/stdin\n",
            id="deleted-artifacts-kept-for-less",
        ),
        pytest.param(
            {},
            {"bucket policy": policy("roles/storage.objectViewer", ACCOUNT)},
            "grant roles/storage.objectAdmin on bucket gs://my-project-1-mlflow\n"
            "    to: mlflow-tracking@my-project-1.iam.gserviceaccount.com\n"
            "    $ gcloud storage buckets add-iam-policy-binding gs://my-project-1-mlflow "
            "--member=serviceAccount:mlflow-tracking@my-project-1.iam.gserviceaccount.com "
            "--role=roles/storage.objectAdmin --condition=None\n",
            id="right-that-was-taken-away",
        ),
        pytest.param(
            {},
            {"project policy": policy("roles/cloudsql.client", ACCOUNT)},
            "grant roles/cloudsql.client on Cloud SQL instance mlflow\n"
            "    to: mlflow-tracking@my-project-1.iam.gserviceaccount.com\n"
            "    $ gcloud projects add-iam-policy-binding my-project-1 "
            "--member=serviceAccount:mlflow-tracking@my-project-1.iam.gserviceaccount.com "
            "--role=roles/cloudsql.client '--condition=title=mlflow-stack-mlflow,expression=resource.name == "
            "'\"'\"'projects/my-project-1/instances/mlflow'\"'\"' && resource.type == "
            "'\"'\"'sqladmin.googleapis.com/Instance'\"'\"''\n",
            id="right-on-every-database",
        ),
        pytest.param(
            {"gcp_invokers": ["user:ada@example.com"]},
            {"service policy": policy("roles/run.invoker", "user:bob@example.com")},
            "revoke roles/run.invoker on Cloud Run service mlflow\n"
            "    of: user:bob@example.com\n"
            "    $ gcloud run services remove-iam-policy-binding mlflow --region=europe-west1 "
            "--member=user:bob@example.com --role=roles/run.invoker --condition=None\n"
            "\n"
            "grant roles/run.invoker on Cloud Run service mlflow\n"
            "    to: user:ada@example.com\n"
            "    $ gcloud run services add-iam-policy-binding mlflow --region=europe-west1 "
            "--member=user:ada@example.com --role=roles/run.invoker --condition=None\n",
            id="other-callers",
        ),
    ],
)
def test_change_is_shown_field_by_field(data: dict[str, Any], answers: dict[str, Any], shown: str) -> None:
    plan = planned(data, **answers)

    assert text(plan).rpartition("\n")[0] == shown


def test_newer_image_is_migrated_to_with_a_backup_before_and_the_service_after_it() -> None:
    plan = planned(images=[image(NEWER)])

    assert text(plan) == (
        "change Cloud Run job mlflow-migrate\n"
        "    spec.template.spec.template.spec.containers[tracking].image: "
        f"{OTHER_IMAGE}{'a' * 64} -> {OTHER_IMAGE}{'b' * 64}\n"
        "    $ gcloud run jobs replace - --region=europe-west1\n"
        "\n"
        "back up Cloud SQL instance mlflow\n"
        "    $ gcloud sql backups create --instance=mlflow '--description=before a migration'\n"
        "\n"
        "run Cloud Run job mlflow-migrate\n"
        "    schema: up to date\n"
        "    $ gcloud run jobs execute mlflow-migrate --wait --region=europe-west1\n"
        "\n"
        "change Cloud Run service mlflow\n"
        "    spec.template.spec.containers[tracking].image: "
        f"{OTHER_IMAGE}{'a' * 64} -> {OTHER_IMAGE}{'b' * 64}\n"
        "    $ gcloud run services replace - --region=europe-west1\n"
        "\n"
        "4 steps to take, with 4 commands"
    )


def test_migration_that_was_interrupted_runs_again_although_its_job_is_as_declared() -> None:
    found = planned(images=[image(NEWER)])
    job = found.steps[0].commands[0].stdin

    plan = planned(images=[image(NEWER)], jobs=[yaml.safe_load(job)])

    assert steps(plan) == [
        "back up Cloud SQL instance mlflow",
        "run Cloud Run job mlflow-migrate",
        "change Cloud Run service mlflow",
    ]


def test_service_that_did_not_become_ready_gets_another_revision() -> None:
    service = whole(settings()).thing("services", "mlflow")
    service["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": "Permission denied on secret"}]

    plan = planned(services=[service])

    assert text(plan) == (
        "change Cloud Run service mlflow\n"
        "    ready: Permission denied on secret -> by another revision\n"
        "    $ gcloud run services replace - --region=europe-west1\n"
        "\n"
        "1 step to take, with 1 command"
    )
    template = yaml.safe_load(plan.steps[0].commands[0].stdin)["spec"]["template"]["metadata"]
    assert re.fullmatch("[0-9a-f]{10}", template["labels"]["client.knative.dev/nonce"])


def test_server_without_a_login_is_closed_to_everybody_before_it_starts_and_opened_after_it_has_one() -> None:
    closed, opened = settings(), settings(gcp_public=True)

    closing = make_plan(closed, whole(opened, {"ada": LOGIN}), {})
    opening = make_plan(opened, whole(closed), {"ada": LOGIN})

    assert steps(closing) == [
        "revoke roles/run.invoker on Cloud Run service mlflow",
        "change Cloud Run service mlflow",
    ]
    assert steps(opening) == [
        "create secret mlflow-logins",
        "grant roles/secretmanager.secretAccessor on secret mlflow-logins",
        "change Cloud Run service mlflow",
        "grant roles/run.invoker on Cloud Run service mlflow",
    ]


def test_password_of_a_user_that_changes_is_a_new_version_which_the_service_is_told() -> None:
    wanted = settings(gcp_public=True)

    plan = make_plan(wanted, whole(wanted, {"ada": LOGIN}), {"ada": "another"})

    assert text(plan) == (
        "change secret mlflow-logins\n"
        "    version: 2\n"
        "    $ gcloud secrets versions add mlflow-logins --data-file=-\n"
        "        (a secret, on standard input)\n"
        "\n"
        "change Cloud Run service mlflow\n"
        "    spec.template.spec.volumes[mlflow-logins].secret.items[0].key: 1 -> 2\n"
        "    $ gcloud run services replace - --region=europe-west1\n"
        "\n"
        "2 steps to take, with 2 commands"
    )


def test_version_that_somebody_adds_to_the_password_is_given_to_the_database_and_the_service() -> None:
    value = {"name": "projects/1/secrets/mlflow-database-password/versions/2", "payload": {"data": "aHVudGVyMw=="}}

    plan = planned(**{"mlflow-database-password value": value})

    assert steps(plan) == [
        "change database user mlflow_user",
        "change Cloud Run job mlflow-migrate",
        "change Cloud Run service mlflow",
    ]
    assert plan.steps[0].commands[0].stdin == '{"--password": "hunter3"}'


def test_password_that_never_came_into_its_secret_is_made_anew_for_both() -> None:
    plan = planned(**{"mlflow-database-password value": None})

    user, secret = plan.steps
    assert (str(user), str(secret)) == ("change database user mlflow_user", "change secret mlflow-database-password")
    assert user.commands[0].stdin == f'{{"--password": "{secret.commands[0].stdin}"}}'


def test_database_that_was_stopped_is_started_and_nothing_in_it_is_made_again() -> None:
    stopped = {"instances": [instance(activationPolicy="NEVER")], "databases": None, "users": None}

    assert steps(planned(**stopped)) == ["change Cloud SQL instance mlflow"]
    assert steps(planned(**stopped, images=[image(NEWER)]))[:3] == [
        "change Cloud SQL instance mlflow",
        "change Cloud Run job mlflow-migrate",
        "back up Cloud SQL instance mlflow",
    ]


def test_mysql_has_its_own_way_to_the_database() -> None:
    plan = make_plan(settings(gcp_database_version="MYSQL_8_4"), registry(), {})

    created = " ".join(command.shown for step in plan.steps for command in step.commands)
    assert "--database-version=MYSQL_8_4" in created
    assert "--enable-bin-log" in created
    assert "--charset=utf8mb4" in created
    uri = "mysql+pymysql://mlflow_user@localhost/mlflow_db?unix_socket=/cloudsql/my-project-1:europe-west1:mlflow"
    assert uri in plan.steps[-1].commands[0].stdin
    user = next(step for step in plan.steps if step.thing == "database user mlflow_user")
    assert '"--host": "%"' in user.commands[0].stdin


def test_mysql_lets_a_trigger_be_made_and_keeps_the_flags_that_somebody_else_has_set() -> None:
    wanted, other = settings(gcp_database_version="MYSQL_8_4"), {"name": "time_zone", "value": "+01:00,"}
    trusting = {"name": "log_bin_trust_function_creators", "value": "on"}
    backups = {"backupConfiguration": {"enabled": True, "binaryLogEnabled": True}}

    def planned_with(*flags: dict[str, str]) -> str:
        there = instance(**backups, databaseFlags=list(flags)) | {"databaseVersion": "MYSQL_8_4"}
        return text(make_plan(wanted, whole(wanted, instances=[there]), {}))

    assert planned_with(other, trusting) == "nothing to do"
    assert "'--database-flags=^|^time_zone=+01:00,|log_bin_trust_function_creators=on'" in planned_with(other)
    assert " --database-flags=log_bin_trust_function_creators=on" in planned_with(trusting | {"value": "off"})


def test_disk_that_has_grown_by_itself_is_left_alone() -> None:
    assert steps(planned(instances=[instance(dataDiskSizeGb="25")])) == []


def test_manifest_is_compared_with_what_the_server_has_and_adds() -> None:
    wanted = {"a": 1, "b": {"c": True}, "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}], "l": [1]}
    found = {"a": "1", "b": {"c": True, "added": 5}, "env": [{"name": "Y", "value": "3"}, {"name": "Z", "value": "4"}]}

    assert list(unlike(wanted, found)) == [
        Difference("env[X]", "1", "none"),
        Difference("env[Y].value", "2", "3"),
        Difference("env[Z]", "none", "4"),
        Difference("l[0]", "1", "none"),
    ]


def test_values_that_mean_the_same_are_no_difference() -> None:
    wanted = {"cpu": "1", "memory": "2048Mi", "seconds": 3600, "minScale": "0", "text": "a"}

    assert list(unlike(wanted, {"cpu": "1000m", "memory": "2Gi", "seconds": "3600", "text": "a"})) == []
    assert list(unlike(wanted, {"cpu": "2", "memory": "2Mi", "seconds": 360, "minScale": "1", "text": "a1"})) == [
        Difference("cpu", "1", "2"),
        Difference("memory", "2048Mi", "2Mi"),
        Difference("seconds", "3600", "360"),
        Difference("minScale", "0", "1"),
        Difference("text", "a", "a1"),
    ]


def test_difference_that_was_not_there_is_shown_without_an_arrow() -> None:
    assert [str(Difference("field", "new")), str(Difference("field", "new", "old"))] == [
        "field: new",
        "field: old -> new",
    ]


def test_found_lists_things_by_the_names_that_their_apis_give_them() -> None:
    found = Found(
        "1", frozenset(), {"secrets": [{"name": "projects/1/secrets/x"}], "jobs": [{"metadata": {"name": "y"}}]}
    )

    assert found.thing("secrets", "x") == {"name": "projects/1/secrets/x"}
    assert found.thing("jobs", "y") == {"metadata": {"name": "y"}}
    assert found.thing("jobs", "x") is None
