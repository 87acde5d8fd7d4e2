"""Breaking off or hanging at a named step, when a test asks for it by environment variable."""

from __future__ import annotations

import os
import sys
import time

HANG_SECONDS = 600  # bounded: a test that forgets its process must not leave it for ever


def point(step: str) -> None:
    """Fail or hang here if LAB_CONDA_FAIL_AT or LAB_CONDA_HANG_AT names this step."""
    if os.environ.get("LAB_CONDA_HANG_AT") == step:
        print(f"lab: hanging at {step}", file=sys.stderr, flush=True)
        time.sleep(HANG_SECONDS)
    if os.environ.get("LAB_CONDA_FAIL_AT") == step:
        print(f"lab: failing at {step}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)  # no clean-up: what a crash leaves is the point
