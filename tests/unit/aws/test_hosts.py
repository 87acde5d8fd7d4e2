"""Virtual machines with the stack's database and bucket, and the inventory that deploy.py gets of them."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from typing import Any

import pytest

from mlflow_stack.aws import command
from mlflow_stack.aws.api import Failed, Refused
from mlflow_stack.aws.command import load
from mlflow_stack.aws.hosts import hosts
from tests.unit.aws.conftest import Cloud
from tests.unit.defaults import REPOSITORY
from tests.unit.inventories import checked

MYSQL = {"aws_database_engine": "mysql", "aws_database_version": "8.4.9"}
HOSTS: dict[str, Any] = {
    "aws_service": False,
    "aws_hosts": {"mlflow1": {"type": "t3.large", "disk_gib": 40}, "mlflow2": {}},
    "aws_host_image": "ami-12c6146b",  # one of those that moto knows
    "aws_host_key": "ada",
    "aws_ssh_network": "203.0.113.0/24",
}


@pytest.fixture
def machines(cloud: Cloud) -> Cloud:
    """A stack of two machines, without a service on Fargate."""
    cloud.client("ec2").create_key_pair(KeyName="ada")
    cloud.settings |= HOSTS
    status, output, messages = cloud.run("apply")
    assert (status, messages) == (0, ""), output
    return cloud


def addresses(cloud: Cloud) -> dict[str, str]:
    """Return the public addresses of the machines by their names."""
    found = cloud.client("ec2").describe_instances()["Reservations"]
    instances = [instance for each in found for instance in each["Instances"]]
    names = {tag["Value"]: each["InstanceId"] for each in instances for tag in each["Tags"] if tag["Key"] == "Name"}
    by_instance = {
        each["InstanceId"]: each["PublicIp"] for each in cloud.client("ec2").describe_addresses()["Addresses"]
    }
    return {name: by_instance[instance] for name, instance in names.items()}


def test_inventory_has_the_machines_addresses_and_the_stack_s_database_and_bucket(machines: Cloud) -> None:
    found = addresses(machines)

    inventory = hosts(load(machines.path))

    address = "mlflow.aaaaaaaaaa.us-east-1.rds.amazonaws.com"
    shared = {
        "ssh_user": "admin",
        "_sudo": True,
        "tracking_database_uri": f"postgresql+psycopg2://mlflow_user@{address}:5432/mlflow_db",
        "tracking_database_password": f"cmd:{sys.executable} -m mlflow_stack.aws.hosts mlflow/database us-east-1",
        "tracking_database_ca_file": "",
        "tracking_artifacts_destination": "s3://mlflow-123456789012-us-east-1/artifacts",
        "tracking_artifacts_region": "us-east-1",
    }
    assert inventory == [
        ("mlflow1", {"ssh_hostname": found["mlflow-mlflow1"], **shared}),
        ("mlflow2", {"ssh_hostname": found["mlflow-mlflow2"], **shared}),
    ]


def test_reference_to_the_password_leads_to_it(machines: Cloud) -> None:
    secret = machines.client("secretsmanager").get_secret_value(SecretId="mlflow/database")["SecretString"]
    (_, data), _ = hosts(load(machines.path))
    command = data["tracking_database_password"].removeprefix("cmd:")

    done = subprocess.run(
        ["sh", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == json.loads(secret)["password"] + "\n"


@pytest.mark.parametrize("engine", [{}, MYSQL], ids=["postgresql", "mysql"])
def test_example_is_an_inventory_that_a_run_takes(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, engine: dict[str, Any]
) -> None:
    cloud.client("ec2").create_key_pair(KeyName="ada")
    cloud.settings |= {**HOSTS, "aws_hosts": {"mlflow1": {}}, **engine}
    assert cloud.run("apply")[0] == 0
    monkeypatch.setattr(command, "SETTINGS", cloud.path)

    found = runpy.run_path(str(REPOSITORY / "examples/inventory_aws.py"))

    groups = {name: found[name] for name in ("aws", "tracking", "proxy")}
    (host,) = checked(groups, **cloud.settings).values()
    assert (host.host_address, host.tracking_public_name) == (addresses(cloud)["mlflow-mlflow1"], "mlflow.example.com")


def test_example_is_an_inventory_that_pyinfra_reads(machines: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "examples/inventory_aws.py").read_text()
    inventory = machines.directory / "examples/inventory_aws.py"
    inventory.parent.mkdir()
    inventory.write_text(text.replace("load()", f"load(Path({str(machines.path)!r}))"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))

    pyinfra = [sys.executable, "-m", "pyinfra", str(inventory), "debug-inventory"]
    done = subprocess.run(pyinfra, cwd=machines.directory, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    for address in addresses(machines).values():
        assert address in done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("--> Groups: aws, tracking, proxy, inventory_aws\n") == 2


def test_inventory_without_machines_is_refused(cloud: Cloud) -> None:
    cloud.run("plan")  # writes the settings

    with pytest.raises(Refused) as refused:
        hosts(load(cloud.path))

    assert str(refused.value) == (
        "1 problem; nothing was changed\n  aws_hosts is empty; name machines there, in group_data/aws.py"
    )


def test_machines_are_looked_for_in_their_own_account_alone(machines: Cloud) -> None:
    machines.settings |= {"aws_account_id": "210987654321", "aws_certificate_arn": ""}
    machines.run("plan")  # writes the settings

    with pytest.raises(Refused) as refused:
        hosts(load(machines.path))

    assert refused.value.problems == [
        "aws_account_id is 210987654321, and the credentials are for account 123456789012; use those of 210987654321"
    ]


def test_machines_that_are_not_there_yet_are_named(cloud: Cloud) -> None:
    cloud.run("plan", **HOSTS)

    with pytest.raises(Failed) as failed:
        hosts(load(cloud.path))

    assert str(failed.value) == (
        "not there yet: mlflow-network, mlflow-data, mlflow-host-mlflow1, mlflow-host-mlflow2; run "
        "`python -m mlflow_stack aws apply`"
    )


def test_machines_stay_unless_the_stack_s_name_is_repeated(machines: Cloud) -> None:
    assert machines.run("destroy") == (
        0,
        "kept: mlflow-host-mlflow1, mlflow-host-mlflow2, mlflow-data, mlflow-network; they cost money, and go with "
        "--delete-data mlflow\n",
        "",
    )

    status, output, messages = machines.run("destroy", "--delete-data", "mlflow")

    assert (status, messages) == (0, "")
    assert output.splitlines()[:2] == ["removed: stack mlflow-host-mlflow1", "removed: stack mlflow-host-mlflow2"]
    assert machines.client("cloudformation").describe_stacks()["Stacks"] == []


def test_larger_machine_is_planned_for_that_machine_alone(machines: Cloud) -> None:
    larger = {**HOSTS["aws_hosts"], "mlflow2": {"type": "t3.large"}}

    assert machines.run("plan", aws_hosts=larger) == (
        2,
        "mlflow-host-mlflow2: ~ Machine (AWS::EC2::Instance), changed in place\n"
        "    InstanceType: t3.medium -> t3.large\n"
        "1 changed; 33 resources as declared\n",
        "",
    )
