"""What is wrong with a certificate that somebody else made."""

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from mlflow_stack.domain.given_certificates import authority_faults, faults

NOW = datetime(2026, 6, 1, tzinfo=timezone.utc)
KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))


def certificate(*names: str, begins: int = -10, ends: int = 80) -> str:
    """Return one in PEM, for these names, that begins and ends so many days from NOW."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ignored.example.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW + timedelta(days=begins))
        .not_valid_after(NOW + timedelta(days=ends))
    )
    if names:
        general = [x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def pem(key: ec.EllipticCurvePrivateKey = KEY, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("mlflow.example.com",), "mlflow.example.com"),
        (("other.example.com", "MLflow.example.com"), "mlflow.example.com"),
        (("*.example.com",), "mlflow.example.com"),
        (("10.0.0.3",), "10.0.0.3"),
    ],
)
def test_certificate_for_the_name_with_its_key_is_well(names: tuple[str, ...], wanted: str) -> None:
    assert list(faults(certificate(*names), pem(), [wanted], NOW)) == []


@pytest.mark.parametrize(
    ("names", "wanted", "fault"),
    [
        (("a.example.com",), "b.example.com", "the certificate is for a.example.com, expected b.example.com"),
        (("*.example.com",), "a.b.example.com", "the certificate is for *.example.com, expected a.b.example.com"),
        (("*.0.0.3",), "10.0.0.3", "the certificate is for *.0.0.3, expected 10.0.0.3"),
        ((), "ignored.example.com", "the certificate is for no name, expected ignored.example.com"),
    ],
)
def test_certificate_for_another_name_is_refused(names: tuple[str, ...], wanted: str, fault: str) -> None:
    assert list(faults(certificate(*names), pem(), [wanted], NOW)) == [fault]


@pytest.mark.parametrize(
    ("begins", "ends", "fault"),
    [
        (-90, -1, "the certificate has ended on 2026-05-31; get a new one"),
        (2, 80, "the certificate begins on 2026-06-03 only; look at the clock of this computer"),
    ],
)
def test_certificate_of_another_time_is_refused(begins: int, ends: int, fault: str) -> None:
    chain = certificate("mlflow.example.com", begins=begins, ends=ends)

    assert list(faults(chain, pem(), ["mlflow.example.com"], NOW)) == [fault]


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (pem(OTHER_KEY), "the key is not that of the certificate"),
        (pem(encryption=BestAvailableEncryption(b"x")), "the key is no private key in PEM without a passphrase"),
        ("nonsense", "the key is no private key in PEM without a passphrase"),
    ],
)
def test_key_that_is_another_or_none_is_refused(key: str, fault: str) -> None:
    assert list(faults(certificate("mlflow.example.com"), key, ["mlflow.example.com"], NOW)) == [fault]


def test_all_faults_are_named_at_once() -> None:
    found = list(faults(certificate("a.example.com", ends=-1), pem(OTHER_KEY), ["mlflow.example.com"], NOW))

    assert found == [
        "the certificate has ended on 2026-05-31; get a new one",
        "the certificate is for a.example.com, expected mlflow.example.com",
        "the key is not that of the certificate",
    ]


def test_what_is_no_certificate_is_refused() -> None:
    expected = ["expected a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"]

    assert list(faults("nonsense", pem(), ["mlflow.example.com"], NOW)) == expected
    assert list(faults("", pem(), ["mlflow.example.com"], NOW)) == expected


def test_authorities_are_well_as_long_as_one_of_them_goes_on() -> None:
    ended, present = certificate(ends=-1), certificate()

    assert list(authority_faults(ended + present, NOW)) == []
    assert list(authority_faults(ended, NOW)) == [
        "the authority CN=ignored.example.com has ended on 2026-05-31; get its new certificate"
    ]
    assert list(authority_faults("", NOW)) == [
        "expected the certificates of authorities in PEM, which begin with -----BEGIN CERTIFICATE-----"
    ]
