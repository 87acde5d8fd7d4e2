"""How a host reaches the tracking server that its models come from, and how it is let in there."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import join, quote

from mlflow_stack.domain import layout

# Who the hosts of models are to the proxy of their own stack's tracking server.
MODELS_USER = "mlflow-production"
# The reference to their password, and where it is kept below .secrets/.
MODELS_PASSWORD = ("generated", MODELS_USER)
PASSWORD_FILE = f"{layout.CREDENTIALS_DIR}/tracking-password"
# Authorities that the host trusts for its tracking server alone; who downloads models has to read it.
CA_FILE = f"{layout.MODELS_DIR}/tracking-ca.crt"
# Debian's and Ubuntu's, kept by update-ca-certificates(8). MLflow's client would take those that came with certifi,
# where an organisation's own are missing.
SYSTEM_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class TrackingServer:
    """Its address, as this host reaches it.

    `user` logs in there with the password in PASSWORD_FILE, "" for nobody. `ca_file`: whom its certificate has to be
    from; "" without TLS.
    """

    uri: str
    user: str = ""
    ca_file: str = ""

    @property
    def arguments(self) -> str:
        """What on_host/models.py needs to know of it, beside the address."""
        login = ["--user", self.user, "--password-file", PASSWORD_FILE] if self.user else []
        return join([*login, *(["--ca-file", self.ca_file] if self.ca_file else [])])

    @property
    def variables(self) -> str:
        """What tells MLflow's client of it, for env(1); the login is on_host/with_login.py's."""
        ca_file = f" MLFLOW_TRACKING_SERVER_CERT_PATH={quote(self.ca_file)}" if self.ca_file else ""
        return f"MLFLOW_TRACKING_URI={quote(self.uri)}{ca_file}"
