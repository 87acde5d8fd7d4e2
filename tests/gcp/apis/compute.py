"""Compute Engine, and the connection of its networks with Google's."""

from __future__ import annotations

import re
from typing import Any

from tests.gcp.cloud import PROJECT, Cloud, NotDone, answers, merged
from tests.gcp.schema import Request

Match = re.Match[str]


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
