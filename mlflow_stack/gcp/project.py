"""The APIs of the project, and the registry of its images."""

from __future__ import annotations

from collections.abc import Iterator

from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Difference, Step
from mlflow_stack.gcp.survey import Found
from mlflow_stack.gcp_settings import LABEL, GcpSettings

_ALWAYS = ("cloudresourcemanager", "iam", "secretmanager", "sqladmin", "storage")
_CLOUD_RUN = ("artifactregistry", "run")
_MACHINES = ("compute", "servicenetworking")


def apis(settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure that the APIs of what the stack consists of are enabled."""
    wanted = (*_ALWAYS, *(_CLOUD_RUN if settings.cloud_run else ()), *(_MACHINES if settings.machines else ()))
    names = sorted(f"{api}.googleapis.com" for api in wanted)
    if missing := [name for name in names if name not in found.apis]:
        command = Command(("services", "enable", *missing))
        differences = tuple(Difference(name, "enabled") for name in missing)
        yield Step("enable", f"APIs of project {settings.project}", (command,), differences)


def registry(settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure that there is a repository for container images."""
    if found.thing("repositories", settings.name):
        return
    create = ("artifacts", "repositories", "create", settings.name, "--repository-format=docker")
    command = Command((*create, f"--location={settings.region}", f"--labels={LABEL}={settings.name}"))
    differences = (Difference("format", "docker"), Difference("location", settings.region))
    yield Step("create", f"registry {settings.repository}", (command,), differences)


def image_digest(settings: GcpSettings, found: Found) -> str:
    """Return the digest of the image that the settings name; "" when it is not in the registry.

    A digest and no tag is what runs: a tag may name another image tomorrow, and the plan shows it then.
    """
    name, _, tag = settings.image.partition(":") if "@" not in settings.image else settings.image.partition("@")
    for image in found.list("images"):
        is_it = image["version"] == tag or tag in (image.get("tags") or [])
        if image["package"] == f"{settings.repository}/{name}" and is_it:
            return str(image["version"])
    return ""


def no_image(settings: GcpSettings, found: Found) -> Iterator[str]:
    """Yield what is wrong with a registry that is there and does not have the image."""
    if "images" in found.answers and not image_digest(settings, found):
        there = sorted(
            {
                f"{image['package'].rpartition('/')[2]}:{tag}"
                for image in found.list("images")
                for tag in image.get("tags") or []
            }
        )
        yield (
            f"gcp_image: {settings.image} is not in {settings.repository}, which has {', '.join(there) or 'no image'}; "
            "push it (docs/how-to/gcp.md), or name one that is there"
        )
