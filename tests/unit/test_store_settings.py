"""Where artifacts are kept, as settings: what is taken, what follows, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_stack.domain.object_store import ObjectStore
from tests.unit.defaults import entry, settings
from tests.unit.refusals import one_problem, refusal

S3, GCS = "s3://bucket/mlflow", "gs://bucket/mlflow"
AZURE = "wasbs://container@account.blob.core.windows.net/mlflow"
EXPECTED = (
    "expected a directory of its own, as /var/lib/mlflow/artifacts or /srv/mlflow-artifacts, or a prefix in an object "
    "store: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PREFIX"
)


def test_artifacts_are_in_a_directory_of_the_tracking_host_out_of_the_box() -> None:
    found = settings()

    assert (found.object_store, found.addons) == (None, ())
    assert found.artifact_directory == found.own_artifact_directory == "/var/lib/mlflow/artifacts"
    assert not found.tracking_needs_network


def test_shared_directory_is_not_ours() -> None:
    found = settings(tracking_artifacts_destination="/srv/mlflow-artifacts", tracking_artifacts_shared=True)

    assert (found.artifact_directory, found.own_artifact_directory) == ("/srv/mlflow-artifacts", "")


@pytest.mark.parametrize(("uri", "addon"), [(S3, "s3"), (GCS, "gcs"), (AZURE, "azure")])
def test_object_store_brings_its_client_and_the_network(uri: str, addon: str) -> None:
    found = settings(tracking_artifacts_destination=uri)

    assert (found.object_store, found.addons) == (ObjectStore(uri), (addon,))
    assert found.artifact_directory == found.own_artifact_directory == ""
    assert found.tracking_needs_network


def test_hosts_without_a_tracking_server_need_no_client_of_the_object_store() -> None:
    assert settings(("postgresql",), tracking_artifacts_destination=S3).addons == ()


def test_all_that_is_said_of_an_object_store_is_known_of_it() -> None:
    found = settings(
        tracking_artifacts_destination=S3,
        tracking_artifacts_endpoint="https://minio.example.com:9000",
        tracking_artifacts_region="eu-central-1",
        tracking_artifacts_access_key_id="AKIA1",
        tracking_artifacts_credentials="env:KEY",
        tracking_artifacts_ca_file="minio.pem",
    )

    assert found.object_store == ObjectStore(
        uri=S3,
        endpoint="https://minio.example.com:9000",
        region="eu-central-1",
        access_key_id="AKIA1",
        has_credentials=True,
        has_ca_file=True,
    )


@pytest.mark.parametrize(
    "destination",
    [
        *("/srv/../etc", "/srv", "/home/ada", "/var/lib", "/var/lib/mlflow", "/etc/artifacts", "artifacts"),
        *("s3://bucket", "s3://bucket/", "s3://bucket/mlflow/", "s3://bucket/../other", "s3://Bucket/mlflow"),
        *("s3://bucket/a b", "s3://bucket//mlflow", "S3://bucket/mlflow", "s3:/bucket/mlflow", "s3://b/${HOME}"),
        *("gs://bucket", "wasbs://account.blob.core.windows.net/mlflow", "wasbs://container@account/mlflow"),
        *("wasbs://container@account.blob.core.windows.net", "abfss://c@a.dfs.core.windows.net/mlflow", ""),
    ],
)
def test_destination_that_is_none_is_refused(destination: str) -> None:
    assert refusal(entry(tracking_artifacts_destination=destination)) == one_problem(
        f"tracking_artifacts_destination: {EXPECTED}; found {destination!r}"
    )


def test_login_in_a_destination_is_refused_and_not_shown() -> None:
    message = refusal(entry(tracking_artifacts_destination="s3://AKIA1:hunter2@bucket/mlflow"))

    assert message == one_problem(f"tracking_artifacts_destination: {EXPECTED}; found 's3://AKIA1:***@bucket/mlflow'")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(
            {"tracking_artifacts_region": "eu-central-1"},
            "tracking_artifacts_region is for a store that begins with s3://; tracking_artifacts_destination is "
            "'/var/lib/mlflow/artifacts'",
            id="region-of-a-directory",
        ),
        pytest.param(
            {"tracking_artifacts_destination": GCS, "tracking_artifacts_region": "europe-west3"},
            "tracking_artifacts_region is for a store that begins with s3://; tracking_artifacts_destination is "
            "'gs://bucket/mlflow'",
            id="region-at-google",
        ),
        pytest.param(
            {"tracking_artifacts_destination": AZURE, "tracking_artifacts_endpoint": "https://minio.example.com"},
            "tracking_artifacts_endpoint is for a store that begins with s3:// or gs://; "
            f"tracking_artifacts_destination is '{AZURE}'",
            id="endpoint-at-azure",
        ),
        pytest.param(
            {"tracking_artifacts_credentials": "env:KEY"},
            "tracking_artifacts_credentials is for a store that begins with s3:// or gs:// or wasbs://; "
            "tracking_artifacts_destination is '/var/lib/mlflow/artifacts'",
            id="credentials-for-a-directory",
        ),
        pytest.param(
            {"tracking_artifacts_destination": S3, "tracking_artifacts_shared": True},
            "tracking_artifacts_shared is for a directory; tracking_artifacts_destination is 's3://bucket/mlflow', "
            "which all tracking servers share in any case: set it to False",
            id="shared-bucket",
        ),
        pytest.param(
            {"tracking_artifacts_destination": S3, "tracking_artifacts_access_key_id": "AKIA1"},
            "tracking_artifacts_access_key_id and tracking_artifacts_credentials belong together; set both, or none "
            "where the host has an identity that the store lets in",
            id="key-id-without-its-secret",
        ),
        pytest.param(
            {"tracking_artifacts_destination": S3, "tracking_artifacts_credentials": "env:KEY"},
            "tracking_artifacts_access_key_id and tracking_artifacts_credentials belong together; set both, or none "
            "where the host has an identity that the store lets in",
            id="secret-without-its-key-id",
        ),
        pytest.param(
            {"tracking_artifacts_destination": S3, "tracking_artifacts_ca_file": "ca.pem"},
            "tracking_artifacts_ca_file is for a tracking_artifacts_endpoint with https://; it is '', and Amazon's own "
            "is trusted everywhere",
            id="authority-without-an-endpoint",
        ),
        pytest.param(
            {"tracking_artifacts_destination": S3, "tracking_artifacts_endpoint": "minio.example.com:9000"},
            "tracking_artifacts_endpoint: expected an address as https://minio.example.com:9000, without a path; found "
            "'minio.example.com:9000'",
            id="endpoint-without-a-scheme",
        ),
        pytest.param(
            {"tracking_artifacts_destination": S3, "tracking_artifacts_region": "Frankfurt"},
            "tracking_artifacts_region: expected the name of a region, as eu-central-1; found 'Frankfurt'",
            id="city-for-a-region",
        ),
        pytest.param(
            {"tracking_artifacts_destination": S3, "tracking_artifacts_access_key_id": "a b"},
            "tracking_artifacts_access_key_id: expected the id of a key: letters, digits and . _ -; found 'a b'",
            id="key-id-with-a-blank",
        ),
        pytest.param(
            {"tracking_artifacts_moved_from": "/var/lib/mlflow/artifacts"},
            "tracking_artifacts_moved_from names where the artifacts were before; tracking_artifacts_destination is "
            "'/var/lib/mlflow/artifacts' as well: leave it empty",
            id="moved-from-where-they-are",
        ),
    ],
)
def test_setting_that_does_not_fit_the_store_is_refused(data: dict[str, Any], problem: str) -> None:
    assert refusal(entry(**data)) == one_problem(problem)


@pytest.mark.parametrize("credentials", ["hunter2", "generated"])
def test_credentials_can_only_be_referred_to_and_are_not_shown(credentials: str) -> None:
    data = {"tracking_artifacts_destination": S3, "tracking_artifacts_credentials": credentials}

    assert refusal(entry(**data, tracking_artifacts_access_key_id="AKIA1")) == one_problem(
        'tracking_artifacts_credentials: expected a reference: "env:NAME", "file:PATH" or "cmd:COMMAND"'
    )
