"""Machines, MySQL and a server with a login of its own, by the real gcloud against the stand-in, to the very end."""

from __future__ import annotations

import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from mlflow_stack.domain.login import TRACKING_AREA
from mlflow_stack.gcp import declared, inventory
from mlflow_stack.setting_types import REPOSITORY
from tests.gcp.apis.storage import secret_value
from tests.gcp.stack import Done, Stack, standing_in
from tests.unit.inventories import checked

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("gcp")
    (directory / "key.pub").write_text("ssh-ed25519 AAAAC3Nz ada, of ops\n")
    given = {
        "gcp_public": True,
        "proxy_users": {"ada": "env:ADA"},
        "gcp_database_version": "MYSQL_8_4",
        "gcp_machines": {"mlflow1": {"zone": "europe-west1-b"}},
        "gcp_machine_ssh_key": str(directory / "key.pub"),
        "gcp_machine_clients": ["192.0.2.0/24"],
    }
    with standing_in(directory, **given) as stack, mock.patch.dict(os.environ, ADA=PASSWORD):
        stack.with_registry()
        yield stack


def _inventory(stack: Stack) -> dict[str, Any]:
    """Return what the example's inventory defines, when group_data/gcp.py is the stack's file of settings."""
    with (
        mock.patch.object(declared, "OVERLAY", stack.settings),
        mock.patch.object(inventory, "AUTHORITIES", stack.directory / "authorities"),
    ):
        return runpy.run_path(str(REPOSITORY / "examples/inventory_gcp.py"))


@pytest.fixture(scope="module")
def story(stack: Stack) -> dict[str, Done]:
    """Return what each command did; the inventory is read between the second and the end."""
    told = {"made": stack.run("apply"), "as declared": stack.run("plan")}
    stack.inventory = _inventory(stack)  # type: ignore[attr-defined]
    stack.login = secret_value(stack.cloud, "mlflow-logins")  # type: ignore[attr-defined]
    told["gone"] = stack.run("destroy", "--delete-data", "mlflow")
    return told


def test_every_request_and_answer_is_known_to_the_published_schemas(stack: Stack, story: dict[str, Done]) -> None:
    assert stack.cloud.complaints == []


def test_machine_is_made_with_its_network_and_its_firewall(story: dict[str, Done]) -> None:
    made = story["made"]

    compute = [each for each in made.changes if each.startswith(("POST compute", "POST servicenetworking"))]
    assert (made.status, made.err) == (0, "")
    assert compute == [
        "POST compute/compute/v1/global/addresses",
        "POST servicenetworking/v1/services/servicenetworking.googleapis.com/connections",
        "POST compute/compute/v1/global/firewalls",
        "POST compute/compute/v1/zones/europe-west1-b/instances",
    ]


def test_machine_gets_the_key_and_no_other_way_in(story: dict[str, Done]) -> None:
    machine = next(each for each in story["made"].requests if each.path.endswith("/instances") and "zones" in each.path)

    assert {each["key"]: each["value"] for each in machine.body["metadata"]["items"]} == {
        "ssh-keys": "deploy:ssh-ed25519 AAAAC3Nz ada, of ops",
        "block-project-ssh-keys": "TRUE",
        "enable-oslogin": "FALSE",
    }


def test_server_is_open_only_after_it_asks_for_a_login(story: dict[str, Done]) -> None:
    changes = story["made"].changes

    opened = changes.index("POST run/v1/locations/europe-west1/services/mlflow:setIamPolicy")
    assert changes.index("POST europe-west1-run/apis/serving.knative.dev/v1/services") < opened


def test_second_plan_has_nothing_to_do(story: dict[str, Done]) -> None:
    assert (story["as declared"].status, story["as declared"].out) == (0, "nothing to do\n")


def test_logins_are_hashes_and_no_password_was_shown(stack: Stack, story: dict[str, Done]) -> None:
    assert f"\n{TRACKING_AREA} ada " in stack.login  # type: ignore[attr-defined]
    assert PASSWORD not in stack.login + "".join(done.out + done.err for done in story.values())  # type: ignore[attr-defined]


def test_machines_become_hosts(stack: Stack, story: dict[str, Done]) -> None:
    groups = stack.inventory  # type: ignore[attr-defined]
    [(name, data)] = groups["tracking"]

    assert (name, groups["proxy"], groups["gcp"]) == ("mlflow1", groups["tracking"], groups["tracking"])
    (host,) = checked({group: groups[group] for group in ("gcp", "tracking", "proxy")}, **stack.declared).values()
    assert (host.host_address, host.addons) == ("198.51.100.10", ("mysql", "gcs"))
    assert data["ssh_hostname"] == "198.51.100.10"
    uri = "mysql+pymysql://mlflow_user@10.1.2.3:3306/mlflow_db?ssl_check_hostname=false"
    assert data["tracking_database_uri"] == uri
    assert data["tracking_artifacts_destination"] == "gs://my-project-1-mlflow/artifacts"
    assert Path(data["tracking_database_ca_file"]).read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_end_with_the_data_leaves_the_project_as_it_was_but_for_its_network(
    stack: Stack, story: dict[str, Done]
) -> None:
    gone = story["gone"]

    left = {name for name in stack.cloud.things if not name.startswith(("instances/mlflow/", "namespaces/"))}
    assert (gone.status, gone.err) == (0, "")
    assert {name for name in left if "/dockerImages/" not in name} == {
        "global/addresses/mlflow-database",
        "connections/1",
    }
    assert stack.cloud.policies["projects/my-project-1"].get("bindings", []) == []
