"""What a plan shows: which operations, in which order, on which hosts."""

from typing import Any

import pytest

from tests.plan.conftest import Plan, Planner, host

MODELS = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}}

BASE = ["Base | Install packages", "Base | Create users and directories", "Base | Install the programs of MLflow Stack"]
POSTGRESQL = ["PostgreSQL | Configure the server", "PostgreSQL | Create role mlflow_user and database mlflow_db"]
CONDA = ["Conda | Install Miniconda", "Conda | Build the MLflow environment"]
TRACKING = [
    "Tracking | Write the database password for mlflow-tracking",
    "Tracking | Bring the database schema up to date",
    "Tracking | Write the unit and configuration of mlflow-tracking",
    "Tracking | Run mlflow-tracking and see it work",
]
PRODUCTION = [
    "Production | Write the units and configuration of mlflow-production",
    "Production | Stop models that are not listed",
    "Production | Run mlflow-production",
]
DIABETES = [
    "Production | Release model diabetes",
    "Production | Run mlflow-production@diabetes and see it predict",
]
CLEANUP = ["Conda | Remove old environments"]

# On a fresh host there is nothing to take away.
NO_CHANGE = [
    "Tracking | Write the database password for mlflow-tracking",
    "Production | Stop models that are not listed",
    "Conda | Remove old environments",
]


@pytest.fixture(scope="module")
def fresh(plan: Planner) -> Plan:
    """The plan of one fresh host with every role."""
    everything = [host("mlflow1", production_models=MODELS)]
    return plan(postgresql=everything, tracking=everything, production=everything)


@pytest.fixture(scope="module")
def apart(plan: Planner) -> Plan:
    """The plan of three fresh hosts, each of which has one role."""
    shared: dict[str, Any] = {
        "postgresql_client_networks": ["10.0.0.0/24"],
        "postgresql_address": "10.0.0.5",
        "postgresql_password": "env:DB_PASSWORD",
        "tracking_bind": "0.0.0.0",
        "tracking_public_name": "10.0.0.6",
    }
    return plan(
        postgresql=[host("db", **shared)],
        tracking=[host("web", **shared)],
        production=[host("gpu", production_models=MODELS, **shared)],
    )


def test_plan_of_a_fresh_host_has_every_role_in_order(fresh: Plan) -> None:
    assert fresh.status == 0, fresh.output
    assert fresh.operations == [*BASE, *POSTGRESQL, *CONDA, *TRACKING, *PRODUCTION, *DIABETES, *CLEANUP]
    assert [name for name, hosts in fresh.changes.items() if not hosts] == NO_CHANGE


def test_plan_writes_nothing_on_a_host(fresh: Plan) -> None:
    verbs = ("rm ", "mv ", "install ", "chown ", "systemctl start", "systemctl restart", "systemctl enable", "useradd")
    commands = fresh.commands["@fake/mlflow1"]
    assert len(commands) >= 10
    assert [line for line in commands if line.startswith(verbs) or "mktemp" in line or "apt-get" in line] == []


def test_plan_gives_each_host_the_operations_of_its_roles(apart: Plan) -> None:
    assert apart.status == 0, apart.output
    by_host = {
        name: [operation for operation, hosts in apart.changes.items() if f"@fake/{name}" in hosts]
        for name in ("db", "web", "gpu")
    }
    production = [name for name in [*PRODUCTION, *DIABETES] if name not in NO_CHANGE]
    assert by_host == {
        "db": [*BASE, *POSTGRESQL],
        "web": [*BASE, *CONDA, *TRACKING],  # with a password to write, which one host alone has not
        "gpu": [*BASE, *CONDA, *production],
    }


def test_plan_shows_no_operation_twice(apart: Plan) -> None:
    assert len(apart.operations) == len(set(apart.operations)) > 0


def test_plan_reaches_the_database_and_the_tracking_server_by_their_addresses(apart: Plan) -> None:
    uri = "postgresql+psycopg2://mlflow_user@10.0.0.5:5432/mlflow_db?sslmode=require"

    assert [line for line in apart.commands["@fake/web"] if uri in line]
    assert [line for line in apart.commands["@fake/gpu"] if "models.py http://10.0.0.6:5000 " in line]


def test_plan_never_shows_the_database_password(apart: Plan) -> None:
    assert apart.status == 0
    assert "hunter2" not in apart.output


def test_plan_of_an_installed_package_is_no_change(plan: Planner) -> None:
    packages = ["ca-certificates", "curl", "postgresql-15", "postgresql-client-15"]
    everything = [host("mlflow1", answers={"dpkg-query": [f"installed {name}" for name in packages]})]

    found = plan(postgresql=everything, tracking=everything, production=everything)

    assert found.changes["Base | Install packages"] == []
