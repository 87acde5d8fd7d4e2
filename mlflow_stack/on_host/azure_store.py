"""A container of Azure Blob Storage, as MLflow reaches it: for object_store.py."""

from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError, ServiceResponseError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential
from azure.storage.blob import BlobServiceClient, ContainerClient

NO_CREDENTIALS = (CredentialUnavailableError,)
LIMITS: dict[str, Any] = {"connection_timeout": 10, "read_timeout": 20, "retry_total": 0}
# Microsoft's words (Blob Storage, "Blob Storage error codes").
MEANING = {
    "ContainerNotFound": "absent",
    "AuthenticationFailed": "unknown",
    "InvalidAuthenticationInfo": "unknown",
    **dict.fromkeys(("AuthorizationFailure", "AuthorizationPermissionMismatch"), "forbidden"),
}
# In the detail of AuthenticationFailed, for a shared access signature whose time is over, or has yet to come.
EXPIRED = "not valid in the specified time frame"


class Store:
    errors = (AzureError,)
    rights = dict.fromkeys(("list", "write", "read", "delete"), "the role Storage Blob Data Contributor")
    closing = "disallow anonymous access in the storage account"
    way = "destination"  # has the account, whose name is that of its server

    def __init__(self, uri: str, credentials: str, _authorities: str) -> None:
        parts = urlsplit(uri)
        name, _, host = parts.netloc.partition("@")
        self.bucket, self.prefix = f"container {name}", f"{parts.path.strip('/')}/"
        variable, _, secret = credentials.partition("=")
        if variable == "AZURE_STORAGE_CONNECTION_STRING":
            service = BlobServiceClient.from_connection_string(secret, **LIMITS)
        else:
            service = BlobServiceClient(f"https://{host}", credential=secret or DefaultAzureCredential(), **LIMITS)
        self.objects = service.get_container_client(name)
        self.everybody = ContainerClient.from_container_url(self.objects.url.partition("?")[0], **LIMITS)

    def names(self, prefix: str) -> list[str]:
        page = next(self.objects.list_blobs(name_starts_with=prefix, results_per_page=10).by_page(), ())
        return [blob.name for blob in page]

    def write(self, name: str, content: bytes) -> None:
        self.objects.upload_blob(name, content)

    def read(self, name: str) -> bytes:
        return bytes(self.objects.download_blob(name).readall())

    def delete(self, name: str) -> None:
        self.objects.delete_blob(name)

    def is_open(self, name: str) -> bool:
        """Return whether a blob is there for who has no login."""
        with suppress(*self.errors):
            return bool(self.everybody.get_blob_client(name).exists())
        return False

    def region(self) -> str:
        return ""  # the client needs none

    def opened_by(self) -> str:
        """Return what opens the container to everybody; "" when nothing does, or when the server may not ask."""
        with suppress(*self.errors):
            level = self.objects.get_container_properties().public_access
            return f"its access level {level!r}" if level else ""
        return ""

    def meaning(self, error: Exception) -> str:
        if EXPIRED in str(error):
            return "expired"
        if code := getattr(error, "error_code", None):  # that of an answer
            return MEANING.get(str(getattr(code, "value", code)), "")
        if isinstance(error, ClientAuthenticationError):  # of the client's own: a key that is none, or nobody to ask
            return "no credentials"
        return "unreachable" if isinstance(error, ServiceRequestError | ServiceResponseError) else ""
