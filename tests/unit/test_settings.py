"""group_data/ and the models name the same settings, and what follows from them."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from mlflow_stack.domain.firewall import Opening
from mlflow_stack.role_settings import CondaSettings, PreflightSettings
from mlflow_stack.settings import role_models, setting_names, split_by_role
from tests.unit.defaults import DEFAULTS, GROUP_DATA, REPOSITORY, group_data, settings

ALL = GROUP_DATA / "all.py"


def test_group_data_and_the_models_name_the_same_settings() -> None:
    assert sorted(DEFAULTS) == sorted(setting_names())


def test_group_data_sets_nothing_without_the_prefix_of_a_role() -> None:
    prefixes = tuple(f"{role}_" for role in role_models())

    strangers = [
        f"{path.name}: {name}"
        for path in GROUP_DATA.glob("*.py")
        for name in group_data(path)
        if not name.startswith(prefixes)
    ]

    assert strangers == []


def test_group_data_sets_nothing_in_two_files_of_groups() -> None:
    files = [path for path in GROUP_DATA.glob("*.py") if path != ALL]

    counts = Counter(name for path in files for name in group_data(path))

    assert [name for name, count in counts.items() if count > 1] == []


def test_group_data_has_a_comment_above_every_setting() -> None:
    lines = ALL.read_text().splitlines()

    bare = [
        line
        for above, line in pairwise(lines)
        if re.match(r"[a-z]\w+ = ", line) and (not above.startswith("# ") or above.startswith("# ---"))
    ]

    assert bare == []


def test_group_data_keeps_the_settings_of_a_role_together_in_its_section() -> None:
    sections = re.split(r"^# --- (\w+): .*-$", ALL.read_text(), flags=re.MULTILINE)[1:]

    found = {
        role: re.findall(r"^([a-z]\w+) = ", text, re.MULTILINE)
        for role, text in zip(sections[::2], sections[1::2], strict=True)
    }

    expected = {role: [f"{role}_{field}" for field in model.model_fields] for role, model in role_models().items()}
    assert {role: sorted(names) for role, names in found.items()} == {
        role: sorted(names) for role, names in expected.items()
    }


def test_settings_accept_the_defaults_in_every_group() -> None:
    assert settings().tracking.port == 5000
    assert settings(groups=("postgresql",)).groups == ("postgresql",)


def test_settings_are_strict_about_types() -> None:
    with pytest.raises(ValidationError) as refusal:
        PreflightSettings(min_free_disk_mib="5000", min_memory_mib=True, former_name="")  # type: ignore[arg-type]

    assert [detail["type"] for detail in refusal.value.errors()] == ["int_type", "int_type"]


def test_settings_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings().tracking.port = 5001


def test_settings_take_the_role_prefix_off() -> None:
    parts = split_by_role({"tracking_port": 1, "postgresql_port": 2, "custom_port": 3})

    assert (parts["tracking"], parts["postgresql"], parts["conda"]) == ({"port": 1}, {"port": 2}, {})


def test_installer_url_is_filled_in_with_version_and_architecture() -> None:
    conda = settings(conda_installer_version="v1", conda_installer_sha256={"aarch64": "a" * 64}).conda

    assert conda.installer_for("aarch64") == (
        "https://repo.anaconda.com/miniconda/Miniconda3-v1-Linux-aarch64.sh",
        "a" * 64,
    )


def test_installer_of_an_architecture_without_a_checksum_is_refused() -> None:
    conda: CondaSettings = settings(conda_installer_sha256={"aarch64": "a" * 64}).conda

    with pytest.raises(KeyError, match="x86_64"):
        conda.installer_for("x86_64")


def test_environment_is_the_mlflow_lock_with_the_add_ons_behind_it() -> None:
    conda, locks = settings(conda_python="3.11").conda, REPOSITORY / "locks"

    assert conda.locked() == (locks / "mlflow-py3.11.txt").read_text()
    assert conda.locked(["mysql", "s3"]) == "".join(
        (locks / f"{name}-py3.11.txt").read_text() for name in ("mlflow", "mysql", "s3")
    )


def test_database_on_the_same_host_is_reached_by_its_socket() -> None:
    found = settings(postgresql_port=5433)

    assert found.database_uri == "postgresql+psycopg2://mlflow_user@/mlflow_db?host=/var/run/postgresql&port=5433"
    assert not found.database_needs_password


def test_database_of_another_provider_is_used_as_it_is_given() -> None:
    uri = "postgresql+psycopg2://u@db.example.com:6432/d?sslmode=verify-full"

    found = settings(tracking_database_uri=uri, tracking_database_password="env:DB")

    assert (found.database_uri, found.database_password) == (uri, ("env:DB", "tracking_database_password"))


def test_mysql_of_another_provider_gets_tls_and_a_file_with_its_password() -> None:
    uri = "mysql+pymysql://u@db.example.com/d"
    file = "read_default_file=/run/mlflow-tracking/mysql.cnf&read_default_group=pymysql"

    plain = settings(tracking_database_uri=uri)
    found = settings(tracking_database_uri=uri, tracking_database_password="env:DB")

    assert plain.database_uri == f"{uri}?ssl_check_hostname=false"
    assert found.database_uri == f"{uri}?ssl_check_hostname=false&{file}"
    assert (found.uses_mysql, found.database_needs_password) == (True, True)


def test_driver_of_mysql_is_for_hosts_of_tracking_servers_on_it() -> None:
    mysql = {"tracking_database_uri": "mysql+pymysql://u@db/d"}

    assert settings().addons == ()
    assert settings(("tracking",), **mysql).addons == ("mysql",)
    assert settings(("production",), **mysql).addons == ()


@pytest.mark.parametrize(
    ("groups", "uri", "expected"),
    [
        (("tracking",), "postgresql+psycopg2://u@db/d", True),
        (("tracking",), "mysql+pymysql://u@127.0.0.1/d", True),
        (("tracking", "postgresql"), "postgresql+psycopg2://u@127.0.0.1/d", False),
        (("tracking", "postgresql"), "postgresql+psycopg2://u@db/d", True),
        (("production",), "postgresql+psycopg2://u@db/d", False),
        (("tracking", "postgresql"), "", False),
    ],
)
def test_database_is_looked_at_where_somebody_else_manages_it(
    groups: tuple[str, ...], uri: str, expected: bool
) -> None:
    assert settings(groups, tracking_database_uri=uri).has_foreign_database is expected


def test_database_of_another_provider_may_ask_for_no_password() -> None:
    found = settings(tracking_database_uri="postgresql+psycopg2://u@db/d")

    assert (found.database_password, found.database_needs_password) == (None, False)


@pytest.mark.parametrize(
    ("bind", "public_name", "expected"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("0.0.0.0", "", "10.0.0.1"),
        ("0.0.0.0", "mlflow.example.com", "mlflow.example.com"),
        ("unix", "", "localhost"),
    ],
)
def test_public_name_is_what_clients_use(bind: str, public_name: str, expected: str) -> None:
    found = settings(tracking_bind=bind, tracking_public_name=public_name)

    assert found.tracking_public_name == expected


def test_tracking_server_answers_to_the_address_that_it_listens_on_too() -> None:
    found = settings(tracking_bind="10.0.0.1", tracking_public_name="mlflow.example.com")

    assert found.tracking_names == ("mlflow.example.com", "localhost", "127.0.0.1", "10.0.0.1")


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("0.0.0.0", "http://127.0.0.1:5000"),
        ("10.0.0.1", "http://10.0.0.1:5000"),
        ("unix", "unix:/run/mlflow/tracking.sock"),
    ],
)
def test_tracking_server_is_reached_by_an_address_that_it_listens_on(bind: str, expected: str) -> None:
    assert settings(tracking_bind=bind).tracking_server.uri == expected


@pytest.mark.parametrize(
    ("bind", "stream", "url"),
    [
        ("0.0.0.0", "0.0.0.0:5001", "http://127.0.0.1:5001"),
        ("10.0.0.1", "10.0.0.1:5001", "http://10.0.0.1:5001"),
        ("unix", "/run/mlflow/production-diabetes.sock", "unix:/run/mlflow/production-diabetes.sock"),
    ],
)
def test_model_listens_where_its_host_reaches_it(bind: str, stream: str, url: str) -> None:
    model = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}}
    found = settings(production_bind=bind, production_models=model)

    assert (found.model_stream("diabetes"), found.model_url("diabetes")) == (stream, url)


def test_service_on_a_socket_claims_no_port() -> None:
    model = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}}
    found = settings(tracking_bind="unix", production_bind="unix", production_models=model)

    assert found.ports() == {5432: ["postgresql_port"]}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, False),
        ({"tracking_network": True}, True),
        ({"tracking_job_execution": True}, True),
        ({"tracking_database_uri": "postgresql+psycopg2://u@db/d"}, True),
    ],
)
def test_tracking_server_needs_the_network_only_for_what_is_elsewhere(data: dict[str, Any], expected: bool) -> None:
    assert settings(**data).tracking_needs_network is expected


def test_tracking_server_of_another_provider_is_used_without_a_trailing_slash() -> None:
    assert (
        settings(production_tracking_uri="https://mlflow.example.com/").tracking_server.uri
        == "https://mlflow.example.com"
    )


MODELS = {name: {"uri": f"models:/{name}@champion", "port": port} for name, port in (("a", 5001), ("b", 5002))}


def test_other_hosts_reach_nothing_that_listens_on_its_own_host_alone() -> None:
    assert settings(production_models=MODELS).openings() == []


def test_other_hosts_reach_servers_that_listen_beyond_their_own_host_and_the_database_from_its_networks() -> None:
    found = settings(
        tracking_bind="0.0.0.0",
        production_bind="10.0.0.1",
        production_models=MODELS,
        postgresql_client_networks=["10.0.0.0/24", "fd00::/8"],
        firewall_allow=["9100/tcp"],
    ).openings()

    assert found == [
        Opening(5432, source="10.0.0.0/24", reason="postgresql_port"),
        Opening(5432, source="fd00::/8", reason="postgresql_port"),
        Opening(5000, reason="tracking_port"),
        Opening(5001, reason="production_models['a']['port']"),
        Opening(5002, reason="production_models['b']['port']"),
        Opening(9100, reason="firewall_allow: 9100/tcp"),
    ]


def test_other_hosts_reach_no_port_of_a_role_that_a_host_has_not() -> None:
    everything = {"tracking_bind": "0.0.0.0", "production_bind": "0.0.0.0", "production_models": MODELS}

    assert settings(groups=("postgresql",), **everything).openings() == []
