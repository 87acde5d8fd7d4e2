"""models SERVER DIRECTORY JSON [OPTIONS]: print what is served, and what the wanted models resolve to, as JSON.

SERVER is the tracking server: http://HOST:PORT, https://HOST:PORT or unix:/PATH of its socket. --user logs in with the
password in the file --password-file, and --ca-file holds the authorities that a certificate has to be from. JSON is
{"NAME": {"kind": …, "name": …, "reference": …}} (mlflow_stack/domain/model_uri.py). The answer has for each
name: "resolved" ({"uri", "id", "conda_yaml"}) or "error" with "missing" (true: the registry says that it does not
exist, or that we may not see it; false: the registry can't be asked), and "current", the release that the symbolic link
points to, if it is whole.

A registry alias is resolved here, when deploying, and never when a server starts. A plan of a fresh host runs it with
the distribution's Python: 3.9 and newer.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import http.client
import json
import os
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

CALL_TIMEOUT_S = 20
MARKER = ".mlflow-stack.json"  # as in mlflow_stack/domain/layout.py
NO_PERMISSION = "Permission denied"  # as mlflow/server/auth says it


class Missing(Exception):
    """The registry answered that something does not exist, or, with `hidden`, that it is not for us, if it does.

    MLflow's permissions answer so about much that does not exist: nobody has a permission for it.
    """

    def __init__(self, message: str, hidden: bool = False) -> None:
        super().__init__(message)
        self.hidden = hidden

    def named(self, message: str) -> Missing:
        """Return it with a message that says what is missing."""
        return Missing(f"{message}, or no permission to see it" if self.hidden else message, self.hidden)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, whose path stands where the host's name does."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_TIMEOUT_S)
        self.sock.connect(urllib.parse.unquote(self.host))


class UnixHandler(urllib.request.AbstractHTTPHandler):
    """Opens unix://PATH/…, with the slashes of PATH quoted."""

    def unix_open(self, request: urllib.request.Request) -> Any:
        request.add_unredirected_header("Host", "localhost")
        return self.do_open(UnixConnection, request)


class UnixErrors(urllib.request.HTTPErrorProcessor):
    """Raises HTTPError for what came over a Unix socket, too: urllib does so for http:// and https:// alone."""

    unix_response = urllib.request.HTTPErrorProcessor.http_response


class Server:
    """The tracking server."""

    def __init__(self, url: str, user: str = "", password_file: str = "", ca_file: str = "") -> None:
        self.url, self.user, self.password_file, self.ca_file = url, user, password_file, ca_file

    @functools.cached_property
    def opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), UnixHandler(), UnixErrors()]
        if self.ca_file:
            context = ssl.create_default_context(cadata=Path(self.ca_file).read_text())
            handlers.append(urllib.request.HTTPSHandler(context=context))
        return urllib.request.build_opener(*handlers)

    @functools.cached_property
    def login(self) -> str:
        password = Path(self.password_file).read_text().strip("\n")
        return "Basic " + base64.b64encode(f"{self.user}:{password}".encode()).decode()

    def get(self, path: str, /, **query: str) -> bytes:
        """Return the body of a GET; raise Missing when the server says that the thing does not exist."""
        url = self.url
        if url.startswith("unix:"):
            url = f"unix://{urllib.parse.quote(url[len('unix:') :], safe='')}"
        request = urllib.request.Request(f"{url}{path}?{urllib.parse.urlencode(query)}")
        if self.user:  # not to where a redirection leads
            request.add_unredirected_header("Authorization", self.login)
        try:
            with self.opener.open(request, timeout=CALL_TIMEOUT_S) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            body = error.read(2000).decode(errors="replace")
            if error.code == 404 or "RESOURCE_DOES_NOT_EXIST" in body or "INVALID_PARAMETER_VALUE" in body:
                raise Missing(body) from None
            if error.code == 403 and body.strip() == NO_PERMISSION:
                raise Missing(body, hidden=True) from None
            raise OSError(f"HTTP {error.code}: {body[:200]}") from None
        except http.client.HTTPException as error:
            raise OSError(f"the answer broke off: {error}") from None

    def get_json(self, path: str, /, **query: str) -> Any:
        """Return the JSON that a GET answers with."""
        try:
            return json.loads(self.get(path, **query))
        except ValueError:
            where = f"{self.url}{path}"
            raise OSError(f"{where} did not answer with JSON; is this an MLflow tracking server?") from None

    def get_environment(self, path: str, /, **query: str) -> str | None:
        """Return the text of a model's conda.yaml, or None when it has none."""
        try:
            return self.get(path, **query).decode()
        except Missing as error:
            if error.hidden:
                raise OSError(f"HTTP 403: {error}") from None
            return None
        except OSError as error:
            if str(error).startswith("HTTP 500: "):  # what the server answers for an artifact that does not exist
                return None
            raise


def resolve_version(server: Server, name: str, version: str) -> dict[str, str | None]:
    try:
        answer = server.get_json("/api/2.0/mlflow/model-versions/get", name=name, version=version)
    except Missing as error:
        raise error.named(f"model {name!r} has no version {version}") from None
    # A registered model that is deleted and made anew counts its versions from 1 again.
    origin = "{source} {creation_timestamp}".format(**answer["model_version"])
    text = server.get_environment("/model-versions/get-artifact", name=name, version=version, path="conda.yaml")
    return {
        "uri": f"models:/{name}/{version}",
        "id": f"v{version}-{hashlib.sha256(origin.encode()).hexdigest()[:8]}",
        "conda_yaml": text,
    }


def resolve_alias(server: Server, name: str, alias: str) -> dict[str, str | None]:
    try:
        server.get("/api/2.0/mlflow/registered-models/get", name=name)
    except Missing as error:
        raise error.named(f"no model {name!r} is registered") from None
    try:
        answer = server.get_json("/api/2.0/mlflow/registered-models/alias", name=name, alias=alias)
    except Missing as error:
        raise error.named(f"model {name!r} has no alias {alias!r}") from None
    return resolve_version(server, name, answer["model_version"]["version"])


def resolve_logged(server: Server, _name: str, model_id: str) -> dict[str, str | None]:
    try:
        server.get(f"/api/2.0/mlflow/logged-models/{model_id}")
    except Missing as error:
        raise error.named(f"no logged model {model_id!r}") from None
    path = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files"
    text = server.get_environment(path, artifact_file_path="conda.yaml")
    return {"uri": f"models:/{model_id}", "id": model_id, "conda_yaml": text}


def resolve_run(server: Server, name: str, run_id: str) -> dict[str, str | None]:
    """Return the logged model `name` of a run (MLflow 3 keeps a run's models as outputs of the run)."""
    try:
        run = server.get_json("/api/2.0/mlflow/runs/get", run_id=run_id)["run"]
    except Missing as error:
        raise error.named(f"no run {run_id!r}") from None
    for output in run.get("outputs", {}).get("model_outputs", []):
        model_id = output["model_id"]
        model = server.get_json(f"/api/2.0/mlflow/logged-models/{model_id}")["model"]
        if model["info"]["name"] == name:
            return resolve_logged(server, name, model_id)
    raise Missing(f"run {run_id!r} has no model {name!r}")


RESOLVERS = {"alias": resolve_alias, "version": resolve_version, "logged": resolve_logged, "run": resolve_run}


def state_of(server: Server, directory: Path, name: str, wanted: dict[str, str]) -> dict[str, object]:
    current = directory / name / "current"
    complete = (current / MARKER).is_file() and (current / "env" / MARKER).is_file()
    state: dict[str, object] = {"current": os.path.basename(os.readlink(current)) if complete else None}
    try:
        state["resolved"] = RESOLVERS[wanted["kind"]](server, wanted["name"], wanted["reference"])
    except Missing as error:
        state.update(error=str(error), missing=True)
    except OSError as error:
        state.update(error=f"{server.url}: {getattr(error, 'reason', error)}", missing=False)
    return state


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("server", "directory", "wanted"):
        parser.add_argument(name)
    for option in ("--user", "--password-file", "--ca-file"):
        parser.add_argument(option, default="")
    given = parser.parse_args()
    server, directory = Server(given.server, given.user, given.password_file, given.ca_file), Path(given.directory)
    wanted = json.loads(given.wanted)
    print(json.dumps({name: state_of(server, directory, name, model) for name, model in wanted.items()}))


if __name__ == "__main__":
    main()
