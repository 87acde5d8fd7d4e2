"""Programs of others that judge a host from outside our own tests: what each says, as far as it is compared.

What they said when we last looked is in tests/data/examiners.json, with a reason for each thing that is not as they
wish. A test that fails shows the difference; whoever finds that it is right writes it there.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from lab import Host

STORED: dict[str, Any] = json.loads((Path(__file__).resolve().parents[1] / "data/examiners.json").read_text())
INSTALL = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends"
REPORT = "/var/log/lynis-report.dat"
# Looking at every certificate of the public authorities in /etc/ssl takes a third of its time.
PROFILE, LEFT_OUT = "/etc/lynis/custom.prf", "skip-test=CRYP-7902\n"
HARMLESS = ("OK", "INFO")


@dataclass(frozen=True)
class Examination:
    """What Lynis and debsums find on a host; `remarks` are Lynis' warnings and suggestions, as whole lines."""

    index: int
    remarks: set[str]
    services: set[str]
    changed_files: set[str]


def examine(host: Host) -> Examination:
    """Install Lynis and debsums on a host, as its own packages, and ask them about it: a minute or two."""
    host.run(f"{INSTALL} lynis debsums", timeout=300)
    host.put(PROFILE, LEFT_OUT)
    report = lynis(host)
    (index,) = report["hardening_index"]
    return Examination(int(index), remarks(report), set(report["running_service[]"]), changed_files(host))


def lynis(host: Host, *options: str) -> dict[str, list[str]]:
    """Return the values of Lynis' report by their key."""
    host.run(f"rm -f {REPORT}; lynis audit system --quick --no-colors --quiet {' '.join(options)}", timeout=600)
    found: dict[str, list[str]] = {}
    for line in host.run(f"cat {REPORT}").stdout.splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    return found


def remarks(report: dict[str, list[str]]) -> set[str]:
    return {f"{kind} {line}" for kind in ("warning", "suggestion") for line in report.get(f"{kind}[]", [])}


def changed_files(host: Host, package: str = "") -> set[str]:
    """Return the files, of all packages or of one, that are not as they were brought; configuration files too.

    debsums ends with 2 when it has found one (debsums(1)).
    """
    return set(host.run(f"debsums --all --changed {package} || [ $? = 2 ]").stdout.splitlines())


def sslscan(address: str, name: str) -> dict[str, Any]:
    """Return what a TLS server takes, asked from this machine. sslscan speaks what its OpenSSL no longer does, too."""
    found = _run("sslscan", "--show-certificate", f"--sni-name={name}", "--xml=-", address)
    scan = ElementTree.fromstring(found)  # noqa: S314 (of a program of this machine)
    (certificate,) = scan.iterfind(".//certificate[@type='short']")
    (key,) = certificate.iter("pk")
    enabled = scan.iterfind(".//protocol[@enabled='1']")
    return {
        "protocols": [f"{each.get('type')} {each.get('version')}" for each in enabled],
        "ciphers": sorted(f"{each.get('sslversion')} {each.get('cipher')}" for each in scan.iter("cipher")),
        "groups": sorted(f"{each.get('sslversion')} {each.get('name')}" for each in scan.iter("group")),
        "renegotiation": scan.find(".//renegotiation[@supported='1']") is not None,
        "heartbleed": scan.find(".//heartbleed[@vulnerable='1']") is not None,
        "key": f"{key.get('type')} {key.get('curve_name') or key.get('bits')}",
        "signature": certificate.findtext("signature-algorithm"),
    }


def known_attacks(address: str, directory: Path) -> tuple[list[str], list[str]]:
    """Return the known attacks that a TLS server withstands, and a line for each thing that testssl.sh finds wrong."""
    report = directory / "testssl.json"
    _run("testssl", "--quiet", "--warnings=off", "--nodns=none", "--vulnerable", "--jsonfile", str(report), address)
    found = json.loads(report.read_text())
    wrong = [each for each in found if each["severity"] not in HARMLESS]
    withstood = [each["id"] for each in found if each["severity"] == "OK"]
    return withstood, [f"{each['severity']} {each['id']}: {each['finding']}" for each in wrong]


def _run(*command: str) -> str:
    """Run an examiner; its exit status says what it thinks of the server, and not whether it could ask."""
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False).stdout
