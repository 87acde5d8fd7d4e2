"""Ask a feed of known vulnerabilities about every locked package (`make audit`). Needs a network that reaches the feed.

pip-audit asks, PyPI's feed or OSV's (`--service osv`); it is run by uv in an environment of its own, as its newest
release. Every vulnerability is reported. Exit status 1: a version that mends one is out, and tests/data/examiners.json
has no reason to wait. Exit status 2: packages were left that the feed could not be asked about, of which nothing is
known; pip-audit itself then ends with 0 and "No known vulnerabilities found".
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.lock import LOCKS, ROOT, pins

STORED = "tests/data/examiners.json"
PIP_AUDIT = (sys.executable, "-m", "uv", "tool", "run", "--from", "pip-audit>=2.10,<3", "pip-audit")
OPTIONS = ("--disable-pip", "--no-deps", "--format=json", "--progress-spinner=off", "--timeout=30")
DUE, UNKNOWN = 1, 2


class Package(NamedTuple):
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Vulnerability(NamedTuple):
    """One known vulnerability of a package: all its ids, and the versions that mend it."""

    package: Package
    ids: list[str]
    mended_in: list[str]


class Answer(NamedTuple):
    """What a feed knows, and which packages it was not, or could not be, asked about, each with the reason."""

    known: list[Vulnerability]
    not_asked: dict[Package, str]


def locked() -> dict[Package, list[str]]:
    """Return every package that a lock file holds, with the files that do."""
    found: dict[Package, list[str]] = defaultdict(list)
    for lock in LOCKS:
        for pin in pins((ROOT / lock.path).read_text()):
            package = Package(pin.requirement.name, str(pin.requirement.specifier).removeprefix("=="))
            if lock.path not in found[package]:
                found[package].append(lock.path)
    return dict(sorted(found.items()))


def ask(packages: list[Package], options: list[str]) -> Answer:
    """Return what the feed says of these packages. pip-audit takes one version of a package at a time."""
    versions: dict[str, list[Package]] = defaultdict(list)
    for package in packages:
        versions[package.name].append(package)
    answer = Answer([], {})
    for row in zip_longest(*versions.values()):
        batch = [package for package in row if package]
        known, not_asked = read(batch, *run_pip_audit(batch, options))
        answer.known.extend(known)
        answer.not_asked.update(not_asked)
    return answer


def run_pip_audit(batch: list[Package], options: list[str]) -> tuple[str, str]:
    """Return pip-audit's report, empty when it has none, and the last line of what it complained about."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{package.name}=={package.version}\n" for package in batch))
        file.flush()
        command = [*PIP_AUDIT, *OPTIONS, *options, "--requirement", file.name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    return done.stdout, (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def read(batch: list[Package], report: str, complaint: str) -> Answer:
    """Return what pip-audit's report on a batch says; what it does not name was not asked about."""
    entries = {entry["name"]: entry for entry in json.loads(report)["dependencies"]} if report.strip() else {}
    known = [
        Vulnerability(package, [found["id"], *found["aliases"]], found["fix_versions"])
        for package in batch
        for found in entries.get(package.name, {}).get("vulns", [])
    ]
    absent = {"skip_reason": complaint}
    reasons = {package: entries.get(package.name, absent).get("skip_reason") for package in batch}
    return Answer(known, {package: reason for package, reason in reasons.items() if reason})


def judge(answer: Answer, files: dict[Package, list[str]], waived: dict[str, str]) -> tuple[int, list[str]]:
    """Return the exit status and the lines of the report; `waived` are ids of vulnerabilities, each with the reason."""
    due, lines = False, []
    for package, ids, mended_in in answer.known:
        reason = next((waived[name] for name in ids if name in waived), "")
        cure = f"mended in {', '.join(mended_in)}" if mended_in else "no version mends it yet"
        todo = f"waived: {reason}" if reason else "raise it, or waive it with a reason" if mended_in else "watch it"
        due = due or bool(mended_in and not reason)
        lines.append(f"{package}: {' = '.join(ids)}, {cure}; {todo}; in {', '.join(files[package])}")
    if answer.not_asked:
        package, why = next(iter(answer.not_asked.items()))
        count = f"{len(answer.not_asked)} of {len(files)} packages"
        lines.append(f"not audited: {count}, the first of them {package}: {why}")
        return DUE if due else UNKNOWN, lines
    stale = set(waived) - {name for each in answer.known for name in each.ids}
    lines += [f"{STORED}: no locked package has {name} any more; remove it" for name in sorted(stale)]
    return DUE if due or stale else 0, lines


def main() -> None:
    """Parse the command line, print the report, exit with its status."""
    parser = argparse.ArgumentParser(description="Ask a feed of known vulnerabilities about every locked package.")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi", help="whose feed")
    parser.add_argument("--osv-url", help="the address of another feed that answers as OSV does")
    arguments = parser.parse_args()
    options = [f"--vulnerability-service={arguments.service}"]
    options += [f"--osv-url={arguments.osv_url}"] if arguments.osv_url else []
    files = locked()
    waived = json.loads((ROOT / STORED).read_text())["pip-audit"]
    status, lines = judge(ask(list(files), options), files, waived)
    print("\n".join(lines or [f"none of {len(files)} locked packages has a known vulnerability"]))
    sys.exit(status)


if __name__ == "__main__":
    main()
