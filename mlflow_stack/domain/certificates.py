"""Certificates: the commands by which a host gets its own, and what is wrong with one that somebody else made."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import join, quote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtensionOID

from mlflow_stack.domain import layout
from mlflow_stack.domain.listening import is_address

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


def faults(chain: str, key: str, names: Sequence[str], now: datetime.datetime) -> Iterator[str]:
    """Yield what is wrong with a certificate (PEM, with those that lead to its authority behind it) and its key.

    A sentence each, that goes on after the name of a setting; `names` are those by which clients ask for the host.
    """
    try:
        leaf = x509.load_pem_x509_certificates(chain.encode())[0]
    except ValueError:
        yield "expected a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
        return
    if now > leaf.not_valid_after_utc:
        yield f"the certificate has ended on {leaf.not_valid_after_utc:%Y-%m-%d}; get a new one"
    if now < leaf.not_valid_before_utc:
        yield f"the certificate begins on {leaf.not_valid_before_utc:%Y-%m-%d} only; look at the clock of this computer"
    missing = [name for name in names if not _is_for(leaf, name)]
    if missing:
        yield f"the certificate is for {', '.join(_names(leaf)) or 'no name'}, expected {' and '.join(missing)}"
    yield from _key_faults(leaf, key)


def authority_faults(text: str, now: datetime.datetime) -> Iterator[str]:
    """Yield what is wrong with the certificates (PEM) of authorities; as `faults`."""
    try:
        authorities = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        yield "expected the certificates of authorities in PEM, which begin with -----BEGIN CERTIFICATE-----"
        return
    for each in authorities:
        if now > each.not_valid_after_utc:
            name = each.subject.rfc4514_string()
            yield f"the authority {name} has ended on {each.not_valid_after_utc:%Y-%m-%d}; get its new certificate"


def _key_faults(leaf: x509.Certificate, key: str) -> Iterator[str]:
    try:
        private = load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it is encrypted
        yield "the key is no private key in PEM without a passphrase"
        return
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        yield "the key is not that of the certificate"


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return []
    assert isinstance(names, x509.SubjectAlternativeName)
    return [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]


def _is_for(leaf: x509.Certificate, name: str) -> bool:
    """Return whether clients take the certificate for this name: a "*" stands for one part of it (RFC 6125, 6.4.3)."""
    if is_address(name):
        return name in _names(leaf)
    wildcard = f"*.{name.partition('.')[2]}".lower()
    return bool({name.lower(), wildcard} & {each.lower() for each in _names(leaf)})
