"""The tracking server's image, run as platforms run it, against a real PostgreSQL, MariaDB and S3 (moto's server)."""

from __future__ import annotations

import base64
import http.client
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.process import wait_until
from mlflow_stack.image.build import SBOMS
from tests.image import containers, surroundings
from tests.image.containers import Container, inspected, once, podman, running
from tests.image.surroundings import CANARY, DATABASE_PASSWORD, PASSWORD, USER, Stack, image, printed, stack
from tests.object_stores import S3Server
from tests.servers import databases
from tests.servers.databases import Server

HEAD = "dc11669786a5"
BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
SEARCH = "/api/2.0/mlflow/experiments/search"
UPLOAD = "/api/2.0/mlflow-artifacts/artifacts/probe/large"


def status(url: str, login: str = "") -> int:
    headers = {"Content-Type": "application/json", **({"Authorization": login} if login else {})}
    request = urllib.request.Request(url, b'{"max_results": 1}', headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


# --- the image ---


def test_image_runs_as_nobody_in_particular_and_says_how_to_see_it_work(tracking_image: str) -> None:
    config = inspected(tracking_image)["Config"]

    assert config["User"] == "10001:10001"
    assert (config["Entrypoint"], config["Cmd"]) == (["mlflow-stack"], ["serve"])
    assert config["Volumes"] == {"/tmp": {}}
    assert config["StopSignal"] == "SIGTERM"
    assert inspected(tracking_image)["Healthcheck"]["Test"] == ["CMD", "mlflow-stack", "ready"]
    assert config["Labels"]["org.opencontainers.image.version"] == "3.17.2"


def test_image_is_small_and_holds_nothing_that_builds(tracking_image: str, base_image: str) -> None:
    size, below = (inspected(image)["Size"] / 1e6 for image in (tracking_image, base_image))
    print(f"image {size:.0f} MB, of which its base {below:.0f} MB")

    found = podman("run", *containers.CONFINED, "--entrypoint=sh", tracking_image, "-c", LOOK_FOR_TOOLS, check=False)

    assert size - below < 800
    assert found.stdout.split() == []


LOOK_FOR_TOOLS = (
    "for program in pip pip3 uv gcc cc apt-get cyclonedx-py; do command -v $program; done; ls -d /build /tmp/* "
    "/opt/mlflow/env/lib/python3*/site-packages/pip 2>/dev/null; true"
)


def test_no_secret_of_the_build_is_in_the_image_or_its_history(tracking_image: str) -> None:
    history = podman("history", "--no-trunc", "--format=json", tracking_image).stdout
    root = podman("image", "mount", tracking_image).stdout.strip()
    found = subprocess.run(["grep", "-rlF", CANARY, root], capture_output=True, text=True, check=False, timeout=300)
    podman("image", "unmount", tracking_image)

    assert CANARY not in history
    assert (found.returncode, found.stdout) == (1, "")


def test_bill_of_materials_names_what_is_in_the_image(tracking_image: str) -> None:
    label = inspected(tracking_image)["Config"]["Labels"]["org.mlflow-stack.sbom"]
    text = podman("run", *containers.CONFINED, "--entrypoint=cat", tracking_image, label).stdout
    packages = {component["purl"].partition("?")[0] for component in json.loads(text)["components"]}

    lock = Path("locks/mlflow-py3.11.txt").read_text()
    locked = {line.split(" ")[0] for line in lock.splitlines() if line[:1].isalpha()}
    assert {package.removeprefix("pkg:pypi/").replace("@", "==") for package in packages} >= locked
    assert any(package.startswith("pkg:pypi/boto3@") for package in packages)
    assert any(package.startswith("pkg:deb/debian/libc6@") for package in packages)
    assert any(package.startswith("pkg:generic/python@3.11.") for package in packages)
    beside = SBOMS / f"{tracking_image.rpartition('/')[2].replace(':', '-')}.cdx.json"
    assert beside.read_text() == text


def test_image_that_is_there_is_not_built_again(tracking_image: str, settings: Path) -> None:
    created = inspected(tracking_image)["Created"]

    assert printed("build", "--settings", str(settings)) == tracking_image
    assert inspected(tracking_image)["Created"] == created


def test_base_with_another_python_is_refused_before_anything_is_built(settings: Path, base_image: str) -> None:
    other = settings.with_name("other.py")
    other.write_text(f'{settings.read_text()}image_python = "3.12"\n')

    done = image("build", "--settings", str(other))

    assert done.returncode == 1
    assert done.stderr == f"image_base: {base_image} has Python 3.11, expected Python 3.12\n"


# --- what is refused ---


def test_container_that_is_told_nothing_says_all_that_it_needs(tracking_image: str) -> None:
    done = once(tracking_image)

    assert done.returncode == 1
    assert [line.split(":")[0].strip() for line in done.stderr.splitlines()] == [
        "3 problems in what this container is told; nothing was started",
        "MLFLOW_BACKEND_STORE_URI",
        "MLFLOW_ARTIFACTS_DESTINATION",
        "nobody would be asked for a login",
    ]


def test_password_in_the_address_and_a_missing_file_are_refused_without_showing_either(told: Stack) -> None:
    done = told.run(
        "serve",
        MLFLOW_BACKEND_STORE_URI=f"postgresql+psycopg2://u:{CANARY}@127.0.0.1/d",
        MLFLOW_LOGINS_FILE="/run/secrets/mlflow/nobodys",
    )

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "2 problems in what this container is told; nothing was started",
        "  MLFLOW_BACKEND_STORE_URI: holds a password; take it out, and give it in a file that "
        "MLFLOW_DATABASE_PASSWORD_FILE names, or in MLFLOW_DATABASE_PASSWORD",
        "  MLFLOW_LOGINS_FILE: /run/secrets/mlflow/nobodys can't be read (No such file or directory); mount it so that "
        "uid 10001 may",
    ]


def test_artifacts_in_the_container_itself_are_refused(told: Stack) -> None:
    done = told.run("serve", MLFLOW_ARTIFACTS_DESTINATION="/tmp")

    assert done.stderr.splitlines()[1] == (
        "  MLFLOW_ARTIFACTS_DESTINATION: /tmp is on tmpfs, and artifacts would be gone with the container; mount a "
        "directory there, or name a bucket"
    )


# --- the database ---


def test_server_never_makes_tables_and_migrate_does(
    tracking_image: str, postgresql: Server, s3: S3Server, secrets: Path
) -> None:
    told = stack(tracking_image, postgresql, s3, secrets, "mlflow_empty")

    before = told.run("serve")
    made, again = told.run("migrate"), told.run("migrate")

    assert (before.returncode, before.stderr) == (
        1,
        "the tracking database has no tables of MLflow's yet; run this image with the command `migrate` first\n",
    )
    assert (made.returncode, made.stdout) == (0, f"made at revision {HEAD}\n"), made.stderr
    assert (again.returncode, again.stdout) == (0, f"the schema is at revision {HEAD} already\n"), again.stderr


@pytest.fixture
def earlier(tracking_image: str, postgresql: Server, s3: S3Server, secrets: Path) -> tuple[Stack, str]:
    """A stack with a database of an earlier MLflow, as its own migrations make it, and the revision of that."""
    told = stack(tracking_image, postgresql, s3, secrets, "mlflow_earlier")
    os.environ["PGPASSWORD"] = DATABASE_PASSWORD
    try:
        return told, migrated_to_the_last_but_one(told.variables["MLFLOW_BACKEND_STORE_URI"])
    finally:
        del os.environ["PGPASSWORD"]


def migrated_to_the_last_but_one(uri: str) -> str:
    from alembic import command  # noqa: PLC0415  # with MLflow they take seconds
    from alembic.script import ScriptDirectory  # noqa: PLC0415
    from mlflow.store.db.utils import _get_alembic_config  # noqa: PLC0415
    from mlflow.store.tracking.dbmodels.initial_models import Base  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415

    engine, configuration = create_engine(uri), _get_alembic_config(uri)
    Base.metadata.create_all(engine)
    before = ScriptDirectory.from_config(configuration).get_revision(HEAD).down_revision
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, before)
    engine.dispose()
    return str(before)


def test_older_database_is_upgraded_when_that_is_said(earlier: tuple[Stack, str]) -> None:
    """What else migrate.py refuses, and says: tests/servers."""
    told, before = earlier
    refused = told.run("migrate")
    upgraded = told.run("migrate", MLFLOW_UPGRADE_DATABASE="true")

    assert refused.stderr == (
        f"the tracking database has schema revision {before}, this MLflow has {HEAD}. An upgrade can't be undone: make "
        "a snapshot of the database, stop its servers, and run `migrate` with MLFLOW_UPGRADE_DATABASE=true\n"
    )
    assert (upgraded.returncode, upgraded.stdout.splitlines()[-1]) == (
        0,
        f"the schema is at revision {HEAD}, it was at {before}",
    ), upgraded.stderr


# --- a server ---


def test_health_check_of_the_image_passes(served: Container) -> None:
    assert podman("healthcheck", "run", served.name, check=False).returncode == 0


def test_only_who_logs_in_gets_in(served: Container, told: Stack) -> None:
    wrong = f"Basic {base64.b64encode(f'{USER}:wrong'.encode()).decode()}"

    assert status(f"{told.url}{SEARCH}") == 401
    assert status(f"{told.url}{SEARCH}", wrong) == 401
    assert status(f"{told.url}{SEARCH}", BASIC) == 200
    assert urllib.request.urlopen(f"{told.url}/health", timeout=30).read() == b"OK"
    assert f"wrong login for {USER!r} of tracking from 127.0.0.1" in served.log.read_text()


def test_container_can_write_nowhere_but_in_its_memory_and_may_do_nothing(served: Container) -> None:
    script = (
        "for path in / /opt/mlflow /opt/mlflow/libexec /etc /var/tmp /run; do touch $path/probe 2>/dev/null && "
        "echo $path; done; touch /tmp/probe && echo /tmp; id -u; grep -E '^(CapEff|NoNewPrivs)' /proc/1/status"
    )

    assert served.run("sh", "-c", script, check=False).split() == [
        *("/tmp", "10001", "CapEff:", "0000000000000000", "NoNewPrivs:", "1")
    ]


def test_no_secret_is_in_an_environment_an_argument_or_what_is_said(served: Container, told: Stack) -> None:
    status(f"{told.url}{SEARCH}", BASIC)

    assert len(served.processes()) == 3  # the supervisor, MLflow, and uvicorn
    assert "MLFLOW_BACKEND_STORE_URI=" in served.shown()
    assert CANARY not in served.shown() + served.log.read_text()
    assert served.run("sh", "-c", "stat -c %a /tmp/mlflow-stack /tmp/mlflow-stack/*").split() == ["700", *["600"] * 3]


LOG_A_RUN = """
import filecmp, mlflow, os, sys
mlflow.set_experiment("from a laptop")
with mlflow.start_run() as run:
    mlflow.log_metric("rmse", 1.5)
    mlflow.log_artifact(sys.argv[1])
path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=os.path.basename(sys.argv[1]))
assert filecmp.cmp(path, sys.argv[1], shallow=False)
print(mlflow.get_run(run.info.run_id).data.metrics["rmse"])
"""


def client_variables(told: Stack) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_"))}
    return {
        **own,
        "MLFLOW_TRACKING_URI": told.url,
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }


def test_client_that_can_not_reach_the_bucket_logs_a_run_and_gets_its_artifact_back_identical(
    served: Container, told: Stack, s3: S3Server, tmp_path: Path
) -> None:
    """It knows no such host as the store's, which the server would have to send it to."""
    (tmp_path / "large.bin").write_bytes(os.urandom(20_000_000))
    command = [sys.executable, "-c", LOG_A_RUN, str(tmp_path / "large.bin")]

    done = subprocess.run(
        command, env=client_variables(told), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1.5"
    assert any(name.startswith("tracking/") and name.endswith("/large.bin") for name in s3.names("artifacts"))


def test_server_sends_no_client_to_the_bucket(served: Container, told: Stack) -> None:
    request = urllib.request.Request(f"{told.url}/api/3.0/mlflow/server-info", headers={"Authorization": BASIC})
    info = json.loads(urllib.request.urlopen(request, timeout=30).read())

    assert (info["multipart_downloads_enabled"], info["multipart_uploads_enabled"]) == (False, False)


def test_container_with_secrets_in_variables_that_is_told_to_stop_finishes_what_it_is_answering(
    told: Stack, s3: S3Server, served: Container, tmp_path: Path
) -> None:
    """On a port of its own, since the other server goes on. Some platforms have no files for secrets."""
    variables = {**told.variables, "PORT": str(databases.free_port())}
    for name in ("MLFLOW_DATABASE_PASSWORD", "MLFLOW_LOGINS"):
        path = variables.pop(f"{name}_FILE").replace("/run/secrets/mlflow", str(told.secrets))
        variables[name] = Path(path).read_text().strip()
    with running("mlflow-test-stopped", told.image, variables, tmp_path, told.secrets) as container:
        container.wait_until_ready()
        shown = container.shown()
        upload = http.client.HTTPConnection(f"127.0.0.1:{variables['PORT']}", timeout=60)
        upload.putrequest("PUT", UPLOAD)
        upload.putheader("Authorization", BASIC)
        upload.putheader("Content-Length", "10")
        upload.endheaders(b"first")
        podman("kill", "--signal=TERM", container.name)
        assert wait_until(lambda: "Shutting down" in container.log.read_text(), 30)
        upload.send(b"-last")
        answer = upload.getresponse().status
        ended = container.process.wait(timeout=60)

    assert "MLFLOW_BACKEND_STORE_URI=" in shown
    assert CANARY not in shown
    assert (answer, ended) == (200, 0), container.log.read_text()
    assert s3.client().get_object(Bucket="artifacts", Key="tracking/probe/large")["Body"].read() == b"first-last"


def test_open_server_asks_nobody_and_ends_with_an_error_when_its_process_dies(
    told: Stack, served: Container, tmp_path: Path
) -> None:
    variables = {**told.variables, "PORT": str(databases.free_port()), "MLFLOW_OPEN_TO_EVERYBODY": "true"}
    del variables["MLFLOW_LOGINS_FILE"]
    with running("mlflow-test-open", told.image, variables, tmp_path, told.secrets) as container:
        container.wait_until_ready()
        unasked = status(f"http://127.0.0.1:{variables['PORT']}{SEARCH}")
        container.run("sh", "-c", "kill -9 $(grep -l '[u]vicorn' /proc/[0-9]*/cmdline | grep -o '[0-9]*')")
        ended = container.process.wait(timeout=60)

    assert (unasked, ended) == (200, 1), container.log.read_text()


# --- MySQL ---


@pytest.fixture(scope="module")
def mariadb() -> Iterator[Server]:
    with surroundings.mariadb() as server:
        yield server


def test_mariadb_is_migrated_and_served(
    tracking_image: str, mariadb: Server, s3: S3Server, secrets: Path, tmp_path: Path
) -> None:
    told = stack(tracking_image, mariadb, s3, secrets, "mlflow_container")
    migrated = told.run("migrate")

    with running("mlflow-test-mariadb", told.image, told.variables, tmp_path, secrets) as container:
        container.wait_until_ready()

        assert status(f"{told.url}{SEARCH}", BASIC) == 200
        assert CANARY not in container.shown()
    assert (migrated.returncode, migrated.stdout) == (0, f"made at revision {HEAD}\n"), migrated.stderr
