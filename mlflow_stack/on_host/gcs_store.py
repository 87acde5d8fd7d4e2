"""A bucket of Google Cloud Storage, as MLflow reaches it: for object_store.py."""

import json
import os
from contextlib import suppress
from urllib.parse import urlsplit

from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, Unauthorized
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.cloud import storage
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import RequestException, SSLError

NO_CREDENTIALS = (DefaultCredentialsError,)
EVERYBODY = {"allUsers", "allAuthenticatedUsers"}
ONCE = {"timeout": (10, 20), "retry": None}


class Store:
    errors = (GoogleAPICallError, GoogleAuthError, RequestException)
    rights = {  # noqa: RUF012
        "list": "storage.objects.list",
        "write": "storage.objects.create",
        "read": "storage.objects.get",
        "delete": "storage.objects.delete",
    }
    closing = "enforce the prevention of public access"
    way = "endpoint"

    def __init__(self, uri: str, credentials: str, _authorities: str) -> None:
        name, self.prefix = urlsplit(uri).netloc, f"{urlsplit(uri).path.strip('/')}/"
        self.bucket = f"bucket {name}"
        key = json.loads(credentials) if credentials else None
        self.has_key = bool(key)
        client = storage.Client.from_service_account_info(key) if key else storage.Client()
        self.objects = client.bucket(name)
        # An emulator that asks nobody for a login lets everybody in.
        is_closed = bool(key) or "STORAGE_EMULATOR_HOST" not in os.environ
        self.everybody = storage.Client.create_anonymous_client().bucket(name) if is_closed else None

    def names(self, prefix: str) -> list[str]:
        return [blob.name for blob in self.objects.list_blobs(prefix=prefix, max_results=10, **ONCE)]

    def write(self, name: str, content: bytes) -> None:
        self.objects.blob(name).upload_from_string(content, **ONCE)

    def read(self, name: str) -> bytes:
        return bytes(self.objects.blob(name).download_as_bytes(**ONCE))

    def delete(self, name: str) -> None:
        self.objects.blob(name).delete(**ONCE)

    def is_open(self, name: str) -> bool:
        """Return whether an object is there for who has no login."""
        with suppress(*self.errors):
            return self.everybody is not None and bool(self.everybody.blob(name).exists(**ONCE))
        return False

    def region(self) -> str:
        return ""  # the client needs none

    def opened_by(self) -> str:
        """Return what opens the bucket to everybody; "" when nothing does, or when the server may not ask."""
        with suppress(*self.errors):
            policy = self.objects.get_iam_policy(requested_policy_version=3, **ONCE)
            if any(EVERYBODY & set(binding["members"]) for binding in policy.bindings) and not self._is_guarded():
                return "its policy"
        return ""

    def _is_guarded(self) -> bool:
        """Return whether public access is prevented, whatever the policy says; False when the server may not ask."""
        with suppress(*self.errors):
            self.objects.reload(**ONCE)
            return bool(self.objects.iam_configuration.public_access_prevention == "enforced")
        return False

    def meaning(self, error: Exception) -> str:
        if isinstance(error, NO_CREDENTIALS):
            return "no credentials"
        if isinstance(error, RefreshError):  # for a key that was deleted, has expired or never was; or no identity
            return "unknown" if self.has_key else "no credentials"
        if isinstance(error, SSLError):
            return "certificate"
        if isinstance(error, NoConnection | TransportError):
            return "unreachable"
        kinds = {NotFound: "absent", Unauthorized: "unknown", Forbidden: "forbidden"}
        return next((meaning for kind, meaning in kinds.items() if isinstance(error, kind)), "")
