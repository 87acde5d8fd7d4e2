"""certificate.sh, run for real with openssl."""

import ipaddress
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store

import mlflow_stack

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/certificate.sh"
NAMES = ("mlflow.example.com", "10.0.0.3")
NOW = datetime.now(timezone.utc)


def certificate(action: str, directory: Path, *names: str) -> tuple[int, list[str]]:
    """Return exit status and lines of the program."""
    command = ["sh", str(SCRIPT), action, str(directory), str(directory / "ca.crt"), *(names or NAMES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.splitlines()


def authority(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "ca.crt").read_bytes())


def leaf(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "server.pem").read_bytes())


def said(directory: Path, *, to_people: bool) -> list[str]:
    """Return what the program prints about its authority when all is well."""
    fingerprint = authority(directory).fingerprint(hashes.SHA256()).hex(":").upper()
    note = f"note: SHA-256 fingerprint of the certificate authority (/ca.crt): {fingerprint}"
    return [f"fingerprint: {fingerprint}", *([note] if to_people else [])]


def test_certificate_is_one_that_clients_of_the_authority_accept(tmp_path: Path) -> None:
    assert certificate("check", tmp_path) == (0, ["to do: a certificate authority of this host is made"])

    status, lines = certificate("ensure", tmp_path)

    assert (status, lines) == (0, said(tmp_path, to_people=True))
    in_a_minute = datetime.now(timezone.utc) + timedelta(minutes=1)
    policy = PolicyBuilder().store(Store([authority(tmp_path)])).time(in_a_minute)
    for subject in (x509.DNSName(NAMES[0]), x509.IPAddress(ipaddress.ip_address(NAMES[1]))):
        policy.build_server_verifier(subject).verify(leaf(tmp_path), [])
    assert timedelta(days=89) < leaf(tmp_path).not_valid_after_utc - NOW < timedelta(days=91)
    assert authority(tmp_path).not_valid_after_utc - NOW > timedelta(days=3649)


def test_keys_are_for_root_alone_and_the_authority_is_for_everybody(tmp_path: Path) -> None:
    certificate("ensure", tmp_path)

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    assert modes == {"ca.key": "0o600", "ca.crt": "0o644", "server.pem": "0o600"}
    key = load_pem_private_key((tmp_path / "server.pem").read_bytes(), None)
    assert key.public_key() == leaf(tmp_path).public_key()


def test_second_time_nothing_is_made(tmp_path: Path) -> None:
    certificate("ensure", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    for action in ("check", "ensure"):
        assert certificate(action, tmp_path) == (0, said(tmp_path, to_people=action == "ensure"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_names_make_another_certificate_of_the_same_authority(tmp_path: Path) -> None:
    certificate("ensure", tmp_path)
    before = authority(tmp_path)

    found = certificate("check", tmp_path, "new.example.com", "10.0.0.3")
    status, _ = certificate("ensure", tmp_path, "new.example.com", "10.0.0.3")

    assert found[1][0] == (
        "to do: the certificate is for DNS:mlflow.example.com,IP:10.0.0.3, expected DNS:new.example.com,IP:10.0.0.3"
    )
    assert (status, authority(tmp_path)) == (0, before)
    names = leaf(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["new.example.com"]


def test_address_of_ipv6_is_one_however_it_is_written(tmp_path: Path) -> None:
    certificate("ensure", tmp_path, "db.example.com", "fd00::5")

    names = leaf(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("fd00::5")]
    assert certificate("check", tmp_path, "FD00:0::5", "db.example.com") == (0, said(tmp_path, to_people=False))
    assert certificate("check", tmp_path, "db.example.com", "fd00::6")[1][0] == (
        "to do: the certificate is for DNS:db.example.com,IP:FD00:0:0:0:0:0:0:5, expected DNS:db.example.com,IP:fd00::6"
    )


def reissue(directory: Path, days: float) -> None:
    """Put a certificate in place that ends in so many days."""
    key = load_pem_private_key((directory / "ca.key").read_bytes(), None)
    own = load_pem_private_key((directory / "server.pem").read_bytes(), None)
    old = leaf(directory)
    builder = x509.CertificateBuilder(
        old.issuer,
        old.subject,
        own.public_key(),  # type: ignore[arg-type]
        x509.random_serial_number(),
        NOW - timedelta(days=100),
        NOW + timedelta(days=days),
        list(old.extensions),
    )
    new = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
    text = (directory / "server.pem").read_text()
    keep = text[: text.index("-----BEGIN CERTIFICATE-----")]
    (directory / "server.pem").write_text(keep + new.public_bytes(Encoding.PEM).decode())


@pytest.mark.parametrize(
    ("days", "why"),
    [
        (29.0, "the certificate ends within 30 days"),
        (-1.0, "the certificate is not of this authority, or has ended"),
    ],
)
def test_certificate_that_ends_soon_is_renewed(tmp_path: Path, days: float, why: str) -> None:
    certificate("ensure", tmp_path)
    before = authority(tmp_path)
    reissue(tmp_path, days)

    assert certificate("check", tmp_path)[1][0] == f"to do: {why}"
    assert certificate("ensure", tmp_path)[0] == 0

    assert leaf(tmp_path).not_valid_after_utc - NOW > timedelta(days=89)
    assert authority(tmp_path) == before


def test_certificate_with_more_than_thirty_days_stays(tmp_path: Path) -> None:
    certificate("ensure", tmp_path)
    reissue(tmp_path, 31)

    assert certificate("check", tmp_path) == (0, said(tmp_path, to_people=False))


@pytest.mark.parametrize("lost", ["ca.key", "ca.crt", "server.pem"])
def test_what_an_interrupted_run_left_is_made_whole(tmp_path: Path, lost: str) -> None:
    certificate("ensure", tmp_path)
    (tmp_path / lost).unlink()
    (tmp_path / ".new.killed").mkdir()
    (tmp_path / ".new.killed/server.key").touch()

    assert certificate("ensure", tmp_path)[0] == 0

    assert certificate("check", tmp_path) == (0, said(tmp_path, to_people=False))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "ca.key", "server.pem"]


@pytest.mark.parametrize("key", ["ca.key", "server.pem"])
def test_key_that_others_may_read_is_theirs_no_longer_and_the_certificate_is_a_new_one(
    tmp_path: Path, key: str
) -> None:
    certificate("ensure", tmp_path)
    before = leaf(tmp_path)
    (tmp_path / key).chmod(0o644)

    found = certificate("check", tmp_path)
    status, _ = certificate("ensure", tmp_path)

    assert found[1][0] == "to do: others may read the keys"
    assert (status, (tmp_path / key).stat().st_mode & 0o777) == (0, 0o600)
    assert leaf(tmp_path) != before
    assert certificate("check", tmp_path) == (0, said(tmp_path, to_people=False))
