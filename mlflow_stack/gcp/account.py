"""The service account that the tracking server runs as, and the few rights that it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Difference, Step
from mlflow_stack.gcp.survey import Found
from mlflow_stack.gcp_settings import LABEL, GcpSettings


@dataclass(frozen=True)
class Right:
    """A role on one resource: `policy` names its policy in Found, `command` is what comes before and after the verb."""

    role: str
    on: str
    policy: str
    command: tuple[tuple[str, ...], tuple[str, ...]]
    # Said of every right: a policy that has any condition is not changed by a command that says nothing of it.
    condition: str = "None"

    def binding(self, verb: str, member: str) -> Command:
        """Return the command that adds the role for a member, or removes it."""
        before, after = self.command
        return Command(
            (
                *before,
                f"{verb}-iam-policy-binding",
                *after,
                f"--member={member}",
                f"--role={self.role}",
                f"--condition={self.condition}",
            )
        )

    def step(self, verb: str, member: str) -> Step:
        """Return the step that grants or revokes the role."""
        who = member.removeprefix("serviceAccount:")
        command = self.binding("add" if verb == "grant" else "remove", member)
        return Step(
            verb, f"{self.role} on {self.on}", (command,), (Difference("to" if verb == "grant" else "of", who),)
        )


def member(settings: GcpSettings) -> str:
    return f"serviceAccount:{settings.account}"


def account(settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure the service account. It has no key: nobody can log in as it from outside."""
    if not found.thing("accounts", settings.account):
        name = settings.account.partition("@")[0]
        create = ("iam", "service-accounts", "create", name, f"--display-name=MLflow Stack {settings.name}")
        yield Step("create", f"service account {settings.account}", (Command(create),))


def rights(settings: GcpSettings, found: Found, secrets: tuple[str, ...]) -> Iterator[Step]:
    """Ensure that the service account may read and write the bucket, connect to the database, and read its secrets."""
    for right in wanted_rights(settings, secrets):
        if member(settings) not in holders(found.policy(right.policy), right):
            yield right.step("grant", member(settings))


def wanted_rights(settings: GcpSettings, secrets: tuple[str, ...]) -> list[Right]:
    """Return the rights of the service account, each on its own resource alone."""
    bucket = f"gs://{settings.bucket_name}"
    # Cloud SQL has no policies on instances; a condition narrows the project's (Cloud SQL, "IAM Conditions").
    instance = f"projects/{settings.project}/instances/{settings.name}"
    expression = f"resource.name == '{instance}' && resource.type == 'sqladmin.googleapis.com/Instance'"
    return [
        Right("roles/storage.objectAdmin", f"bucket {bucket}", "bucket", (("storage", "buckets"), (bucket,))),
        Right(
            "roles/cloudsql.client",
            f"Cloud SQL instance {settings.name}",
            "project",
            (("projects",), (settings.project,)),
            f"title={LABEL}-{settings.name},expression={expression}",
        ),
        *(
            Right("roles/secretmanager.secretAccessor", f"secret {secret}", secret, (("secrets",), (secret,)))
            for secret in secrets
        ),
    ]


def holders(policy: Any, right: Right) -> set[str]:
    """Return who has a right, under its very condition or, where it has none, under none."""
    condition = right.condition.partition("expression=")[2]
    return {
        holder
        for each in policy.get("bindings", [])
        if each["role"] == right.role and each.get("condition", {}).get("expression", "") == condition
        for holder in each["members"]
    }
