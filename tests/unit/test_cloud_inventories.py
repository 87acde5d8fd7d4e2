"""Machines in a cloud as hosts: what the inventories set is what the settings of hosts take, for either database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mlflow_stack.aws.command import load
from mlflow_stack.aws.hosts import host_entries as hosts_of_aws
from mlflow_stack.aws.secret import Secret
from mlflow_stack.aws.values import Known
from mlflow_stack.domain.object_store import ObjectStore
from mlflow_stack.gcp.inventory import host_entries as hosts_of_gcp
from mlflow_stack.gcp.stack import outputs
from mlflow_stack.settings import Settings
from tests.unit.aws.certificate import make_pair
from tests.unit.aws.test_templates import OUTPUTS, SETTINGS
from tests.unit.gcp.found import instance, settings, whole
from tests.unit.inventories import Hosts, checked

MYSQL_OF_AWS = {"aws_database_engine": "mysql", "aws_database_version": "8.4.9"}
GROUPS = ("tracking", "proxy")
PASSED_ON = "read_default_file=/run/mlflow-tracking/mysql.cnf&read_default_group=pymysql"
CA = "/etc/mlflow/database-ca.crt"


def made_authority() -> str:
    """Return the certificate of a database's authority (PEM)."""
    return make_pair(names=["authority"]).certificate.public_bytes(Encoding.PEM).decode()


@pytest.fixture(scope="module")
def authority() -> str:
    return made_authority()


def aws(directory: Path, authority: str = "", **changed: Any) -> tuple[Hosts, dict[str, Any]]:
    """Return hosts of EC2, from outputs as CloudFormation gives them, and what group_data/aws.py sets for them."""
    path, bundle = directory / "aws.py", directory / "bundle.pem"
    bundle.write_text(authority)
    given = {**SETTINGS, **({"aws_database_ca_file": str(bundle)} if authority else {}), **changed}
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in given.items()))
    port = "3306" if "mysql" in given.values() else "5432"
    found = {**OUTPUTS, "data": {**OUTPUTS["data"], "DatabasePort": port}, "host-mlflow1": {"Address": "198.51.100.7"}}
    return hosts_of_aws(Known(load(path), found, Secret(""), None)), given


def gcp(directory: Path, authority: str, version: str) -> tuple[Hosts, dict[str, Any]]:
    """Return hosts of Compute Engine, from answers as Google's APIs give them."""
    given = {
        "gcp_database_version": version,
        "gcp_machines": {"mlflow1": {"zone": "europe-west1-b"}},
        "gcp_machine_ssh_key": "~/.ssh/id_ed25519.pub",
        "gcp_machine_clients": ["192.0.2.0/24"],
    }
    interface = {"networkIP": "10.132.0.2", "accessConfigs": [{"natIP": "198.51.100.7"}]}
    private = [{"type": "PRIVATE", "ipAddress": "10.1.2.3"}]
    there = {**instance(), "ipAddresses": private, "serverCaCert": {"cert": authority}}
    answers = {"instances": [there], "machine mlflow1": {"status": "RUNNING", "networkInterfaces": [interface]}}
    found = outputs(settings(**given), whole(settings(), **answers))
    return hosts_of_gcp(found, "mlflow", "deploy", store=directory), given


def only(hosts: Hosts, given: dict[str, Any], cloud: str) -> Settings:
    """Return the settings of the one host that an inventory as in examples/ makes of it."""
    return checked({cloud: hosts, **dict.fromkeys(GROUPS, hosts)}, **given)["mlflow1"]


RDS = "mlflow_user@mlflow.abc.eu-central-1.rds.amazonaws.com"


@pytest.mark.parametrize(
    ("changed", "with_authority", "uri", "addons"),
    [
        ({}, False, f"postgresql+psycopg2://{RDS}:5432/mlflow_db?sslmode=require", ("s3",)),
        ({}, True, f"postgresql+psycopg2://{RDS}:5432/mlflow_db?sslmode=verify-full&sslrootcert={CA}", ("s3",)),
        (
            MYSQL_OF_AWS,
            False,
            f"mysql+pymysql://{RDS}:3306/mlflow_db?ssl_check_hostname=false&{PASSED_ON}",
            ("mysql", "s3"),
        ),
        (
            MYSQL_OF_AWS,
            True,
            f"mysql+pymysql://{RDS}:3306/mlflow_db?ssl_ca={CA}&ssl_check_hostname=true&{PASSED_ON}",
            ("mysql", "s3"),
        ),
    ],
    ids=["postgresql", "postgresql-with-amazon-s-authority", "mysql", "mysql-with-amazon-s-authority"],
)
def test_machine_of_ec2_has_the_stack_s_database_and_bucket(
    tmp_path: Path, authority: str, changed: dict[str, Any], with_authority: bool, uri: str, addons: tuple[str, ...]
) -> None:
    host = only(*aws(tmp_path, authority if with_authority else "", **changed), "aws")

    bucket = "s3://mlflow-123456789012-eu-central-1/artifacts"
    assert (host.database_uri, host.addons) == (uri, addons)
    assert host.object_store == ObjectStore(bucket, region="eu-central-1")  # and no credentials: it has an identity
    assert host.database_password
    assert host.database_password[0].endswith(" -m mlflow_stack.aws.hosts mlflow/database eu-central-1")
    assert host.tracking_public_name == "mlflow.example.com"


@pytest.mark.parametrize(
    ("version", "uri", "addons"),
    [
        (
            "POSTGRES_17",
            f"postgresql+psycopg2://mlflow_user@10.1.2.3:5432/mlflow_db?sslmode=verify-ca&sslrootcert={CA}",
            ("gcs",),
        ),
        (
            "MYSQL_8_4",
            f"mysql+pymysql://mlflow_user@10.1.2.3:3306/mlflow_db?ssl_check_hostname=false&ssl_ca={CA}&{PASSED_ON}",
            ("mysql", "gcs"),
        ),
    ],
)
def test_machine_of_compute_engine_has_the_stack_s_database_and_bucket(
    tmp_path: Path, authority: str, version: str, uri: str, addons: tuple[str, ...]
) -> None:
    host = only(*gcp(tmp_path, authority, version), "gcp")

    assert (host.database_uri, host.addons) == (uri, addons)
    assert host.object_store == ObjectStore("gs://my-project-1-mlflow/artifacts")
    assert host.database_password
    assert host.database_password[0].endswith(" --secret=mlflow-database-password --project=my-project-1")
    assert Path(host.tracking.database_ca_file).read_text() == authority
