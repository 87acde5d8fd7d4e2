"""How a stack ends, what it tells others before that, and how its machines become hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.gcp.declared import Declared
from mlflow_stack.gcp.inventory import host_entries
from mlflow_stack.gcp.plan import Plan
from mlflow_stack.gcp.stack import make_end, make_plan, outputs
from mlflow_stack.gcp.survey import Found, Refused
from tests.unit.gcp.found import instance, nothing, settings, whole

PUBLIC_KEY = "ssh-ed25519 AAAAC3Nz ada, of ops"
MACHINE = {
    "status": "RUNNING",
    "machineType": "…/machineTypes/e2-standard-2",
    "labels": {"mlflow-stack": "mlflow"},
    "networkInterfaces": [{"networkIP": "10.132.0.2", "accessConfigs": [{"natIP": "198.51.100.7"}]}],
}


@pytest.fixture
def with_machine(tmp_path: Path) -> Declared:
    key = tmp_path / "key.pub"
    key.write_text(PUBLIC_KEY + "\n")
    return settings(
        gcp_machines={"mlflow1": {"zone": "europe-west1-b"}},
        gcp_machine_ssh_key=str(key),
        gcp_machine_clients=["192.0.2.0/24"],
    )


def found_with(machine: dict[str, Any] | None, wanted: Declared) -> Found:
    addresses = [{"type": "PRIMARY", "ipAddress": "203.0.113.5"}, {"type": "PRIVATE", "ipAddress": "10.1.2.3"}]
    network = "https://www.googleapis.com/compute/v1/projects/my-project-1/global/networks/default"
    private = {"ipv4Enabled": True, "sslMode": "ENCRYPTED_ONLY", "privateNetwork": network}
    there = {**instance(ipConfiguration=private), "ipAddresses": addresses, "serverCaCert": {"cert": "PEM"}}
    rule = {"name": "mlflow-clients", "sourceRanges": ["192.0.2.0/24"]}
    answers = {"instances": [there], "peerings": [{"network": "default"}], "firewall rules": [rule]}
    return whole(wanted, **{**answers, "machine mlflow1": machine})


def text(plan: Plan) -> str:
    return "\n".join(plan.lines())


def test_end_of_a_stack_keeps_what_holds_data(with_machine: Declared) -> None:
    plan = make_end(with_machine.gcp, found_with(MACHINE, with_machine), with_data=False)

    assert text(plan) == (
        "remove Cloud Run service mlflow\n"
        "    $ gcloud run services delete mlflow --region=europe-west1\n"
        "\n"
        "remove Cloud Run job mlflow-migrate\n"
        "    $ gcloud run jobs delete mlflow-migrate --region=europe-west1\n"
        "\n"
        "remove firewall rule mlflow-clients\n"
        "    $ gcloud compute firewall-rules delete mlflow-clients\n"
        "\n"
        "stop machine mlflow1\n"
        "    $ gcloud compute instances stop mlflow1 --zone=europe-west1-b\n"
        "\n"
        "stop Cloud SQL instance mlflow\n"
        "    $ gcloud sql instances patch mlflow --activation-policy=never\n"
        "\n"
        "note: data stays: bucket gs://my-project-1-mlflow, Cloud SQL instance mlflow (stopped), secrets, registry, "
        "machines (stopped)\n"
        "5 steps to take, with 5 commands"
    )


def test_end_with_the_data_removes_what_the_stack_made_with_a_last_copy_of_the_database(with_machine: Declared) -> None:
    plan = make_end(with_machine.gcp, found_with(MACHINE, with_machine), with_data=True)

    assert [command.shown for step in plan.steps for command in step.commands][3:] == [
        "gcloud compute instances delete mlflow1 --zone=europe-west1-b --delete-disks=all",
        "gcloud sql instances patch mlflow --no-deletion-protection --activation-policy=always",
        "gcloud sql instances delete mlflow --enable-final-backup --final-backup-retention-days=30",
        "gcloud storage rm --recursive gs://my-project-1-mlflow",
        "gcloud secrets delete mlflow-database-password",
        "gcloud artifacts repositories delete mlflow --location=europe-west1",
        "gcloud projects remove-iam-policy-binding my-project-1 "
        "--member=serviceAccount:mlflow-tracking@my-project-1.iam.gserviceaccount.com --role=roles/cloudsql.client "
        "'--condition=title=mlflow-stack-mlflow,expression=resource.name == "
        "'\"'\"'projects/my-project-1/instances/mlflow'\"'\"' && resource.type == "
        "'\"'\"'sqladmin.googleapis.com/Instance'\"'\"''",
        "gcloud iam service-accounts delete mlflow-tracking@my-project-1.iam.gserviceaccount.com",
    ]
    assert plan.notes == ()


def test_end_with_the_data_leaves_what_somebody_else_has_made() -> None:
    wanted = settings()
    found = whole(wanted, bucket={"labels": {"team": "fraud"}}, instances=[instance(userLabels={})])

    plan = make_end(wanted.gcp, found, with_data=True)

    assert plan.notes == (
        "Cloud SQL instance mlflow stays: it was not made by this stack (no label mlflow-stack=mlflow)",
        "bucket gs://my-project-1-mlflow stays: it was not made by this stack (no label mlflow-stack=mlflow)",
    )
    assert not [step for step in plan.steps if "Cloud SQL instance" in step.thing and step.verb == "remove"]


def test_end_of_nothing_has_nothing_to_do() -> None:
    assert make_end(settings().gcp, nothing(), with_data=True) == Plan(())


def test_machine_is_made_with_its_network_and_is_started_when_it_was_stopped(with_machine: Declared) -> None:
    fresh = make_plan(with_machine, whole(settings()), {})
    stopped = make_plan(with_machine, found_with({**MACHINE, "status": "TERMINATED"}, with_machine), {})
    running = make_plan(with_machine, found_with(MACHINE, with_machine), {})

    assert [command.shown for step in fresh.steps for command in step.commands] == [
        "gcloud compute addresses create mlflow-database --global --purpose=VPC_PEERING --prefix-length=20 "
        "--network=default",
        "gcloud services vpc-peerings connect --ranges=mlflow-database --network=default",
        "gcloud sql instances patch mlflow --network=projects/my-project-1/global/networks/default",
        "gcloud compute firewall-rules create mlflow-clients --network=default --direction=INGRESS "
        "--allow=tcp:22,tcp:80,tcp:443 --source-ranges=192.0.2.0/24 --target-tags=mlflow",
        "gcloud compute instances create mlflow1 --zone=europe-west1-b --machine-type=e2-standard-2 "
        "--boot-disk-size=30GB --image-family=debian-12 --image-project=debian-cloud --network=default "
        "--service-account=mlflow-tracking@my-project-1.iam.gserviceaccount.com --scopes=cloud-platform "
        "--shielded-secure-boot --tags=mlflow --labels=mlflow-stack=mlflow "
        f"'--metadata=^:::^ssh-keys=deploy:{PUBLIC_KEY}:::block-project-ssh-keys=TRUE:::enable-oslogin=FALSE'",
    ]
    assert [str(step) for step in stopped.steps] == ["start machine mlflow1"]
    assert running.steps == ()


def test_outputs_say_what_is_there(with_machine: Declared) -> None:
    assert outputs(with_machine, found_with(MACHINE, with_machine)) == {
        "project": "my-project-1",
        "region": "europe-west1",
        "tracking_uri": "https://mlflow-123456789012.europe-west1.run.app",
        "registry": "europe-west1-docker.pkg.dev/my-project-1/mlflow",
        "service_account": "mlflow-tracking@my-project-1.iam.gserviceaccount.com",
        "artifacts": "gs://my-project-1-mlflow/artifacts",
        "database_connection": "my-project-1:europe-west1:mlflow",
        "database_uri": "postgresql+psycopg2://mlflow_user@10.1.2.3:5432/mlflow_db?sslmode=verify-ca",
        "database_ca": "PEM",
        "database_password_secret": with_machine.gcp.password_secret,
        "machines": {
            "mlflow1": {"zone": "europe-west1-b", "address": "198.51.100.7", "internal_address": "10.132.0.2"}
        },
    }


def test_machines_become_hosts_with_the_database_and_the_bucket(with_machine: Declared, tmp_path: Path) -> None:
    found = outputs(with_machine, found_with(MACHINE, with_machine))

    hosts = host_entries(found, "mlflow", "deploy", store=tmp_path)

    certificate = tmp_path / "mlflow/database-ca.pem"
    assert hosts == [
        (
            "mlflow1",
            {
                "ssh_hostname": "198.51.100.7",
                "ssh_user": "deploy",
                "_sudo": True,
                "tracking_database_uri": found["database_uri"],
                "tracking_database_password": "cmd:CLOUDSDK_CORE_DISABLE_FILE_LOGGING=true gcloud secrets versions "
                "access latest --secret=mlflow-database-password --project=my-project-1",
                "tracking_database_ca_file": str(certificate),
                "tracking_artifacts_destination": "gs://my-project-1-mlflow/artifacts",
            },
        )
    ]
    assert certificate.read_text() == "PEM"


def test_inventory_of_a_stack_that_is_not_there_is_refused(with_machine: Declared, tmp_path: Path) -> None:
    found = outputs(with_machine, nothing())

    with pytest.raises(Refused) as refused:
        host_entries(found, "mlflow", "deploy", store=tmp_path)

    assert str(refused.value) == (
        "3 problems; nothing was changed\n"
        "  no bucket in the project yet; run `python -m mlflow_stack gcp apply`\n"
        "  no database with a private address in the project yet; run `python -m mlflow_stack gcp apply`\n"
        "  no machine in the project yet; run `python -m mlflow_stack gcp apply`"
    )
