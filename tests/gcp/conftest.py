"""The real gcloud, for the tests that need it."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(scope="session", autouse=True)
def real_gcloud() -> str:
    """Return where gcloud is, or skip: no archive of Debian has it, so `make test` can't install it."""
    program = shutil.which("gcloud")
    if program is None:
        pytest.skip("gcloud is not installed: https://cloud.google.com/sdk/docs/install (the Google Cloud CLI)")
    return program
