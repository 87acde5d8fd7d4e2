"""Machines in a cloud, planned: what the clouds' inventories give is what deploy.py makes of such a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plan.conftest import Plan, Planner, host
from tests.unit import test_cloud_inventories as inventories
from tests.unit.inventories import OWN, Hosts
from tests.unit.test_cloud_inventories import CA, RDS

CONFIGURATION = "Tracking | Write the unit and configuration of mlflow-tracking"


def planned(plan: Planner, hosts: Hosts) -> Plan:
    """Plan the one host of an inventory behind a proxy; its password is where no cloud has to be asked for it."""
    ((_, data),) = hosts
    given: dict[str, Any] = {name: value for name, value in data.items() if name not in OWN}
    own = {"tracking_database_password": "env:DB_PASSWORD", "tracking_public_name": "mlflow.example.com"}
    machine = host("web", **given | own)
    return plan(tracking=[machine], proxy=[machine])


@pytest.fixture(scope="module")
def authority() -> str:
    return inventories.made_authority()


def test_machine_of_ec2_on_mysql(plan: Planner, tmp_path: Path, authority: str) -> None:
    hosts, _ = inventories.aws(tmp_path, authority, **inventories.MYSQL_OF_AWS)

    found = planned(plan, hosts)

    configuration = found.of("web", CONFIGURATION)
    assert found.status == 0, found.output
    assert f'+MLFLOW_BACKEND_STORE_URI="mysql+pymysql://{RDS}:3306/mlflow_db?ssl_ca={CA}&' in configuration
    assert '+MLFLOW_ARTIFACTS_DESTINATION="s3://mlflow-123456789012-eu-central-1/artifacts"' in configuration
    assert '+AWS_DEFAULT_REGION="eu-central-1"' in configuration
    assert CA in configuration


def test_machine_of_compute_engine_on_postgresql(plan: Planner, tmp_path: Path, authority: str) -> None:
    hosts, _ = inventories.gcp(tmp_path, authority, "POSTGRES_17")

    found = planned(plan, hosts)

    configuration = found.of("web", CONFIGURATION)
    assert found.status == 0, found.output
    assert f"mlflow_user@10.1.2.3:5432/mlflow_db?sslmode=verify-ca&sslrootcert={CA}" in configuration
    assert '+MLFLOW_ARTIFACTS_DESTINATION="gs://my-project-1-mlflow/artifacts"' in configuration
