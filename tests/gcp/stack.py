"""A stack on the stand-in, as an operator has it: a file of settings, the commands, and what each of them did."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from mlflow_stack.__main__ import main
from tests.gcp.apis.project import push
from tests.gcp.cloud import PROJECT, Cloud
from tests.gcp.endpoint import serving
from tests.gcp.schema import Request

IMAGE, DIGEST, NEWER = "mlflow-tracking", f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
DECLARED = {"gcp_project": PROJECT, "gcp_region": "europe-west1", "gcp_image": f"{IMAGE}:3.17.2"}
REPOSITORY = f"projects/{PROJECT}/locations/europe-west1/repositories/mlflow"


@dataclass(frozen=True)
class Done:
    """What a command said, and the requests that it made."""

    status: int
    out: str
    err: str
    requests: list[Request]

    @property
    def changes(self) -> list[str]:
        """The requests that change something, without the project's part of their paths."""
        found = [f"{each.method} {each.host.partition('.')[0]}{each.path}" for each in self.requests if each.changes]
        return [each.replace(f"/projects/{PROJECT}", "").replace(f"/namespaces/{PROJECT}", "") for each in found]


class Stack:
    """The commands of one stack; `declared` is what its file of settings says, and may be changed."""

    def __init__(self, cloud: Cloud, directory: Path, declared: dict[str, object]) -> None:
        self.cloud, self.directory, self.declared = cloud, directory, {**DECLARED, **declared}

    @property
    def settings(self) -> Path:
        path = self.directory / "settings.py"
        path.write_text("".join(f"{name} = {value!r}\n" for name, value in self.declared.items()))
        return path

    def run(self, *arguments: str) -> Done:
        """Run `python -m mlflow_stack gcp` with these arguments."""
        before, out, err = len(self.cloud.requests), io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["gcp", *arguments, "--settings", str(self.settings)])
        return Done(status, out.getvalue(), err.getvalue(), self.cloud.requests[before:])

    def push(self, digest: str, tag: str = "3.17.2") -> None:
        push(self.cloud, "mlflow", IMAGE, tag, digest)

    def with_registry(self) -> None:
        """Be where the first apply and a push lead to."""
        apis = "artifactregistry cloudresourcemanager compute iam run secretmanager servicenetworking sqladmin storage"
        self.cloud.apis |= {f"{api}.googleapis.com" for api in apis.split()}
        self.cloud.things[REPOSITORY] = {"name": REPOSITORY, "format": "DOCKER", "labels": {"mlflow-stack": "mlflow"}}
        self.push(DIGEST)


@contextlib.contextmanager
def standing_in(directory: Path, **declared: object) -> Iterator[Stack]:
    """Give a stack in an empty project, with gcloud led to the stand-in."""
    cloud = Cloud()
    with serving(cloud, directory) as variables, mock.patch.dict(os.environ, variables):
        yield Stack(cloud, directory, declared)
