"""dumps.py: what can be judged without a database; the rest is in tests/servers and tests/e2e/test_upgrade.py."""

from pathlib import Path

import pytest

from mlflow_stack.on_host.dumps import pg_dump_obstacle


@pytest.fixture
def pg_dump_15(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pg_dump that says its version, as Debian's does."""
    program = tmp_path / "pg_dump"
    program.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("pg_dump_15")
@pytest.mark.parametrize("server", [13, 15])
def test_server_of_the_same_or_an_older_version_can_be_dumped(server: int) -> None:
    assert pg_dump_obstacle(server) == ""


@pytest.mark.usefixtures("pg_dump_15")
def test_server_of_a_newer_version_can_not_be_dumped() -> None:
    assert pg_dump_obstacle(17) == (
        "it can't be dumped before an upgrade: the server is PostgreSQL 17, and on this host is pg_dump (PostgreSQL) "
        "15.14 (Debian 15.14-0+deb12u1); install postgresql-client-17 here. Nothing was changed on the database or the "
        "running server"
    )
