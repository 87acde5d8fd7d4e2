"""What is wrong between settings, groups and hosts, and the whole message that it is refused with."""

from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError

from mlflow_stack.inventory_check import HostEntry, check_inventory, misspelt_groups
from mlflow_stack.settings import ROLES, WITHOUT_HOSTS
from tests.unit.defaults import DEFAULTS, entry
from tests.unit.refusals import MODEL, REMOTE, one_problem, refusal


def test_port_that_is_claimed_twice_is_refused_with_both_claims() -> None:
    models = {"a": {**MODEL, "port": 5000}, "b": {**MODEL, "port": 5432}, "c": MODEL, "d": MODEL}

    assert refusal(entry(production_models=models)) == (
        "3 problems in the inventory and its settings; no host was changed\n"
        "  mlflow1: port 5432 is claimed twice, by postgresql_port and production_models['b']['port']; "
        "give each its own\n"
        "  mlflow1: port 5000 is claimed twice, by tracking_port and production_models['a']['port']; "
        "give each its own\n"
        "  mlflow1: port 5001 is claimed twice, by production_models['c']['port'] and production_models['d']['port']; "
        "give each its own"
    )


def test_driver_that_is_not_locked_for_a_python_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mlflow_stack.role_settings.REPOSITORY", tmp_path)

    assert refusal(entry(tracking_database_uri="mysql+pymysql://u@db/d")) == one_problem(
        "conda_python is '3.12', and there is no locks/mysql-py3.12.txt, which the MLflow environment needs beside its "
        "own; run `make lock`"
    )


def test_port_of_a_role_that_is_on_another_host_may_be_used_again() -> None:
    hosts = check_inventory(
        [
            entry("a", ("postgresql", "tracking"), tracking_bind="10.0.0.1"),
            entry("b", ("production",), production_models={"diabetes": {**MODEL, "port": 5000}}),
        ]
    )

    assert hosts["b"].ports() == {5000: ["production_models['diabetes']['port']"]}


def test_group_without_hosts_is_refused() -> None:
    assert refusal(entry(), empty_groups=("production",)) == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  group 'production' has no hosts; list them in the inventory, or remove the group"
    )


def test_host_in_no_group_of_a_role_is_refused() -> None:
    assert refusal(entry(), entry("spare", ("all", "inventory"))) == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  spare: in no group of a role; put it into one of postgresql, tracking, production, proxy in the inventory"
    )


def test_tracking_without_a_database_is_refused() -> None:
    assert refusal(entry(groups=("tracking",))) == one_problem(
        "the group tracking needs a database: add a group postgresql, or set tracking_database_uri"
    )


def test_tracking_with_a_database_of_another_provider_is_accepted() -> None:
    hosts = check_inventory([entry(groups=("tracking",), tracking_database_uri="postgresql+psycopg2://u@db:5432/d")])

    assert list(hosts) == ["mlflow1"]


def test_production_without_a_tracking_server_is_refused() -> None:
    assert refusal(entry(groups=("production",), production_models={"diabetes": MODEL})) == one_problem(
        "production_models need a tracking server: add a group tracking, or set production_tracking_uri"
    )


def test_production_without_models_needs_no_tracking_server() -> None:
    assert list(check_inventory([entry(groups=("production",))])) == ["mlflow1"]


def test_tracking_server_that_another_host_can_not_reach_is_refused() -> None:
    message = refusal(
        entry("web", ("postgresql", "tracking")), entry("gpu", ("production",), production_models={"diabetes": MODEL})
    )

    assert message == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  gpu: the tracking server is on another host, but tracking_bind is '127.0.0.1' there; set it to an address "
        "that this host can reach"
    )


def test_other_hosts_use_the_name_that_the_tracking_server_answers_to() -> None:
    hosts = check_inventory(
        [
            entry("web", ("postgresql", "tracking"), tracking_bind="10.0.0.5"),
            entry("gpu", ("production",), production_models={"diabetes": MODEL}),
        ]
    )

    assert hosts["gpu"].tracking_server.uri == "http://10.0.0.5:5000"


def test_settings_that_are_missing_altogether_are_one_problem() -> None:
    of_hosts = [name for name in DEFAULTS if not name.startswith(tuple(f"{role}_" for role in WITHOUT_HOSTS))]

    assert refusal(HostEntry("mlflow1", "10.0.0.1", ("tracking",), {})) == one_problem(
        f"inventory_stack and {len(of_hosts) - 1} more: required, but not set; run pyinfra in the "
        "directory that holds group_data/all.py"
    )


def test_all_problems_of_all_hosts_are_in_one_message() -> None:
    message = refusal(
        entry("a", tracking_port=80, tracking_prot=5000),
        entry("b", tracking_port=80),
        entry("c", tracking_port=80, conda_python="2.7"),
    )

    assert message == (
        "3 problems in the inventory and its settings; no host was changed\n"
        "  a: tracking_prot: unknown setting; did you mean tracking_port?\n"
        "  all hosts: tracking_port: input should be greater than or equal to 1024; found 80\n"
        "  c: conda_python: no lock file for it; expected one of 3.10, 3.11, 3.12, 3.13, or run `make lock` for a new "
        "one; found '2.7'"
    )


def test_problem_of_some_hosts_names_them() -> None:
    assert refusal(entry("a", tracking_port=80), entry("b", tracking_port=80), entry("c")) == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  a, b: tracking_port: input should be greater than or equal to 1024; found 80"
    )


def test_bad_setting_of_the_database_host_is_not_taken_for_a_missing_database() -> None:
    assert refusal(entry("db", ("postgresql",), postgresql_port=80), entry("web", ("tracking",))) == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  db: postgresql_port: input should be greater than or equal to 1024; found 80"
    )


def test_data_of_pyinfra_and_of_the_user_is_accepted() -> None:
    host = HostEntry(
        "a", "10.0.0.1", ("postgresql",), {**DEFAULTS, "ssh_user": "x", "custom_rack": 3}, frozenset({"ssh_user"})
    )

    assert list(check_inventory([host])) == ["a"]


def test_custom_data_that_is_nearly_a_setting_is_still_refused() -> None:
    assert refusal(entry(custom_racking_port=1)) == one_problem(
        "custom_racking_port: unknown setting; did you mean tracking_port?"
    )


def test_hosts_learn_where_the_database_and_the_tracking_server_are() -> None:
    hosts = check_inventory(
        [
            entry("db", ("postgresql",), address="10.0.0.5", **REMOTE),
            entry("web", ("tracking",), address="10.0.0.6", tracking_bind="10.0.0.6", **REMOTE),
            entry("gpu", ("production",), address="10.0.0.7", production_models={"diabetes": MODEL}),
        ]
    )

    assert (
        hosts["web"].database_uri
        == "postgresql+psycopg2://mlflow_user@10.0.0.5:5432/mlflow_db?sslmode=verify-full&sslrootcert=/etc/mlflow/database-ca.crt"
    )
    assert hosts["gpu"].tracking_server.uri == "http://10.0.0.6:5000"


def test_addresses_that_users_name_win_over_those_of_the_inventory() -> None:
    hosts = check_inventory(
        [
            entry("db", ("postgresql",), address="10.0.0.5", postgresql_address="db.internal", **REMOTE),
            entry("web", ("tracking",), address="10.0.0.6", tracking_public_name="mlflow.internal", **REMOTE),
        ]
    )

    assert hosts["web"].postgresql_host == "db.internal"
    assert hosts["db"].tracking_host == "mlflow.internal"


def test_setting_that_two_groups_of_a_host_give_differently_is_refused() -> None:
    groups = {"tracking": {"tracking_port": 5001, "tracking_workers": 2}, "team_a": {"tracking_port": 5002}}
    host = HostEntry("a", "10.0.0.1", ROLES, {**DEFAULTS, "tracking_port": 5002}, group_data=groups)

    assert refusal(host) == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  a: tracking_port is given differently by two groups of this host: 5001 in tracking, 5002 in team_a; give it "
        "in one of them, or beside the host in the inventory"
    )


def test_setting_beside_the_host_decides_between_its_groups() -> None:
    groups = {"tracking": {"tracking_port": 5001}, "team_a": {"tracking_port": 5002}}
    data = {**DEFAULTS, "tracking_port": 5003}
    host = HostEntry("a", "10.0.0.1", ROLES, data, group_data=groups, host_keys=frozenset({"tracking_port"}))

    assert check_inventory([host])["a"].tracking.port == 5003


def test_groups_may_give_the_same_value() -> None:
    groups = {"tracking": {"tracking_port": 5001}, "team_a": {"tracking_port": 5001}}
    host = HostEntry("a", "10.0.0.1", ROLES, {**DEFAULTS, "tracking_port": 5001}, group_data=groups)

    assert list(check_inventory([host])) == ["a"]


@pytest.mark.parametrize(
    ("data", "groups", "problems"),
    [
        pytest.param(
            {"prodution": {}},
            ["production"],
            [
                "group_data/prodution.py is read for no host: there is no group 'prodution' in the inventory; did you "
                "mean production?"
            ],
            id="role",
        ),
        pytest.param(
            {"gpu_hots": {}, "gpu_hosts": {}},
            ["production", "gpu_hosts"],
            [
                "group_data/gpu_hots.py is read for no host: there is no group 'gpu_hots' in the inventory; did you "
                "mean gpu_hosts?"
            ],
            id="group-without-data",
        ),
        pytest.param({"team_alpha1": {"x": 1}, "team_alpha2": {"x": 1}}, ["team_alpha2"], [], id="other-inventory"),
        pytest.param({"staging": {}, "tracking_eu": {}}, ["tracking"], [], id="far-from-all"),
        pytest.param({"production": {}, "all": {}}, ["tracking"], [], id="role-without-hosts"),
    ],
)
def test_misspelt_file_of_group_data_is_found(data: dict[str, Any], groups: list[str], problems: list[str]) -> None:
    assert misspelt_groups(data, groups) == problems


def test_problems_of_groups_stop_the_run_like_all_others() -> None:
    with pytest.raises(DeployError) as refused:
        check_inventory([entry()], group_problems=["group_data/prodution.py is read for no host"])

    assert str(refused.value) == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  group_data/prodution.py is read for no host"
    )
