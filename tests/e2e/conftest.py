"""Fixtures of the end-to-end tests: one lab, one deployed host that is told as a story, and clones of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Lab
from tests.e2e.stack import Run, Stack

LAYER = "served"
# While writing tests: E2E_KEEP=1 keeps the lab and tells the story only once (never for a verdict).
KEEP = bool(os.environ.get("E2E_KEEP"))
NAME = "mlflow1"
# Each of the processes that pytest is split into has a lab of its own.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@dataclass(frozen=True)
class Story:
    """What happened to a fresh host, in order; the tests of test_story.py judge it."""

    before: str
    plan: Run
    after_plan: str
    first: Run
    second: Run
    training: str
    release: Run
    last: Run
    last_plan: Run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of the tests' own. Where it can't run the tests are skipped with the reason, but they fail in CI."""
    lab = Lab(os.environ.get("E2E_LAB_ID", f"me2e{WORKER}"), os.environ.get("E2E_LAB_NET", f"10.77.{80 + WORKER}"))
    reasons = lab.check()
    if reasons and not os.environ.get("CI"):
        pytest.skip("; ".join(reasons))
    lab.ensure()
    if not KEEP:
        lab.down()
    yield lab
    if not KEEP:
        lab.down()


@pytest.fixture(scope="session")
def story(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Deploy to a fresh host, train, deploy again, and keep the result as a layer for clones."""
    stack = Stack(lab.up(NAME), tmp_path_factory.mktemp("story"))
    story = Story(
        before=stack.fingerprint(),
        plan=stack.plan(),
        after_plan=stack.fingerprint(),
        first=stack.converge(),
        second=stack.converge(),
        training=stack.train(),
        release=stack.converge(),
        last=stack.converge(),
        last_plan=stack.plan(),
    )
    lab.snapshot(NAME, LAYER)
    return story


@pytest.fixture(scope="session")
def layer(lab: Lab, request: pytest.FixtureRequest) -> str:
    """The layer that clones start from; telling the story makes it."""
    if not (KEEP and LAYER in lab.layers()):
        request.getfixturevalue("story")
    return LAYER


@pytest.fixture(scope="module")
def served(lab: Lab, layer: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """A host on which everything runs and a model is served, fresh for each module of tests.

    It has the name and the address of the host that the story was told on, so that it is converged as it is.
    """
    return clone(lab, tmp_path_factory.mktemp("served"))


@pytest.fixture
def own(lab: Lab, layer: str, tmp_path: Path) -> Stack:
    """As `served`, for a test that breaks its host."""
    return clone(lab, tmp_path)


def clone(lab: Lab, directory: Path) -> Stack:
    """Replace the host by a clone of the deployed one."""
    lab.down(NAME)
    return Stack(lab.up(NAME, layers=[LAYER]), directory)
