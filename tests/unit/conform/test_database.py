"""Checks of database.py: the database, in the words of PostgreSQL 15."""

from __future__ import annotations

import json

import pytest

from mlflow_stack.conform import database
from mlflow_stack.conform.checks import Unknown
from tests.unit.conform.judging import found
from tests.unit.defaults import settings


def test_setting_that_could_lose_what_was_confirmed_is_found() -> None:
    good = ["fsync on", "full_page_writes on", "synchronous_commit on"]

    assert found(database.durable, good) == []
    assert found(database.durable, [*good, "synchronous_commit off"]) == ["synchronous_commit is off"]
    with pytest.raises(Unknown):
        found(database.durable, [])


def test_right_that_the_role_should_not_have_is_found() -> None:
    rights = dict.fromkeys(("super", "createdb", "createrole", "replication", "bypassrls"), False)

    assert found(database.role, [json.dumps({**rights, "of": []})]) == []
    assert found(database.role, [json.dumps({**rights, "createdb": True, "of": ["postgres"]})]) == [
        "role mlflow_user has createdb",
        "role mlflow_user has the rights of postgres",
    ]
    with pytest.raises(Unknown, match="there is no role mlflow_user"):
        found(database.role, [])


def test_role_for_dumps_that_may_do_more_than_read_is_found() -> None:
    rights = ("super", "createdb", "createrole", "replication", "bypassrls", "creates", "writes", "member", "password")
    well = dict.fromkeys(rights, False)

    assert found(database.dump_role, [json.dumps(well)]) == []
    assert found(database.dump_role, [json.dumps(dict.fromkeys(rights, True))])[5:] == [
        "role mlflow_dump may create tables",
        "role mlflow_dump may change a table",
        "role mlflow_dump has the rights of another role",
        "role mlflow_dump has a password",
    ]
    with pytest.raises(Unknown, match="there is no role mlflow_dump"):
        found(database.dump_role, [])


def test_database_of_others_that_is_not_as_needed_is_found_and_asked_by_the_host() -> None:
    own = settings(
        ("tracking",), tracking_database_uri="mysql+pymysql://u@db/d", tracking_database_password="env:DB_PASSWORD"
    )
    assert database.needs.script

    script = database.needs.script(own)

    assert database.needs.hosts.include(own)
    assert not database.needs.hosts.include(settings())
    assert "-p LoadCredential=mysql.cnf:/etc/mlflow/credentials/mysql.cnf " in script
    assert "/opt/mlflow/libexec/schema.py needs '\"'\"'mysql+pymysql://u@db/d?ssl_check_hostname=false&" in script
    assert found(database.needs, [], own) == []
    assert found(database.needs, ["db:3306 can't be reached from this host"], own) == [
        "db:3306 can't be reached from this host"
    ]


def test_database_that_others_may_connect_to_is_found() -> None:
    def faults(**changed: object) -> list[str]:
        return found(database.connect, [json.dumps({"owner": "mlflow_user", "public": False, "others": [], **changed})])

    assert faults() == []
    assert faults(public=True, others=["other"]) == ["every role may connect to mlflow_db"]
    assert faults(others=["other"]) == ["other may connect to mlflow_db"]
    assert faults(owner="other") == ["the owner of mlflow_db is other"]


def rule(**changed: object) -> dict[str, object]:
    usual = {"line": 96, "type": "local", "database": ["all"], "user": ["all"], "address": None, "method": "peer"}
    return {**usual, "error": None, **changed}


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({}, []),
        ({"type": "host", "address": "127.0.0.1", "method": "scram-sha-256"}, []),
        ({"type": "hostssl", "address": "10.0.0.0", "method": "scram-sha-256"}, []),
        ({"type": "host", "address": "all", "method": "reject"}, []),
        ({"database": ["replication"], "method": "trust"}, []),
        ({"database": ["theirs"], "type": "host", "address": "all", "method": "trust"}, []),
        (
            {"type": "hostssl", "database": None, "error": "hostssl record cannot match because SSL is disabled"},
            [],
        ),
        ({"database": None, "error": "invalid method"}, ["line 96 of pg_hba.conf: invalid method"]),
        ({"method": "trust", "database": ["mlflow_db"]}, ["line 96 of pg_hba.conf lets all in by trust"]),
        (
            {"type": "host", "address": "10.0.0.0", "method": "scram-sha-256"},
            ["line 96 of pg_hba.conf lets 10.0.0.0 in without TLS"],
        ),
    ],
)
def test_rule_of_pg_hba_is_judged_by_whom_it_lets_in_and_how(changed: dict[str, object], faults: list[str]) -> None:
    assert found(database.rules, [json.dumps([rule(**changed)])]) == faults


def test_database_that_others_use_has_tls_and_a_certificate_that_lasts() -> None:
    good = ["password_encryption scram-sha-256", "ssl on", "ssl_min_protocol_version TLSv1.2", "left yes"]

    assert found(database.tls, good) == []
    assert found(database.tls, ["password_encryption md5", "ssl off", "ssl_min_protocol_version TLSv1", "left no"]) == [
        "ssl is off",
        "ssl_min_protocol_version is TLSv1",
        "password_encryption is md5",
        "its certificate ends within 14 days",
    ]
