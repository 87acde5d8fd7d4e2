"""supervise CHECK… [--variables FILE] -- COMMAND…: run a server so that systemd knows how it really is.

CHECK is what ready.py takes: `tracking SERVER [--key FILE | --login FILE]` or `model SERVER EXAMPLE`. The unit is
started when that passes (Type=notify), and restarted when the server no longer answers (WatchdogSec=). It fails when
the server ends unasked, whatever status that gives: `mlflow server` 3.17.2 exits 0 when its server process dies. When
the unit is to stop, all processes of the server are told, and those that still answer a request are waited for.

The listening socket belongs to the .socket unit, and the server gets it as its standard input, the one descriptor that
MLflow leaves open in what it starts. It stays while the server is restarted, so that connections wait and none is
refused. See sd_listen_fds(3), sd_notify(3).

In a container there is no systemd to tell, and this is the first process: it stops and ends in the same way.

With --key the secret that MLflow signs its forms with follows from it too; MLflow takes it from its environment alone.
FILE has more that is secret and that nothing takes from anywhere else: lines of NAME=VALUE.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from accounts import FLASK_KEY, password_of, read_key  # type: ignore[import-not-found]  # its neighbours on the host
from ready import (  # type: ignore[import-not-found]
    PAUSE_S,
    NotReady,
    call,
    check_model,
    check_tracking,
)

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
USAGE_ERROR = 2


def notify(message: str) -> None:
    """Tell systemd; without a NOTIFY_SOCKET there is nobody to tell."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to_systemd:
            to_systemd.connect("\0" + address[1:] if address.startswith("@") else address)
            to_systemd.sendall(message.encode())


def checks(arguments: list[str]) -> tuple[Callable[[], None], Callable[[], object]]:
    """Return what has to pass once before the service is ready, and then again and again while it runs.

    The latter leaves the database out: a server whose database is away is not helped by a restart.
    """
    kind, server, *rest = arguments
    if kind == "tracking":
        files = {"key": file_of("--key", arguments), "login_file": file_of("--login", arguments)}
        return lambda: check_tracking(server, artifacts=False, **files), lambda: call("GET", server, "/health")
    return lambda: check_model(server, Path(rest[0])), lambda: call("GET", server, "/ping")


def file_of(option: str, arguments: list[str]) -> Path | None:
    return Path(arguments[arguments.index(option) + 1]) if option in arguments else None


def environment(arguments: list[str]) -> dict[str, str]:
    """Return what the server is started with."""
    key, variables = file_of("--key", arguments), file_of("--variables", arguments)
    secrets = dict(line.split("=", 1) for line in variables.read_text().splitlines()) if variables else {}
    if key:
        secrets["MLFLOW_FLASK_SERVER_SECRET_KEY"] = password_of(read_key(key), FLASK_KEY)
    return {**os.environ, **secrets}


def watch(ready: Callable[[], None], alive: Callable[[], object], watchdog_s: float) -> None:
    """Report READY when `ready` passes, then WATCHDOG whenever `alive` does, several times in `watchdog_s`."""
    while True:
        try:
            ready()
            break
        except NotReady as error:
            status(error)
            time.sleep(PAUSE_S)
    notify("READY=1\nSTATUS=It answers")
    while watchdog_s:
        try:
            alive()
            notify("WATCHDOG=1")
        except NotReady as error:
            status(error)
        time.sleep(watchdog_s / 4)


def status(error: NotReady) -> None:
    """Show in `systemctl status` what is wrong; one line, since a line of the server's must not be one to systemd."""
    notify(f"STATUS=Not ready: {str(error).splitlines()[0]}")


def wait_for_group(group: int) -> None:
    """Wait until no process of a group is left; TimeoutStopSec= is the limit."""
    with suppress(ProcessLookupError):
        while True:
            os.killpg(group, 0)
            with suppress(ChildProcessError):  # the first process of a container inherits what its children leave
                os.waitpid(-group, os.WNOHANG)
            time.sleep(0.05)


def main() -> int:
    if "--" not in sys.argv[3:]:
        print(__doc__, file=sys.stderr)
        return USAGE_ERROR
    split = sys.argv.index("--")
    arguments = sys.argv[1:split]
    ready, alive = checks(arguments)
    has_socket = os.environ.pop("LISTEN_PID", "") == str(os.getpid()) and os.environ.pop("LISTEN_FDS", "") == "1"
    server = subprocess.Popen(
        sys.argv[split + 1 :],
        stdin=FIRST_DESCRIPTOR if has_socket else subprocess.DEVNULL,
        start_new_session=True,
        env=environment(arguments),
    )
    stopping = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        stopping.set()
        notify("STOPPING=1")
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)  # of a container that runs in a terminal
    watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    threading.Thread(target=watch, args=(ready, alive, watchdog_s), daemon=True).start()
    ended = server.wait()
    if not stopping.is_set():
        print(f"the server ended by itself, with status {ended}", file=sys.stderr)
        return ended if ended > 0 else 1
    wait_for_group(server.pid)
    return 0


if __name__ == "__main__":
    sys.exit(main())
