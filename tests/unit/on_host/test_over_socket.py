"""over_socket.py, run as a host runs it: a client that knows http:// alone, and a server on a Unix socket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow_stack
from tests.unit.on_host.conftest import Answer, StandIn

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/over_socket.py"
CLIENT = """
import os, sys, urllib.request
request = urllib.request.Request(os.environ["MLFLOW_TRACKING_URI"] + "/put", bytes(5_000_000), method="PUT")
print(len(urllib.request.urlopen(request).read()))
print(urllib.request.urlopen(os.environ["MLFLOW_TRACKING_URI"] + "/get").read().decode())
sys.exit(int(sys.argv[1]))
"""


def over_socket(path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), path, sys.executable, "-c", CLIENT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_client_reaches_the_server_and_its_status_is_passed_on(stand_in_at_socket: StandIn) -> None:
    stand_in_at_socket.answers |= {"PUT /put": Answer(bytes(3_000_000)), "GET /get": Answer(b"hello")}

    done = over_socket(stand_in_at_socket.url.removeprefix("unix:"), "7")

    assert (done.returncode, done.stdout) == (7, "3000000\nhello\n"), done.stderr
    assert [(what, len(body)) for what, body in stand_in_at_socket.requests] == [
        ("PUT /put", 5_000_000),
        ("GET /get", 0),
    ]


def test_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = over_socket(str(tmp_path / "http.sock"), "0")

    assert done.returncode == 1
    assert f"{tmp_path}/http.sock: No such file or directory" in done.stderr
