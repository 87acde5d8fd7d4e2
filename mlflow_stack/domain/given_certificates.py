"""What is wrong with a certificate that somebody else made."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtensionOID

from mlflow_stack.domain.listening import is_address


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
    """Yield what is wrong with the certificates (PEM) of authorities; as `faults`.

    A provider's file may still hold one that has ended, beside those that follow it.
    """
    try:
        authorities = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        yield "expected the certificates of authorities in PEM, which begin with -----BEGIN CERTIFICATE-----"
        return
    if any(now <= each.not_valid_after_utc for each in authorities):
        return
    for each in authorities:
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
