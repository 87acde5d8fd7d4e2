"""Which tests run side by side: `make test` has a process for each core, since most tests wait for hosts."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.turns import has_its_turn

# What these have at hand is made once for all their modules, on a lab of one name; elsewhere a module has its own.
TOGETHER = ("tests/image/", "tests/lab/", "tests/lab_conda/")


class ByHosts(LoadScopeScheduling):
    """Keeps the tests that share a host, or another thing that takes long to make, in one process and in order."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return next((directory for directory in TOGETHER if module.startswith(directory)), module)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not has_its_turn(item.nodeid):
            item.add_marker(pytest.mark.skip(reason="it has its turn tomorrow (tests/turns.py)"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByHosts:
    return ByHosts(config, log)
