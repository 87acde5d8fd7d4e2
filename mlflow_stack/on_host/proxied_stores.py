"""A plugin of the tracking server's MLflow: object stores that are reached through the server alone.

MLflow's own repositories also sign addresses by which clients go to the store themselves, and a client does so whenever
the server's repository can (3.17.2: it fetches from S3 that way, and sends what has 500 MB and more to each of them).
Then every client has to reach the store. No setting forbids it (mlflow/server/handlers.py, build_server_info_payload),
so here is a repository that can do what MLflow asks of all of them, and no more.
"""

from typing import Any

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.azure_blob_artifact_repo import AzureBlobArtifactRepository
from mlflow.store.artifact.gcs_artifact_repo import GCSArtifactRepository
from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository


class Proxied(ArtifactRepository):
    """What one of MLflow's repositories does, and nothing that goes past the server."""

    kind: type[ArtifactRepository]

    def __init__(self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        self.own: Any = self.kind(artifact_uri, tracking_uri=tracking_uri, registry_uri=registry_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        self.own.log_artifact(local_file, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        self.own.log_artifacts(local_dir, artifact_path)

    def list_artifacts(self, path: str | None = None) -> list[Any]:
        return list(self.own.list_artifacts(path))

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        self.own.delete_artifacts(artifact_path)

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        self.own._download_file(remote_file_path, local_path)


class S3(Proxied):
    kind = S3ArtifactRepository


class GoogleCloudStorage(Proxied):
    kind = GCSArtifactRepository


class AzureBlobStorage(Proxied):
    kind = AzureBlobArtifactRepository
