"""What CloudFormation says and moto does not: replacements, pages, and changes that fail.

The answers have the form of Amazon's API: botocore's Stubber compares them, and the questions, with its model.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from mlflow_stack.aws import stacks
from mlflow_stack.aws.api import Aws, Failed
from mlflow_stack.aws.stacks import ChangeSet, Stack
from mlflow_stack.domain.stack_plan import ResourceChange, StackChange

NAME, ID = "mlflow-data", "arn:aws:cloudformation:us-east-1:123456789012:stack/mlflow-data/1"
NOW = datetime(2026, 11, 27, tzinfo=timezone.utc)
BEFORE = {"Resources": {name: {"Type": f"AWS::{name}", "Properties": {"Size": 1}} for name in ("A", "B", "C", "D")}}
WANTED = {"Resources": {name: {"Type": f"AWS::{name}", "Properties": {"Size": 2}} for name in ("A", "B", "C", "E")}}
THERE = Stack(NAME, "CREATE_COMPLETE", template=BEFORE)


class Formation:
    """Amazon's client, which gives these answers in their order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        self.aws = Aws("us-east-1")
        self.stub = Stubber(self.aws.client("cloudformation"))

    def answers(self, operation: str, answer: dict[str, Any], **question: Any) -> None:
        self.stub.add_response(operation, answer, question or None)

    def stack(self, status: str, name: str = NAME) -> None:
        found = {"StackName": NAME, "StackId": ID, "CreationTime": NOW, "StackStatus": status}
        self.answers("describe_stacks", {"Stacks": [found]}, StackName=name)


@pytest.fixture
def formation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Formation]:
    made = Formation(monkeypatch)
    with made.stub:
        yield made
    made.stub.assert_no_pending_responses()


def change(name: str, action: str, replacement: str = "") -> dict[str, Any]:
    found = {"Action": action, "LogicalResourceId": name, "ResourceType": f"AWS::{name}"}
    return {"Type": "Resource", "ResourceChange": found | ({"Replacement": replacement} if replacement else {})}


def test_replacements_are_those_that_cloudformation_tells_on_all_its_pages(formation: Formation) -> None:
    formation.answers("create_change_set", {"Id": "arn:1", "StackId": ID})
    first = [change("A", "Modify", "False"), change("B", "Modify", "True")]
    second = [change("C", "Modify", "Conditional"), change("D", "Remove"), change("E", "Add")]
    formation.answers("describe_change_set", {"Status": "CREATE_COMPLETE", "Changes": first, "NextToken": "more"})
    formation.answers("describe_change_set", {"Status": "CREATE_COMPLETE", "Changes": second})

    prepared = stacks.prepare(formation.aws, THERE, WANTED, "mlflow")

    assert prepared is not None
    assert [(each.name, each.action) for each in prepared.change.resources] == [
        ("A", "change"),
        ("B", "replace"),
        ("C", "replace?"),
        ("D", "remove"),
        ("E", "add"),
    ]


def test_change_set_of_a_new_stack_leaves_nothing_behind_when_it_fails(formation: Formation) -> None:
    formation.answers(
        "create_change_set",
        {"Id": "arn:1", "StackId": ID},
        StackName=NAME,
        ChangeSetName=ANY,
        ChangeSetType="CREATE",
        TemplateBody=ANY,
        Capabilities=["CAPABILITY_IAM"],
        Tags=[{"Key": "mlflow-stack", "Value": "mlflow"}],
        OnStackFailure="DELETE",
    )
    reason = "Transform is not allowed"
    formation.answers("describe_change_set", {"Status": "FAILED", "StatusReason": reason, "Changes": []})
    formation.answers("delete_change_set", {}, StackName=NAME, ChangeSetName="arn:1")
    formation.stack("REVIEW_IN_PROGRESS")
    formation.answers("delete_stack", {}, StackName=NAME)

    with pytest.raises(Failed) as failed:
        stacks.prepare(formation.aws, Stack(NAME), WANTED, "mlflow")

    assert str(failed.value) == f"stack {NAME}: CloudFormation refuses the change: {reason}"


def test_change_set_without_changes_is_none(formation: Formation) -> None:
    formation.answers("create_change_set", {"Id": "arn:1", "StackId": ID})
    reason = "The submitted information didn't contain changes. Submit different information to create a change set."
    formation.answers("describe_change_set", {"Status": "FAILED", "StatusReason": reason, "Changes": []})
    formation.answers("delete_change_set", {})

    assert stacks.prepare(formation.aws, THERE, WANTED, "mlflow") is None


def event(name: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "StackId": ID,
        "StackName": NAME,
        "EventId": f"{name}-{status}",
        "Timestamp": NOW,
        "LogicalResourceId": name,
        "ResourceType": f"AWS::RDS::{name}",
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


def test_change_that_fails_is_told_by_the_first_thing_that_failed(formation: Formation) -> None:
    formation.stack("REVIEW_IN_PROGRESS")
    formation.answers("execute_change_set", {}, StackName=NAME, ChangeSetName="arn:1")
    formation.stack("CREATE_IN_PROGRESS", ID)
    formation.stack("DELETE_COMPLETE", ID)
    newest_first = [
        event("Parameters", "CREATE_FAILED", "Resource creation cancelled"),
        event("Database", "CREATE_FAILED", "db.t4g.small is not offered here"),
        event("Parameters", "CREATE_IN_PROGRESS", ""),
    ]
    formation.answers("describe_stack_events", {"StackEvents": newest_first}, StackName=ID)

    with pytest.raises(Failed) as failed:
        stacks.execute(formation.aws, ChangeSet("arn:1", Stack(NAME), StackChange(NAME)))

    assert str(failed.value) == f"stack {NAME}: Database (AWS::RDS::Database): db.t4g.small is not offered here"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlflow_stack.aws.api.PAUSE_S", 0.01)


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        ("", ""),
        ("UPDATE_COMPLETE", ""),
        ("UPDATE_ROLLBACK_COMPLETE", ""),
        (
            "UPDATE_IN_PROGRESS",
            "stack mlflow-data: somebody is changing it (UPDATE_IN_PROGRESS); wait until that is done",
        ),
        (
            "ROLLBACK_FAILED",
            "stack mlflow-data: it is ROLLBACK_FAILED, which an earlier run or somebody in the console left; put it "
            "right there (its events say what failed), or remove the stack",
        ),
    ],
)
def test_stack_that_can_t_be_changed_is_an_obstacle(status: str, problem: str) -> None:
    assert stacks.obstacle(Stack(NAME, status)) == problem


@pytest.mark.parametrize(
    ("name", "action", "lost"),
    [
        ("Database", "replace", ["Database"]),
        ("Bucket", "remove", ["Bucket"]),
        ("Database", "change", []),
        ("DatabaseParameters", "replace", []),
    ],
)
def test_data_that_would_be_left_behind_are_a_loss(name: str, action: Any, lost: list[str]) -> None:
    assert stacks.losses(StackChange(NAME, (ResourceChange(name, "AWS::Any", action),))) == lost


def test_plan_without_cloudformation_says_what_the_templates_say() -> None:
    planned = stacks.planned(THERE, WANTED)

    assert [(each.name, each.action) for each in planned.resources] == [
        ("A", "change"),
        ("B", "change"),
        ("C", "change"),
        ("D", "remove"),
        ("E", "add"),
    ]
    assert planned.resources[3] == ResourceChange("D", "AWS::D", "remove")
