"""Facts about the certificate that a host gets for itself, and the authority of its own that it may be from."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain.certificates import AcmeCertificate, HostCertificate


@dataclass(frozen=True)
class Certificate:
    """The certificate that a host got for itself: why it needs a (new) one, "" when it is well, and the SHA-256
    fingerprint of the host's authority, "" where there is none."""

    to_do: str = "there is none yet"
    fingerprint: str = ""


class OwnCertificate(FactBase[Certificate]):
    """What on_host/certificate.sh or acme-certificate.sh says; there is none before that is on the host."""

    default = Certificate

    def command(self, certificate: HostCertificate | AcmeCertificate) -> StringCommand:
        return StringCommand(f"{certificate.is_impossible} || {certificate.command('check')}")

    def process(self, output: list[str]) -> Certificate:
        values = dict(line.split(": ", 1) for line in output if ": " in line)
        return Certificate(values.get("to do", ""), values.get("fingerprint", ""))


class OwnAuthority(FactBase[str]):
    """The certificate, in PEM, of the authority that a host made for itself; "" while there is none that stays."""

    default = str

    def command(self, certificate: HostCertificate) -> StringCommand:
        replaced = f"{certificate.command('check')} | grep -q '^to do: a certificate authority'"
        return StringCommand(f"{certificate.is_impossible} || {replaced} || cat {quote(certificate.authority)}")

    def process(self, output: list[str]) -> str:
        return "\n".join([*output, ""]) if output else ""
