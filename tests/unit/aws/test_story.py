"""`python -m mlflow_stack aws` against moto's server: from an empty account to a service, changed and removed again."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_stack.aws import values
from mlflow_stack.domain import cloudformation
from tests.unit.aws.conftest import PASSWORD, Cloud, serve

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlflow"
TASK = "arn:aws:ecs:us-east-1:123456789012:task-definition/mlflow"
MIGRATION = "mlflow: the database's schema is looked at, or made, by a task, before the service moves"


@pytest.fixture
def served(cloud: Cloud) -> Cloud:
    return serve(cloud)


def resources(part: str) -> list[str]:
    """Return the lines of a plan that makes a whole stack, with what its conditions leave out taken away."""
    template = cloudformation.parse((values.TEMPLATES / f"{part}.yaml").read_text())
    made = {name: each for name, each in template["Resources"].items() if each.get("Condition") != "HasZone"}
    return [f"mlflow-{part}: + {name} ({each['Type']}), new" for name, each in made.items()]


def running(cloud: Cloud) -> str:
    """Return the task definition that the service runs."""
    (service,) = cloud.client("ecs").describe_services(cluster="mlflow", services=["mlflow"])["services"]
    return str(service["taskDefinition"])


def test_plan_of_an_empty_account_names_all_that_would_be_made_and_makes_nothing(cloud: Cloud) -> None:
    status, output, messages = cloud.run("plan")

    assert status == 2
    assert output.splitlines() == [
        "secret mlflow/database: made, with its value",
        "secret mlflow/logins: made, with its value",
        *resources("network"),
        *resources("data"),
        "mlflow: goes on when it is there: aws_image_tag: no image '3.17.2-1' in the repository that stack mlflow-data "
        "makes; push it there (docs/how-to/aws.md)",
        *resources("tasks"),
        MIGRATION,
        *resources("service"),
        "37 new, 4 other steps; 0 resources as declared",
    ]
    assert messages == ""
    assert cloud.changes() == []


def test_first_apply_stops_where_the_image_is_needed_and_the_next_one_goes_on(cloud: Cloud) -> None:
    first, output, messages = cloud.run("apply")

    assert first == 1
    assert output.splitlines() == [
        *resources("network"),
        "secret mlflow/database: made, with its value",
        *resources("data"),
    ]
    assert messages == (
        f"aws_image_tag: no image '3.17.2-1' in {IMAGE}; push it there (docs/how-to/aws.md)\n"
        "there are now: mlflow-network, mlflow-data; put it right and apply again, which goes on from here\n"
    )

    cloud.push("3.17.2-1")
    second, output, messages = cloud.run("apply")

    assert (second, messages) == (0, "")
    assert output.splitlines() == [
        "secret mlflow/logins: made, with its value",
        *resources("tasks"),
        MIGRATION,
        *resources("service"),
        "done: 13 new, 2 other steps; 24 resources as declared",
        "https://mlflow.example.com answers; the name has to lead to mlflow-1.us-east-1.elb.amazonaws.com",
    ]
    assert running(cloud) == f"{TASK}:1"


def test_changed_number_of_tasks_is_planned_as_exactly_that_and_made(served: Cloud) -> None:
    expected = [
        "mlflow-service: ~ Tasks (AWS::ApplicationAutoScaling::ScalableTarget), changed in place",
        "    MaxCapacity: 4 -> 6",
    ]

    planned = served.run("plan", aws_max_tasks=6)
    assert planned == (2, "\n".join([*expected, "1 changed; 36 resources as declared", ""]), "")
    assert served.changes() == ["cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet"]

    status, output, messages = served.run("apply", aws_max_tasks=6)
    assert (status, messages) == (0, "")
    assert output.splitlines()[:2] == expected
    assert served.changes() == ["cloudformation:CreateChangeSet", "cloudformation:ExecuteChangeSet"]
    assert served.run("plan", aws_max_tasks=6)[0] == 0


def test_new_image_is_migrated_to_before_the_service_moves(served: Cloud) -> None:
    served.push("3.18.0-1")

    status, output, _ = served.run("plan", aws_image_tag="3.18.0-1")
    assert status == 2
    assert output.splitlines() == [
        "mlflow-tasks: ~ TaskDefinition (AWS::ECS::TaskDefinition), changed in place",  # moto does not say "replaced"
        f"    ContainerDefinitions[tracking].Image: {IMAGE}:3.17.2-1 -> {IMAGE}:3.18.0-1",
        MIGRATION,
        "mlflow-service: ~ Service (AWS::ECS::Service), changed in place",
        f"    TaskDefinition: {TASK}:1 -> (known after mlflow-tasks)",
        "2 changed, 1 other step; 35 resources as declared",
    ]

    assert served.run("apply", aws_image_tag="3.18.0-1")[0] == 0
    assert served.changes() == [
        "cloudformation:CreateChangeSet",
        "cloudformation:ExecuteChangeSet",  # the task definition
        "ecs:RunTask",
        "cloudformation:CreateChangeSet",
        "cloudformation:ExecuteChangeSet",  # the service
    ]
    assert running(served) == f"{TASK}:2"
    assert [task["taskDefinitionArn"] for task in migrations(served)] == [f"{TASK}:1", f"{TASK}:2"]
    assert served.run("plan", aws_image_tag="3.18.0-1")[0] == 0


def migrations(cloud: Cloud) -> list[dict[str, Any]]:
    """Return the tasks that were run to migrate, the first of them first."""
    ecs = cloud.client("ecs")
    tasks = ecs.describe_tasks(cluster="mlflow", tasks=ecs.list_tasks(cluster="mlflow")["taskArns"])["tasks"]
    ours = [task for task in tasks if task.get("startedBy") == "mlflow-stack"]
    assert all(task["overrides"]["containerOverrides"][0]["command"] == ["migrate"] for task in ours)
    return sorted(ours, key=lambda task: str(task["taskDefinitionArn"]))


def test_failed_migration_leaves_the_service_as_it_was_and_the_next_apply_tries_again(served: Cloud) -> None:
    served.push("broken")

    status, _, messages = served.run("apply", aws_image_tag="broken")

    assert status == 1
    assert messages == (
        "the migration ended with status 1; the service is as it was\n"
        "there are now: mlflow-network, mlflow-data, mlflow-tasks, mlflow-service; put it right and apply again, which "
        "goes on from here\n"
    )
    assert running(served) == f"{TASK}:1"
    assert [call for call in served.changes() if call.endswith("ExecuteChangeSet")] == [
        "cloudformation:ExecuteChangeSet"
    ]

    status, output, _ = served.run("plan", aws_image_tag="broken")
    assert status == 2
    assert output.splitlines()[0] == MIGRATION

    served.push("mended")
    assert served.run("apply", aws_image_tag="mended")[0] == 0
    assert running(served) == f"{TASK}:3"


def test_database_is_backed_up_before_its_schema_may_be_upgraded(served: Cloud) -> None:
    served.push("3.18.0-1")
    upgrade: dict[str, Any] = {"aws_image_tag": "3.18.0-1", "tracking_upgrade_database": True}

    status, output, _ = served.run("plan", **upgrade)
    assert status == 2
    assert (
        "mlflow: a snapshot of the database, then its schema is brought up to date by a task, before the service moves"
    ) in output.splitlines()

    assert served.run("apply", **upgrade)[0] == 0
    calls = [call for call in served.changes() if call in ("rds:CreateDBSnapshot", "ecs:RunTask")]
    assert calls == ["rds:CreateDBSnapshot", "ecs:RunTask"]
    (snapshot,) = served.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert snapshot["DBSnapshotIdentifier"].startswith("mlflow-before-")
    told = migrations(served)[-1]["overrides"]["containerOverrides"][0]["environment"]
    assert told == [{"name": "MLFLOW_UPGRADE_DATABASE", "value": "true"}]


def test_changed_password_is_a_new_version_and_a_new_task(served: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    before = served.client("secretsmanager").describe_secret(SecretId="mlflow/logins")
    monkeypatch.setenv("ADMIN_PASSWORD", f"{PASSWORD}, changed")

    status, output, _ = served.run("plan")
    lines = output.splitlines()
    assert status == 2
    assert lines[0] == "secret mlflow/logins: a new version of its value"
    changed = f"    ContainerDefinitions[tracking].Secrets[MLFLOW_LOGINS].ValueFrom: {before['ARN']}:::"
    assert [line for line in lines if line.startswith(changed)] == [lines[2]]

    assert served.run("apply")[0] == 0
    after = served.client("secretsmanager").describe_secret(SecretId="mlflow/logins")
    (current,) = [version for version, stages in after["VersionIdsToStages"].items() if "AWSCURRENT" in stages]
    assert current not in before["VersionIdsToStages"]
    definition = served.client("ecs").describe_task_definition(taskDefinition=running(served))["taskDefinition"]
    secrets = {each["name"]: each["valueFrom"] for each in container(definition)["secrets"]}
    assert secrets["MLFLOW_LOGINS"] == f"{after['ARN']}:::{current}"
    assert served.run("plan")[0] == 0


def container(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the one container of a task definition."""
    (found,) = definition["containerDefinitions"]
    return dict(found)


def test_destroy_removes_the_service_and_keeps_the_data_for_the_next_apply(served: Cloud) -> None:
    status, output, messages = served.run("destroy")

    assert (status, messages) == (0, "")
    assert output.splitlines() == [
        "removed: stack mlflow-service",
        "removed: stack mlflow-tasks",
        "kept: mlflow-data, mlflow-network; they cost money, and go with --delete-data mlflow",
    ]
    assert [each["DBInstanceIdentifier"] for each in served.client("rds").describe_db_instances()["DBInstances"]] == [
        "mlflow"
    ]
    assert [each["Name"] for each in served.client("s3").list_buckets()["Buckets"]] == ["mlflow-123456789012-us-east-1"]
    assert served.client("elbv2").describe_load_balancers()["LoadBalancers"] == []

    assert served.run("apply")[0] == 0
    assert served.run("plan")[0] == 0


def test_data_are_removed_only_when_the_name_is_repeated(served: Cloud) -> None:
    bucket, s3 = "mlflow-123456789012-us-east-1", served.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for text in (b"first", b"second"):
        s3.put_object(Bucket=bucket, Key="artifacts/1/model", Body=text)
    s3.delete_object(Bucket=bucket, Key="artifacts/1/model")

    assert served.run("destroy", "--delete-data", "mlflo") == (
        1,
        "",
        "1 problem; nothing was changed\n"
        "  --delete-data mlflo: the stack is called mlflow; repeat that, or leave the option out\n",
    )
    assert served.changes() == []

    status, output, messages = served.run("destroy", "--delete-data", "mlflow")
    assert (status, messages) == (0, "")
    assert output.splitlines() == [
        "removed: stack mlflow-service",
        "removed: stack mlflow-tasks",
        f"removed: bucket {bucket} with 3 objects and old versions",
        "removed: repository mlflow, log group /mlflow-stack/mlflow",
        "removed: stack mlflow-data; of the database mlflow a last snapshot is left",
        "removed: secret mlflow/database, which can be taken back for 7 days",
        "removed: secret mlflow/logins, which can be taken back for 7 days",
        "removed: stack mlflow-network",
    ]
    assert s3.list_buckets()["Buckets"] == []
    assert served.client("rds").describe_db_instances()["DBInstances"] == []
    assert served.client("ecr").describe_repositories()["repositories"] == []
    assert served.client("cloudformation").describe_stacks()["Stacks"] == []

    assert served.run("destroy", "--delete-data", "mlflow") == (0, "", "")


def test_what_is_another_s_is_not_removed_with_the_data(served: Cloud) -> None:
    s3, formation = served.client("s3"), served.client("cloudformation")
    s3.create_bucket(Bucket="artifacts-of-ada")
    topic = "Resources: {Topic: {Type: 'AWS::SNS::Topic'}}"
    formation.create_stack(StackName="mlflow-host-of-ada", TemplateBody=topic)

    # The settings call the bucket otherwise than they did when it was made.
    assert served.run("destroy", "--delete-data", "mlflow", aws_bucket="artifacts-of-ada")[0] == 0

    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["artifacts-of-ada"]
    assert [each["StackName"] for each in formation.describe_stacks()["Stacks"]] == ["mlflow-host-of-ada"]


def test_secrets_that_were_removed_with_the_data_are_taken_back_by_a_new_stack(served: Cloud) -> None:
    assert served.run("destroy", "--delete-data", "mlflow")[0] == 0

    assert served.run("apply")[0] == 1  # the image went with the repository
    found = served.client("secretsmanager").describe_secret(SecretId="mlflow/database")

    assert "DeletedDate" not in found


def test_network_of_ones_own_is_used(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    ids = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{number}.0/24", AvailabilityZone=f"us-east-1{zone}")["Subnet"][
            "SubnetId"
        ]
        for number, zone in enumerate("ababab")
    ]
    own = {
        "aws_vpc_id": vpc,
        "aws_public_subnet_ids": ids[:2],
        "aws_task_subnet_ids": ids[2:4],
        "aws_database_subnet_ids": ids[4:],
    }
    assert cloud.run("apply", **own)[0] == 1
    cloud.push("3.17.2-1")
    assert cloud.run("apply", **own)[0] == 0

    names = [each["StackName"] for each in cloud.client("cloudformation").describe_stacks()["Stacks"]]
    template = cloud.client("cloudformation").get_template(StackName="mlflow-service")["TemplateBody"]
    network = cloudformation.parse(template)["Resources"]["Service"]["Properties"]["NetworkConfiguration"]

    assert names == ["mlflow-data", "mlflow-tasks", "mlflow-service"]
    assert network["AwsvpcConfiguration"]["Subnets"] == ids[2:4]
    assert network["AwsvpcConfiguration"]["AssignPublicIp"] == "DISABLED"
    definition = cloud.client("ecs").describe_task_definition(taskDefinition=running(cloud))["taskDefinition"]
    assert {"name": "FORWARDED_ALLOW_IPS", "value": "10.1.0.0/24,10.1.1.0/24"} in container(definition)["environment"]


def test_mysql_is_a_setting(cloud: Cloud) -> None:
    mysql = {"aws_database_engine": "mysql", "aws_database_version": "8.4.9"}
    assert cloud.run("apply", **mysql)[0] == 1
    cloud.push("3.17.2-1")
    assert cloud.run("apply", **mysql)[0] == 0

    (database,) = cloud.client("rds").describe_db_instances()["DBInstances"]
    definition = cloud.client("ecs").describe_task_definition(taskDefinition=running(cloud))["taskDefinition"]
    told = {each["name"]: each["value"] for each in container(definition)["environment"]}

    assert (database["Engine"], database["Endpoint"]["Port"]) == ("mysql", 3306)
    assert told["MLFLOW_BACKEND_STORE_URI"] == (
        "mysql+pymysql://mlflow_user@mlflow.aaaaaaaaaa.us-east-1.rds.amazonaws.com:3306/mlflow_db"
    )
