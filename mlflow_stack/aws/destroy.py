"""The service is removed and the data stay, unless the stack's name is said again.

With it everything goes: machines, bucket with all versions, images, database, logs, secrets, network. Of the database a
last snapshot is left, and the secrets can be taken back for a week: who meant it removes those by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mlflow_stack.aws import preflight, stacks
from mlflow_stack.aws.api import Aws, Failed, Refused
from mlflow_stack.aws.values import HOST, CloudSettings

Say = Callable[[str], None]
# Secrets Manager takes 7 to 30.
RECOVERY_DAYS = 7
# What one call of delete_objects takes.
AT_ONCE = 1000


def destroy(aws: Aws, settings: CloudSettings, delete_data: str, say: Say) -> None:
    """Remove the service; with `delete_data` the data too. Raises Refused, and Failed where it stops half-way.

    It can be run again, and goes on.
    """
    name = settings.aws.name
    if delete_data and delete_data != name:
        raise Refused(
            [f"--delete-data {delete_data}: the stack is called {name}; repeat that, or leave the option out"]
        )
    preflight.check_account(aws, settings)
    _remove(aws, settings, ["service", "tasks"], say)
    hosts = _host_parts(aws, settings)
    if not delete_data:
        kept = [settings.aws.stack(part) for part in (*hosts, "data", "network")]
        there = [each for each in kept if stacks.find(aws, each).is_there]
        if there:
            say(f"kept: {', '.join(there)}; they cost money, and go with --delete-data {name}")
        return
    _unlock_hosts(aws, settings, hosts)
    _remove(aws, settings, hosts, say)
    _delete_data(aws, settings, say)
    _remove(aws, settings, ["network"], say)


def _remove(aws: Aws, settings: CloudSettings, parts: list[str], say: Say) -> None:
    for part in parts:
        name = settings.aws.stack(part)
        if stacks.remove(aws, name):
            say(f"removed: stack {name}")


def _host_parts(aws: Aws, settings: CloudSettings) -> list[str]:
    """Return the machines that there are, also such that the settings no longer name: by their mark, not by their name
    alone, which may be that of another stack's."""
    mark, prefix = {"Key": stacks.TAG, "Value": settings.aws.name}, settings.aws.stack(HOST)
    found = aws.all("cloudformation", "describe_stacks", "Stacks")
    names = sorted(each["StackName"] for each in found if mark in (each.get("Tags") or ()))
    return [f"{HOST}{name.removeprefix(prefix)}" for name in names if name.startswith(prefix)]


def _unlock_hosts(aws: Aws, settings: CloudSettings, hosts: list[str]) -> None:
    for part in hosts:
        arguments = {"StackName": settings.aws.stack(part), "LogicalResourceId": "Machine"}
        machine = aws.ask("cloudformation", "describe_stack_resource", absent=["does not exist"], **arguments)
        if machine:
            identity = machine["StackResourceDetail"]["PhysicalResourceId"]
            aws.ask("ec2", "modify_instance_attribute", InstanceId=identity, DisableApiTermination={"Value": False})


def _delete_data(aws: Aws, settings: CloudSettings, say: Say) -> None:
    data = stacks.find(aws, settings.aws.stack("data"))
    if data.is_there:
        # The bucket is the one that the stack made, whatever the settings call it by now.
        _delete_kept(aws, settings.aws.name, data.outputs["Bucket"], say)
        stacks.remove(aws, data.name)
        say(f"removed: stack {data.name}; of the database {settings.aws.name} a last snapshot is left")
    for secret in (settings.aws.database_secret, settings.aws.logins_secret):
        absent = ["ResourceNotFoundException", "InvalidRequestException"]
        arguments: dict[str, Any] = {"SecretId": secret, "RecoveryWindowInDays": RECOVERY_DAYS}
        if aws.ask("secretsmanager", "delete_secret", absent=absent, **arguments):
            say(f"removed: secret {secret}, which can be taken back for {RECOVERY_DAYS} days")


def _delete_kept(aws: Aws, name: str, bucket: str, say: Say) -> None:
    """Remove what a stack leaves when it is removed, and unlock the database. While the stack is there it says what is
    its own, so this comes first, and can be done again."""
    if (count := _empty(aws, bucket)) is not None:
        aws.ask("s3", "delete_bucket", Bucket=bucket)
        say(f"removed: bucket {bucket} with {count} objects and old versions")
    aws.ask("ecr", "delete_repository", absent=["RepositoryNotFoundException"], repositoryName=name, force=True)
    group = f"/mlflow-stack/{name}"
    aws.ask("logs", "delete_log_group", absent=["ResourceNotFoundException"], logGroupName=group)
    say(f"removed: repository {name}, log group {group}")
    unlocked = {"DeletionProtection": False, "ApplyImmediately": True}
    aws.ask("rds", "modify_db_instance", absent=["DBInstanceNotFound"], DBInstanceIdentifier=name, **unlocked)


def _empty(aws: Aws, bucket: str) -> int | None:
    """Remove all objects of a bucket with all their versions; return how many, None where there is no bucket."""
    if not aws.ask("s3", "head_bucket", absent=["404"], Bucket=bucket):
        return None
    count = 0
    for objects in _versions(aws, bucket):
        answer = aws.ask("s3", "delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if errors := answer.get("Errors"):
            raise Failed(f"bucket {bucket}: {errors[0]['Key']} could not be removed: {errors[0].get('Message', '')}")
        count += len(objects)
    return count


def _versions(aws: Aws, bucket: str) -> Iterator[list[dict[str, str]]]:
    """Yield the versions of all objects, and the marks of those that were deleted, as many as go at once."""
    for page in aws.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, MaxKeys=AT_ONCE):
        entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if entries:
            yield [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in entries]
