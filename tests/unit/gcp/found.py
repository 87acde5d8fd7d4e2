"""What is found in a project, for the tests of plans: nothing yet, a registry with an image, or a whole stack.

What the APIs answer is written here by hand, as their references describe it, with what they add by themselves.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import yaml

from mlflow_stack.gcp.declared import Declared
from mlflow_stack.gcp.plan import Plan
from mlflow_stack.gcp.stack import make_plan
from mlflow_stack.gcp.survey import Found
from mlflow_stack.gcp_settings import GcpSettings
from mlflow_stack.image_settings import ImageSettings
from mlflow_stack.role_settings import ProxySettings, TrackingSettings
from mlflow_stack.settings import split_by_role
from tests.unit.defaults import DEFAULTS

PROJECT, NUMBER, REGION = "my-project-1", "123456789012", "europe-west1"
IMAGE = "mlflow-tracking:3.17.2"
DIGEST, NEWER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
ACCOUNT = f"serviceAccount:mlflow-tracking@{PROJECT}.iam.gserviceaccount.com"
APIS = frozenset(
    f"{api}.googleapis.com"
    for api in (
        *("artifactregistry", "cloudresourcemanager", "compute", "iam", "run", "secretmanager", "servicenetworking"),
        *("sqladmin", "storage"),
    )
)
PASSWORD, LOGIN = "pw-of-the-database", "pw-of-ada"
LABELS = {"mlflow-stack": "mlflow"}


def settings(**data: Any) -> Declared:
    """Return the settings of a stack on Google Cloud."""
    given = split_by_role({**DEFAULTS, "gcp_project": PROJECT, "gcp_region": REGION, "gcp_image": IMAGE, **data})
    return Declared(
        GcpSettings(**given["gcp"]),
        TrackingSettings(**given["tracking"]),
        ProxySettings(**given["proxy"]),
        ImageSettings(**given["image"]),
    )


def nothing() -> Found:
    """Return a project in which nothing was made yet."""
    return Found(NUMBER, frozenset({"storage.googleapis.com"}))


def registry(**answers: Any) -> Found:
    """Return a project that has the registry alone, with the image in it."""
    repository = {"name": f"projects/{PROJECT}/locations/{REGION}/repositories/mlflow", "labels": LABELS}
    return Found(NUMBER, APIS, {"repositories": [repository], "images": [image()], **answers})


def image(digest: str = DIGEST, tag: str = "3.17.2", name: str = "mlflow-tracking") -> dict[str, Any]:
    return {"package": f"{REGION}-docker.pkg.dev/{PROJECT}/mlflow/{name}", "version": digest, "tags": [tag]}


def whole(wanted: Declared, passwords: Mapping[str, str] | None = None, **answers: Any) -> Found:
    """Return a project in which the stack is as it is declared; `answers` replace what is found."""
    gcp, first = wanted.gcp, make_plan(wanted, registry(), passwords or {})
    version = f"projects/{NUMBER}/secrets"
    values = {
        secret: {"name": f"{version}/{secret}/versions/1", "payload": {"data": _encoded(value)}}
        for secret, value in ((gcp.password_secret, PASSWORD), (gcp.logins_secret, _stdin(first, gcp.logins_secret)))
        if value
    }
    found = registry(
        **{
            "accounts": [{"name": f"projects/{PROJECT}/serviceAccounts/{gcp.account}", "email": gcp.account}],
            "bucket": bucket(),
            "bucket policy": policy("roles/storage.objectAdmin", ACCOUNT),
            "project policy": _project_policy(),
            "instances": [instance()],
            "databases": [{"name": "mlflow_db"}],
            "users": [{"name": "mlflow_user"}],
            "secrets": [{"name": f"{version}/{secret}", "labels": LABELS} for secret in values],
            "services": [_kept(_stdin(first, "Cloud Run service mlflow"))],
            "service policy": policy("roles/run.invoker", *(["allUsers"] if gcp.public else gcp.invokers)),
            "jobs": [_kept(_stdin(first, "Cloud Run job mlflow-migrate"))],
        }
    )
    inside: dict[str, Any] = {f"{secret} value": value for secret, value in values.items()}
    inside |= {f"{secret} policy": policy("roles/secretmanager.secretAccessor", ACCOUNT) for secret in values}
    return Found(NUMBER, APIS, {**found.answers, **inside, **answers})


def manifest(kind: str, **data: Any) -> str:
    """Return what gcloud reads for the "service" or the "job" of a stack that is made anew."""
    wanted = settings(**data)
    name = wanted.gcp.name if kind == "service" else wanted.gcp.migration
    plan = make_plan(wanted, registry(), {"ada": LOGIN} if wanted.gcp.public else {})
    return _stdin(plan, f"Cloud Run {kind} {name}")


def bucket(**fields: Any) -> dict[str, Any]:
    rule = {"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}}
    return {
        "name": f"{PROJECT}-mlflow",
        "projectNumber": NUMBER,
        "location": "EUROPE-WEST1",
        "iamConfiguration": {
            "uniformBucketLevelAccess": {"enabled": True, "lockedTime": "2027-02-25T00:00:00Z"},
            "publicAccessPrevention": "enforced",
        },
        "versioning": {"enabled": True},
        "lifecycle": {"rule": [rule]},
        "labels": LABELS,
        **fields,
    }


def instance(**settings: Any) -> dict[str, Any]:
    return {
        "name": "mlflow",
        "region": REGION,
        "databaseVersion": "POSTGRES_17",
        "ipAddresses": [{"type": "PRIMARY", "ipAddress": "203.0.113.5"}],
        "settings": {
            "activationPolicy": "ALWAYS",
            "edition": "ENTERPRISE",
            "tier": "db-custom-1-3840",
            "dataDiskSizeGb": "10",
            "availabilityType": "ZONAL",
            "backupConfiguration": {"enabled": True, "pointInTimeRecoveryEnabled": True, "startTime": "02:00"},
            "deletionProtectionEnabled": True,
            "ipConfiguration": {"ipv4Enabled": True, "sslMode": "ENCRYPTED_ONLY"},
            "userLabels": LABELS,
            **settings,
        },
    }


def policy(role: str, *members: str) -> dict[str, Any]:
    return {"bindings": [{"role": role, "members": list(members)}] if members else [], "etag": "BwY="}


def _project_policy() -> dict[str, Any]:
    resource = f"resource.name == 'projects/{PROJECT}/instances/mlflow'"
    expression = f"{resource} && resource.type == 'sqladmin.googleapis.com/Instance'"
    binding = {"role": "roles/cloudsql.client", "members": [ACCOUNT], "condition": {"expression": expression}}
    owner = {"role": "roles/owner", "members": ["user:ada@example.com"]}
    return {"bindings": [owner, binding], "version": 3}


def _stdin(plan: Plan, thing: str) -> str:
    """Return what the first command on a thing (or a secret of this name) reads; "" when there is none."""
    steps = [step for step in plan.steps if step.thing in (thing, f"secret {thing}")]
    return steps[0].commands[0].stdin if steps else ""


def _encoded(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode()


def _kept(manifest: str) -> Any:
    """Return a manifest as Cloud Run shows it: with what it adds."""
    thing = yaml.safe_load(manifest)
    thing["metadata"] |= {"namespace": NUMBER, "generation": 1}
    thing["metadata"]["annotations"] = {"run.googleapis.com/client-name": "gcloud"}
    thing["metadata"]["labels"]["cloud.googleapis.com/location"] = REGION
    thing["status"] = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}
    return thing
