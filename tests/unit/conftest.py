"""A real `mlflow server` for the unit tests that need one, on loopback and with SQLite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class MlflowServer:
    """A running server: its address, and the directory that its artifacts are in."""

    url: str
    artifacts: Path


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One for the whole session."""
    directory = tmp_path_factory.mktemp("mlflow-server")
    with running_mlflow(directory, f"{directory}/artifacts") as url:
        yield MlflowServer(url, directory / "artifacts")


@contextmanager
def running_mlflow(directory: Path, destination: str, **variables: str) -> Iterator[str]:
    """Run a server that keeps artifacts at a destination, with more variables in its environment; yield its address."""
    # Imported here: it takes seconds, and most tests need no server.
    from tests.unit.test_examples import environment, free_port, stop, wait_until_healthy  # noqa: PLC0415

    port = free_port()
    url, log = f"http://127.0.0.1:{port}", directory / "server.log"
    options = ["--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options, "--artifacts-destination", destination],
            env=environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false") | variables,
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_healthy(url, process, log)
        yield url
    finally:
        stop(process)
