"""The database's schema is brought up to date by a task of its own, before the service moves to the same image."""

from __future__ import annotations

import time
import uuid
from typing import Any

from mlflow_stack.aws.api import Aws, Failed, wait_until

CONTAINER = "tracking"
MIGRATION_TIMEOUT_S = 3600
SNAPSHOT_TIMEOUT_S = 3600
LOG_LINES = 20


def snapshot(aws: Aws, database: str) -> str:
    """Make a snapshot of the database, which a migration can be taken back with; return its name."""
    name = f"{database}-before-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    aws.ask("rds", "create_db_snapshot", DBInstanceIdentifier=database, DBSnapshotIdentifier=name)

    def is_available() -> bool:
        (found,) = aws.ask("rds", "describe_db_snapshots", DBSnapshotIdentifier=name)["DBSnapshots"]
        if found["Status"] == "failed":
            raise Failed(f"the snapshot {name} of the database failed; nothing was migrated")
        return bool(found["Status"] == "available")

    wait_until(is_available, f"the snapshot {name} of the database", SNAPSHOT_TIMEOUT_S)
    return name


def migrate(
    aws: Aws, cluster: str, task_definition: str, network: dict[str, Any], log_group: str, may_upgrade: bool
) -> None:
    """Ensure the schema of a task definition's MLflow, by a task that runs `migrate` in its image.

    `network` is subnets, security groups and public address, as ECS takes them. Raises Failed with the last lines that
    the task said; the service is as it was then.
    """
    command = {"name": CONTAINER, "command": ["migrate"], "environment": upgrade_variables(may_upgrade)}
    answer = aws.ask(
        "ecs",
        "run_task",
        cluster=cluster,
        taskDefinition=task_definition,
        launchType="FARGATE",
        count=1,
        clientToken=uuid.uuid4().hex,  # one task, however often the call is repeated
        startedBy="mlflow-stack",
        networkConfiguration={"awsvpcConfiguration": network},
        overrides={"containerOverrides": [command]},
    )
    if not answer["tasks"]:
        raise Failed(f"the migration's task could not be started: {answer['failures'][0].get('reason', '')}")
    task = _stopped(aws, cluster, answer["tasks"][0]["taskArn"])
    (container,) = [each for each in task["containers"] if each["name"] == CONTAINER]
    if container.get("exitCode") != 0:
        raise Failed("\n".join([_failure(task, container), *_log(aws, log_group, task["taskArn"])]))


def upgrade_variables(may_upgrade: bool) -> list[dict[str, str]]:
    """Return what the task is told beside its definition, as ECS takes it."""
    return [{"name": "MLFLOW_UPGRADE_DATABASE", "value": "true"}] if may_upgrade else []


def _stopped(aws: Aws, cluster: str, arn: str) -> dict[str, Any]:
    """Wait until a task has ended; return it."""
    task: dict[str, Any] = {}

    def has_stopped() -> bool:
        (found,) = aws.ask("ecs", "describe_tasks", cluster=cluster, tasks=[arn])["tasks"]
        task.update(found)
        return bool(found["lastStatus"] == "STOPPED")

    wait_until(has_stopped, "the migration's task", MIGRATION_TIMEOUT_S)
    return task


def _failure(task: dict[str, Any], container: dict[str, Any]) -> str:
    status = container.get("exitCode")
    ended = "never ran" if status is None else f"ended with status {status}"
    reasons = [each for each in (container.get("reason"), task.get("stoppedReason")) if each]
    reason = f" ({'; '.join(reasons)})" if reasons else ""
    return f"the migration {ended}{reason}; the service is as it was"


def _log(aws: Aws, group: str, arn: str) -> list[str]:
    """Return the last lines that a task has said, indented."""
    stream = f"task/{CONTAINER}/{arn.rpartition('/')[2]}"
    events = aws.ask(
        "logs",
        "get_log_events",
        absent=["ResourceNotFoundException"],
        logGroupName=group,
        logStreamName=stream,
        limit=LOG_LINES,
    )
    return [f"    {each['message']}" for each in (events["events"] if events else ())]
