"""The real gcloud, for the tests that need it."""

from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture(scope="session", autouse=True)
def real_gcloud(request: pytest.FixtureRequest) -> str:
    """Return where gcloud is. It is in no archive of Debian, so it is taken where it is found on PATH.

    Without it these tests fail in CI, and are skipped anywhere else.
    """
    program = shutil.which("gcloud")
    if program is None:
        verdict = pytest.fail if os.environ.get("CI") else pytest.skip
        verdict("gcloud is not installed: https://cloud.google.com/sdk/docs/install (the Google Cloud CLI)")
    return program
