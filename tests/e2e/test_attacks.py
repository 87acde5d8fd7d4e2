"""What somebody with access to the API may try: files of the host, by names and places that lead out of the store.

After MLflow's own past holes (CVE-2023-6831, 2024-1483, 2024-1558, 2024-1560, 2024-1593, 2024-3848, 2025-11201,
2026-2033). The server is asked as it is, without its proxy, whose login would be the first obstacle: this is about an
insider, or a login that was stolen. In each test the service goes on answering others (test fixture `attacked`).
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.e2e.stack import Stack

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
SECRET = "what no client may read"
# Beside the store, and readable for the server's user, so that only the server itself stands in the way.
BESIDE = "/var/lib/mlflow/beside"
OUTSIDE = "/etc/passwd"


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    served.recovers()
    served.host.put(BESIDE, SECRET)
    served.host.run(f"chown mlflow: {BESIDE}")
    return served


@pytest.fixture
def attacked(stack: Stack) -> Iterator[Stack]:
    """The stack, which has to be as it was after the attack."""
    files = f"sha256sum {BESIDE} {OUTSIDE}; ls -A /etc /etc/mlflow /var/lib /var/lib/mlflow"
    before = stack.host.run(files).stdout
    yield stack
    assert stack.host.run(files).stdout == before
    assert stack.fault() == ""


def ask(stack: Stack, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Send a request line as it is: no library may tidy it up."""
    connection = http.client.HTTPConnection(stack.host.address, 5000, timeout=30)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def call(stack: Stack, path: str, **body: Any) -> tuple[int, Any]:
    status, answer = ask(stack, "POST", f"/api/2.0/mlflow/{path}", json.dumps(body).encode())
    return status, json.loads(answer or b"{}")


def test_the_same_requests_do_give_what_is_in_the_store(stack: Stack) -> None:
    """Otherwise none of the tests below would say anything."""
    _, created = call(stack, "runs/create", experiment_id="0")
    run = created["run"]["info"]
    store = run["artifact_uri"].removeprefix("mlflow-artifacts:/")

    assert ask(stack, "PUT", f"{ARTIFACTS}/{store}/inside", SECRET.encode())[0] == 200
    assert ask(stack, "GET", f"{ARTIFACTS}/{store}/inside") == (200, SECRET.encode())
    query = urlencode({"run_id": run["run_id"], "path": "inside"})
    assert ask(stack, "GET", f"/get-artifact?{query}") == (200, SECRET.encode())
    assert ask(stack, "GET", "/model-versions/get-artifact?name=diabetes&version=1&path=MLmodel")[0] == 200
    assert ask(stack, "DELETE", f"{ARTIFACTS}/{store}/inside")[0] == 200


def way_out(target: str) -> str:
    return "../" * 8 + target.lstrip("/")


# A path that leads to a file outside the store, as it may be written in a request.
SPELLINGS = {
    "plain": way_out,
    "from the root": lambda target: target,
    "two slashes": lambda target: f"/{target}",
    "encoded dots": lambda target: way_out(target).replace(".", "%2e"),
    "encoded slashes": lambda target: quote(way_out(target), safe=""),
    "encoded twice": lambda target: quote(quote(way_out(target), safe=""), safe=""),
    "encoded three times": lambda target: quote(quote(quote(way_out(target), safe=""), safe=""), safe=""),
    "behind a directory": lambda target: f"models/{way_out(target)}",
    "other slashes": lambda target: way_out(target).replace("/", "\\"),
    "file URI": lambda target: f"file://{target}",
    "fragment": lambda target: f"x#/{way_out(target)}",
    "null byte": lambda target: f"{way_out(target)}%00.txt",
    "tab in the dots": lambda target: way_out(target).replace("..", ".%09."),
}


@pytest.mark.parametrize("target", [BESIDE, OUTSIDE])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_file_outside_the_store_is_neither_read_nor_written_nor_deleted(
    attacked: Stack, spelling: str, target: str
) -> None:
    path = f"{ARTIFACTS}/{SPELLINGS[spelling](target)}"

    for method, body in (("GET", b""), ("PUT", b"attack"), ("DELETE", b"")):
        _, answer = ask(attacked, method, path, body)
        assert SECRET.encode() not in answer, method
        assert b"root:x:0" not in answer, method


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_artifact_of_a_run_is_never_a_file_outside(attacked: Stack, spelling: str) -> None:
    _, created = call(attacked, "runs/create", experiment_id="0")
    run = created["run"]["info"]["run_id"]

    for target in (BESIDE, OUTSIDE):
        path = SPELLINGS[spelling](target)
        for where in (
            f"/get-artifact?{urlencode({'run_id': run})}&path={path}",
            f"/get-artifact?{urlencode({'run_uuid': run, 'path': path})}",
            f"/ajax-api/2.0/mlflow/artifacts/list?run_id={run}&path={path}",
            f"/model-versions/get-artifact?name=diabetes&version=1&path={path}",
            f"/ajax-api/2.0/mlflow/get-trace-artifact?request_id=tr-1&path={path}",
        ):
            _, answer = ask(attacked, "GET", where.replace("#", "%23").replace("\\", "%5C"))
            assert SECRET.encode() not in answer, where
            assert b"root:x:0" not in answer, where


LOCATIONS = (
    "/etc",
    "file:///etc",
    "file:///var/lib/mlflow",
    "http:///#/../../../../../etc",
    "http://host/x?/../../../../../../etc",
    "mlflow-artifacts:/../../../../../etc",
    "mlflow-artifacts:/..%2f..%2f..%2f..%2fetc",
    "dbfs:/../../etc",
    "../../../../etc",
)


@pytest.mark.parametrize("location", LOCATIONS)
def test_experiment_with_a_place_of_its_own_leads_to_no_file_outside(attacked: Stack, location: str) -> None:
    name = f"attack on {location}"
    status, created = call(attacked, "experiments/create", name=name, artifact_location=location)
    if status != 200:
        return  # refused at once, which is as well
    _, run = call(attacked, "runs/create", experiment_id=created["experiment_id"])
    run_id = run["run"]["info"]["run_id"]

    for path in ("passwd", "beside", "../passwd", "../beside", "../../../../etc/passwd"):
        _, answer = ask(attacked, "GET", f"/get-artifact?{urlencode({'run_id': run_id, 'path': path})}")
        assert SECRET.encode() not in answer, path
        assert b"root:x:0" not in answer, path


@pytest.mark.parametrize(
    "source",
    [
        "/etc",
        "file:///etc",
        "file:///var/lib/mlflow",
        "//etc",
        "../../etc",
        "http://127.0.0.1:9/x",
        "s3://bucket/x",
        "mlflow-artifacts:/../../etc",
        "mlflow-artifacts://other-host/1/2/artifacts",
        "runs:/../../../etc",
        "models:/../../etc",
    ],
)
def test_model_version_from_elsewhere_leads_to_no_file_outside(attacked: Stack, source: str) -> None:
    name = f"attack-{abs(hash(source))}"
    assert call(attacked, "registered-models/create", name=name)[0] == 200

    status, _ = call(attacked, "model-versions/create", name=name, source=source)

    if status == 200:
        for path in ("passwd", "beside", "../passwd"):
            query = urlencode({"name": name, "version": 1, "path": path})
            _, answer = ask(attacked, "GET", f"/model-versions/get-artifact?{query}")
            assert SECRET.encode() not in answer, path
            assert b"root:x:0" not in answer, path
    deleted, _ = ask(
        attacked, "DELETE", "/api/2.0/mlflow/registered-models/delete", json.dumps({"name": name}).encode()
    )
    assert deleted == 200


@pytest.mark.parametrize("name", ["../../../../etc/cron.d/x", "/etc/passwd", "a/b", "a:b", "..", "x\x00y"])
def test_name_of_a_registered_model_is_no_path(attacked: Stack, name: str) -> None:
    status, answer = call(attacked, "registered-models/create", name=name)

    written = attacked.host.run(
        f"find /var/lib/mlflow /etc -newer {BESIDE} -name {PurePosixPath(name).name!r} 2>/dev/null"
    )
    assert written.stdout == ""
    # 500: PostgreSQL refuses a NUL itself.
    assert status in ((400, 500) if "\x00" in name else (200, 400)), answer


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("no JSON", b"{"),
        ("another type", b"[]"),
        ("deep", b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        ("large", b'{"max_results": 1, "filter": "' + b"x" * 20_000_000 + b'"}'),
        ("negative", b'{"max_results": -1}'),
        ("huge number", b'{"max_results": ' + b"9" * 400 + b"}"),
        ("SQL", b'{"max_results": 1, "filter": "name = \'\'; DROP TABLE runs; --"}'),
        ("not UTF-8", b'{"filter": "\xff\xfe"}'),
    ],
)
def test_malformed_body_is_refused_and_breaks_nothing(attacked: Stack, what: str, body: bytes) -> None:
    status, answer = ask(attacked, "POST", "/api/2.0/mlflow/experiments/search", body)

    assert 400 <= status < 600, (what, status, answer[:200])
    assert b"Traceback" not in answer


def test_link_that_was_planted_where_we_write_is_not_followed(attacked: Stack) -> None:
    """Who has the server's user puts links where the next run, as root, writes or makes something."""
    attacked.host.run(
        "set -e; cd /var/lib/mlflow; ln -sfn /etc/shadow planted; rm -f /etc/mlflow/tracking.env; "
        "ln -s /etc/passwd /etc/mlflow/tracking.env; rm -rf /var/backups/mlflow; "
        "runuser -u mlflow -- ln -sfn /etc /var/lib/mlflow/backups"
    )
    passwd = attacked.host.run("cat /etc/passwd /etc/shadow; stat -c '%a %U' /etc/passwd /etc/shadow").stdout

    attacked.converge()

    assert attacked.host.run("cat /etc/passwd /etc/shadow; stat -c '%a %U' /etc/passwd /etc/shadow").stdout == passwd
    assert attacked.host.run(
        "test ! -L /etc/mlflow/tracking.env && stat -c '%a %U:%G' /etc/mlflow/tracking.env"
    ).stdout == ("640 root:mlflow\n")
    attacked.host.run("rm /var/lib/mlflow/planted /var/lib/mlflow/backups")
