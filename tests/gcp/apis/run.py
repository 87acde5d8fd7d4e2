"""Cloud Run."""

from __future__ import annotations

import copy
import re
from typing import Any

from tests.gcp.cloud import PROJECT, Cloud, answers
from tests.gcp.schema import Request

Match = re.Match[str]


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
