"""Certificates: the commands by which a host gets its own."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import join, quote

from mlflow_stack.domain import layout

PROGRAM = f"{layout.LIBEXEC_DIR}/certificate.sh"
ACME_PROGRAM = f"{layout.LIBEXEC_DIR}/acme-certificate.sh"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True)
class HostCertificate:
    """A certificate that a host makes for itself, by an authority of its own.

    The keys are in `directory`, which is `owner`'s, and so are they; `authority` is the path of what clients trust.
    `names`: those by which clients ask for the host.
    """

    directory: str
    authority: str
    names: tuple[str, ...]
    owner: str = "root"

    @property
    def pem(self) -> str:
        """The path of the key and the certificate."""
        return f"{self.directory}/server.pem"

    def arguments(self, action: str) -> str:
        """Return the program that checks the certificate or ensures it, with its arguments (on_host/certificate.sh)."""
        return join([PROGRAM, action, self.directory, self.authority, *self.names])

    def command(self, action: str) -> str:
        """Return a command for root."""
        as_owner = "" if self.owner == "root" else f"runuser -u {self.owner} -- "
        return f"{as_owner}sh {self.arguments(action)}"

    @property
    def is_impossible(self) -> str:
        """A shell condition: the host has no such program yet, or no such owner."""
        unknown = "" if self.owner == "root" else f" || ! id -u {self.owner} > /dev/null 2>&1"
        return f"[ ! -e {quote(PROGRAM)} ]{unknown}"


@dataclass(frozen=True)
class AcmeCertificate:
    """The certificate of the proxy for one name, from the ACME server (RFC 8555) whose directory is at `server`.

    `email`: whom its operator may write to, told with the account; "" for nobody.
    """

    name: str
    server: str = LETS_ENCRYPT
    email: str = ""

    def command(self, action: str) -> str:
        """Return a command for root that checks the certificate or ensures it (on_host/acme-certificate.sh)."""
        places = (layout.PROXY_TLS_DIR, layout.ACME_ACCOUNTS_DIR, layout.ACME_STATE_DIR)
        contact = (self.email,) if self.email else ()
        return f"sh {join([ACME_PROGRAM, action, *places, self.server, self.name, *contact])}"

    @property
    def is_impossible(self) -> str:
        """A shell condition: the host has no such program yet."""
        return f"[ ! -e {ACME_PROGRAM} ]"
