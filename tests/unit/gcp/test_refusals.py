"""What is refused before anything is changed, and the whole message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.cloud_settings import SettingsRefused
from mlflow_stack.gcp.declared import load
from mlflow_stack.gcp.stack import make_plan
from mlflow_stack.gcp.survey import Refused
from tests.unit.gcp.found import REGION, bucket, image, instance, policy, settings, whole

MACHINE = {"mlflow1": {"zone": "europe-west1-b"}}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(
            {"gcp_project": "My Project"},
            "gcp_project: expected a project's id, as my-project-123 (not its name, not its number); "
            "found 'My Project'",
            id="name-of-a-project",
        ),
        pytest.param(
            {"gcp_region": "europe-west1-b"},
            "gcp_region: expected a region, as europe-west1; found 'europe-west1-b'",
            id="zone-for-a-region",
        ),
        pytest.param(
            {"gcp_name": "MLflow"},
            "gcp_name: expected 2 to 20 lower-case letters, digits and -, a letter first; found 'MLflow'",
            id="name",
        ),
        pytest.param(
            {"gcp_service_account": "ml@my-project-1.iam.gserviceaccount.com"},
            "gcp_service_account: expected 6 to 30 lower-case letters, digits and -, a letter first, without @ and "
            "what follows it; found 'ml@my-project-1.iam.gserviceaccount.com'",
            id="address-for-a-service-account",
        ),
        pytest.param(
            {"gcp_service_account": "mlf"},
            "gcp_service_account: expected 6 to 30 lower-case letters, digits and -, a letter first, without @ and "
            "what follows it; found 'mlf'",
            id="service-account-too-short",
        ),
        pytest.param(
            {"gcp_bucket": "gs://artifacts"},
            "gcp_bucket: expected a bucket's name of 3 to 63 lower-case letters, digits, - and _, without gs://; "
            "found 'gs://artifacts'",
            id="bucket",
        ),
        pytest.param(
            {"gcp_image": "mlflow-tracking:latest"},
            "gcp_image: expected NAME:TAG or NAME@sha256:DIGEST of an image in the stack's registry, and no tag that "
            "moves (latest); found 'mlflow-tracking:latest'",
            id="latest-image",
        ),
        pytest.param(
            {"gcp_min_instances": 4},
            "gcp_min_instances is 4 and gcp_max_instances 3; the first may not be greater than the second",
            id="more-at-least-than-at-most",
        ),
        pytest.param(
            {"gcp_memory_mib": 8192},
            "gcp_memory_mib is 8192; with gcp_cpu = 1 Cloud Run gives 512 to 4096",
            id="memory-for-more-processors",
        ),
        pytest.param(
            {"gcp_invokers": ["allUsers"]},
            "gcp_invokers[0]: expected user:…, group:…, serviceAccount:… or domain:… (gcp_public is what lets "
            "everybody in); found 'allUsers'",
            id="everybody",
        ),
        pytest.param(
            {"gcp_public": True, "gcp_invokers": ["user:ada@example.com"]},
            "gcp_public lets everybody reach the server, whose own login (proxy_users) then decides, and gcp_invokers "
            "names who may; leave gcp_invokers empty, or set gcp_public = False",
            id="two-ways-in",
        ),
        pytest.param(
            {"gcp_database_version": "POSTGRES_13"},
            "gcp_database_version: expected POSTGRES_14 to POSTGRES_19, MYSQL_8_0 or MYSQL_8_4; found 'POSTGRES_13'",
            id="database-too-old",
        ),
        pytest.param(
            {"gcp_machines": MACHINE},
            "gcp_machines: set gcp_machine_ssh_key to the file of the public key that logs in there, and "
            "gcp_machine_clients to the networks that reach them",
            id="machine-without-a-key",
        ),
        pytest.param(
            {"gcp_region": "us-central1", "gcp_machines": MACHINE},
            "gcp_machines['mlflow1']['zone'] is 'europe-west1-b', and gcp_region is 'us-central1'; the machines stand "
            "where their database and bucket are",
            id="machine-elsewhere",
        ),
        pytest.param(
            {"gcp_machines": {"mlflow1": {}}},
            "gcp_machines['mlflow1']['zone']: required, but not given",
            id="machine-without-a-zone",
        ),
        pytest.param(
            {"gcp_machines": {"mlflow1": {"zone": "europe-west1-b", "size": 2}}},
            "gcp_machines['mlflow1']['size']: unknown setting; expected zone, machine_type, disk_gb",
            id="machine-with-a-key-that-is-unknown",
        ),
    ],
)
def test_setting_that_is_wrong_by_itself_is_refused(tmp_path: Path, data: dict[str, Any], problem: str) -> None:
    path = tmp_path / "gcp.py"
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in data.items()))

    with pytest.raises(SettingsRefused) as refusal:
        load(path)

    assert str(refusal.value) == f"1 problem in the settings; nothing was changed\n  {problem}"


def refused(data: dict[str, Any] | None = None, **answers: Any) -> str:
    """Return the message with which a stack is refused of which something is found otherwise."""
    wanted = settings(**(data or {}))
    with pytest.raises(Refused) as refusal:
        make_plan(wanted, whole(settings(), **answers), {})
    return str(refusal.value)


@pytest.mark.parametrize(
    ("data", "answers", "problem"),
    [
        pytest.param(
            {"gcp_image": "mlflow-tracking:3.18.0"},
            {},
            "gcp_image: mlflow-tracking:3.18.0 is not in europe-west1-docker.pkg.dev/my-project-1/mlflow, which has "
            "mlflow-tracking:3.17.2; push it (docs/how-to/gcp.md), or name one that is there",
            id="image-not-pushed",
        ),
        pytest.param(
            {},
            {"images": []},
            "gcp_image: mlflow-tracking:3.17.2 is not in europe-west1-docker.pkg.dev/my-project-1/mlflow, which has no "
            "image; push it (docs/how-to/gcp.md), or name one that is there",
            id="registry-without-an-image",
        ),
        pytest.param(
            {},
            {"bucket": bucket(projectNumber="999")},
            "gcp_bucket: gs://my-project-1-mlflow is of another project (number 999, expected 123456789012); choose "
            "another name",
            id="bucket-of-another-project",
        ),
        pytest.param(
            {},
            {"bucket": bucket(location="US")},
            "gcp_bucket: gs://my-project-1-mlflow is in us, and gcp_region is europe-west1; a bucket can't be moved: "
            "choose another name, or that region",
            id="bucket-elsewhere",
        ),
        pytest.param(
            {},
            {"bucket policy": policy("roles/storage.objectViewer", "allUsers")},
            "gcp_bucket: gs://my-project-1-mlflow is open to allUsers; take these rights away, if what is in it is not "
            "for the public, or choose another name",
            id="public-bucket",
        ),
        pytest.param(
            {},
            {"instances": [{**instance(), "region": "us-central1"}]},
            "gcp_region: Cloud SQL instance mlflow has us-central1, and europe-west1 is declared; that can't be "
            "changed in place: declare what it has, or choose another gcp_name",
            id="database-elsewhere",
        ),
        pytest.param(
            {"gcp_database_version": "POSTGRES_18"},
            {},
            "gcp_database_version: Cloud SQL instance mlflow has POSTGRES_17, and POSTGRES_18 is declared; that "
            "can't be changed in place: declare what it has, or choose another gcp_name",
            id="another-version",
        ),
    ],
)
def test_what_is_found_and_can_not_be_used_is_refused(
    data: dict[str, Any], answers: dict[str, Any], problem: str
) -> None:
    assert refused(data, **answers) == f"1 problem; nothing was changed\n  {problem}"


def test_all_that_is_found_wrong_is_said_at_once() -> None:
    message = refused(
        images=[image(tag="3.16.0")],
        bucket=bucket(location="US"),
        instances=[{**instance(), "region": "us-central1"}],
    )

    assert message.splitlines()[0] == "3 problems; nothing was changed"
    assert [line.split(":")[0] for line in message.splitlines()[1:]] == ["  gcp_image", "  gcp_bucket", "  gcp_region"]


def test_machine_of_another_type_and_a_key_that_is_none_are_refused(tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")  # pragma: allowlist secret
    data = {"gcp_machines": MACHINE, "gcp_machine_ssh_key": str(key), "gcp_machine_clients": ["192.0.2.0/24"]}

    message = refused(data, **{"machine mlflow1": {"machineType": f"…/zones/{REGION}-b/machineTypes/e2-small"}})

    assert message == (
        "2 problems; nothing was changed\n"
        f"  gcp_machine_ssh_key: {key} can't be used (not a public key); expected the file of a public key, as "
        "id_ed25519.pub\n"
        "  gcp_machines['mlflow1']['machine_type']: the machine is e2-small, and e2-standard-2 is declared; stop it "
        "and change it with gcloud, or declare what it is"
    )
