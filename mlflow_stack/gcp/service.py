"""The tracking server on Cloud Run, and the job that brings its database's schema up to date."""

from __future__ import annotations

from collections.abc import Iterator
from secrets import token_hex
from typing import Any

import yaml

from mlflow_stack.domain.tracking import allowed_hosts
from mlflow_stack.gcp import database
from mlflow_stack.gcp.account import Right, holders
from mlflow_stack.gcp.declared import Declared
from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Difference, Step, at, unlike
from mlflow_stack.gcp.project import image_digest
from mlflow_stack.gcp.secret import Secret
from mlflow_stack.gcp.survey import Found
from mlflow_stack.gcp_settings import LABEL, GcpSettings
from mlflow_stack.templates import render

URI = "MLFLOW_BACKEND_STORE_URI"
# Where requests come from inside of Cloud Run; the last address before it in X-Forwarded-For is the client's.
FRONT_END = "169.254.0.0/16"
# Cloud Run ends an instance ten seconds after it has asked it to stop (container runtime contract).
DRAIN_S = "8"
# Where `gcloud run services proxy` listens on the machine of somebody who is let in. It asks by the service's other
# name, NAME-HASH.a.run.app, whose hash nobody knows before Google has made it.
PROXIED = ("http://127.0.0.1:8080", "http://localhost:8080")


def server(declared: Declared, found: Found, secrets: tuple[Secret, ...]) -> Iterator[Step]:
    """Ensure the job, the schema, the service, and who may call it, in the order in which nobody is let in too early:
    rights that are too many go before the service moves, and new ones come after it."""
    gcp = declared.gcp
    job, service = (_manifest(kind, declared, found, secrets) for kind in ("migration", "service"))
    there = found.thing("services", gcp.name)
    not_ready = _not_ready(there)
    # The same manifest again would make no other revision; gcloud itself asks for one by such a label.
    sent = _manifest("service", declared, found, secrets, nonce=token_hex(5)) if not_ready else service
    yield from _replaced("jobs", f"Cloud Run job {gcp.migration}", job, found.thing("jobs", gcp.migration), gcp.region)
    if _is_another_database_or_code(service, there):
        if database.has_database(gcp, found):
            yield database.backup(gcp)
        yield _migrate(gcp.migration, gcp.region)
    yield from _members(declared, found, "revoke")
    yield from _replaced("services", f"Cloud Run service {gcp.name}", service, there, gcp.region, not_ready, sent)
    yield from _members(declared, found, "grant")


def pinned_version(declared: Declared, found: Found) -> int:
    """Return the version of the database's password that the service runs with; 0 where there is no service."""
    service = found.thing("services", declared.gcp.name)
    for volume in at(service, "spec.template.spec.volumes") or []:
        if at(volume, "secret.secretName") == declared.gcp.password_secret:
            return int(volume["secret"]["items"][0]["key"])
    return 0


def invoker(declared: Declared) -> Right:
    """Return the right to call the service."""
    name, region = declared.gcp.name, f"--region={declared.gcp.region}"
    command = (("run", "services"), (name, region))
    return Right("roles/run.invoker", f"Cloud Run service {name}", "service", command)


def _members(declared: Declared, found: Found, verb: str) -> Iterator[Step]:
    wanted = {"allUsers"} if declared.gcp.public else set(declared.gcp.invokers)
    there = holders(found.policy("service"), invoker(declared))
    for member in sorted(wanted - there if verb == "grant" else there - wanted):
        yield invoker(declared).step(verb, member)


def _replaced(
    kind: str,
    thing: str,
    manifest: str,
    there: Any,
    region: str,
    extra: tuple[Difference, ...] = (),
    sent: str = "",
) -> Iterator[Step]:
    differences = (*unlike(yaml.safe_load(manifest), there), *extra) if there else ()
    if differences or not there:
        command = Command(("run", kind, "replace", "-", f"--region={region}"), stdin=sent or manifest)
        yield Step("change" if there else "create", thing, (command,), differences)


def _not_ready(service: Any) -> tuple[Difference, ...]:
    """Return what is wrong with a service that does not run what it was last given."""
    ready = [each for each in at(service, "status.conditions") or [] if each["type"] == "Ready"]
    if service is None or (ready and ready[0]["status"] == "True"):
        return ()
    message = ready[0].get("message", "it is not") if ready else "it is not"
    return (Difference("ready", "by another revision", message),)


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


def _manifest(kind: str, declared: Declared, found: Found, secrets: tuple[Secret, ...], nonce: str = "") -> str:
    gcp = declared.gcp
    name = gcp.image.partition("@")[0].partition(":")[0]
    return render(
        f"gcp/{kind}.yaml",
        **gcp.model_dump(exclude={"image"}),
        label=LABEL,
        image=f"{gcp.repository}/{name}@{image_digest(gcp, found)}",
        connection=gcp.connection,
        account=gcp.account,
        migration=gcp.migration,
        nonce=nonce,
        variables=_of_server(declared, found) if kind == "service" else _of_migration(declared),
        # A migration lets nobody in: it needs the database's password alone.
        secrets=secrets if kind == "service" else secrets[:1],
    )


def _of_database(gcp: GcpSettings) -> dict[str, str]:
    return {URI: gcp.database_uri(""), "MLFLOW_DATABASE_PASSWORD_FILE": f"/secrets/{gcp.password_secret}/value"}


def _of_migration(declared: Declared) -> dict[str, str]:
    upgrade = {"MLFLOW_UPGRADE_DATABASE": "true"} if declared.tracking.upgrade_database else {}
    return {**_of_database(declared.gcp), **upgrade}


def _of_server(declared: Declared, found: Found) -> dict[str, str]:
    gcp, tracking = declared.gcp, declared.tracking
    names = [name for name in (gcp.service_host(found.project_number), tracking.public_name) if name]
    login = {"MLFLOW_LOGINS_FILE": f"/secrets/{gcp.logins_secret}/value", "FORWARDED_ALLOW_IPS": FRONT_END}
    origins = [f"https://{name}" for name in names] + ([] if gcp.public else [*PROXIED])
    known_as = [*names, f"{gcp.name}-*.a.run.app", "localhost", "127.0.0.1"]
    return {
        **_of_database(gcp),
        "MLFLOW_ARTIFACTS_DESTINATION": gcp.artifacts,
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed_hosts(known_as)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "MLFLOW_WORKERS": str(tracking.workers),
        "MLFLOW_DRAIN_TIMEOUT_S": DRAIN_S,
        # With IAM in front of it, nobody comes here who was not let in.
        **(login if gcp.public else {"MLFLOW_OPEN_TO_EVERYBODY": "true"}),
    }
