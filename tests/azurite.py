"""Azurite, Microsoft's emulator of Azure Blob Storage, where it is at hand: it needs Node.js, which CI has not."""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azure.storage.blob import BlobServiceClient, ContainerClient

from tests.object_stores import free_port, running

ACCOUNT = "account"


def program() -> str:
    """Return the path of azurite-blob; "" where nobody has named it."""
    return os.environ.get("AZURITE", "")


@contextmanager
def azurite(directory: Path) -> Iterator[str]:
    """Run it at a free port of loopback; yields the connection string of an account."""
    port, key = free_port("127.0.0.1"), b64encode(secrets.token_bytes(64)).decode()
    # It would tell its makers about itself.
    options = ["--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence", "--silent"]
    command = [program(), *options, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with running(command, directory / "azurite.log", ("127.0.0.1", port), AZURITE_ACCOUNTS=f"{ACCOUNT}:{key}"):
        endpoint = f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT}"
        yield f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};{endpoint}"


def container(connection_string: str, name: str, public_access: str | None = None) -> ContainerClient:
    """Make a container, which everybody reads with a `public_access` of "blob"."""
    service = BlobServiceClient.from_connection_string(connection_string)
    return service.create_container(name, public_access=public_access)
