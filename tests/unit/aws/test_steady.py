"""A stack whose service runs, looked at: nothing of it is changed here."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.aws import answer
from tests.unit.aws.balancer import balancer
from tests.unit.aws.certificate import Pair
from tests.unit.aws.conftest import PASSWORD, Cloud, Moto, empty_account, serve

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlflow"
TASK = "arn:aws:ecs:us-east-1:123456789012:task-definition/mlflow"


@pytest.fixture(scope="module")
def served(moto: Moto, tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[Cloud]:
    with empty_account(moto, tmp_path_factory.mktemp("served"), pair) as cloud:
        yield serve(cloud)


def test_second_apply_changes_nothing(served: Cloud) -> None:
    assert served.run("plan") == (0, "nothing to do; 37 resources as declared\n", "")
    assert served.changes() == []

    status, output, messages = served.run("apply")

    assert (status, messages) == (0, "")
    assert output.splitlines()[0] == "done: nothing to do; 37 resources as declared"
    assert served.changes() == []


@pytest.mark.parametrize("part", ["network", "data", "tasks", "service"])
def test_cloudformation_itself_finds_nothing_to_do_after_an_apply(served: Cloud, part: str) -> None:
    formation = served.client("cloudformation")
    text = formation.get_template(StackName=f"mlflow-{part}")["TemplateBody"]
    arguments = {"StackName": f"mlflow-{part}", "ChangeSetName": "once-more"}

    formation.create_change_set(TemplateBody=text, ChangeSetType="UPDATE", **arguments)
    found = formation.describe_change_set(**arguments)

    assert (found["Status"], found.get("Changes", [])) == ("FAILED", [])
    assert found["StatusReason"].startswith("The submitted information didn't contain changes.")


def test_no_secret_is_in_a_template_a_parameter_an_output_or_a_plan(served: Cloud) -> None:
    manager, formation = served.client("secretsmanager"), served.client("cloudformation")
    password = json.loads(manager.get_secret_value(SecretId="mlflow/database")["SecretString"])["password"]
    hashes = manager.get_secret_value(SecretId="mlflow/logins")["SecretString"].split()[-1]
    assert len(password) == 40
    texts = [served.run(*command, aws_max_tasks=6)[1] for command in (("plan", "--json"), ("plan",), ("outputs",))]
    for part in ("network", "data", "tasks", "service"):
        (stack,) = formation.describe_stacks(StackName=f"mlflow-{part}")["Stacks"]
        texts += [str(stack), formation.get_template(StackName=f"mlflow-{part}")["TemplateBody"]]

    found = [text for text in texts for secret in (PASSWORD, password, hashes) if secret in text]

    assert found == []
    assert all(stack.get("Parameters", []) == [] for stack in formation.describe_stacks()["Stacks"])


def test_plan_as_json_is_the_same_as_in_words(served: Cloud) -> None:
    status, output, _ = served.run("plan", "--json", aws_max_tasks=6)

    assert status == 2
    assert json.loads(output) == {
        "stacks": [
            {
                "name": "mlflow-service",
                "resources": [
                    {
                        "name": "Tasks",
                        "type": "AWS::ApplicationAutoScaling::ScalableTarget",
                        "action": "change",
                        "differences": [{"path": "MaxCapacity", "before": 4, "after": 6}],
                    }
                ],
                "steps": [],
                "idle": 8,
            }
        ]
    }


def test_outputs_are_what_the_stacks_have(served: Cloud) -> None:
    status, output, _ = served.run("outputs", "--json")

    found = json.loads(output)
    assert status == 0
    assert found["data.RepositoryUri"] == IMAGE
    assert found["data.Bucket"] == "mlflow-123456789012-us-east-1"
    assert found["tasks.TaskDefinition"] == f"{TASK}:1"
    assert found["service.LoadBalancerName"] == "mlflow-1.us-east-1.elb.amazonaws.com"
    assert served.run("outputs")[1].splitlines() == [f"{name} = {value}" for name, value in found.items()]


def test_service_that_does_not_answer_is_an_error(
    served: Cloud, tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with balancer(tmp_path, pair, health=503) as (address, _):
        monkeypatch.setattr(answer, "connect", lambda to, timeout: socket.create_connection(address, timeout))
        status, _, messages = served.run("apply", tracking_ready_timeout_s=10)

    assert status == 1
    assert messages == (
        "mlflow.example.com at mlflow-1.us-east-1.elb.amazonaws.com: GET /health: HTTP 503, for 10 s; its log says "
        "why\n"
        "there are now: mlflow-network, mlflow-data, mlflow-tasks, mlflow-service; put it right and apply again, which "
        "goes on from here\n"
    )


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"aws_bucket": "artifacts-of-ada"},
            "aws_bucket: stack mlflow-data was made with 'mlflow-123456789012-us-east-1', and with 'artifacts-of-ada' "
            "there would be an empty bucket in its place; set it back",
        ),
        (
            {"aws_database_engine": "mysql", "aws_database_version": "8.4.9"},
            "aws_database_engine: stack mlflow-data was made with 'postgres', and with 'mysql' there would be an empty "
            "database in its place; set it back",
        ),
        (
            {"postgresql_role": "ada"},
            "postgresql_role: stack mlflow-data was made with 'mlflow_user', and with 'ada' there would be an empty "
            "database in its place; set it back",
        ),
    ],
)
def test_setting_that_would_leave_data_behind_is_refused(served: Cloud, changed: dict[str, Any], problem: str) -> None:
    assert served.run("apply", **changed) == (1, "", f"1 problem; nothing was changed\n  {problem}\n")
