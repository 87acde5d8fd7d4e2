"""One stack of CloudFormation: read, planned by a change set, changed by that very change set, removed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlflow_stack.aws.api import Aws, Failed, wait_until
from mlflow_stack.domain import cloudformation
from mlflow_stack.domain.cloudformation import Template
from mlflow_stack.domain.stack_plan import Action, ResourceChange, StackChange

TAG = "mlflow-stack"
# A database takes a quarter of an hour, twice that in two zones.
TIMEOUT_S = 3600
DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
# A stack of which only a change set was ever made.
EMPTY = "REVIEW_IN_PROGRESS"
# Resources of the data's stack that are never replaced or removed by an apply.
LASTING = ("Bucket", "Database", "Repository")
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


@dataclass(frozen=True)
class Stack:
    """A stack as it is: an absent one has no status."""

    name: str
    status: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    template: Template = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        return self.status not in ("", EMPTY)


def find(aws: Aws, name: str) -> Stack:
    """Return the stack of a name."""
    answer = aws.ask("cloudformation", "describe_stacks", absent=["does not exist"], StackName=name)
    if not answer:
        return Stack(name)
    (found,) = answer["Stacks"]
    outputs = {each["OutputKey"]: str(each["OutputValue"]) for each in found.get("Outputs") or ()}
    template: Any = {}
    if found["StackStatus"] != EMPTY:
        template = aws.ask("cloudformation", "get_template", StackName=name)["TemplateBody"]
    return Stack(
        name,
        found["StackStatus"],
        outputs,
        cloudformation.parse(template) if isinstance(template, str) else json.loads(json.dumps(template)),
    )


def obstacle(stack: Stack) -> str:
    """Return why a stack can't be changed now, "" when it can."""
    if not stack.is_there or stack.status in DONE:
        return ""
    if stack.status.endswith("_IN_PROGRESS"):
        return f"stack {stack.name}: somebody is changing it ({stack.status}); wait until that is done"
    return (
        f"stack {stack.name}: it is {stack.status}, which an earlier run or somebody in the console left; put it right "
        "there (its events say what failed), or remove the stack"
    )


def planned(stack: Stack, wanted: Template) -> StackChange:
    """Return what would change, by the templates alone: for a stack that is not there, or whose inputs come later."""
    names = cloudformation.changed_resources(stack.template, wanted)
    resources = tuple(_change(stack, wanted, name) for name in names)
    return StackChange(
        stack.name, resources, idle=len(wanted["Resources"]) - len(set(names) & set(wanted["Resources"]))
    )


def _change(stack: Stack, wanted: Template, name: str, action: Action | None = None) -> ResourceChange:
    old, new = (template.get("Resources", {}).get(name) for template in (stack.template, wanted))
    known: Action = "add" if not old else "remove" if not new else "change"
    differences = () if known == "remove" else cloudformation.differences(stack.template, wanted, name)
    return ResourceChange(name, (new or old or {}).get("Type", ""), action or known, differences)


@dataclass(frozen=True)
class ChangeSet:
    """A change set of a stack, ready to be executed, and what it would do."""

    id: str
    stack: Stack
    change: StackChange


def prepare(aws: Aws, stack: Stack, wanted: Template, name: str) -> ChangeSet | None:
    """Make a change set of a stack towards a template; None where CloudFormation finds nothing to do.

    `name` is that of the whole, which the resources are tagged with.
    """
    answer = aws.ask(
        "cloudformation",
        "create_change_set",
        absent=_NO_CHANGES,
        StackName=stack.name,
        ChangeSetName=f"mlflow-stack-{uuid.uuid4().hex}",
        ChangeSetType="UPDATE" if stack.is_there else "CREATE",
        TemplateBody=cloudformation.text_of(wanted),
        Capabilities=["CAPABILITY_IAM"],
        Tags=[{"Key": TAG, "Value": name}],
        # A stack that can't be made leaves nothing behind.
        **({} if stack.is_there else {"OnStackFailure": "DELETE"}),
    )
    if answer is None:
        return None
    found = _described(aws, stack, answer["Id"])
    if found["Status"] == "FAILED":
        discard(aws, stack, answer["Id"])
        reason = found.get("StatusReason") or ""
        if any(each in reason for each in _NO_CHANGES):
            return None
        raise Failed(f"stack {stack.name}: CloudFormation refuses the change: {reason}")
    return ChangeSet(answer["Id"], stack, _changes(stack, wanted, found["Changes"]))


def _described(aws: Aws, stack: Stack, change_set: str) -> dict[str, Any]:
    pages: list[dict[str, Any]] = []

    def is_made() -> bool:
        arguments = {"StackName": stack.name, "ChangeSetName": change_set}
        pages[:] = [aws.ask("cloudformation", "describe_change_set", **arguments)]
        while token := pages[-1].get("NextToken"):
            pages.append(aws.ask("cloudformation", "describe_change_set", NextToken=token, **arguments))
        return pages[0]["Status"] in ("CREATE_COMPLETE", "FAILED")

    wait_until(is_made, f"the change set of stack {stack.name}", 300)
    return {**pages[0], "Changes": [each for page in pages for each in page.get("Changes") or ()]}


def _changes(stack: Stack, wanted: Template, changes: list[dict[str, Any]]) -> StackChange:
    """Return what a change set would do: the actions are CloudFormation's, the properties those of the templates."""
    found = tuple(
        _change(stack, wanted, each["LogicalResourceId"], _action(each))
        for each in (change["ResourceChange"] for change in changes)
    )
    outputs = ("the outputs change",) if not found else ()
    present = set(wanted["Resources"]) - {each.name for each in found}
    return StackChange(stack.name, found, outputs, idle=len(present))


def _action(change: Mapping[str, Any]) -> Action:
    """Return the action of a ResourceChange (CloudFormation API Reference)."""
    if change["Action"] == "Modify":
        replaced: dict[str, Action] = {"True": "replace", "Conditional": "replace?"}
        return replaced.get(str(change.get("Replacement")), "change")
    actions: dict[str, Action] = {"Add": "add", "Import": "add", "Remove": "remove"}
    return actions.get(change["Action"], "replace?")


def losses(change: StackChange) -> list[str]:
    """Return what of a change would put something empty in the place of data, or nothing."""
    ends = ("replace", "remove")
    return [each.name for each in change.resources if each.name in LASTING and each.action in ends]


def discard(aws: Aws, stack: Stack, change_set: str) -> None:
    """Remove a change set that is not executed, and the empty stack that it may have made."""
    aws.ask("cloudformation", "delete_change_set", StackName=stack.name, ChangeSetName=change_set)
    if not stack.is_there and find(aws, stack.name).status == EMPTY:
        aws.ask("cloudformation", "delete_stack", StackName=stack.name)


def execute(aws: Aws, change_set: ChangeSet) -> Stack:
    """Do what a change set says; return the stack as it is then. Raises Failed with CloudFormation's first reason."""
    name = change_set.stack.name
    stack_id = aws.ask("cloudformation", "describe_stacks", StackName=name)["Stacks"][0]["StackId"]
    aws.ask("cloudformation", "execute_change_set", StackName=name, ChangeSetName=change_set.id)
    if (status := _finished(aws, name, stack_id)) not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise Failed(f"stack {name}: {_first_failure(aws, stack_id) or status}")
    return find(aws, name)


def _finished(aws: Aws, name: str, stack_id: str) -> str:
    """Wait until a stack is no longer being changed; return its status."""
    status = ""

    def is_finished() -> bool:
        nonlocal status
        status = aws.ask("cloudformation", "describe_stacks", StackName=stack_id)["Stacks"][0]["StackStatus"]
        return not status.endswith(("_IN_PROGRESS", "_CLEANUP_IN_PROGRESS"))

    wait_until(is_finished, f"stack {name}", TIMEOUT_S)
    return status


def _first_failure(aws: Aws, stack_id: str) -> str:
    """Return the first thing that failed: what comes after it was only given up with it."""
    events = aws.all("cloudformation", "describe_stack_events", "StackEvents", StackName=stack_id)
    failed = [each for each in events if each["ResourceStatus"].endswith("_FAILED")]
    if not failed:
        return ""
    first = failed[-1]  # the newest comes first
    reason = first.get("ResourceStatusReason", "")
    return f"{first['LogicalResourceId']} ({first['ResourceType']}): {reason}"


def remove(aws: Aws, name: str) -> bool:
    """Remove a stack and wait; return whether there was one. Raises Failed with CloudFormation's first reason."""
    answer = aws.ask("cloudformation", "describe_stacks", absent=["does not exist"], StackName=name)
    if not answer:
        return False
    stack_id = answer["Stacks"][0]["StackId"]
    aws.ask("cloudformation", "delete_stack", StackName=name)
    if (status := _finished(aws, name, stack_id)) != "DELETE_COMPLETE":
        raise Failed(f"stack {name} could not be removed: {_first_failure(aws, stack_id) or status}")
    return True
