"""fetch.sh, run for real: a file with the wrong content is never left for somebody to run."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import mlflow_stack
from tests.unit.on_host.conftest import Answer, StandIn

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/fetch.sh"
CONTENT = b"#!/bin/sh\necho installer\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()

pytestmark = pytest.mark.skipif(not shutil.which("curl") and not os.environ.get("CI"), reason="curl is not installed")


def fetch(url: str, file: Path, sha256: str = SHA256) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), url, sha256, str(file)], capture_output=True, text=True, check=False, timeout=60
    )


def refusal(url: str, directory: Path) -> str:
    """Return what fetch says of an address; it must fail and leave nothing, also where another file was before."""
    (directory / "installer.sh").write_text("older")

    done = fetch(url, directory / "installer.sh")

    assert (done.returncode, done.stdout) == (1, "")
    assert list(directory.iterdir()) == []
    return done.stderr


def test_file_is_downloaded_when_its_checksum_is_right(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.answers["GET /installer.sh"] = Answer(CONTENT)

    done = fetch(f"{stand_in.url}/installer.sh", tmp_path / "installer.sh")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "installer.sh").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["installer.sh"]


def test_file_that_is_there_already_is_not_downloaded_again(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "installer.sh").write_bytes(CONTENT)

    done = fetch(f"{stand_in.url}/installer.sh", tmp_path / "installer.sh")

    assert (done.returncode, stand_in.requests) == (0, [])


def test_file_with_other_content_is_replaced(stand_in: StandIn, tmp_path: Path) -> None:
    (tmp_path / "installer.sh").write_bytes(b"older")
    stand_in.answers["GET /installer.sh"] = Answer(CONTENT)

    fetch(f"{stand_in.url}/installer.sh", tmp_path / "installer.sh")

    assert (tmp_path / "installer.sh").read_bytes() == CONTENT


def test_address_that_does_not_exist_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    assert refusal(f"{stand_in.url}/gone.sh", tmp_path) == (
        f"{stand_in.url}/gone.sh: the server answered HTTP 404, expected 200; check the address\n"
    )


def test_web_page_is_refused_as_one(stand_in: StandIn, tmp_path: Path) -> None:
    page = b"<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
    stand_in.answers["GET /installer.sh"] = Answer(page)

    assert refusal(f"{stand_in.url}/installer.sh", tmp_path) == (
        f"{stand_in.url}/installer.sh: its SHA-256 is {hashlib.sha256(page).hexdigest()}, expected {SHA256}; "
        "it is an HTML page (a proxy's error or login page?); check the address\n"
    )


def test_download_that_breaks_off_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.answers["GET /installer.sh"] = Answer(CONTENT[:10], length=len(CONTENT))

    message = refusal(f"{stand_in.url}/installer.sh", tmp_path)

    assert message == (
        f"{stand_in.url}/installer.sh: the download broke off before its end (curl: (18) transfer closed with "
        f"{len(CONTENT) - 10} bytes remaining to read); run the deploy again\n"
    )


def test_file_with_another_checksum_is_refused(stand_in: StandIn, tmp_path: Path) -> None:
    evil = b"#!/bin/sh\necho evil\n"
    stand_in.answers["GET /installer.sh"] = Answer(evil)

    assert refusal(f"{stand_in.url}/installer.sh", tmp_path) == (
        f"{stand_in.url}/installer.sh: its SHA-256 is {hashlib.sha256(evil).hexdigest()}, "
        f"expected {SHA256}; the file was deleted and not run; correct the SHA-256 in the settings only if you trust "
        "the new file\n"
    )


def test_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    message = refusal("http://127.0.0.1:1/installer.sh", tmp_path)

    assert message.startswith("http://127.0.0.1:1/installer.sh: can't be downloaded (curl: (7) Failed to connect to ")
    assert message.endswith("; check the address and the host's network\n")
