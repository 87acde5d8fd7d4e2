"""A real `mlflow server` that keeps artifacts in an object store, let in there as its unit is, and a client that knows
nothing of the store: what it logs and registers is in the bucket, and comes back identical.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError

import pytest
from google.cloud import storage
from mlflow import MlflowClient

import mlflow_stack
from mlflow_stack.domain.object_store import PLUGIN_DIR, ObjectStore, plugin_files
from tests.azurite import azurite, container, program
from tests.object_stores import REGION, gcs_emulator, s3_server
from tests.unit.conftest import running_mlflow

ON_HOST = Path(mlflow_stack.__file__).parent / "on_host"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples/train_diabetes.py"
PREFIX = "mlflow/"


@dataclass(frozen=True)
class Kept:
    """A server with a store, and what is in that by the store's own client."""

    url: str
    contents: Callable[[], dict[str, bytes]]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.url)


@contextmanager
def server(directory: Path, store: ObjectStore, secret: str = "") -> Iterator[str]:
    """A server that is told of a store as its unit tells it."""
    credentials, variables = directory / "credentials", {**store.variables, "PYTHONPATH": str(directory / "plugin")}
    for file in plugin_files((ON_HOST / "proxied_stores.py").read_text()):
        path = directory / "plugin" / Path(file.path).relative_to(PLUGIN_DIR)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
    if store.has_credentials:
        credentials.write_text(store.credentials_text(secret))
    if store.file_variable:
        variables[store.file_variable] = str(credentials)
    if store.has_secret_variable:
        name, _, value = credentials.read_text().strip().partition("=")
        variables[name] = value
    with running_mlflow(directory, store.uri, **variables) as url:
        yield url


@contextmanager
def in_s3(directory: Path) -> Iterator[Kept]:
    """Moto lets the server do what the how-to says that it has to be able to, and nothing else."""
    with s3_server(directory) as s3:
        bucket = s3.bucket("artifacts")
        key_id, secret = s3.user(bucket, "mlflow")
        store = ObjectStore(f"s3://{bucket}/mlflow", s3.url, REGION, key_id, has_credentials=True)

        def contents() -> dict[str, bytes]:
            client = s3.client((key_id, secret))
            names = [each["Key"] for each in client.list_objects_v2(Bucket=bucket, Prefix=PREFIX).get("Contents", ())]
            return {name: client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}

        with s3.closed(), server(directory, store, secret) as url:
            yield Kept(url, contents)


@contextmanager
def in_gcs(directory: Path) -> Iterator[Kept]:
    with ExitStack() as stack:
        emulator = stack.enter_context(gcs_emulator(directory, buckets=["artifacts"]))
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("STORAGE_EMULATOR_HOST", emulator)
        client = storage.Client()

        def contents() -> dict[str, bytes]:
            return {blob.name: blob.download_as_bytes() for blob in client.list_blobs("artifacts", prefix=PREFIX)}

        url = stack.enter_context(server(directory, ObjectStore("gs://artifacts/mlflow", emulator)))
        yield Kept(url, contents)


@contextmanager
def in_azure(directory: Path) -> Iterator[Kept]:
    if not program():
        pytest.skip("Azurite is not here: npm install azurite, and name its azurite-blob in the variable AZURITE")
    with azurite(directory) as connection_string:
        artifacts = container(connection_string, "artifacts")
        store = ObjectStore("wasbs://artifacts@account.blob.core.windows.net/mlflow", has_credentials=True)

        def contents() -> dict[str, bytes]:
            names = artifacts.list_blob_names(name_starts_with=PREFIX)
            return {name: bytes(artifacts.download_blob(name).readall()) for name in names}

        with server(directory, store, connection_string) as url:
            yield Kept(url, contents)


@pytest.fixture(scope="module", params=[in_s3, in_gcs, in_azure])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with request.param(tmp_path_factory.mktemp("store")) as found:
        yield found


def without_cloud() -> dict[str, str]:
    """Return an environment in which no client knows a store, as a laptop's."""
    known = ("AWS_", "AZURE_", "GOOGLE_", "MLFLOW_", "STORAGE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(known)}


def test_artifacts_of_a_client_are_in_the_bucket_and_come_back_identical(kept: Kept, tmp_path: Path) -> None:
    sent, content = tmp_path / "Gewichte ä.bin", os.urandom(3_000_000)
    sent.write_bytes(content)
    client = kept.client

    run = client.create_run(client.create_experiment("kept"))
    client.log_artifact(run.info.run_id, str(sent), "modell/ä")
    returned = Path(client.download_artifacts(run.info.run_id, f"modell/ä/{sent.name}", str(tmp_path)))

    path = run.info.artifact_uri.removeprefix("mlflow-artifacts:/").strip("/")
    assert returned.read_bytes() == content
    assert [each.path for each in client.list_artifacts(run.info.run_id, "modell/ä")] == [f"modell/ä/{sent.name}"]
    assert kept.contents() == {f"{PREFIX}{path}/modell/ä/{sent.name}": content}


def test_model_of_a_client_that_knows_no_cloud_is_registered_and_fetched_from_there(kept: Kept, tmp_path: Path) -> None:
    trained = subprocess.run(
        [sys.executable, str(EXAMPLE), "--tracking-uri", kept.url],
        env=without_cloud(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    fetch = (
        f"import mlflow; mlflow.artifacts.download_artifacts('models:/diabetes@champion', dst_path={str(tmp_path)!r})"
    )
    subprocess.run(
        [sys.executable, "-c", fetch], env={**without_cloud(), "MLFLOW_TRACKING_URI": kept.url}, check=True, timeout=300
    )

    assert trained.returncode == 0, trained.stderr
    version = kept.client.get_model_version_by_alias("diabetes", "champion")
    model = f"/{version.source.removeprefix('models:/')}/artifacts/"
    stored = {name.split(model)[1]: content for name, content in kept.contents().items() if model in name}
    # The client writes it itself, to say where the model came from.
    fetched = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "registered_model_meta"]
    assert "MLmodel" in stored
    assert {str(path.relative_to(tmp_path)): path.read_bytes() for path in fetched} == stored


def test_readiness_check_sees_the_store_work_and_leaves_nothing_there(kept: Kept) -> None:
    before = kept.contents()

    done = subprocess.run(
        [sys.executable, "-I", str(ON_HOST / "ready.py"), "tracking", kept.url, "--artifacts"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert kept.contents() == before


def test_server_sends_no_client_to_the_store(kept: Kept) -> None:
    """It says so when it is asked what it can do, and signs no address."""
    info = json.loads(_get(f"{kept.url}/api/3.0/mlflow/server-info"))
    client = kept.client
    run = client.create_run(client.create_experiment("signed"))
    client.log_text(run.info.run_id, "kept", "note.txt")
    path = run.info.artifact_uri.removeprefix("mlflow-artifacts:/").strip("/")

    with pytest.raises(HTTPError) as refused:
        _get(f"{kept.url}/api/2.0/mlflow-artifacts/presigned/{path}/note.txt")

    assert (info["multipart_downloads_enabled"], info["multipart_uploads_enabled"]) == (False, False)
    assert refused.value.code == HTTPStatus.NOT_IMPLEMENTED


def _get(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=60) as answer:
        return bytes(answer.read())
