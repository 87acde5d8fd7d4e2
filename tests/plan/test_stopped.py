"""A run that is stopped by a signal while every one of its hosts is busy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab.process import wait_until
from tests.plan.conftest import REPOSITORY

TIMEOUT_S = 60
# Each command of the host takes far longer than the test waits.
BUSY = {"fake_delay": 3600, "fake_delay_jitter": 0}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_run_whose_hosts_are_all_busy_ends_when_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    inventory, log = tmp_path / "inventory.py", tmp_path / "log"
    inventory.write_text(f"postgresql = [('@fake/a', {BUSY!r})]\n")
    command = [sys.executable, "-m", "pyinfra", str(inventory), "deploy.py", "-y", "--debug"]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            env={**os.environ, "NO_COLOR": "1"},
        ) as run,
    ):
        try:
            assert wait_until(lambda: "simulating command on @fake/a" in log.read_text(), TIMEOUT_S), log.read_text()

            run.send_signal(number)

            assert run.wait(TIMEOUT_S) == 128 + number
        finally:
            run.kill()

    assert log.read_text().count("simulating command on") == 1
    assert log.read_text().endswith(
        "Stopped; commands that are at work on hosts go on. Run again to finish: the run waits for them to end.\n"
    )
