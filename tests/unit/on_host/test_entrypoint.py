"""entrypoint.py: what the server of a container is told of its database and store; containers are in tests/image."""

from __future__ import annotations

from configparser import RawConfigParser
from pathlib import Path

import pytest

from mlflow_stack.domain.object_store import ObjectStore
from mlflow_stack.on_host import entrypoint
from mlflow_stack.on_host.container import Database

POSTGRESQL, MYSQL = "postgresql+psycopg2://u@db.example.com/d", "mysql+pymysql://u@db.example.com/d"
PASSWORD = 'a:b\\"c'


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path / "mlflow-stack"


def test_database_on_another_host_is_reached_by_tls_as_from_hosts_unless_it_is_not_wanted() -> None:
    told = [
        entrypoint.database_variables(Database(uri, ""))["MLFLOW_BACKEND_STORE_URI"]
        for uri in (POSTGRESQL, MYSQL, f"{MYSQL}?ssl_disabled=true")
    ]

    assert told == [
        f"{POSTGRESQL}?sslmode=require",
        f"{MYSQL}?ssl_check_hostname=false",
        f"{MYSQL}?ssl_disabled=true",
    ]


def test_libpq_finds_the_password_in_a_file_of_this_user_alone(temporary: Path) -> None:
    told = entrypoint.database_variables(Database(POSTGRESQL, PASSWORD))

    assert told["PGPASSFILE"] == str(temporary / "pgpass")
    assert (temporary / "pgpass").read_text() == '*:*:*:*:a\\:b\\\\"c\n'
    assert (temporary.stat().st_mode & 0o777, (temporary / "pgpass").stat().st_mode & 0o777) == (0o700, 0o600)


def test_pymysql_finds_the_password_in_a_file_of_this_user_alone(temporary: Path) -> None:
    told = entrypoint.database_variables(Database(MYSQL, PASSWORD))

    assert told == {
        "MLFLOW_BACKEND_STORE_URI": f"{MYSQL}?ssl_check_hostname=false&read_default_file={temporary}/my.cnf"
    }
    parser = RawConfigParser(allow_no_value=True)
    parser.read(temporary / "my.cnf")
    assert parser["client"]["password"] == f'"{PASSWORD}"'  # PyMySQL takes off the outer quotes alone
    assert (temporary / "my.cnf").stat().st_mode & 0o777 == 0o600


def test_clients_of_what_only_speaks_s3_are_told_what_hosts_tell_them() -> None:
    endpoint = {"MLFLOW_S3_ENDPOINT_URL": "https://minio.example.com"}
    on_hosts = ObjectStore("s3://bucket/mlflow", endpoint["MLFLOW_S3_ENDPOINT_URL"]).variables

    told = entrypoint.store_variables(endpoint)

    assert endpoint | told == {name: on_hosts[name] for name in on_hosts if name not in ("PYTHONPATH", "TMPDIR")}
    assert entrypoint.store_variables({}) == {}


def test_what_is_given_for_a_store_stays() -> None:
    given = {"MLFLOW_S3_ENDPOINT_URL": "https://s3.example.com", "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "virtual"}

    assert entrypoint.store_variables(given)["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] == "virtual"
