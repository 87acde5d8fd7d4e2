"""Find secrets in the files that git has or would take (`make static`). Exit status 1 names each, without showing it.

detect-secrets judges every line; it asks nobody whether a secret works. What it takes for one and is none stands in
tests/data/examiners.json, files and values as regular expressions with a reason each. A reason that nothing needs any
more is refused too, so that the list only holds what somebody has looked at.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from detect_secrets import SecretsCollection
from detect_secrets.settings import default_settings

REPOSITORY = Path(__file__).resolve().parent.parent
STORED = "tests/data/examiners.json"
CURE = f"take it out, and replace the secret where it is used; if it is none, say so with a reason in {STORED}"


class Finding(NamedTuple):
    """What detect-secrets takes for a secret; `line` counts from 1."""

    file: str
    line: int
    kind: str
    value: str


def tracked(root: Path) -> list[str]:
    """Return the files of the work tree that git has, or would take with `git add`."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (root / name).is_file())


def scan(root: Path, files: list[str]) -> list[Finding]:
    """Return what all of detect-secrets' plugins find in these files, in order of files and lines."""
    found = SecretsCollection(str(root))
    with default_settings():  # without its filter that verifies a secret, which would send it away
        found.scan_files(*files)
    return sorted(Finding(file, each.line_number, each.type, each.secret_value or "") for file, each in found)


def problems(root: Path, stored: dict[str, dict[str, str]]) -> Iterator[str]:
    """Yield one sentence for each secret, and for each entry of `stored` that nothing needs."""
    names = tracked(root)
    excluded = {name for name in names if any(re.fullmatch(pattern, name) for pattern in stored["files"])}
    findings = scan(root, [name for name in names if name not in excluded])
    for each in findings:
        if not any(re.fullmatch(pattern, each.value) for pattern in stored["values"]):
            yield f"{each.file}:{each.line}: looks like a secret ({each.kind}); {CURE}"
    for pattern in stored["files"]:
        if not any(re.fullmatch(pattern, name) for name in excluded):
            yield f"{STORED}: no file is called {pattern}; remove the entry"
    for pattern in stored["values"]:
        if not any(re.fullmatch(pattern, each.value) for each in findings):
            yield f"{STORED}: no value {pattern} is found any more; remove the entry"


def main() -> None:
    """Parse the command line; exit status 1 with every problem."""
    parser = argparse.ArgumentParser(description="Find secrets in the files that git has or would take.")
    parser.add_argument("--root", type=Path, default=REPOSITORY, help="the repository to look through")
    root = parser.parse_args().root
    stored = json.loads((root / STORED).read_text())["detect-secrets"]
    if found := list(problems(root, stored)):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
