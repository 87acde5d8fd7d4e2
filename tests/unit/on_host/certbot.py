"""A test double of certbot, as acme-certificate.sh calls it: `certbot.py DIRECTORY ARGUMENT…`.

It writes its arguments to DIRECTORY/arguments. Where DIRECTORY/said is, it prints that on standard error, has written
DIRECTORY/log to its log, and fails; otherwise it signs the request, for 90 days, for the key in DIRECTORY/key.pem if
there is one, which would be a mistake of the server's.
"""

import shutil
import sys
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key


def main(directory: Path, arguments: list[str]) -> int:
    (directory / "arguments").write_text("\n".join(arguments))
    options = {name: Path(value) for name, value in pairwise(arguments)}
    options["--logs-dir"].mkdir(exist_ok=True)
    if (directory / "said").exists():
        shutil.copy(directory / "log", options["--logs-dir"] / "letsencrypt.log")
        sys.stderr.write((directory / "said").read_text())
        return 1
    request = x509.load_pem_x509_csr(options["--csr"].read_bytes())
    own = directory / "key.pem"
    key = load_pem_private_key(own.read_bytes(), None).public_key() if own.exists() else request.public_key()
    now = datetime.now(timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(x509.Name([]))
        .public_key(key)  # type: ignore[arg-type]
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False)
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    options["--fullchain-path"].write_bytes(signed.public_bytes(Encoding.PEM))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
