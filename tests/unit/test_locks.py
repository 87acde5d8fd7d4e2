"""The lock files are complete, and `scripts/lock.py --check` finds what is wrong with one."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = "locks/mlflow-py3.12.txt"
ADDON = "locks/s3-py3.12.txt"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of everything that the check reads, to be damaged."""
    for directory in ("locks", "scripts"):
        shutil.copytree(ROOT / directory, tmp_path / directory)
    for name in ("pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def check(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(project / "scripts/lock.py"), "--check"]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=60, check=False)


def about(path: str, result: subprocess.CompletedProcess[str]) -> str:
    """Return the problems of one lock file; those of its add-ons, which were made for what it was before, left out."""
    return "".join(line for line in result.stderr.splitlines(keepends=True) if line.startswith(f"{path}:"))


def replace(path: Path, pattern: str, replacement: str) -> int:
    """Replace the only match of `pattern` and return the number of the line where it was."""
    text = path.read_text()
    (match,) = re.finditer(pattern, text)
    path.write_text(text[: match.start()] + replacement + text[match.end() :])
    return text.count("\n", 0, match.start()) + 1


def test_check_passes_on_the_lock_files_of_the_project() -> None:
    result = check(ROOT)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_check_finds_a_requirement_without_hash(project: Path) -> None:
    pin = r"psycopg2-binary==\S+ \\\n(    --hash=\S+( \\)?\n)+"
    line = replace(project / LOCK, pin, "psycopg2-binary==2.9.11\n")

    result = check(project)

    assert result.returncode == 1
    assert about(LOCK, result) == (
        f"{LOCK}:{line}: psycopg2-binary==2.9.11 has no sha256 hash, expected at least one; run `make lock`\n"
    )


def test_check_finds_a_hash_that_is_cut_short(project: Path) -> None:
    (project / LOCK).write_text(re.sub(r"(--hash=sha256:[0-9a-f]{63})[0-9a-f]", r"\1", (project / LOCK).read_text()))

    result = check(project)

    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == len(re.findall(r"^\S+==", (project / LOCK).read_text(), re.MULTILINE))


def test_check_finds_a_version_that_differs_from_the_source(project: Path) -> None:
    line = replace(project / LOCK, r"(?m)^scikit-learn==\S+", "scikit-learn==1.6.1")

    result = check(project)

    assert result.returncode == 1
    assert about(LOCK, result) == (
        f"{LOCK}:{line}: found scikit-learn==1.6.1, expected scikit-learn>=1.7 as in locks/mlflow.in; run `make lock`\n"
    )


def test_check_finds_each_lock_that_is_older_than_its_source(project: Path) -> None:
    replace(project / "locks/mlflow.in", r"(?m)^mlflow\[auth\]==\S+", "mlflow[auth]==0.1")

    result = check(project)

    assert result.returncode == 1
    assert [re.sub(r"(?<=:)\d+|(?<=found mlflow==)[\d.]+", "…", line) for line in result.stderr.splitlines()] == [
        f"locks/mlflow-py{python}.txt:…: found mlflow==…, expected mlflow[auth]==0.1 as in locks/mlflow.in; "
        "run `make lock`"
        for python in ("3.10", "3.11", "3.12", "3.13")
    ]


def test_check_finds_a_requirement_that_is_not_locked(project: Path) -> None:
    with (project / "locks/uv.in").open("a") as source:
        source.write("cowsay>=1\n")

    result = check(project)

    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "locks/uv.txt: cowsay is missing, expected cowsay>=1 as in locks/uv.in; run `make lock`",
        "requirements-dev.txt: cowsay is missing, expected cowsay>=1 as in locks/uv.in; run `make lock`",
    ]


@pytest.mark.parametrize("path", [LOCK, "locks/uv.txt", "requirements.txt", "requirements-dev.txt"])
@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("--index-url https://index.example/simple", "--index-url https://index.example/simple"),
        ("-i index.example", "-i index.example"),
        ("--find-links /srv/wheels", "--find-links /srv/wheels"),
        ("# from https://index.example/simple", "https://index.example/simple"),
    ],
)
def test_check_finds_the_address_of_an_index(project: Path, path: str, option: str, shown: str) -> None:
    text = (project / path).read_text()
    (project / path).write_text(text + option + "\n")

    result = check(project)

    assert result.returncode == 1
    assert result.stderr == (
        f"{path}:{text.count(chr(10)) + 1}: names a package index ({shown}), expected none; run `make lock`\n"
    )


def test_check_finds_a_lock_that_does_not_say_its_schema_revision(project: Path) -> None:
    replace(project / LOCK, "# mlflow-schema-revision: .*\n", "")

    result = check(project)

    assert result.returncode == 1
    assert result.stderr == (
        f"{LOCK}:1: does not begin with these lines; run `make lock`\n"
        "# Made by `make lock` from locks/mlflow.in; do not edit.\n"
        "# python: 3.12\n"
        "# mlflow-schema-revision: <12 hexadecimal digits>\n"
        "# mlflow-auth-schema-revision: <12 hexadecimal digits>\n"
    )


def test_check_finds_add_ons_that_were_made_for_other_packages(project: Path) -> None:
    replace(project / LOCK, r"(?m)^urllib3==\S+", "urllib3==2.0.0")

    result = check(project)

    assert result.returncode == 1
    assert re.sub(r"(?<=sha256 )[0-9a-f]{12}", "…", result.stderr) == "".join(
        f"locks/{name}-py3.12.txt:1: does not begin with these lines; run `make lock`\n"
        f"# Made by `make lock` from locks/{name}.in; do not edit.\n"
        f"# installed with: {LOCK}, sha256 …\n"
        for name in ("mysql", "s3", "gcs", "azure")
    )


def test_check_finds_a_package_that_an_add_on_and_its_lock_both_have(project: Path) -> None:
    text = (project / ADDON).read_text()
    (project / ADDON).write_text(f"{text}urllib3==2.0.0 \\\n    --hash=sha256:{'0' * 64}\n")

    result = check(project)

    line = text.count("\n") + 1
    assert result.stderr == (
        f"{ADDON}:{line}: urllib3==2.0.0 is in {LOCK} too, expected in one of them; run `make lock`\n"
    )


def test_check_finds_a_lock_that_was_never_made(project: Path) -> None:
    (project / LOCK).unlink()

    result = check(project)

    assert result.returncode == 1
    assert result.stderr == f"{LOCK}: not found; run `make lock`\n"


def test_check_finds_a_line_that_is_no_requirement(project: Path) -> None:
    with (project / "requirements.txt").open("a") as lock:
        lock.write("<<<<<<< HEAD\n")

    result = check(project)

    assert result.returncode == 1
    assert result.stderr.startswith("requirements.txt: Expected package name at the start of dependency specifier\n")


def test_check_reports_everything_at_once(project: Path) -> None:
    (project / "locks/uv.txt").unlink()
    (project / "requirements.txt").unlink()

    result = check(project)

    assert result.stderr == "locks/uv.txt: not found; run `make lock`\nrequirements.txt: not found; run `make lock`\n"
