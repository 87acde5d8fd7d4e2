"""The other Debian releases: each becomes a host with everything on it, by the same roles and the same settings.

Bookworm is what all other tests run on. Each release has its turn (tests/turns.py). The model is trained on the host
with the tracking server's own Python, so that its environment can be made again from what the release's channel has:
Debian 11 has one Python only, compiled for its old glibc (lab/conda/hosts.py). What is therefore not tried on Debian 11
is the default `conda_python`, 3.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from lab import Lab
from lab.inventory import settings
from mlflow_stack.platforms import PLATFORMS, Platform
from tests.e2e import web
from tests.e2e.conform import conform
from tests.e2e.conftest import NAME
from tests.e2e.proxied import proxied
from tests.e2e.stack import EXAMPLE, REPOSITORY, Run, Stack
from tests.e2e.test_story import EVERYTHING
from tests.turns import of_today

# By the release's name: its key in the table of platforms.
RELEASES = {"trixie": ("debian", "13"), "forky": ("debian", "forky"), "bullseye": ("debian", "11")}
PASSWORD = "canary: p@ss'word\\with$everything"
TRAINING = "/srv/train_diabetes.py"


@dataclass(frozen=True)
class Told:
    """What happened to a fresh host of a release, in order; the last run gave the database a password."""

    stack: Stack
    platform: Platform
    first: Run
    second: Run
    release: Run
    last: Run
    with_password: Run
    again: Run


@pytest.fixture(scope="module", params=of_today(RELEASES, 3))
def told(lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Deploy to a fresh host of the release, train, deploy, and reach the database by TCP; the host goes afterwards."""
    lab.down(NAME)
    host = lab.up(NAME, release=request.param)
    stack = Stack(host, tmp_path_factory.mktemp(request.param), **settings(lab, request.param))
    yield Told(
        stack=stack,
        platform=PLATFORMS[RELEASES[request.param]],
        first=stack.converge(),
        second=stack.converge(),
        release=_train_and_converge(stack),
        last=stack.converge(),
        with_password=stack.converge(**_by_tcp(stack)),
        again=stack.converge(**_by_tcp(stack)),
    )
    lab.down(NAME)


def _train_and_converge(stack: Stack) -> Run:
    stack.host.put(TRAINING, (REPOSITORY / "examples/train_diabetes.py").read_text())
    python = "$(ls -d /opt/mlflow/envs/mlflow-*)/bin/python"
    stack.host.run(
        f"cd && MPLCONFIGDIR=~/.matplotlib {python} {TRAINING} --tracking-uri http://127.0.0.1:5000",
        user="deploy",
        timeout=300,
    )
    return stack.converge()


def _by_tcp(stack: Stack) -> dict[str, Any]:
    """The settings for a database that is reached by TLS and a password, from the host itself and from this machine."""
    password = stack.directory / "password"
    password.write_text(PASSWORD)
    return {
        "tracking_database_uri": "postgresql+psycopg2://mlflow_user@127.0.0.1:5432/mlflow_db?sslmode=require",
        "postgresql_client_networks": ["127.0.0.1/32", f"{stack.host.lab.network.gateway}/32"],
        "postgresql_password": f"file:{password}",
        "tracking_database_password": f"file:{password}",
    }


def test_first_run_does_everything_and_second_run_nothing(told: Told) -> None:
    assert told.first.changed == EVERYTHING
    assert told.second.changed == []


def test_trained_model_is_released_by_one_run(told: Told) -> None:
    assert told.release.changed == [
        "Production | Release model diabetes",
        "Production | Run mlflow-production@diabetes and see it predict",
    ]
    assert told.last.changed == []


def test_database_password_is_taken_up_by_one_run(told: Told) -> None:
    assert "Tracking | Write the database password for mlflow-tracking" in told.with_password.changed
    assert "Tracking | Run mlflow-tracking and see it work" in told.with_password.changed
    assert told.again.changed == []


def test_stack_works_for_those_outside(told: Told) -> None:
    prediction = web.post(f"{told.stack.model_url}/invocations", EXAMPLE).json["predictions"][0]
    page = web.get(told.stack.url)

    assert told.stack.fault() == ""
    assert 25 <= prediction <= 346  # the range of what was measured
    assert (page.status, "<title>MLflow</title>" in page.body) == (200, True)


def test_database_is_the_one_of_the_release_and_has_the_runs(told: Told) -> None:
    with psycopg2.connect(
        host=told.stack.host.address, dbname="mlflow_db", user="mlflow_user", password=PASSWORD, sslmode="require"
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT current_setting('server_version_num')::int / 10000, (SELECT count(*) FROM runs)")
        found = cursor.fetchone()
    connection.close()

    assert found == (told.platform.postgresql, 3)


def test_promises_that_can_be_asked_are_kept_on_every_release(told: Told) -> None:
    found = conform(told.stack, **_by_tcp(told.stack))

    assert found.is_kept, found.output


def test_systemd_is_that_of_the_table_or_newer_and_has_no_failed_unit(told: Told) -> None:
    version = told.stack.host.run("systemctl --version | awk 'NR == 1 {print $2}'").stdout
    failed = told.stack.host.run("systemctl --failed --plain --no-legend").stdout
    restarts = told.stack.host.run("systemctl show -P NRestarts mlflow-tracking mlflow-production@diabetes").stdout

    assert int(version) >= told.platform.systemd  # forky's moves
    assert (failed, restarts.split()) == ("", ["0", "0"])


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("", ""),
        ("Bogus=yes", "Unknown key"),
        ("Environment=A=%Z", "Failed to resolve"),
        # The first of its kind: systemd 247 looks at no other.
        ("ExecStopPost=/no/such", "Command /no/such is not executable"),
    ],
    ids=["no-fault", "unknown-key", "unknown-specifier", "missing-program"],
)
def test_unit_is_verified_as_the_release_can(told: Told, line: str, fault: str) -> None:
    installed = "/etc/systemd/system/mlflow-tracking.service"
    draft = (
        f"d=$(mktemp -d); new=$d/mlflow-tracking.service; {{ cat {installed}; echo '[Service]'; echo {line}; }} > $new"
    )

    done = told.stack.host.run(f"set -eu; {draft}; {told.platform.verify_unit}", check=False)

    assert fault in done.stderr
    assert (done.returncode == 0) == (fault == ""), done.stderr


def test_proxy_of_the_release_shows_its_certificate_and_asks_for_a_login(told: Told, tmp_path: Path) -> None:
    with proxied(told.stack, tmp_path) as stack:
        assert stack.fault() == ""
        assert [stack.search(auth=None).status_code, stack.predict(auth=None).status_code] == [401, 401]
        assert stack.converge().changed == []
