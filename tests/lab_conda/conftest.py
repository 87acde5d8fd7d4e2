"""One published channel, one HTTP server and one installed Miniconda for all these tests; a home for each."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conda_contract import Conda, Site, run_installer

from lab.conda import publish, reasons


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if reasons():
        complain = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        complain("; ".join(reasons()))
    directory = tmp_path_factory.mktemp("site")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(directory))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield Site(directory, url, publish(directory, url))
        server.shutdown()


@pytest.fixture(scope="session")
def miniconda(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefix = tmp_path_factory.mktemp("opt") / "miniconda3"
    done = run_installer(site.installer, "-b", "-p", prefix, home=tmp_path_factory.mktemp("home"))
    assert done.returncode == 0, done.stderr
    (prefix / ".condarc").write_text(f"channels: [conda-forge]\nchannel_alias: {site.url}\n")
    return prefix


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def conda(miniconda: Path, home: Path) -> Conda:
    return Conda(miniconda, home)


@pytest.fixture
def env(conda: Conda, tmp_path: Path) -> Path:
    """An environment with Python 3.12 and pip."""
    prefix = tmp_path / "env"
    done = conda("create", "-y", "-p", prefix, "python=3.12", "pip")
    assert done.returncode == 0, done.stderr
    return prefix
