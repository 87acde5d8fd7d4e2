"""Several hosts in one plan: who waits for whom, and what is refused between groups, as pyinfra itself reads them."""

from typing import Any

from mlflow_stack.secret_store import STORE
from tests.plan.conftest import Plan, Planner, host

MODELS = {"production_models": {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001, "required": False}}}


def spread(plan: Planner, **group_data: str) -> Plan:
    """Plan for a host of each role."""
    database = {"postgresql_address": "10.0.0.5", "postgresql_password": "env:DB_PASSWORD"}
    groups: dict[str, Any] = {
        "postgresql": [host("db", postgresql_client_networks=["10.0.0.0/24"], **database)],
        "tracking": [host("web", tracking_bind="0.0.0.0")],
        "production": [host("gpu", **MODELS)],
    }
    return plan(_group_data={f"{name}.py": text for name, text in group_data.items()}, **groups)


def test_what_needs_another_host_comes_after_a_gate_that_all_hosts_pass(plan: Planner) -> None:
    found = spread(plan)

    order = found.operations
    assert found.status == 0, found.output
    assert (
        order.index("PostgreSQL | Create role mlflow_user and database mlflow_db")
        < order.index("Gate | Wait for the database")
        < order.index("Tracking | Bring the database schema up to date")
        < order.index("Tracking | Run mlflow-tracking and see it work")
        < order.index("Gate | Wait for the tracking server")
        < order.index("Production | Release model diabetes")
    )


def test_host_that_has_everything_waits_for_nobody(plan: Planner) -> None:
    everything = [host("one"), host("two")]

    found = plan(postgresql=everything, tracking=everything, production=everything)

    assert found.status == 0, found.output
    assert [name for name in found.operations if name.startswith("Gate")] == []


def refused(found: Plan, problem: str) -> None:
    assert found.status == 1, found.output
    assert found.commands == {}
    message = " ".join(found.output.split())
    assert f"1 problem in the inventory and its settings; no host was changed {problem}" in message


def test_misspelt_file_of_group_data_stops_the_run(plan: Planner) -> None:
    refused(
        spread(plan, prodution="production_keep_releases = 5\n"),
        "group_data/prodution.py is read for no host: there is no group 'prodution' in the inventory; did you mean "
        "production?",
    )


def test_groups_of_a_host_that_contradict_each_other_stop_the_run(plan: Planner) -> None:
    both = [host("web")]

    found = plan(
        _group_data={"postgresql.py": "postgresql_port = 5433\n", "tracking.py": "postgresql_port = 5434\n"},
        postgresql=both,
        tracking=both,
    )

    refused(
        found,
        "@fake/web: postgresql_port is given differently by two groups of this host: 5433 in postgresql, 5434 in "
        "tracking; give it in one of them, or beside the host in the inventory",
    )


def test_hosts_that_contradict_each_other_stop_the_run(plan: Planner) -> None:
    refused(
        spread(plan, tracking="postgresql_port = 5434\n", postgresql="postgresql_port = 5433\n"),
        "postgresql_port is 5434 on @fake/web and 5433 on @fake/db; @fake/web takes it from @fake/db, the host of the "
        "group postgresql: set it there alone",
    )


def test_generated_password_is_not_made_for_a_run_that_leaves_the_database_out(plan: Planner) -> None:
    """The tracking host would get a password that the database does not know."""
    shared: dict[str, Any] = {"inventory_stack": "of_nobody", "postgresql_client_networks": ["10.0.0.0/24"]}
    groups = {"postgresql": [host("db", **shared)], "tracking": [host("web", **shared)]}

    found, whole = plan(_limit="@fake/web", **groups), plan(**groups)

    assert found.status == 1
    assert (
        ".secrets/of_nobody/postgresql_password is not there, and --limit leaves out @fake/db, where a generated "
        "password is set; bring that file of the checkout that has it, or run without --limit"
        in " ".join(found.output.split())
    )
    assert whole.status == 0, whole.output
    assert not (STORE / "of_nobody").exists()


def test_settings_of_a_group_reach_the_hosts_that_need_them(plan: Planner) -> None:
    found = spread(plan, postgresql="postgresql_port = 5433\n")

    assert found.status == 0, found.output
    assert "mlflow_user@10.0.0.5:5433/mlflow_db" in found.output
