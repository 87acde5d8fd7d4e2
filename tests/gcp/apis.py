"""What the stand-in (cloud.py) answers for each API, as the APIs' references describe it."""

from __future__ import annotations

import base64
import copy
import re
from typing import Any

from tests.gcp.cloud import NUMBER, PROJECT, Cloud, NotDone, answers
from tests.gcp.schema import Request

Match = re.Match[str]


def merged(thing: Any, patch: Any) -> Any:
    """Return a thing with a JSON merge patch (RFC 7396), as the APIs' PATCH has it."""
    if not isinstance(patch, dict) or not isinstance(thing, dict):
        return patch
    return {**thing, **{name: merged(thing.get(name), value) for name, value in patch.items()}}


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


@answers("DELETE", "secretmanager", f"/v1/(projects/{PROJECT}/secrets/[^/:]+)")
def delete_secret(cloud: Cloud, match: Match, _request: Request) -> Any:
    for name in [name for name in cloud.things if name == match[1] or name.startswith(f"{match[1]}/")]:
        del cloud.things[name]
    return {}


def secret_value(cloud: Cloud, name: str) -> str:
    """Return what the latest version of a secret holds."""
    versions = cloud.inside(f"projects/{PROJECT}/secrets/{name}/versions")
    return base64.b64decode(versions[-1]["data"]).decode()


# --- Cloud SQL ---

SQL = f"/sql/v1beta4/projects/{PROJECT}"


def sql_done(name: str) -> Any:
    return {
        "kind": "sql#operation",
        "name": name,
        "status": "DONE",
        "operationType": "UPDATE",
        "targetProject": PROJECT,
    }


@answers("GET", "sqladmin", f"{SQL}/operations/([^/]+)")
def sql_operation(_cloud: Cloud, match: Match, _request: Request) -> Any:
    return sql_done(match[1])


@answers("GET", "sqladmin", f"{SQL}/instances")
def instances(cloud: Cloud, _match: Match, _request: Request) -> Any:
    return {"kind": "sql#instancesList", "items": cloud.inside("instances")}


@answers("POST", "sqladmin", f"{SQL}/instances")
def create_instance(cloud: Cloud, _match: Match, request: Request) -> Any:
    given = {name: value for name, value in request.body.items() if name != "rootPassword"}
    addresses = [{"type": "PRIMARY", "ipAddress": "203.0.113.5"}]
    if given["settings"]["ipConfiguration"].get("privateNetwork"):
        addresses.append({"type": "PRIVATE", "ipAddress": "10.1.2.3"})
    cloud.things[f"instances/{given['name']}"] = {
        **given,
        "state": "RUNNABLE",
        "ipAddresses": addresses,
        "serverCaCert": {"cert": "-----BEGIN CERTIFICATE-----\n(of the stand-in)\n-----END CERTIFICATE-----"},
    }
    return sql_done("create")


@answers("GET", "sqladmin", f"{SQL}/(instances/[^/]+)")
def instance(cloud: Cloud, match: Match, _request: Request) -> Any:
    return cloud.get(match[1])


@answers("PATCH", "sqladmin", f"{SQL}/(instances/[^/]+)")
def change_instance(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.things[match[1]] = merged(cloud.get(match[1]), request.body)
    return sql_done("patch")


@answers("DELETE", "sqladmin", f"{SQL}/(instances/[^/]+)")
def delete_instance(cloud: Cloud, match: Match, _request: Request) -> Any:
    if cloud.get(match[1])["settings"].get("deletionProtectionEnabled"):
        raise NotDone(400, "INVALID_ARGUMENT", "The instance is protected.")
    del cloud.things[match[1]]
    return sql_done("delete")


@answers("GET", "sqladmin", f"{SQL}/(instances/[^/]+/(?:databases|users))")
def inside_instance(cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"items": cloud.inside(match[1])}


@answers("POST", "sqladmin", f"{SQL}/(instances/[^/]+/(?:databases|users|backupRuns))")
def create_inside_instance(cloud: Cloud, match: Match, request: Request) -> Any:
    name = request.body.get("name", f"{len(cloud.things)}")
    cloud.things[f"{match[1]}/{name}"] = {key: each for key, each in request.body.items() if key != "password"}
    return sql_done("insert")


@answers("PUT", "sqladmin", f"{SQL}/(instances/[^/]+/users)")
def change_user(_cloud: Cloud, _match: Match, _request: Request) -> Any:
    return sql_done("user")


# --- Cloud Run ---


@answers("GET", "run", "/apis/[^/]+/v1/(namespaces/[^/]+/(services|jobs))")
def run_list(cloud: Cloud, match: Match, _request: Request) -> Any:
    kind = {"services": "Service", "jobs": "Job"}[match[2]]
    return {"kind": f"{kind}List", "items": cloud.inside(match[1])}


@answers("GET", "run", "/apis/[^/]+/v1/(namespaces/[^/]+/(?:services|jobs|executions)/[^/]+)")
def run_get(cloud: Cloud, match: Match, _request: Request) -> Any:
    return cloud.get(match[1])


@answers("POST", "run", "/apis/[^/]+/v1/(namespaces/[^/]+/(?:services|jobs))")
def run_create(cloud: Cloud, match: Match, request: Request) -> Any:
    return run_keep(cloud, f"{match[1]}/{request.body['metadata']['name']}", request.body)


@answers("PUT", "run", "/apis/[^/]+/v1/(namespaces/[^/]+/(?:services|jobs)/[^/]+)")
def run_replace(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.get(match[1])
    return run_keep(cloud, match[1], request.body)


def run_keep(cloud: Cloud, path: str, given: Any) -> Any:
    """Keep a service or job, with what Cloud Run adds: its state, and the defaults of what was left out."""
    thing = copy.deepcopy(given)
    generation = cloud.things.get(path, {}).get("metadata", {}).get("generation", 0) + 1
    thing["metadata"] |= {"generation": generation, "resourceVersion": f"AAY{generation}", "uid": "1-2-3"}
    thing["metadata"].setdefault("labels", {})["cloud.googleapis.com/location"] = "europe-west1"
    ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ConfigurationsReady", "RoutesReady")]
    thing["status"] = {"observedGeneration": generation, "conditions": ready}
    if thing["kind"] == "Service":
        name = thing["metadata"]["name"]
        thing["status"] |= {
            "url": f"https://{name}-abc-ew.a.run.app",
            "latestReadyRevisionName": f"{name}-{generation}",
        }
        thing["status"]["latestCreatedRevisionName"] = f"{name}-{generation}"
        thing["spec"]["template"]["metadata"].setdefault("labels", {})["client.knative.dev/nonce"] = "abcdefghij"
        for volume in thing["spec"]["template"]["spec"]["volumes"]:
            volume["secret"]["defaultMode"] = 0o444
    cloud.things[path] = thing
    return thing


@answers("POST", "run", "/apis/run.googleapis.com/v1/(namespaces/[^/]+)/jobs/([^/:]+):run")
def run_job(cloud: Cloud, match: Match, _request: Request) -> Any:
    cloud.get(f"{match[1]}/jobs/{match[2]}")
    done = [{"type": kind, "status": "True"} for kind in ("Completed", "Started", "ResourcesAvailable")]
    labels = {"run.googleapis.com/job": match[2]}
    name = f"{match[2]}-{len(cloud.requests)}"
    cloud.things[f"{match[1]}/executions/{name}"] = {
        "apiVersion": "run.googleapis.com/v1",
        "kind": "Execution",
        "metadata": {"name": name, "namespace": PROJECT, "labels": labels, "generation": 1},
        "spec": {"taskCount": 1},
        "status": {"conditions": done, "observedGeneration": 1, "succeededCount": 1},
    }
    return cloud.things[f"{match[1]}/executions/{name}"]


@answers("DELETE", "run", "/apis/[^/]+/v1/(namespaces/[^/]+/(?:services|jobs)/[^/]+)")
def run_delete(cloud: Cloud, match: Match, _request: Request) -> Any:
    cloud.get(match[1])
    del cloud.things[match[1]]
    return {"status": "Success"}


# --- Compute Engine, and the connection of its networks with Google's ---

COMPUTE = f"/compute/v1/projects/{PROJECT}"


def compute_thing(cloud: Cloud, path: str) -> Any:
    if path not in cloud.things:
        raise NotDone(404, "NOT_FOUND", f"The resource 'projects/{PROJECT}/{path}' was not found")
    return cloud.things[path]


def compute_done(request: Request) -> Any:
    """Return an operation that is done: of the request itself, or the one that is asked for again."""
    zone = re.search(r"/zones/([^/]+)/", request.path)
    scope, link = (f"zones/{zone[1]}" if zone else "global"), f"https://compute.googleapis.com{COMPUTE}"
    again = re.search(r"/operations/operation-([a-z]+)", request.path)
    kind = again[1] if again else {"DELETE": "delete", "PATCH": "patch"}.get(request.method, "insert")
    return {
        "kind": "compute#operation",
        "name": f"operation-{kind}",
        "operationType": kind,
        "status": "DONE",
        "selfLink": f"{link}/{scope}/operations/operation-{kind}",
        "targetLink": f"https://compute.googleapis.com{request.path}/{(request.body or {}).get('name', '')}".rstrip(
            "/"
        ),
        **({"zone": f"{link}/{scope}"} if zone else {}),
    }


@answers("GET", "compute", f"{COMPUTE}/zones/([^/]+)")
def zone(_cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"name": match[1], "status": "UP"}


@answers("POST", "compute", f"{COMPUTE}/(zones/[^/]+)/instances")
def create_machine(cloud: Cloud, match: Match, request: Request) -> Any:
    name = f"{match[1]}/instances/{request.body['name']}"
    number = len(cloud.inside(f"{match[1]}/instances")) + 10
    interface = {"networkIP": f"10.132.0.{number}", "accessConfigs": [{"natIP": f"198.51.100.{number}"}]}
    link = f"https://compute.googleapis.com{COMPUTE}"
    own = {"status": "RUNNING", "networkInterfaces": [interface], "zone": f"{link}/{match[1]}"}
    cloud.things[name] = {**request.body, **own, "selfLink": f"{link}/{name}"}
    return compute_done(request)


@answers("GET", "compute", f"{COMPUTE}/(zones/[^/]+/instances/[^/]+)")
def machine(cloud: Cloud, match: Match, _request: Request) -> Any:
    return compute_thing(cloud, match[1])


@answers("POST", "compute", f"{COMPUTE}/(zones/[^/]+/instances/[^/]+)/(start|stop|setDiskAutoDelete)")
def start_or_stop(cloud: Cloud, match: Match, request: Request) -> Any:
    compute_thing(cloud, match[1])["status"] = {"start": "RUNNING", "stop": "TERMINATED"}.get(match[2], "RUNNING")
    return compute_done(request)


@answers("DELETE", "compute", f"{COMPUTE}/(zones/[^/]+/instances/[^/]+)")
def delete_machine(cloud: Cloud, match: Match, request: Request) -> Any:
    del cloud.things[match[1]]
    return compute_done(request)


@answers("GET", "compute", f"{COMPUTE}/(global/(?:firewalls|addresses))")
def global_list(cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"items": cloud.inside(match[1])}


@answers("POST", "compute", f"{COMPUTE}/(global/(?:firewalls|addresses))")
def create_global(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.things[f"{match[1]}/{request.body['name']}"] = request.body
    return compute_done(request)


@answers("GET", "compute", f"{COMPUTE}/(global/(?:firewalls|addresses)/[^/]+)")
def get_global(cloud: Cloud, match: Match, _request: Request) -> Any:
    return compute_thing(cloud, match[1])


@answers("PATCH", "compute", f"{COMPUTE}/(global/firewalls/[^/]+)")
def change_firewall(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.things[match[1]] = merged(compute_thing(cloud, match[1]), request.body)
    return compute_done(request)


@answers("DELETE", "compute", f"{COMPUTE}/(global/firewalls/[^/]+)")
def delete_firewall(cloud: Cloud, match: Match, request: Request) -> Any:
    del cloud.things[match[1]]
    return compute_done(request)


@answers("GET", "compute", f"{COMPUTE}/(zones/[^/]+|global)/operations/[^/]+")
@answers("POST", "compute", f"{COMPUTE}/(zones/[^/]+|global)/operations/[^/]+/wait")
def compute_operation(_cloud: Cloud, _match: Match, request: Request) -> Any:
    return compute_done(request)


@answers("GET", "servicenetworking", "/v1/(operations/[^/]+)")
def connected(_cloud: Cloud, match: Match, _request: Request) -> Any:
    return {"name": match[1], "done": True, "response": {}}


@answers("GET", "servicenetworking", "/v1/(services/[^/]+)/connections")
def connections(cloud: Cloud, _match: Match, _request: Request) -> Any:
    return {"connections": cloud.inside("connections")}


@answers("POST", "servicenetworking", "/v1/services/([^/]+)/connections")
def connect(cloud: Cloud, match: Match, request: Request) -> Any:
    cloud.things["connections/1"] = {**request.body, "service": f"services/{match[1]}"}
    return {"name": "operations/pssn.1", "done": False}
