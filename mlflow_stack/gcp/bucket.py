"""The bucket of the artifacts: closed to the public, ruled by IAM alone, with what was overwritten kept for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator

from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Field, Step, changed, flags_of
from mlflow_stack.gcp.survey import Found
from mlflow_stack.gcp_settings import LABEL, GcpSettings

EVERYBODY = {"allUsers", "allAuthenticatedUsers"}


def _fields(settings: GcpSettings) -> list[Field]:
    uniform = "iamConfiguration.uniformBucketLevelAccess.enabled"
    rule = {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": settings.bucket_keep_days}}
    return [
        Field("uniform access", uniform, True, ("--uniform-bucket-level-access",)),
        Field(
            "public access prevention",
            "iamConfiguration.publicAccessPrevention",
            "enforced",
            ("--public-access-prevention",),
        ),
        Field("versioning", "versioning.enabled", True, ("--versioning",)),
        # gcloud reads the rules from a file alone.
        Field("lifecycle", "lifecycle.rule", [rule], ("--lifecycle-file=/dev/stdin",)),
    ]


def problems(settings: GcpSettings, found: Found) -> Iterator[str]:
    """Yield why a bucket that is there can't be used."""
    bucket, where = found.answers.get("bucket"), f"gcp_bucket: gs://{settings.bucket_name}"
    if not bucket:
        return
    if str(bucket["projectNumber"]) != found.project_number:
        yield (
            f"{where} is of another project (number {bucket['projectNumber']}, expected {found.project_number}); "
            "choose another name"
        )
    if bucket["location"].lower() != settings.region:
        yield (
            f"{where} is in {bucket['location'].lower()}, and gcp_region is {settings.region}; a bucket can't be moved:"
            " choose another name, or that region"
        )
    public = {member for each in found.policy("bucket").get("bindings", []) for member in each["members"]} & EVERYBODY
    if public:
        yield (
            f"{where} is open to {' and '.join(sorted(public))}; take these rights away, if what is in it is not for "
            "the public, or choose another name"
        )


def bucket(settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure the bucket and its protection."""
    there, name, fields = found.answers.get("bucket"), f"gs://{settings.bucket_name}", _fields(settings)
    update = ("storage", "buckets", "update", name)
    if there:
        if wrong := changed(fields, there):
            command = Command((*update, *flags_of(wrong)), stdin=_rules(wrong))
            yield Step("change", f"bucket {name}", (command,), tuple(field.difference(there) for field in wrong))
        return
    # gcloud takes only some of it when it creates a bucket: closed from the first moment, the rest at once.
    create = ("storage", "buckets", "create", name, f"--location={settings.region}", *flags_of(fields[:2]))
    label = f"--update-labels={LABEL}={settings.name}"
    commands = (Command(create), Command((*update, *flags_of(fields[2:]), label), stdin=_rules(fields)))
    yield Step("create", f"bucket {name}", commands, tuple(field.difference() for field in fields))


def _rules(fields: list[Field]) -> str:
    rules = next((field.wanted for field in fields if field.name == "lifecycle"), None)
    return json.dumps({"rule": rules}) if rules else ""
