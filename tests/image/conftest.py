"""Images that are really built, in a storage of the tests' own, on a base that is made here: no registry is reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image import containers, surroundings
from tests.image.containers import Container, running
from tests.image.surroundings import BUCKET, SUITE, Stack, printed
from tests.object_stores import S3Server, s3_server
from tests.servers.databases import Server


@pytest.fixture(scope="session", autouse=True)
def storage() -> Iterator[None]:
    absent = containers.missing()
    if os.geteuid() or absent:
        assert not os.environ.get("CI"), f"it needs root, and {absent}"
        pytest.skip(f"it needs root, and {absent}" if absent else "it needs root")
    with surroundings.storage():
        yield


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return surroundings.settings_file(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="session")
def base_image(storage: None) -> str:
    return printed("base", SUITE)


@pytest.fixture(scope="session")
def tracking_image(settings: Path, base_image: str) -> str:
    return printed("build", "--settings", str(settings))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with surroundings.postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        server.bucket(BUCKET)
        yield server


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return surroundings.secret_files(tmp_path_factory.mktemp("secrets"))


@pytest.fixture(scope="session")
def told(tracking_image: str, postgresql: Server, s3: S3Server, secrets: Path) -> Stack:
    """A stack with a database of its own that is empty."""
    return surroundings.stack(tracking_image, postgresql, s3, secrets, "mlflow_container")


@pytest.fixture(scope="session")
def served(told: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The tracking server of that stack, as a container that goes on through all tests."""
    migrated = told.run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    directory = tmp_path_factory.mktemp("served")
    with running("mlflow-test-tracking", told.image, told.variables, directory, told.secrets) as container:
        container.wait_until_ready()
        yield container
