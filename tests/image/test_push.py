"""Images go to a registry: a real one, on loopback."""

from __future__ import annotations

import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.process import wait_until
from tests.image.surroundings import image, printed
from tests.servers.databases import free_port

# Docker's, as images of ours have it, and OCI's, as the base.
MANIFESTS = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a registry without TLS."""
    address, configuration = f"127.0.0.1:{free_port()}", tmp_path / "registry.yml"
    configuration.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\nhttp: {{addr: {address}}}\n"
    )
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(configuration)], stdout=log, stderr=log)
    assert wait_until(lambda: answers(address), 60), (tmp_path / "log").read_text()
    yield address
    process.terminate()
    process.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://{address}/v2/", timeout=5).status == 200)
    except OSError:
        return False


def test_image_is_pushed_and_named_by_its_digest(registry: str, base_image: str) -> None:
    """The base, which is small; how an image is pushed does not depend on what is in it."""
    pushed = printed("push", base_image, f"{registry}/team/mlflow:3.17.2", "--tls-verify", "false")

    manifest = f"http://{registry}/v2/team/mlflow/manifests/3.17.2"
    asked = urllib.request.urlopen(urllib.request.Request(manifest, headers={"Accept": MANIFESTS}), timeout=20)
    assert pushed == f"{registry}/team/mlflow@{asked.headers['Docker-Content-Digest']}"


def test_registry_without_tls_is_refused_unless_that_is_said(registry: str, base_image: str) -> None:
    done = image("push", base_image, f"{registry}/mlflow:1")

    assert (done.returncode, done.stdout) == (1, "")
    assert "server gave HTTP response to HTTPS client" in done.stderr
    assert done.stderr.splitlines()[-1] == "`buildah push` ended with status 125; it says why above"
