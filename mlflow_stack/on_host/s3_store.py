"""A bucket of Amazon S3, or of a server that speaks the same, as MLflow reaches it: for object_store.py."""

import os
from configparser import ConfigParser
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import Boto3Error
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnection

NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
# Amazon's words (Amazon S3 API Reference, "Error responses"); an answer without a body has its status alone.
MEANING = {
    "NoSuchBucket": "absent",
    "404": "absent",
    **dict.fromkeys(("PermanentRedirect", "AuthorizationHeaderMalformed", "301"), "elsewhere"),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"), "expired"),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"), "unknown"),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "403"), "forbidden"),
}
EVERYBODY = ("/global/AllUsers", "/global/AuthenticatedUsers")


def client(authorities: str, signature: object, **login: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"),
        verify=authorities or None,
        config=Config(
            signature_version=signature,
            s3={"addressing_style": os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")},
            connect_timeout=10,
            read_timeout=20,
            retries={"total_max_attempts": 2},
        ),
        **login,
    )


class Store:
    errors = (ClientError, BotoCoreError, Boto3Error)
    rights = {"list": "s3:ListBucket", "write": "s3:PutObject", "read": "s3:GetObject", "delete": "s3:DeleteObject"}  # noqa: RUF012
    closing = "block its public access"

    def __init__(self, uri: str, credentials: str, authorities: str) -> None:
        self.name, self.prefix = urlsplit(uri).netloc, f"{urlsplit(uri).path.strip('/')}/"
        self.bucket = f"bucket {self.name}"
        # Amazon has a name for each region.
        self.way = "endpoint" if "MLFLOW_S3_ENDPOINT_URL" in os.environ else "region"
        keys = ConfigParser(interpolation=None)
        keys.read_string(credentials)
        self.client = client(authorities, "s3v4", **(keys["default"] if credentials else {}))
        self.everybody = client(authorities, UNSIGNED)

    def names(self, prefix: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, MaxKeys=10)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def write(self, name: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=name, Body=content)

    def read(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.name, Key=name)["Body"].read())

    def delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=name)

    def is_open(self, name: str) -> bool:
        """Return whether an object is there for who has no login."""
        with suppress(*self.errors):
            self.everybody.head_object(Bucket=self.name, Key=name)
            return True
        return False

    def region(self) -> str:
        """Return where the bucket is, which Amazon tells whoever asks; "" where a server does not."""
        try:
            answer = self.client.head_bucket(Bucket=self.name)
        except self.errors as error:
            answer = getattr(error, "response", {})
        return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region", ""))

    def opened_by(self) -> str:
        """Return what opens the bucket to everybody; "" when nothing does, or when the server may not ask."""
        block = self._ask("get_public_access_block", "PublicAccessBlockConfiguration")
        if block and all(block.values()):
            return ""
        if (self._ask("get_bucket_policy_status", "PolicyStatus") or {}).get("IsPublic"):
            return "its policy"
        grants = self._ask("get_bucket_acl", "Grants") or []
        return "its ACL" if any(grant["Grantee"].get("URI", "").endswith(EVERYBODY) for grant in grants) else ""

    def _ask(self, method: str, field: str) -> Any:
        with suppress(*self.errors):
            return getattr(self.client, method)(Bucket=self.name).get(field)
        return None

    def meaning(self, error: Exception) -> str:
        if isinstance(error, NO_CREDENTIALS):
            return "no credentials"
        if isinstance(error, (NoConnection, HTTPClientError)):
            return "certificate" if isinstance(error, SSLError) else "unreachable"
        return MEANING.get(getattr(error, "response", {}).get("Error", {}).get("Code", ""), "")
