"""The published schemas of Google's APIs, and what in a request or an answer they do not know.

They are the discovery documents that google-api-python-client brings: made by Google, and not by us or by gcloud.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# The versions that gcloud 528 speaks, by the host that answers; Cloud Run's also has its region in front of it.
VERSIONS = {
    **dict.fromkeys(("artifactregistry", "cloudresourcemanager", "compute", "iam", "run", "secretmanager"), "v1"),
    **dict.fromkeys(("servicenetworking", "serviceusage", "storage"), "v1"),
    "sqladmin": "v1beta4",
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


@dataclass(frozen=True)
class Request:
    """One request, as it came: `query` with its values in a list, `body` parsed, None without one."""

    method: str
    host: str
    path: str
    query: Mapping[str, list[str]]
    body: Any = None

    @property
    def changes(self) -> bool:
        """True for one that changes something: those that ask have a POST only where a policy is read."""
        return self.method != "GET" and not self.path.endswith(":getIamPolicy")

    def __str__(self) -> str:
        return f"{self.method} {self.host}{self.path}"


def complaints(request: Request, answer: Any = None) -> list[str]:
    """Return what the API's schema does not know of a request and, where there is one, of its answer."""
    api = re.fullmatch(r"(?:[a-z]+-[a-z]+\d+-)?([a-z]+)\.googleapis\.com", request.host)
    if not api or api[1] not in VERSIONS:
        return [f"{request}: no API that is known"]
    document = _document(api[1])
    method = next((each for each in _methods(document) if _is_called(document, each, request)), None)
    if method is None:
        return [f"{request}: no method of the API"]
    found = list(_query(document, method, request.query))
    if request.body is not None:
        found += _body(document, method.get("request", {}), request.body)
    if answer:
        found += _unknown(document["schemas"], method.get("response", {"type": "boolean"}), answer, "answer")
    return [f"{request}: {each}" for each in found]


@functools.cache
def _document(api: str) -> Any:
    documents = importlib.resources.files("googleapiclient.discovery_cache") / "documents"
    return json.loads((documents / f"{api}.{VERSIONS[api]}.json").read_text())


def _methods(resource: Any) -> Iterator[Any]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def _is_called(document: Any, method: Any, request: Request) -> bool:
    path = f"/{document['servicePath']}{method.get('flatPath', method['path'])}"
    pattern = "".join(r"[^/:]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^}]+\})", path))
    return bool(method["httpMethod"] == request.method and re.fullmatch(pattern, request.path))


def _query(document: Any, method: Any, query: Mapping[str, list[str]]) -> Iterator[str]:
    own = {name: each for name, each in method.get("parameters", {}).items() if each["location"] == "query"}
    known = {**document["parameters"], **own}
    for name, values in query.items():
        if name not in known:
            yield f"query parameter {name} is unknown"
        elif "enum" in known[name] and not set(values) <= set(known[name]["enum"]):
            yield f"query parameter {name} is {values}, expected one of {known[name]['enum']}"
    yield from (f"query parameter {name} is missing" for name in own if own[name].get("required") and name not in query)


def _body(document: Any, schema: Any, body: Any) -> Iterator[str]:
    return _unknown(document["schemas"], schema, body, "body") if schema else iter(["a body, and none is expected"])


def _unknown(schemas: Any, schema: Any, value: Any, where: str) -> Iterator[str]:
    """Yield where a value is not what its schema says: fields that it does not have, and other types."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema.get("type", "any")
    if kind == "any":
        return
    is_number_as_text = schema.get("format") in ("int64", "uint64") and isinstance(value, int)
    is_no_number = kind == "integer" and isinstance(value, bool)  # which Python takes for one
    if is_no_number or not (isinstance(value, _TYPES[kind]) or is_number_as_text):
        yield f"{where} is {value!r}, expected the type {kind}"
    elif "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}, expected one of {schema['enum']}"
    elif kind == "array":
        for number, item in enumerate(value):
            yield from _unknown(schemas, schema["items"], item, f"{where}[{number}]")
    elif kind == "object":
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if inner is None:
                yield f"{where}.{name} is unknown"
            else:
                yield from _unknown(schemas, inner, item, f"{where}.{name}")
