"""Running programs, and becoming one that stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .errors import CommandFailed


def run(*command: str, check: bool = True, timeout: float = 60, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of this machine. Raises CommandFailed, unless not `check`; a timeout (seconds) always raises."""
    line = " ".join(command)
    try:
        done = subprocess.run(command, check=False, text=True, capture_output=True, timeout=timeout, input=stdin)
    except subprocess.TimeoutExpired as late:
        raise CommandFailed("this machine", line, None, _text(late.stdout), _text(late.stderr)) from None
    if check and done.returncode:
        raise CommandFailed("this machine", line, done.returncode, done.stdout, done.stderr)
    return done


def _text(output: str | bytes | None) -> str:
    """TimeoutExpired carries bytes even in text mode (https://github.com/python/cpython/issues/87597)."""
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def start_daemon(module: str, *arguments: str) -> None:
    """Start `python -m MODULE ARGUMENTS`, which calls `detach` when ready. Raises CommandFailed with its complaint."""
    package = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    run("env", f"PYTHONPATH={path}", sys.executable, "-m", module, *arguments)


def detach(log: Path) -> None:
    """Leave the caller's session, directory and streams; output goes on into `log`.

    The first process ends here with status 0: so the caller learns of every error before this point, and has no
    child of its own to reap later.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def wait_until(condition: Callable[[], bool], timeout: float, pause: float = 0.05) -> bool:
    """Ask again until `condition` holds, at most `timeout` seconds; whether it held."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
