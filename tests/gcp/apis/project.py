"""The project, its APIs, who has which rights, its registry of images and its service accounts."""

from __future__ import annotations

import re
from typing import Any

from tests.gcp.cloud import NUMBER, PROJECT, Cloud, NotDone, answers
from tests.gcp.schema import Request

Match = re.Match[str]


def policy_of(cloud: Cloud, name: str) -> Any:
    return cloud.policies.get(name, {"etag": "BwY="})


# --- the project ---


@answers("GET", "cloudresourcemanager", f"/v1/projects/({PROJECT}|{NUMBER})")
def project(_cloud: Cloud, _match: Match, _request: Request) -> Any:
    return {"projectId": PROJECT, "projectNumber": NUMBER, "name": "My Project", "lifecycleState": "ACTIVE"}


@answers("GET", "cloudresourcemanager", "/v1/projects/[^:/]+")
def no_project(_cloud: Cloud, _match: Match, _request: Request) -> Any:
    raise NotDone(403, "PERMISSION_DENIED", "The caller does not have permission")


@answers("GET", "serviceusage", f"/v1/projects/{PROJECT}/services")
def services(cloud: Cloud, _match: Match, _request: Request) -> Any:
    return {
        "services": [
            {"name": f"projects/{NUMBER}/services/{api}", "config": {"name": api}, "state": "ENABLED"}
            for api in sorted(cloud.apis)
        ]
    }


@answers("GET", "serviceusage", "/v1/projects/[^/]+/services")
def no_services(_cloud: Cloud, _match: Match, _request: Request) -> Any:
    raise NotDone(403, "PERMISSION_DENIED", "Permission denied to list services")


@answers("POST", "serviceusage", f"/v1/projects/{PROJECT}/services:batchEnable")
def enable(cloud: Cloud, _match: Match, request: Request) -> Any:
    cloud.apis |= set(request.body["serviceIds"])
    return {"name": "operations/acf.1", "done": True, "response": {}}


@answers("POST", "serviceusage", f"/v1/projects/{PROJECT}/services/([^/:]+):enable")
def enable_one(cloud: Cloud, match: Match, _request: Request) -> Any:
    cloud.apis.add(match[1])
    return {"name": "operations/acf.1", "done": True, "response": {}}


# --- rights: a policy is read and written as a whole, by the name of its resource ---


@answers("POST", "cloudresourcemanager", "/v1/(projects/[^:]+):getIamPolicy")
@answers("GET", "secretmanager", "/v1/(projects/[^:]+):getIamPolicy")
@answers("GET", "run", "/v1/(projects/[^:]+):getIamPolicy")
def read_policy(cloud: Cloud, match: Match, _request: Request) -> Any:
    return policy_of(cloud, match[1])


@answers("POST", "cloudresourcemanager", "/v1/(projects/[^:]+):setIamPolicy")
@answers("POST", "secretmanager", "/v1/(projects/[^:]+):setIamPolicy")
@answers("POST", "run", "/v1/(projects/[^:]+):setIamPolicy")
def write_policy(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.policies[match[1]] = request.body["policy"]
    return request.body["policy"]


@answers("GET", "storage", "/storage/v1/(b/[^/]+)/iam")
def read_bucket_policy(cloud: Cloud, match: Match, _request: Request) -> Any:
    return policy_of(cloud, match[1])


@answers("PUT", "storage", "/storage/v1/(b/[^/]+)/iam")
def write_bucket_policy(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.policies[match[1]] = request.body
    return request.body


# --- Artifact Registry ---


@answers("GET", "artifactregistry", "/v1/(projects/[^/]+/locations/[^/]+/repositories)")
def repositories(cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"repositories": cloud.inside(match[1])}


@answers("POST", "artifactregistry", "/v1/(projects/[^/]+/locations/[^/]+)/repositories")
def create_repository(cloud: Cloud, match: Match, request: Request) -> Any:
    name = f"{match[1]}/repositories/{request.query['repositoryId'][0]}"
    cloud.things[name] = {**request.body, "name": name}
    return {"name": f"{match[1]}/operations/1", "done": True, "response": {}}


@answers("GET", "artifactregistry", "/v1/(projects/[^/]+/locations/[^/]+/repositories/[^/]+)")
def repository(cloud: Cloud, match: Match, _request: Request) -> Any:
    return cloud.get(match[1])


@answers("DELETE", "artifactregistry", "/v1/(projects/[^/]+/locations/[^/]+)(/repositories/[^/]+)")
def delete_repository(cloud: Cloud, match: Match, _request: Request) -> Any:
    del cloud.things[match[1] + match[2]]
    return {"name": f"{match[1]}/operations/2", "done": True, "response": {}}


@answers("GET", "artifactregistry", "/v1/(projects/[^/]+/locations/[^/]+/repositories/[^/]+/dockerImages)")
def images(cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"dockerImages": cloud.inside(match[1])}


def push(cloud: Cloud, repository: str, image: str, tag: str, digest: str) -> None:
    """Put an image into a repository, as `buildah push` would; a tag leaves the image that had it."""
    path = f"projects/{PROJECT}/locations/europe-west1/repositories/{repository}/dockerImages"
    for other in cloud.inside(path):
        other["tags"] = [each for each in other["tags"] if each != tag]
    cloud.things[f"{path}/{image}@{digest}"] = {
        "name": f"{path}/{image}@{digest}",
        "uri": f"europe-west1-docker.pkg.dev/{PROJECT}/{repository}/{image}@{digest}",
        "tags": [tag],
        "imageSizeBytes": "1",
    }


# --- service accounts ---


@answers("GET", "iam", "/v1/(projects/[^/]+/serviceAccounts)")
def accounts(cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"accounts": cloud.inside(match[1])}


@answers("POST", "iam", "/v1/(projects/[^/]+/serviceAccounts)")
def create_account(cloud: Cloud, match: Match, request: Request) -> Any:
    email = f"{request.body['accountId']}@{PROJECT}.iam.gserviceaccount.com"
    cloud.things[f"{match[1]}/{email}"] = {"name": f"{match[1]}/{email}", "email": email, "projectId": PROJECT}
    return cloud.things[f"{match[1]}/{email}"]


@answers("DELETE", "iam", "/v1/projects/[^/]+/serviceAccounts/([^/]+)")
def delete_account(cloud: Cloud, match: Match, _request: Request) -> Any:
    del cloud.things[f"projects/{PROJECT}/serviceAccounts/{match[1]}"]
    return {}
