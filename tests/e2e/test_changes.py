"""A changed setting, or a newer model, reaches exactly the services that it concerns."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import registry
from tests.e2e.stack import MODEL, Stack

BUILD_ENVIRONMENT = "Conda | Build the MLflow environment"
REMOVE_ENVIRONMENTS = "Conda | Remove old environments"
CONFIGURE_POSTGRESQL = "PostgreSQL | Configure the server"
CREATE_DATABASE = "PostgreSQL | Create role mlflow_user and database mlflow_db"
CREATE_DUMP_ROLE = "PostgreSQL | Let role mlflow_dump read database mlflow_db"
UPGRADE_SCHEMA = "Tracking | Bring the database schema up to date"
WRITE_TRACKING = "Tracking | Write the unit and configuration of mlflow-tracking"
RUN_TRACKING = "Tracking | Run mlflow-tracking and see it work"
WRITE_PRODUCTION = "Production | Write the units and configuration of mlflow-production"
CLOSE_PORTS = [
    "Firewall | Write the rules and the unit of mlflow-firewall, without the ports of before",
    "Firewall | Load the rules of mlflow-firewall and see them in force, without the ports of before",
]
OPEN_PORTS = [name.partition(",")[0] for name in CLOSE_PORTS]
STOP_MODELS = "Production | Stop models that are not listed"
RELEASE_MODEL = "Production | Release model diabetes"
RUN_MODEL = "Production | Run mlflow-production@diabetes and see it predict"

TRACKING, PRODUCTION, POSTGRESQL = "mlflow-tracking", "mlflow-production@diabetes", "postgresql@15-main"
HOME = "/var/lib/mlflow-models/diabetes"


def model_with(**changes: object) -> dict[str, Any]:
    return {"production_models": {"diabetes": {**MODEL["diabetes"], **changes}}}


CHANGES = {
    "no setting": ({}, [], []),
    "the login, to root's": ({"ssh_user": "root", "_sudo": False}, [], []),
    "postgresql_port": (
        {"postgresql_port": 5433},
        # Before the change nothing answers on the new port, so roles, database and schema are gone through again.
        [CONFIGURE_POSTGRESQL, CREATE_DATABASE, CREATE_DUMP_ROLE, UPGRADE_SCHEMA, WRITE_TRACKING, RUN_TRACKING],
        [POSTGRESQL, TRACKING],
    ),
    "tracking_workers": ({"tracking_workers": 2}, [WRITE_TRACKING, RUN_TRACKING], [TRACKING]),
    "a model's workers": (model_with(workers=2), [WRITE_PRODUCTION, RUN_MODEL], [PRODUCTION]),
    "postgresql_max_connections": ({"postgresql_max_connections": 90}, [CONFIGURE_POSTGRESQL], [POSTGRESQL]),
}


@pytest.mark.parametrize(("settings", "changed", "restarted"), CHANGES.values(), ids=CHANGES)
def test_changed_setting_restarts_only_what_it_concerns(
    served: Stack, settings: dict[str, Any], changed: list[str], restarted: list[str]
) -> None:
    served.converge()
    before = served.invocations()

    run = served.converge(**settings)

    assert run.changed == changed
    assert served.restarted_since(before) == restarted
    served.recovers()


def test_other_python_is_built_with_pip_beside_the_old_one_and_rolled_back_without_a_build(served: Stack) -> None:
    served.converge()
    before = served.invocations()

    there = served.converge(conda_python="3.11", conda_package_installer="pip")
    version = served.host.run("/proc/$(systemctl show -P MainPID mlflow-tracking)/exe -V").stdout
    back = served.converge()

    assert there.changed == [BUILD_ENVIRONMENT, WRITE_TRACKING, RUN_TRACKING]
    assert version.startswith("Python 3.11.")
    assert back.changed == [WRITE_TRACKING, RUN_TRACKING]
    assert served.restarted_since(before) == [TRACKING]
    assert served.fault() == ""


def test_environments_that_nothing_uses_are_removed_but_for_those_that_are_to_be_kept(served: Stack) -> None:
    served.converge()
    older, old, unfinished = "mlflow-000000000001", "mlflow-000000000002", "mlflow-00000000000f"
    served.host.run(f"cd /opt/mlflow/envs && mkdir {older} {old} {unfinished} alice && touch {old}/.mlflow-stack.json")
    served.host.run(f"cd /opt/mlflow/envs && touch {older}/.mlflow-stack.json && touch -d 2020-01-01 {older}")
    used = served.host.run(
        f"grep -o 'envs/mlflow-[0-9a-f]*' /etc/systemd/system/mlflow-tracking.service; readlink {HOME}/current/env"
    ).stdout
    keep_one = environments(served, conda_keep_envs=1)
    keep_none = environments(served, conda_keep_envs=0)

    assert {older, unfinished} & set(keep_one) == set()
    assert old in keep_one
    assert keep_none == sorted({"alice", *(line.split("/")[-1] for line in used.split())})


def test_new_version_under_the_alias_is_released_and_the_old_one_kept(served: Stack) -> None:
    served.converge()
    before = served.invocations()
    old = served.host.run(f"readlink {HOME}/current").stdout
    model = registry.others(served)[0]
    registry.promote(served, model)

    run = served.converge()

    assert run.changed == [RELEASE_MODEL, RUN_MODEL]
    assert served.restarted_since(before) == [PRODUCTION]
    assert served_model(served) == model.model_id
    assert served.host.run(f"ls {HOME}/{old.strip()}/model/MLmodel").stdout
    assert served.fault() == ""


@pytest.mark.parametrize("uri", ["models:/{model.model_id}", "runs:/{model.source_run_id}/model", "models:/diabetes/1"])
def test_model_is_served_by_each_kind_of_uri(served: Stack, uri: str) -> None:
    served.recovers()
    wanted = registry.registered(served) if uri.startswith("models:/diabetes") else registry.others(served)[-1]

    served.converge(**model_with(uri=uri.format(model=wanted)))

    assert served_model(served) == wanted.model_id
    assert served.fault() == ""


def test_model_that_is_no_longer_listed_is_stopped_and_kept(served: Stack) -> None:
    served.converge()
    before = served.invocations()

    run = served.converge(production_models={})
    states = served.host.run(f"systemctl is-active {PRODUCTION}; systemctl is-enabled {PRODUCTION}; true").stdout
    files = served.host.run(f"ls {HOME}/current/model/MLmodel /etc/mlflow/production/diabetes.env").stdout
    again = served.converge(production_models={})
    back = served.converge()

    assert run.changed == [STOP_MODELS, *CLOSE_PORTS]
    assert states == "inactive\ndisabled\n"
    assert len(files.split()) == 2
    assert again.changed == []
    assert back.changed == [*OPEN_PORTS, RUN_MODEL]
    assert served.restarted_since(before) == [PRODUCTION]


def environments(stack: Stack, **settings: Any) -> list[str]:
    """Deploy, which must only remove environments; return those that are left."""
    assert stack.converge(**settings).changed == [REMOVE_ENVIRONMENTS]
    return stack.host.run("ls /opt/mlflow/envs").stdout.split()


def served_model(stack: Stack) -> str:
    """Return the id of the model that is served, from its own description."""
    return stack.host.run(f"sed -n 's/^model_id: //p' {HOME}/current/model/MLmodel").stdout.strip()
