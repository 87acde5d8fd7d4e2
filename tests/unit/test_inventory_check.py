"""Every kind of bad input that needs no host, and the whole message that it is refused with."""

from typing import Any

import pytest
from pyinfra.api.exceptions import DeployError

from mlflow_stack.inventory_check import HostEntry, check_inventory
from tests.unit.defaults import DEFAULTS, entry

REMOTE: dict[str, Any] = {"postgresql_client_networks": ["10.0.0.0/24"]}
MODEL = {"uri": "models:/diabetes@champion", "port": 5001}


def refusal(*entries: HostEntry, empty_groups: tuple[str, ...] = ()) -> str:
    """Return the message with which an inventory is refused."""
    with pytest.raises(DeployError) as refused:
        check_inventory(entries, empty_groups)
    return str(refused.value)


def one_problem(problem: str) -> str:
    return f"1 problem in the inventory and its settings; no host was changed\n  mlflow1: {problem}"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(
            {"tracking_prot": 5000}, "tracking_prot: unknown setting; did you mean tracking_port?", id="misspelt"
        ),
        pytest.param(
            {"trakcing_port": 5000}, "trakcing_port: unknown setting; did you mean tracking_port?", id="misspelt-role"
        ),
        pytest.param(
            {"owner": "ops"},
            "owner: unknown setting; docs/settings.md lists them; name data of your own custom_…",
            id="unknown",
        ),
        pytest.param(
            {"tracking_port": "5000"},
            "tracking_port: input should be a valid integer; found '5000'",
            id="text-for-a-number",
        ),
        pytest.param(
            {"tracking_workers": True},
            "tracking_workers: input should be a valid integer; found True",
            id="truth-for-a-number",
        ),
        pytest.param(
            {"conda_accept_anaconda_tos": "no"},
            "conda_accept_anaconda_tos: input should be a valid boolean; found 'no'",
            id="text-for-a-truth",
        ),
        pytest.param(
            {"conda_channels": "conda-forge"},
            "conda_channels: input should be a valid list; found 'conda-forge'",
            id="text-for-a-list",
        ),
        pytest.param(
            {"conda_channels": []},
            "conda_channels: list should have at least 1 item after validation, not 0; found []",
            id="no-channel",
        ),
        pytest.param(
            {"tracking_port": 80},
            "tracking_port: input should be greater than or equal to 1024; found 80",
            id="privileged-port",
        ),
        pytest.param(
            {"tracking_port": 70000},
            "tracking_port: input should be less than or equal to 65535; found 70000",
            id="port-too-high",
        ),
        pytest.param(
            {"postgresql_memory_share": 0.9},
            "postgresql_memory_share: input should be less than or equal to 0.5; found 0.9",
            id="too-much-memory",
        ),
        pytest.param(
            {"conda_keep_envs": -1},
            "conda_keep_envs: input should be greater than or equal to 0; found -1",
            id="negative",
        ),
        pytest.param(
            {"conda_prefix": "miniconda3"},
            "conda_prefix: expected an absolute path below the top level, without \"..\"; found 'miniconda3'",
            id="relative-path",
        ),
        pytest.param(
            {"tracking_artifacts_destination": "/srv/../etc"},
            'tracking_artifacts_destination: expected an absolute path below the top level, without ".."; '
            "found '/srv/../etc'",
            id="path-upwards",
        ),
        pytest.param(
            {"tracking_artifacts_destination": "/srv"},
            'tracking_artifacts_destination: expected an absolute path below the top level, without ".."; '
            "found '/srv'",
            id="top-level-path",
        ),
        pytest.param(
            {"conda_installer_version": "latest"},
            "conda_installer_version: expected a pinned version, never latest; found 'latest'",
            id="latest-installer",
        ),
        pytest.param(
            {"conda_installer_url": "ftp://example.com/miniconda.sh"},
            "conda_installer_url: expected an address that starts with http:// or https:// and ends with .sh; "
            "found 'ftp://example.com/miniconda.sh'",
            id="installer-url",
        ),
        pytest.param(
            {"conda_installer_sha256": {"x86_64": "ABC"}},
            "conda_installer_sha256['x86_64']: expected 64 hexadecimal digits; found 'ABC'",
            id="short-checksum",
        ),
        pytest.param(
            {"conda_installer_sha256": {"x86_64": "g" * 64}},
            f"conda_installer_sha256['x86_64']: expected 64 hexadecimal digits; found '{'g' * 64}'",
            id="checksum-not-hexadecimal",
        ),
        pytest.param(
            {"conda_channel_alias": "conda.anaconda.org"},
            "conda_channel_alias: expected an address that starts with http:// or https://; found 'conda.anaconda.org'",
            id="address-without-scheme",
        ),
        pytest.param(
            {"conda_channels": ["conda-forge", "defaults"]},
            "conda_channels: 'defaults' is under Anaconda's Terms of Service; use conda-forge, or set "
            "conda_accept_anaconda_tos = True when you have accepted them",
            id="terms-not-accepted",
        ),
        pytest.param(
            {"conda_channels": ["https://repo.anaconda.com/pkgs/main"]},
            "conda_channels: 'https://repo.anaconda.com/pkgs/main' is under Anaconda's Terms of Service; use "
            "conda-forge, or set conda_accept_anaconda_tos = True when you have accepted them",
            id="terms-not-accepted-by-address",
        ),
        pytest.param(
            {"conda_python": "2.7"},
            "conda_python: no lock file for it; expected one of 3.10, 3.11, 3.12, 3.13, or run `make lock` for a new "
            "one; found '2.7'",
            id="python-without-a-lock",
        ),
        pytest.param(
            {"conda_package_installer": "poetry"},
            "conda_package_installer: input should be 'uv' or 'pip'; found 'poetry'",
            id="unknown-installer",
        ),
        pytest.param(
            {"postgresql_database": "mlflow; DROP"},
            "postgresql_database: expected a lower-case name of letters, digits and _, and none of PostgreSQL's own "
            "(postgres, pg_…); found 'mlflow; DROP'",
            id="database-name",
        ),
        pytest.param(
            {"postgresql_client_networks": ["10.0.0.1/24"]},
            'postgresql_client_networks[0]: expected a network like "10.0.0.0/24" (10.0.0.1/24 has host bits set); '
            "found '10.0.0.1/24'",
            id="network-with-host-bits",
        ),
        pytest.param(
            {"tracking_bind": "localhost"},
            'tracking_bind: expected an IPv4 address of the host, "127.0.0.1" or "0.0.0.0"; found \'localhost\'',
            id="name-for-an-address",
        ),
        pytest.param(
            {"tracking_public_name": "http://mlflow"},
            "tracking_public_name: expected a host name or IPv4 address, without a port; found 'http://mlflow'",
            id="url-for-a-name",
        ),
        pytest.param(
            {"conda_package_index_url": "https://ada:token@mirror/simple"},
            "conda_package_index_url: expected an address that starts with http:// or https://, without a login in it; "
            "found 'https://ada:***@mirror/simple'",
            id="index-with-a-login",
        ),
        pytest.param(
            {"postgresql_role": "postgres"},
            "postgresql_role: expected a lower-case name of letters, digits and _, and none of PostgreSQL's own "
            "(postgres, pg_…); found 'postgres'",
            id="superuser-for-a-role",
        ),
        pytest.param(
            {"tracking_artifacts_destination": "/home/ada"},
            "tracking_artifacts_destination: expected a directory of its own, as /var/lib/mlflow/artifacts or "
            "/srv/mlflow-artifacts; found '/home/ada'",
            id="home-for-artifacts",
        ),
        pytest.param(
            {"tracking_artifacts_destination": "/var/lib"},
            "tracking_artifacts_destination: expected a directory of its own, as /var/lib/mlflow/artifacts or "
            "/srv/mlflow-artifacts; found '/var/lib'",
            id="directory-of-others-for-artifacts",
        ),
        pytest.param(
            {"tracking_database_uri": "postgresql://u@db/mlflow"},
            "tracking_database_uri: expected postgresql+psycopg2://USER@HOST:PORT/DATABASE; the driver must be named, "
            "because SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, which is not installed; found "
            "'postgresql://u@db/mlflow'",
            id="uri-without-a-driver",
        ),
        pytest.param(
            {"production_tracking_uri": "mlflow.example.com:5000"},
            "production_tracking_uri: expected an address that starts with http:// or https://; found "
            "'mlflow.example.com:5000'",
            id="tracking-uri-without-scheme",
        ),
    ],
)
def test_bad_setting_is_refused(data: dict[str, Any], problem: str) -> None:
    assert refusal(entry(**data)) == one_problem(problem)


@pytest.mark.parametrize(
    ("models", "problem"),
    [
        pytest.param(
            {"diabetes": {"uri": "models:/diabetes/latest", "port": 5001}},
            "production_models['diabetes']['uri']: 'models:/diabetes/latest' is not a model URI; expected "
            "models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID or runs:/RUN_ID/NAME",
            id="latest-model",
        ),
        pytest.param(
            {"Diabetes!": MODEL},
            "production_models['Diabetes!']: expected a unit name of lower-case letters, digits, - and _; found "
            "'Diabetes!'",
            id="unit-name",
        ),
        pytest.param(
            {"diabetes": {"uri": "models:/diabetes@champion", "port": 80}},
            "production_models['diabetes']['port']: input should be greater than or equal to 1024; found 80",
            id="port",
        ),
        pytest.param(
            {"diabetes": {"uri": "models:/diabetes@champion"}},
            "production_models['diabetes']['port']: required, but not given",
            id="no-port",
        ),
        pytest.param(
            {"diabetes": {**MODEL, "worker": 2}},
            "production_models['diabetes']['worker']: unknown setting; did you mean 'workers'?",
            id="misspelt-key",
        ),
        pytest.param(
            {"diabetes": {**MODEL, "gpu": True}},
            "production_models['diabetes']['gpu']: unknown setting; expected uri, port, workers, required",
            id="unknown-key",
        ),
        pytest.param(
            {"diabetes": "models:/diabetes@champion"},
            "production_models['diabetes']: expected a dictionary with the keys uri, port, workers, required; found "
            "'models:/diabetes@champion'",
            id="text-for-an-entry",
        ),
    ],
)
def test_bad_model_is_refused(models: dict[str, Any], problem: str) -> None:
    assert refusal(entry(production_models=models)) == one_problem(problem)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (
            "postgresql+psycopg2://u:hunter2@db:5432/mlflow",
            "holds a password; leave it out of the URI and set postgresql_password to a reference; found "
            "'postgresql+psycopg2://u:***@db:5432/mlflow'",
        ),
        (
            "postgresql+psycopg2://u:hunt/er2@db:5432/mlflow",
            "holds a password; leave it out of the URI and set postgresql_password to a reference; found "
            "'postgresql+psycopg2://u:***@db:5432/mlflow'",
        ),
        (
            "postgresql+psycopg2://u@db/mlflow?sslmode=require&password=hunter2",
            "holds a password; leave it out of the URI and set postgresql_password to a reference; found "
            "'postgresql+psycopg2://u@db/mlflow?sslmode=require&password=***'",
        ),
        (
            "postgresql://u:hunter2@db/mlflow",
            "expected postgresql+psycopg2://USER@HOST:PORT/DATABASE; the driver must be named, because SQLAlchemy 2.1 "
            "takes a bare postgresql:// for psycopg 3, which is not installed; found 'postgresql://u:***@db/mlflow'",
        ),
    ],
)
def test_password_in_a_uri_is_refused_and_not_shown(uri: str, shown: str) -> None:
    assert refusal(entry(tracking_database_uri=uri)) == one_problem(f"tracking_database_uri: {shown}")


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("hunter2", 'expected a reference: "generated", "env:NAME", "file:PATH" or "cmd:COMMAND"'),
        ("env:hunter 2", 'expected a reference: "generated", "env:NAME", "file:PATH" or "cmd:COMMAND"'),
        (20202020, "input should be a valid string"),
    ],
)
def test_literal_secret_is_refused_and_not_shown(password: object, problem: str) -> None:
    assert refusal(entry(postgresql_password=password)) == one_problem(f"postgresql_password: {problem}")


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
        "  spare: in no group of a role; put it into one of postgresql, tracking, production in the inventory"
    )


def test_tracking_without_a_database_is_refused() -> None:
    assert refusal(entry(groups=("tracking",))) == one_problem(
        "the group tracking needs a database: add a group postgresql, or set tracking_database_uri"
    )


def test_tracking_with_a_database_of_another_provider_is_accepted() -> None:
    hosts = check_inventory([entry(groups=("tracking",), tracking_database_uri="postgresql+psycopg2://u@db:5432/d")])

    assert list(hosts) == ["mlflow1"]


def test_database_on_another_host_without_client_networks_is_refused() -> None:
    assert refusal(entry("db", ("postgresql",)), entry("web", ("tracking",))) == (
        "1 problem in the inventory and its settings; no host was changed\n"
        "  web: the database is on another host, but postgresql_client_networks is empty; add this host's network"
    )


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


def test_setting_that_two_hosts_read_differently_is_refused() -> None:
    networks = {"postgresql_client_networks": ["10.0.0.0/24"]}
    model = {"production_models": {"diabetes": MODEL}}

    message = refusal(
        entry("db", ("postgresql",), postgresql_port=5433, **networks),
        entry("web", ("tracking",), tracking_bind="10.0.0.1", tracking_port=5005),
        entry("gpu", ("production",), **model),
    )

    assert message == (
        "2 problems in the inventory and its settings; no host was changed\n"
        "  web: postgresql_port differs from that of the host of the group postgresql: 5432 here, 5433 there; "
        "set it in group_data/all.py\n"
        "  gpu: tracking_port differs from that of the host of the group tracking: 5000 here, 5005 there; set it in "
        "group_data/all.py"
    )


def test_other_hosts_use_the_name_that_the_tracking_server_answers_to() -> None:
    hosts = check_inventory(
        [
            entry("web", ("postgresql", "tracking"), tracking_bind="10.0.0.5"),
            entry("gpu", ("production",), production_models={"diabetes": MODEL}),
        ]
    )

    assert hosts["gpu"].tracking_uri == "http://10.0.0.5:5000"


def test_settings_that_are_missing_altogether_are_one_problem() -> None:
    assert refusal(HostEntry("mlflow1", "10.0.0.1", ("tracking",), {})) == one_problem(
        f"preflight_min_free_disk_mib and {len(DEFAULTS) - 1} more: required, but not set; run pyinfra in the "
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

    assert hosts["web"].database_uri == "postgresql+psycopg2://mlflow_user@10.0.0.5:5432/mlflow_db?sslmode=require"
    assert hosts["gpu"].tracking_uri == "http://10.0.0.6:5000"


def test_addresses_that_users_name_win_over_those_of_the_inventory() -> None:
    hosts = check_inventory(
        [
            entry("db", ("postgresql",), address="10.0.0.5", postgresql_address="db.internal", **REMOTE),
            entry("web", ("tracking",), address="10.0.0.6", tracking_public_name="mlflow.internal", **REMOTE),
        ]
    )

    assert hosts["web"].postgresql_host == "db.internal"
    assert hosts["db"].tracking_host == "mlflow.internal"
