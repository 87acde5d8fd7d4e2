"""A secret in the repository fails `make static`. What is planted is put together here, or it would be found here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.defaults import REPOSITORY

CURE = (
    "take it out, and replace the secret where it is used; "
    "if it is none, say so with a reason in tests/data/examiners.json"
)
PLAIN = "Tr0ub4dor" + "-and-3"
PLANTED = {
    "AWS Access Key": "key = AKIA" + "Z7Q4M2KD9X3T5RLP",
    "Basic Auth Credentials": "uri: postgresql://mlflow:" + f"{PLAIN}@db/mlflow",
    "Private Key": "-----BEGIN EC PRIVATE" + " KEY-----",
    "Secret Keyword": "proxy_pass" + f'word = "{PLAIN}"',
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True, timeout=60)
    (tmp_path / ".gitignore").write_text("/.secrets/\n")
    store(tmp_path)
    return tmp_path


def store(repository: Path, **stored: dict[str, str]) -> None:
    path = repository / "tests/data/examiners.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"detect-secrets": {"files": {}, "values": {}, **stored}}))


def scan(repository: Path) -> Any:
    command = [sys.executable, REPOSITORY / "scripts/secret_scan.py", "--root", repository]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_secret_is_found_before_it_is_committed_and_not_shown(repository: Path, kind: str) -> None:
    (repository / "notes.py").write_text(f"# notes\n{PLANTED[kind]}\n")

    done = scan(repository)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"notes.py:2: looks like a secret ({kind}); {CURE}\n"


def test_files_that_git_ignores_are_not_looked_at(repository: Path) -> None:
    (repository / ".secrets").mkdir()
    (repository / ".secrets/password").write_text(PLANTED["Secret Keyword"])

    done = scan(repository)

    assert (done.returncode, done.stderr) == (0, "")


def test_value_that_is_no_secret_is_let_through_and_no_other_that_holds_it(repository: Path) -> None:
    store(repository, values={"made-up": "for tests"})
    (repository / "a.py").write_text(PLANTED["Secret Keyword"].replace(PLAIN, "made-up"))
    (repository / "b.py").write_text(PLANTED["Secret Keyword"].replace(PLAIN, "made-up-2"))

    done = scan(repository)

    assert (done.returncode, done.stderr) == (1, f"b.py:1: looks like a secret (Secret Keyword); {CURE}\n")


def test_reason_that_nothing_needs_is_refused(repository: Path) -> None:
    store(repository, files={"locks/.*": "hashes"}, values={"made-up": "for tests"})

    done = scan(repository)

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "tests/data/examiners.json: no file is called locks/.*; remove the entry",
        "tests/data/examiners.json: no value made-up is found any more; remove the entry",
    ]
