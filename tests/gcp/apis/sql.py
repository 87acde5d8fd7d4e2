"""Cloud SQL."""

from __future__ import annotations

import functools
import re
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from tests.gcp.cloud import PROJECT, Cloud, NotDone, answers, merged
from tests.gcp.schema import Request
from tests.unit.aws.certificate import make_pair

Match = re.Match[str]


SQL = f"/sql/v1beta4/projects/{PROJECT}"


@functools.cache
def authority() -> str:
    """Return the certificate of the instance's authority (PEM), as Cloud SQL makes one for each."""
    return make_pair(names=["Google Cloud SQL Server CA"]).certificate.public_bytes(Encoding.PEM).decode()


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
        "serverCaCert": {"cert": authority()},
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
    if cloud.get(match[1].rpartition("/")[0])["settings"].get("activationPolicy") == "NEVER":
        raise NotDone(400, "INVALID_ARGUMENT", "Invalid request since instance is not running.")
    return {"items": cloud.inside(match[1])}


@answers("POST", "sqladmin", f"{SQL}/(instances/[^/]+/(?:databases|users|backupRuns))")
def create_inside_instance(cloud: Cloud, match: Match, request: Request) -> Any:
    name = request.body.get("name", f"{len(cloud.things)}")
    cloud.things[f"{match[1]}/{name}"] = {key: each for key, each in request.body.items() if key != "password"}
    return sql_done("insert")


@answers("PUT", "sqladmin", f"{SQL}/(instances/[^/]+/users)")
def change_user(_cloud: Cloud, _match: Match, _request: Request) -> Any:
    return sql_done("user")
