"""ready tracking URL [--artifacts] | ready model URL EXAMPLE: exit 0 when the service really works.

`tracking`: /health answers through the address that clients use, a call that needs the database succeeds, and with
--artifacts a file goes up, comes back identical and is deleted again. (/health alone answers 200 while PostgreSQL is
down.) `model`: /ping answers and the model predicts for the input example that was logged with it, if there is one.

With READY_WAIT_S in the environment it tries again for so many seconds; with READY_READ_ONLY nothing is written, so
--artifacts is left out. The reason of the last failure is printed on standard error.
"""

import argparse
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

CALL_TIMEOUT_S = 20
PAUSE_S = 0.25


class NotReady(Exception):
    """The service does not work (yet); the message says in what way."""


def call(method: str, url: str, data: bytes | None = None, content_type: str = "application/json") -> bytes:
    """Return the body of a 2xx answer; raise NotReady for anything else, a server that is silent included."""
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": content_type})
    # An http_proxy of the environment must not stand between a host and its own service.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    what = f"{method} {url}"
    try:
        with opener.open(request, timeout=CALL_TIMEOUT_S) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise NotReady(f"{what}: HTTP {error.code}: {error.read(300).decode(errors='replace').strip()}") from None
    except (OSError, http.client.HTTPException) as error:  # HTTPException: the server died in the middle of its answer
        raise NotReady(f"{what}: {getattr(error, 'reason', error)}") from None


def check_tracking(url: str, artifacts: bool) -> None:
    call("GET", f"{url}/health")
    call("POST", f"{url}/api/2.0/mlflow/experiments/search", b'{"max_results": 1}')
    if artifacts:
        # Hosts that share a store may probe it at the same moment.
        check_artifacts(f"{url}/api/2.0/mlflow-artifacts/artifacts/.mlflow-stack-probe-{uuid.uuid4().hex}")


def check_artifacts(url: str) -> None:
    content = os.urandom(1024)
    call("PUT", url, content, "application/octet-stream")
    returned = call("GET", url)
    call("DELETE", url)
    if returned != content:
        raise NotReady(f"GET {url}: an artifact of 1024 bytes came back as {len(returned)} other bytes")


def check_model(url: str, example: Path) -> None:
    call("GET", f"{url}/ping")
    if not example.is_file():
        return
    body = call("POST", f"{url}/invocations", example.read_bytes())
    try:
        predictions = json.loads(body)["predictions"]
    except (ValueError, TypeError, KeyError):
        predictions = None
    if not predictions:
        raise NotReady(f"POST {url}/invocations: no predictions in {body[:300].decode(errors='replace')}")


def wait_until(check: Callable[[], None], seconds: float) -> str | None:
    """Call `check` until it passes; return the reason when it has not within `seconds`."""
    end = time.monotonic() + seconds
    while True:
        try:
            check()
            return None
        except NotReady as error:
            if time.monotonic() >= end:
                return str(error)
        time.sleep(PAUSE_S)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    tracking = kinds.add_parser("tracking")
    tracking.add_argument("url")
    tracking.add_argument("--artifacts", action="store_true")
    model = kinds.add_parser("model")
    model.add_argument("url")
    model.add_argument("example", type=Path)
    options = parser.parse_args()
    url = options.url.rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        parser.error(f"{options.url}: expected an address that starts with http:// or https://")

    def check() -> None:
        if options.kind == "tracking":
            check_tracking(url, options.artifacts and "READY_READ_ONLY" not in os.environ)
        else:
            check_model(url, options.example)

    reason = wait_until(check, float(os.environ.get("READY_WAIT_S", "0")))
    if reason:
        print(f"not ready: {reason}", file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
