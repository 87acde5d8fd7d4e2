"""A lab of these tests' own, beside any other that runs on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lab import Host, Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab("mlabt", "10.77.9", conda=False, upstreams={"itself": "http://10.77.9.1:3142/static"})
    lab.down()
    if reasons := lab.check():
        verdict = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        verdict("; ".join(reasons))
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def one(lab: Lab) -> Host:
    return lab.up("one")


@pytest.fixture(scope="session")
def two(lab: Lab) -> Host:
    return lab.up("two")
