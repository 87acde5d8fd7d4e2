"""models TRACKING_URI DIRECTORY JSON: print what is served, and what the wanted models resolve to, as JSON.

JSON is {"NAME": {"kind": …, "name": …, "reference": …}} (mlflow_stack/domain/model_uri.py). The answer has for each
name: "resolved" ({"uri", "id", "conda_yaml"}) or "error" with "missing" (true: the registry says that it does not
exist; false: the registry can't be asked), and "current", the release that the symbolic link points to, if it is whole.

A registry alias is resolved here, when deploying, and never when a server starts. A plan of a fresh host runs it with
the distribution's Python: 3.9 and newer.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

CALL_TIMEOUT_S = 20
MARKER = ".mlflow-stack.json"  # as in mlflow_stack/domain/layout.py


class Missing(Exception):
    """The registry answered that something does not exist."""


def get(url: str, **query: str) -> bytes:
    """Return the body of a GET; raise Missing when the server says that the thing does not exist."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}?{urllib.parse.urlencode(query)}", timeout=CALL_TIMEOUT_S) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        body = error.read(2000).decode(errors="replace")
        if error.code == 404 or "RESOURCE_DOES_NOT_EXIST" in body or "INVALID_PARAMETER_VALUE" in body:
            raise Missing(body) from None
        raise OSError(f"HTTP {error.code}: {body[:200]}") from None
    except http.client.HTTPException as error:
        raise OSError(f"the answer broke off: {error}") from None


def get_json(url: str, **query: str) -> Any:
    """Return the JSON that a GET answers with."""
    try:
        return json.loads(get(url, **query))
    except ValueError:
        raise OSError(f"{url} did not answer with JSON; is this an MLflow tracking server?") from None


def resolve_version(server: str, name: str, version: str) -> dict[str, str | None]:
    try:
        answer = get_json(f"{server}/api/2.0/mlflow/model-versions/get", name=name, version=version)
    except Missing:
        raise Missing(f"model {name!r} has no version {version}") from None
    # A registered model that is deleted and made anew counts its versions from 1 again.
    origin = "{source} {creation_timestamp}".format(**answer["model_version"])
    url = f"{server}/model-versions/get-artifact"
    return {
        "uri": f"models:/{name}/{version}",
        "id": f"v{version}-{hashlib.sha256(origin.encode()).hexdigest()[:8]}",
        "conda_yaml": environment_text(url, name=name, version=version, path="conda.yaml"),
    }


def resolve_alias(server: str, name: str, alias: str) -> dict[str, str | None]:
    try:
        get(f"{server}/api/2.0/mlflow/registered-models/get", name=name)
    except Missing:
        raise Missing(f"no model {name!r} is registered") from None
    try:
        answer = get_json(f"{server}/api/2.0/mlflow/registered-models/alias", name=name, alias=alias)
    except Missing:
        raise Missing(f"model {name!r} has no alias {alias!r}") from None
    return resolve_version(server, name, answer["model_version"]["version"])


def resolve_logged(server: str, _name: str, model_id: str) -> dict[str, str | None]:
    try:
        get(f"{server}/api/2.0/mlflow/logged-models/{model_id}")
    except Missing:
        raise Missing(f"no logged model {model_id!r}") from None
    url = f"{server}/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
    text = environment_text(url, artifact_file_path="conda.yaml")
    return {"uri": f"models:/{model_id}", "id": model_id, "conda_yaml": text}


def resolve_run(server: str, name: str, run_id: str) -> dict[str, str | None]:
    """Return the logged model `name` of a run (MLflow 3 keeps a run's models as outputs of the run)."""
    try:
        run = get_json(f"{server}/api/2.0/mlflow/runs/get", run_id=run_id)["run"]
    except Missing:
        raise Missing(f"no run {run_id!r}") from None
    for output in run.get("outputs", {}).get("model_outputs", []):
        model_id = output["model_id"]
        model = get_json(f"{server}/api/2.0/mlflow/logged-models/{model_id}")["model"]
        if model["info"]["name"] == name:
            return resolve_logged(server, name, model_id)
    raise Missing(f"run {run_id!r} has no model {name!r}")


def environment_text(url: str, **query: str) -> str | None:
    """Return the text of a model's conda.yaml, or None when it has none."""
    try:
        return get(url, **query).decode()
    except Missing:
        return None
    except OSError as error:
        if str(error).startswith("HTTP 500: "):  # what the server answers for an artifact that does not exist
            return None
        raise


RESOLVERS = {"alias": resolve_alias, "version": resolve_version, "logged": resolve_logged, "run": resolve_run}


def state_of(server: str, directory: Path, name: str, wanted: dict[str, str]) -> dict[str, object]:
    current = directory / name / "current"
    complete = (current / MARKER).is_file() and (current / "env" / MARKER).is_file()
    state: dict[str, object] = {"current": os.path.basename(os.readlink(current)) if complete else None}
    try:
        state["resolved"] = RESOLVERS[wanted["kind"]](server, wanted["name"], wanted["reference"])
    except Missing as error:
        state.update(error=str(error), missing=True)
    except OSError as error:
        state.update(error=f"{server}: {getattr(error, 'reason', error)}", missing=False)
    return state


def main() -> None:
    server, directory, wanted = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    print(json.dumps({name: state_of(server, directory, name, model) for name, model in wanted.items()}))


if __name__ == "__main__":
    main()
