"""Cloud Storage and Secret Manager."""

from __future__ import annotations

import base64
import re
from typing import Any

from tests.gcp.cloud import NUMBER, PROJECT, Cloud, NotDone, answers, merged
from tests.gcp.schema import Request

Match = re.Match[str]


# --- Cloud Storage ---


@answers("GET", "storage", "/storage/v1/(b/[^/]+)")
def bucket(cloud: Cloud, match: Match, _request: Request) -> Any:
    return cloud.get(match[1])


@answers("POST", "storage", "/storage/v1/b")
def create_bucket(cloud: Cloud, _match: Match, request: Request) -> Any:
    name = request.body["name"]
    location = request.body["location"].upper()  # as the API shows it, whatever was asked for
    own = {"id": name, "kind": "storage#bucket", "projectNumber": NUMBER, "location": location}
    cloud.things[f"b/{name}"] = {**request.body, **own}
    return cloud.things[f"b/{name}"]


@answers("PATCH", "storage", "/storage/v1/(b/[^/]+)")
def change_bucket(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.things[match[1]] = merged(cloud.get(match[1]), request.body)
    return cloud.things[match[1]]


@answers("DELETE", "storage", "/storage/v1/(b/[^/]+)")
def delete_bucket(cloud: Cloud, match: Match, _request: Request) -> Any:
    del cloud.things[match[1]]
    return {}


@answers("GET", "storage", "/storage/v1/b/([^/]+)/storageLayout")
def layout(_cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"bucket": match[1], "kind": "storage#storageLayout", "hierarchicalNamespace": {"enabled": False}}


@answers("GET", "storage", "/storage/v1/(b/[^/]+)/(o|managedFolders)")
def objects(_cloud: Cloud, _match: Match, _request: Request) -> Any:
    return {"items": []}


# --- Secret Manager ---


@answers("GET", "secretmanager", f"/v1/(projects/{PROJECT}/secrets)")
def secrets(cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"secrets": cloud.inside(match[1])}


@answers("POST", "secretmanager", f"/v1/(projects/{PROJECT}/secrets)")
def create_secret(cloud: Cloud, match: Match, request: Request) -> Any:
    name = f"{match[1]}/{request.query['secretId'][0]}"
    cloud.things[name] = {**request.body, "name": name}
    return cloud.things[name]


@answers("POST", "secretmanager", "/v1/(projects/[^:]+):addVersion")
def add_version(cloud: Cloud, match: Match, request: Request) -> Any:
    number = len(cloud.inside(f"{match[1]}/versions")) + 1
    cloud.things[f"{match[1]}/versions/{number}"] = request.body["payload"]
    checked = {"clientSpecifiedPayloadChecksum": True, "state": "ENABLED"}
    return {"name": f"{match[1]}/versions/{number}", **checked}


@answers("GET", "secretmanager", "/v1/(projects/[^:]+)/versions/latest:access")
def access(cloud: Cloud, match: Match, _request: Request) -> Any:
    versions = cloud.inside(f"{match[1]}/versions")
    if not versions:
        raise NotDone(404, "NOT_FOUND", f"Secret [{match[1]}] not found or has no versions.")
    return {"name": f"{match[1]}/versions/{len(versions)}", "payload": versions[-1]}


@answers("GET", "secretmanager", "/v1/(projects/[^:]+/versions)")
def versions(cloud: Cloud, match: Match, _request: Request) -> Any:
    there = [name for name in cloud.things if name.rpartition("/")[0] == match[1]]
    return {"versions": [{"name": name, "state": "ENABLED"} for name in there], "totalSize": len(there)}


@answers("DELETE", "secretmanager", f"/v1/(projects/{PROJECT}/secrets/[^/:]+)")
def delete_secret(cloud: Cloud, match: Match, _request: Request) -> Any:
    for name in [name for name in cloud.things if name == match[1] or name.startswith(f"{match[1]}/")]:
        del cloud.things[name]
    return {}


def secret_value(cloud: Cloud, name: str) -> str:
    """Return what the latest version of a secret holds."""
    versions = cloud.inside(f"projects/{PROJECT}/secrets/{name}/versions")
    return base64.b64decode(versions[-1]["data"]).decode()
