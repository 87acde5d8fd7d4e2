"""The settings of the artifact store, typed: a directory, or an object store and what lets the tracking server in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from mlflow_stack.role_settings import RoleSettings
from mlflow_stack.setting_types import ABSOLUTE_PATH, matches, outside_reference

# Below these nothing is ours to give to the tracking server, or its unit could not reach it (ProtectHome, PrivateTmp).
_TAKEN = (
    *(
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/opt/mlflow",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
        "/usr",
    ),
    *("/tmp", "/var/tmp", "/var/log", "/var/backups"),  # noqa: S108  # to refuse them
    *("/var/lib/mlflow-models", "/var/lib/mlflow-stack"),
)


def artifact_store(value: str) -> str:
    """Validate where artifacts are kept: a directory of the host, or an object store.

    In a bucket it has to be a prefix: MLflow lists nothing at the top of a bucket of Google's or Azure's (3.17.2).
    """
    if not (any(re.fullmatch(pattern, value) for pattern in _OBJECT_STORES) or _is_own_directory(value)):
        raise ValueError(
            "expected a directory of its own, as /var/lib/mlflow/artifacts or /srv/mlflow-artifacts, or a prefix in an "
            "object store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
            "wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PREFIX"
        )
    return value


def former_artifact_store(value: str) -> str:
    return value and artifact_store(value)


_PREFIX = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._=-]+)+"
_BUCKET = r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]"
# As MLflow reads them (mlflow/store/artifact/azure_blob_artifact_repo.py).
_CONTAINER = r"[a-z0-9-]{3,63}@[a-z0-9]{3,24}\.blob\.core\.(windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)"
_OBJECT_STORES = (f"s3://{_BUCKET}{_PREFIX}", f"gs://{_BUCKET}{_PREFIX}", f"wasbs://{_CONTAINER}{_PREFIX}")


def _is_own_directory(value: str) -> bool:
    path = Path(value)
    above = [Path("/var/lib/mlflow"), *Path("/var/lib/mlflow").parents]
    taken = any(path.is_relative_to(each) for each in _TAKEN)
    return bool(re.fullmatch(ABSOLUTE_PATH, value)) and path not in above and not taken


# By a setting, the schemes of the stores that it is for.
FITTING = {
    "endpoint": ("s3", "gs"),
    "region": ("s3",),
    "access_key_id": ("s3",),
    "ca_file": ("s3",),
    "credentials": ("s3", "gs", "wasbs"),
}


class TrackingArtifactsSettings(RoleSettings):
    destination: Annotated[str, AfterValidator(artifact_store)]
    shared: bool
    endpoint: Annotated[
        str,
        matches(
            r"(https?://[A-Za-z0-9.-]+(:[0-9]+)?)?", "an address as https://minio.example.com:9000, without a path"
        ),
    ]
    region: Annotated[str, matches(r"([a-z0-9]+(-[a-z0-9]+)*)?", "the name of a region, as eu-central-1")]
    access_key_id: Annotated[str, matches(r"[A-Za-z0-9._-]*", "the id of a key: letters, digits and . _ -")]
    credentials: Annotated[str, AfterValidator(outside_reference)]
    ca_file: str
    moved_from: Annotated[str, AfterValidator(former_artifact_store)]

    @property
    def scheme(self) -> str:
        """What kind of object store it is ("s3", "gs" or "wasbs"); "" for a directory."""
        return self.destination.partition("://")[0] if "://" in self.destination else ""

    @model_validator(mode="after")
    def _settings_fit_the_store(self) -> TrackingArtifactsSettings:
        found = f"tracking_artifacts_destination is {self.destination!r}"
        for name, schemes in FITTING.items():
            if getattr(self, name) and self.scheme not in schemes:
                stores = " or ".join(f"{scheme}://" for scheme in schemes)
                raise ValueError(f"tracking_artifacts_{name} is for a store that begins with {stores}; {found}")
        if self.shared and self.scheme:
            raise ValueError(
                f"tracking_artifacts_shared is for a directory; {found}, which all tracking servers share in any case: "
                "set it to False"
            )
        if self.moved_from == self.destination:
            raise ValueError(
                f"tracking_artifacts_moved_from names where the artifacts were before; {found} as well: leave it empty"
            )
        return self

    @model_validator(mode="after")
    def _login_is_whole(self) -> TrackingArtifactsSettings:
        if self.scheme == "s3" and bool(self.access_key_id) != bool(self.credentials):
            raise ValueError(
                "tracking_artifacts_access_key_id and tracking_artifacts_credentials belong together; set both, or "
                "none where the host has an identity that the store lets in"
            )
        if self.ca_file and not self.endpoint.startswith("https:"):
            raise ValueError(
                "tracking_artifacts_ca_file is for a tracking_artifacts_endpoint with https://; it is "
                f"{self.endpoint!r}, and Amazon's own is trusted everywhere"
            )
        return self
