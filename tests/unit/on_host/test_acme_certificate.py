"""acme-certificate.sh, run for real with openssl; in the place of certbot is a double that signs, or fails as it did.

tests/e2e/test_acme.py has certbot itself and an ACME server.
"""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

import mlflow_stack

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/acme-certificate.sh"
DOUBLE = Path(__file__).parent / "certbot.py"
SERVER, NAME = "https://ca.example.com/directory", "mlflow.example.com"
MARK = f"from the ACME server {SERVER}\n"
TO_DO = f"to do: a certificate for {NAME} is asked for"
# What certbot 2.1 has said to pebble 2.4: the end of its standard error, and what matters of its log.
ASK_FOR_HELP = "Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile.\n"
SAVING = "Saving debug log to /var/lib/mlflow-acme/log/letsencrypt.log\n"
NONCE = '  "type": "urn:ietf:params:acme:error:badNonce",\n  "detail": "JWS has an invalid anti-replay nonce: u2xq",\n'
REFUSED = (
    f"{SAVING}An unexpected error occurred:\nAttributeError: can't set attribute\n{ASK_FOR_HELP}",
    f'{NONCE}  "type": "urn:ietf:params:acme:error:rejectedIdentifier",\n  "detail": "Order included an identifier for '
    'which issuance is forbidden by policy: \\"mlflow.example.com\\"",\n  "status": 400\n',
)
UNREACHED = (
    f"{SAVING}An unexpected error occurred:\nValueError: Requesting ca.example.com/directory: Connection refused\n"
    f"{ASK_FOR_HELP}",
    "",
)
POOL = (
    "requests.exceptions.{kind}: HTTPSConnectionPool(host='ca.example.com', port=443): Max retries exceeded with url: /"
)
NAMELESS = (
    f"{SAVING}An unexpected error occurred:\n{POOL.format(kind='ConnectionError')} (Caused by NewConnectionError('"
    "<urllib3.connection.HTTPSConnection object at 0x7f4bbe8ff890>: Failed to establish a new connection: [Errno -2] "
    f"Name or service not known'))\n{ASK_FOR_HELP}",
    "",
)
STRANGE = (
    f"{SAVING}An unexpected error occurred:\n{POOL.format(kind='SSLError')} (Caused by SSLError("
    "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local "
    f"issuer certificate (_ssl.c:992)')))\n{ASK_FOR_HELP}",
    "",
)
COMPACT = (
    f"{SAVING}Some challenges have failed.\n{ASK_FOR_HELP}",
    '{"type":"urn:ietf:params:acme:error:connection","detail":"The server could not\\nreach validation target."}\n',
)


@dataclass
class Place:
    """Where the program works; `double` is the directory of the double of certbot."""

    root: Path

    @property
    def pem(self) -> Path:
        return self.root / "tls/server.pem"

    @property
    def double(self) -> Path:
        return self.root / "double"

    def make(self) -> None:
        for name in ("tls", "accounts", "state", "double", "bin"):
            (self.root / name).mkdir()
        certbot = self.root / "bin/certbot"
        certbot.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(DOUBLE), str(self.double)])} "$@"\n')
        certbot.chmod(0o755)

    def run(self, action: str, *arguments: str) -> tuple[int, list[str], str]:
        """Return exit status, lines of standard output, and standard error."""
        places = [str(self.root / name) for name in ("tls", "accounts", "state")]
        done = subprocess.run(
            ["sh", str(SCRIPT), action, *places, *(arguments or (SERVER, NAME))],
            env={**os.environ, "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr

    def asked(self) -> list[str]:
        """Return the arguments that certbot was called with, and forget them; none when it was not called."""
        path = self.double / "arguments"
        found = path.read_text().split("\n") if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def leaf(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pem.read_bytes())

    def has(self, *, days: float, of: float = 90) -> None:
        """Put a certificate there that ends in so many days, `of` those that it was given for."""
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now + timedelta(days=days - of))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=True)
        )
        text = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
        own = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.pem.write_text(f"{MARK}{own}{text}")
        self.pem.chmod(0o600)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.make()
    return found


def test_first_certificate_is_for_the_name_with_its_key_and_says_where_it_is_from(place: Place) -> None:
    assert place.run("check") == (0, [TO_DO], "")

    status, lines, errors = place.run("ensure")

    assert (status, errors) == (0, "")
    assert [line.split(":")[0] for line in lines] == ["ends"]
    names = place.leaf().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    assert load_pem_private_key(place.pem.read_bytes(), None).public_key() == place.leaf().public_key()
    assert place.pem.read_text().startswith(MARK)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in place.pem.parent.iterdir()} == {
        "server.pem": "0o600"
    }


def test_certbot_is_told_all_of_it_and_never_the_key(place: Place) -> None:
    place.run("ensure")

    asked = place.asked()
    options = dict(pairwise(asked))
    assert asked[:4] == ["certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email"]
    assert (options["--server"], options["--webroot-path"]) == (SERVER, f"{place.root}/state/challenges")
    assert options["--config-dir"] == f"{place.root}/accounts"
    assert not [argument for argument in asked if "key" in argument]
    assert oct((place.root / "state/challenges").stat().st_mode & 0o777) == "0o755"


def test_mail_address_is_told_with_the_account(place: Place) -> None:
    place.run("ensure", SERVER, NAME, "admin@example.com")

    assert place.asked()[3:6] == ["--email", "admin@example.com", "--no-eff-email"]


def test_second_time_the_server_is_not_asked(place: Place) -> None:
    place.run("ensure")
    before, _ = place.pem.read_bytes(), place.asked()

    for action in ("check", "ensure"):
        status, lines, errors = place.run(action)
        assert (status, len(lines), lines[0].split(":")[0], errors) == (0, 1, "ends", "")
    assert (place.pem.read_bytes(), place.asked()) == (before, [])


@pytest.mark.parametrize(
    ("server", "name", "reason"),
    [
        (SERVER, "other.example.com", "the certificate is not for other.example.com"),
        ("https://other.example.com/", NAME, "the certificate is not from https://other.example.com/"),
        (SERVER, f"{'a' * 60}.example.com", f"the certificate is not for {'a' * 60}.example.com"),
    ],
)
def test_certificate_for_another_name_or_from_another_server_is_replaced(
    place: Place, server: str, name: str, reason: str
) -> None:
    place.run("ensure")
    before = place.leaf()

    assert place.run("check", server, name)[1][0] == f"to do: {reason}"
    assert place.run("ensure", server, name)[0] == 0
    assert place.leaf() != before
    assert place.run("check", server, name)[1][0].startswith("ends: ")


@pytest.mark.parametrize(
    ("days", "of", "said", "replaced"),
    [
        (31, 90, False, False),
        (29, 90, False, True),
        (14, 90, True, True),
        (-1, 90, True, True),
        (0.35, 1, False, False),
        (0.3, 1, False, True),
    ],
)
def test_last_third_of_its_time_is_for_the_timer_and_the_half_of_that_for_everybody(
    place: Place, days: float, of: float, said: bool, replaced: bool
) -> None:
    place.has(days=days, of=of)
    ends = f"to do: the certificate ends on {place.leaf().not_valid_after_utc:%Y-%m-%d at %H:%M} UTC"

    assert [line for line in place.run("check")[1] if line.startswith("to do")] == [ends] * said
    assert place.run("ensure")[0] == 0
    assert bool(place.asked()) == replaced


def test_key_that_others_may_read_is_replaced(place: Place) -> None:
    place.run("ensure")
    place.pem.chmod(0o640)

    assert place.run("check")[1][0] == "to do: others may read the key"
    assert place.run("ensure")[0] == 0
    assert place.run("check")[1][0].startswith("ends: ")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (REFUSED, 'Order included an identifier for which issuance is forbidden by policy: "mlflow.example.com"'),
        (UNREACHED, "Requesting ca.example.com/directory: Connection refused"),
        (NAMELESS, "Name or service not known"),
        (STRANGE, "its own certificate is not trusted here: unable to get local issuer certificate"),
        (COMPACT, "The server could not\\nreach validation target"),
    ],
    ids=["refused", "unreached", "nameless", "strange", "compact"],
)
def test_reason_of_a_failure_is_told_and_kept_and_what_was_there_stays(
    place: Place, said: tuple[str, str], words: str
) -> None:
    place.has(days=10)
    before = place.pem.read_bytes()
    for file, text in zip(("said", "log"), said, strict=True):
        (place.double / file).write_text(text)

    status, _, errors = place.run("ensure")

    sentence = f"{SERVER} gave no certificate for {NAME}: {words}; what was there before stays in use\n"
    assert (status, errors, (place.root / "state/failure").read_text()) == (1, sentence, sentence)
    assert place.pem.read_bytes() == before
    assert [path.name for path in place.pem.parent.iterdir()] == ["server.pem"]


def test_certificate_for_another_key_is_not_taken(place: Place) -> None:
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (place.double / "key.pem").write_bytes(key)

    status, _, errors = place.run("ensure")

    reason = "what came is not for our key; what was there before stays in use"
    assert (status, errors) == (1, f"{SERVER} gave no certificate for {NAME}: {reason}\n")
    assert not place.pem.exists()


def test_failure_of_before_is_forgotten_when_there_is_a_certificate(place: Place) -> None:
    for file in ("said", "log"):
        (place.double / file).write_text("It is broken.\n")
    assert place.run("ensure")[0] == 1
    (place.double / "said").unlink()

    assert place.run("ensure")[0] == 0
    assert not (place.root / "state/failure").exists()
