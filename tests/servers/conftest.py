"""Fixtures of the tests on real database servers; they need no lab, and no root."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator

import pytest

from mlflow_stack.domain.database import mysql_options
from mlflow_stack.on_host.database import pgpass
from tests.servers import databases, older
from tests.servers.databases import PASSWORD, USER, Server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server_programs() -> None:
    """Skip where a server's programs are missing, but fail in CI."""
    if absent := databases.missing():
        assert not os.environ.get("CI"), f"packages are missing: {absent}"
        pytest.skip(f"packages are missing: {absent}")


@pytest.fixture(scope="session")
def mariadb(server_programs: None) -> Iterator[Server]:
    """A MariaDB that keeps a binary log, as providers' do, and trusts those who make triggers."""
    with databases.mariadb() as server:
        server.password_file.write_text(mysql_options(PASSWORD))
        quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        server.sql(f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{quoted}'")
        server.sql("SET GLOBAL log_bin_trust_function_creators = 1")
        yield server


@pytest.fixture(scope="session")
def postgresql(server_programs: None) -> Iterator[Server]:
    with databases.postgresql() as server:
        server.password_file.write_text(pgpass(PASSWORD))
        server.password_file.chmod(0o600)
        quoted = PASSWORD.replace("'", "''")
        server.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{quoted}'")
        yield server


@pytest.fixture
def mysql_database(mariadb: Server) -> Iterator[str]:
    """An empty database that is MLflow's, by its name."""
    name = f"mlflow_{next(_numbers)}"
    mariadb.sql(f"CREATE DATABASE {name} CHARACTER SET utf8mb4; GRANT ALL ON {name}.* TO {USER}@'127.0.0.1'")
    yield name
    mariadb.sql(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
def postgresql_database(postgresql: Server) -> Iterator[str]:
    name = f"mlflow_{next(_numbers)}"
    postgresql.sql(f"CREATE DATABASE {name} OWNER {USER}")
    yield name
    postgresql.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def older_dumps() -> dict[str, str]:
    """SQL that makes an older schema with rows, by the kind of the server."""
    return {}


@pytest.fixture
def older_mysql(mariadb: Server, mysql_database: str, older_dumps: dict[str, str]) -> str:
    """The URI of a database that an older MLflow made, with rows."""
    return older.made(mariadb, mysql_database, older_dumps)


@pytest.fixture
def older_postgresql(postgresql: Server, postgresql_database: str, older_dumps: dict[str, str]) -> str:
    return older.made(postgresql, postgresql_database, older_dumps)
