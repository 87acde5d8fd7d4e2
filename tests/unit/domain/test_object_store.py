"""Object stores: what their clients are told, what lets a server in, and the command that tries one."""

import json

import pytest

from mlflow_stack.domain.object_store import ObjectStore, check_command

S3 = ObjectStore("s3://bucket/mlflow", access_key_id="AKIA1", has_credentials=True)
GCS = ObjectStore("gs://bucket/mlflow", has_credentials=True)
AZURE = ObjectStore("wasbs://container@account.blob.core.windows.net/mlflow", has_credentials=True)
KEY = json.dumps({"type": "service_account", "private_key": "-----BEGIN PRIVATE KEY-----\nhunter2\n"})


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (S3, {}),
        (GCS, {}),
        (AZURE, {}),
        (ObjectStore("s3://bucket/mlflow", region="eu-central-1"), {"AWS_DEFAULT_REGION": "eu-central-1"}),
        (
            ObjectStore("s3://bucket/mlflow", endpoint="https://minio.example.com", has_ca_file=True),
            {
                "MLFLOW_S3_ENDPOINT_URL": "https://minio.example.com",
                "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path",
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
                "AWS_CA_BUNDLE": "/etc/mlflow/artifacts-ca.crt",
            },
        ),
        (
            ObjectStore("gs://bucket/mlflow", endpoint="http://127.0.0.1:9023"),
            {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9023"},
        ),
    ],
)
def test_clients_are_told_by_variables_and_put_what_is_on_its_way_on_the_disk(
    store: ObjectStore, expected: dict[str, str]
) -> None:
    plugin = {"PYTHONPATH": "/opt/mlflow/libexec/mlflow-plugin"}

    assert store.variables == {**plugin, "TMPDIR": "/var/tmp", **expected}


def test_credentials_are_a_file_of_the_client_s_own_kind() -> None:
    assert S3.credentials_text("wJalr/+=\n") == (
        "[default]\naws_access_key_id = AKIA1\naws_secret_access_key = wJalr/+=\n"
    )
    assert GCS.credentials_text(f"{KEY}\n") == f"{KEY}\n"
    assert AZURE.credentials_text("aHVudGVyMg==") == "AZURE_STORAGE_ACCESS_KEY=aHVudGVyMg==\n"
    assert AZURE.credentials_text("AccountName=a;AccountKey=aHVudGVyMg==") == (
        "AZURE_STORAGE_CONNECTION_STRING=AccountName=a;AccountKey=aHVudGVyMg==\n"
    )


def test_client_is_told_where_its_credentials_are_or_is_given_them() -> None:
    assert [(store.file_variable, store.has_secret_variable) for store in (S3, GCS, AZURE)] == [
        ("AWS_SHARED_CREDENTIALS_FILE", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", False),
        ("", True),
    ]


@pytest.mark.parametrize("store", [S3, GCS, AZURE])
def test_identity_of_the_host_needs_neither(store: ObjectStore) -> None:
    by_identity = ObjectStore(store.uri)

    assert (by_identity.file_variable, by_identity.has_secret_variable) == ("", False)


@pytest.mark.parametrize(
    ("store", "secret", "problem"),
    [
        (S3, "hunter 2", "expected one line without blanks there"),
        (S3, "hunter2\naws_session_token = x", "expected one line without blanks there"),
        (S3, " \n", "expected one line without blanks there"),
        (GCS, "hunter2", 'expected the key of a service account there, JSON with "type": "service_account"'),
        (GCS, "[]", 'expected the key of a service account there, JSON with "type": "service_account"'),
        (
            GCS,
            '{"type": "authorized_user", "refresh_token": "hunter2"}',
            'expected the key of a service account there, JSON with "type": "service_account"',
        ),
        (AZURE, "hunter2!", "expected the key of the storage account there, or a connection string"),
    ],
)
def test_credentials_of_another_kind_are_refused_and_not_shown(store: ObjectStore, secret: str, problem: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        store.credentials_text(secret)

    assert str(refused.value) == problem


def test_store_is_tried_as_the_server_s_user_with_its_client_and_variables() -> None:
    store = ObjectStore("s3://bucket/mlflow", region="eu-central-1")

    assert check_command(store, "/opt/mlflow/envs/mlflow-new", read_only=True) == (
        "timeout -k 30 120 runuser -u mlflow -- env -C / PYTHONPATH=/opt/mlflow/libexec/mlflow-plugin TMPDIR=/var/tmp "
        "AWS_DEFAULT_REGION=eu-central-1 "
        "/opt/mlflow/envs/mlflow-new/bin/python -I -W ignore /opt/mlflow/libexec/object_store.py s3://bucket/mlflow "
        "--read-only || { code=$?; [ $code != 124 ] || echo 'no end after 120 s, so it was stopped; look at network "
        "and disks there, then deploy again' >&2; exit $code; }"
    )
    assert "--read-only" not in check_command(store, "/opt/mlflow/envs/mlflow-new")
