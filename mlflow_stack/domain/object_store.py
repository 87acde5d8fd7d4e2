"""Object stores for artifacts: what the tracking server is told of one, what lets it in, and how one is tried."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from shlex import quote

from mlflow_stack.domain import layout
from mlflow_stack.domain.bounds import within
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.on_host import s3_compatible

CREDENTIALS_FILE = f"{layout.CREDENTIALS_DIR}/artifacts"
CA_FILE = f"{layout.CONFIG_DIR}/artifacts-ca.crt"
PROGRAM = f"{layout.LIBEXEC_DIR}/object_store.py"
# A directory of its own on the server's path, since what is beside it there may not have the name of a module.
PLUGIN_DIR = f"{layout.LIBEXEC_DIR}/mlflow-plugin"
PLUGIN = "proxied_stores"
CHECK_TIMEOUT_S = 120

# The variable that tells a client where its credentials are. Azure's wants them themselves.
_FILE_VARIABLES = {"s3": "AWS_SHARED_CREDENTIALS_FILE", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}


@dataclass(frozen=True)
class ObjectStore:
    """A prefix in an object store, and how the tracking server gets in there; nothing here is secret.

    `endpoint` and `region` are "" for what the client finds by itself. Without credentials it is the host's identity
    that counts.
    """

    uri: str
    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    has_credentials: bool = False
    has_ca_file: bool = False

    @property
    def scheme(self) -> str:
        return self.uri.partition("://")[0]

    @property
    def variables(self) -> dict[str, str]:
        """What the clients of the store read from the environment."""
        # What is on its way lies in TMPDIR as a whole, and /tmp may be memory.
        found = {"PYTHONPATH": PLUGIN_DIR, "TMPDIR": "/var/tmp"}  # noqa: S108  # the unit has one of its own
        if self.scheme == "gs" and self.endpoint:
            found["STORAGE_EMULATOR_HOST"] = self.endpoint
        if self.scheme == "s3" and self.endpoint:
            found |= {"MLFLOW_S3_ENDPOINT_URL": self.endpoint, **s3_compatible.VARIABLES}
        if self.region:
            found["AWS_DEFAULT_REGION"] = self.region
        if self.has_ca_file:
            found["AWS_CA_BUNDLE"] = CA_FILE
        return found

    @property
    def file_variable(self) -> str:
        """The variable that names the file of the credentials; "" for a client that wants them themselves, or none."""
        return _FILE_VARIABLES.get(self.scheme, "") if self.has_credentials else ""

    @property
    def has_secret_variable(self) -> bool:
        """True where the credentials have to be in the server's environment (on_host/supervise.py)."""
        return self.has_credentials and not self.file_variable

    def credentials_text(self, secret: str) -> str:
        """Return the credentials as the store's client reads them; ValueError when they can't be that.

        The message never holds the secret, and says what is expected.
        """
        secret = secret.strip()
        if self.scheme == "gs":
            return _service_account(secret) + "\n"
        if len(secret.split()) != 1:
            raise ValueError("expected one line without blanks there")
        if self.scheme == "s3":
            return f"[default]\naws_access_key_id = {self.access_key_id}\naws_secret_access_key = {secret}\n"
        return _azure_variable(secret)


def _azure_variable(secret: str) -> str:
    if "AccountName=" in secret or "BlobEndpoint=" in secret:
        return f"AZURE_STORAGE_CONNECTION_STRING={secret}\n"
    try:
        base64.b64decode(secret, validate=True)
    except ValueError:
        raise ValueError("expected the key of the storage account there, or a connection string") from None
    return f"AZURE_STORAGE_ACCESS_KEY={secret}\n"


def _service_account(text: str) -> str:
    try:
        kind = json.loads(text)["type"]
    except (ValueError, TypeError, KeyError):
        kind = None
    if kind != "service_account":
        raise ValueError('expected the key of a service account there, JSON with "type": "service_account"')
    return text


def plugin_files(program: str) -> list[ManagedFile]:
    """Return the plugin that keeps clients away from the store (on_host/proxied_stores.py), as Python finds plugins.

    See "Entry points" and "Recording installed projects" of the Python Packaging User Guide.
    """
    about = f"{PLUGIN_DIR}/{PLUGIN}-1.dist-info"
    classes = {"s3": "S3", "gs": "GoogleCloudStorage", "wasbs": "AzureBlobStorage"}
    points = "".join(f"{scheme} = {PLUGIN}:{name}\n" for scheme, name in classes.items())
    return [
        ManagedFile(f"{PLUGIN_DIR}/{PLUGIN}.py", program, own_directory=True),
        ManagedFile(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {PLUGIN}\nVersion: 1\n", own_directory=True),
        ManagedFile(f"{about}/entry_points.txt", f"[mlflow.artifact_repository]\n{points}", own_directory=True),
    ]


def check_command(store: ObjectStore, environment: str, *, read_only: bool = False) -> str:
    """Return a command that tries the store as the tracking server's user, with the client of an MLflow environment.

    It reads authorities and credentials on its standard input (on_host/object_store.py), says what is wrong on standard
    error, a sentence each, and exits with 1 then.
    """
    variables = " ".join(f"{name}={quote(value)}" for name, value in store.variables.items())
    # The clients warn of old versions of Python.
    python = f"{quote(environment)}/bin/python -I -W ignore"
    option = " --read-only" if read_only else ""
    user = f"runuser -u {layout.TRACKING_USER} -- env -C / {variables}"
    return within(CHECK_TIMEOUT_S, f"{user} {python} {PROGRAM} {quote(store.uri)}{option}")
