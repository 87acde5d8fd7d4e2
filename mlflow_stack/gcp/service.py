"""The tracking server on Cloud Run, and the job that brings its database's schema up to date."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from mlflow_stack.domain.tracking import allowed_hosts
from mlflow_stack.gcp import database
from mlflow_stack.gcp.account import Right, holders
from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Difference, Step, at, unlike
from mlflow_stack.gcp.project import image_digest
from mlflow_stack.gcp.secret import Secret
from mlflow_stack.gcp.survey import Found
from mlflow_stack.gcp_settings import LABEL
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

URI = "MLFLOW_BACKEND_STORE_URI"


def server(settings: Settings, found: Found, secrets: tuple[Secret, ...]) -> Iterator[Step]:
    """Ensure the job, the schema, the service, and who may call it, in the order in which nobody is let in too early:
    rights that are too many go before the service moves, and new ones come after it."""
    gcp = settings.gcp
    job, service = (_manifest(kind, settings, found, secrets) for kind in ("migration", "service"))
    there = found.thing("services", gcp.name)
    yield from _replaced("jobs", f"Cloud Run job {gcp.migration}", job, found.thing("jobs", gcp.migration), gcp.region)
    if _is_another_database_or_code(service, there):
        if there:
            yield database.backup(gcp)
        yield _migrate(gcp.migration, gcp.region)
    yield from _members(settings, found, "revoke")
    yield from _replaced("services", f"Cloud Run service {gcp.name}", service, there, gcp.region)
    yield from _members(settings, found, "grant")


def pinned_version(settings: Settings, found: Found) -> int:
    """Return the version of the database's password that the service runs with; 0 where there is no service."""
    service = found.thing("services", settings.gcp.name)
    for volume in at(service, "spec.template.spec.volumes") or []:
        if at(volume, "secret.secretName") == settings.gcp.password_secret:
            return int(volume["secret"]["items"][0]["key"])
    return 0


def invoker(settings: Settings) -> Right:
    """Return the right to call the service."""
    name, region = settings.gcp.name, f"--region={settings.gcp.region}"
    command = (("run", "services"), (name, region))
    return Right("roles/run.invoker", f"Cloud Run service {name}", "service", command)


def _members(settings: Settings, found: Found, verb: str) -> Iterator[Step]:
    wanted = {"allUsers"} if settings.gcp.public else set(settings.gcp.invokers)
    there = holders(found.policy("service"), invoker(settings))
    for member in sorted(wanted - there if verb == "grant" else there - wanted):
        yield invoker(settings).step(verb, member)


def _replaced(kind: str, thing: str, manifest: str, there: Any, region: str) -> Iterator[Step]:
    differences = tuple(unlike(yaml.safe_load(manifest), there)) if there else ()
    if differences or not there:
        command = Command(("run", kind, "replace", "-", f"--region={region}"), stdin=manifest)
        yield Step("change" if there else "create", thing, (command,), differences)


def _is_another_database_or_code(manifest: str, there: Any) -> bool:
    """Return whether the schema has to be looked at. The service moves only after that, so what it is says whether it
    was done, whenever a run was interrupted."""
    return not there or _runs(yaml.safe_load(manifest)) != _runs(there)


def _runs(service: Any) -> tuple[str, list[str]]:
    container = service["spec"]["template"]["spec"]["containers"][0]
    return container["image"], [each.get("value", "") for each in container["env"] if each["name"] == URI]


def _migrate(job: str, region: str) -> Step:
    command = Command(("run", "jobs", "execute", job, "--wait", f"--region={region}"))
    return Step("run", f"Cloud Run job {job}", (command,), (Difference("schema", "up to date"),))


def _manifest(kind: str, settings: Settings, found: Found, secrets: tuple[Secret, ...]) -> str:
    gcp = settings.gcp
    image = f"{gcp.repository}/{gcp.image.partition('@')[0].partition(':')[0]}@{image_digest(gcp, found)}"
    return render(
        f"gcp/{kind}.yaml",
        **gcp.model_dump(exclude={"image"}),
        label=LABEL,
        image=image,
        connection=gcp.connection,
        account=gcp.account,
        migration=gcp.migration,
        variables=_of_server(settings, found) if kind == "service" else _of_database(settings),
        # A migration lets nobody in: it needs the database's password alone.
        secrets=secrets if kind == "service" else secrets[:1],
    )


def _of_database(settings: Settings) -> dict[str, str]:
    gcp = settings.gcp
    return {URI: gcp.database_uri(""), "MLFLOW_DATABASE_PASSWORD_FILE": f"/secrets/{gcp.password_secret}/value"}


def _of_server(settings: Settings, found: Found) -> dict[str, str]:
    gcp, login = settings.gcp, {"MLFLOW_LOGINS_FILE": f"/secrets/{settings.gcp.logins_secret}/value"}
    names = [name for name in (gcp.service_host(found.project_number), settings.tracking.public_name) if name]
    return {
        **_of_database(settings),
        "MLFLOW_ARTIFACTS_DESTINATION": f"gs://{gcp.bucket_name}",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed_hosts([*names, "localhost", "127.0.0.1"])),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"https://{name}" for name in names),
        "MLFLOW_WORKERS": str(settings.tracking.workers),
        # With IAM in front of it, nobody comes here who was not let in.
        **(login if gcp.public else {"MLFLOW_OPEN_TO_EVERYBODY": "true"}),
    }
