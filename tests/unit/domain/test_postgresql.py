"""PostgreSQL: tuning, files, verifiers and SQL."""

import base64

import pytest

from mlflow_stack.domain import postgresql as pg
from tests.unit.recorded import lines

BLOCK = f"{pg.BEGIN}\nours\n{pg.END}\n"


@pytest.mark.parametrize(
    ("memory_mib", "share", "expected"),
    [
        (2048, 0.125, ("256MB", "1024MB", "128MB", "4MB")),
        (4096, 0.125, ("512MB", "2048MB", "256MB", "5MB")),
        (65536, 0.25, ("16384MB", "32768MB", "2048MB", "54MB")),
        (512, 0.125, ("128MB", "256MB", "64MB", "4MB")),
    ],
)
def test_tuning_follows_the_memory_of_the_host(memory_mib: int, share: float, expected: tuple[str, ...]) -> None:
    found = pg.tuning(memory_mib, share, max_connections=100)

    names = ("shared_buffers", "effective_cache_size", "maintenance_work_mem", "work_mem")
    assert tuple(found[name] for name in names) == expected


def test_configuration_is_one_quoted_line_for_each_setting() -> None:
    assert pg.configuration({"port": "5432", "listen_addresses": "localhost"}) == (
        "# Managed by MLflow Stack (mlflow_stack/domain/postgresql.py); changes are overwritten.\n"
        "port = '5432'\n"
        "listen_addresses = 'localhost'\n"
    )


def test_hba_lines_let_other_hosts_in_by_tls_and_scram_only() -> None:
    assert pg.hba_lines("mlflow_db", "mlflow_user", ["10.0.0.0/24", "fd00::/8"]) == [
        "local    mlflow_db  mlflow_user  peer  map=mlflow",
        "hostssl  mlflow_db  mlflow_user  10.0.0.0/24  scram-sha-256",
        "hostssl  mlflow_db  mlflow_user  fd00::/8  scram-sha-256",
    ]


def test_block_is_put_in_front_of_lines_of_others() -> None:
    assert pg.with_block("local all all peer\n", ["ours"]) == BLOCK + "local all all peer\n"


def test_block_that_is_there_is_replaced_and_nothing_else_touched() -> None:
    others = "# a comment\nlocal all all peer\n\nhost all all 127.0.0.1/32 scram-sha-256"

    assert pg.with_block(f"{pg.BEGIN}\nold\nolder\n{pg.END}\n{others}", ["ours"]) == BLOCK + others


def test_block_that_somebody_moved_comes_to_the_front_again() -> None:
    assert pg.with_block(f"first\n{BLOCK}last\n", ["ours"]) == BLOCK + "first\nlast\n"


def test_block_of_a_file_that_has_it_changes_nothing() -> None:
    recorded = "".join(f"{line}\n" for line in lines("deployed", "Postgresql")).split("----8<----\n")[1]

    assert pg.with_block(recorded, pg.hba_lines("mlflow_db", "mlflow_user", [])) == recorded


def test_verifier_is_that_of_the_exchange_in_rfc_7677() -> None:
    """RFC 7677, section 3 (user "user", password "pencil"), whose proof and signature these keys give."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")

    assert pg.scram_verifier("pencil", salt, 4096) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_verifiers_of_one_password_differ_by_their_salts() -> None:
    first, second = pg.scram_verifier("pencil"), pg.scram_verifier("pencil")

    assert first != second
    assert first.startswith("SCRAM-SHA-256$4096:")


@pytest.mark.parametrize(("value", "quoted"), [("a", "'a'"), ("it's", "'it''s'"), ("", "''"), ("a\\", "'a\\'")])
def test_literal_is_quoted_for_sql(value: str, quoted: str) -> None:
    assert pg.literal(value) == quoted


@pytest.mark.parametrize(("name", "quoted"), [("a", '"a"'), ('a"b', '"a""b"'), ("A b", '"A b"')])
def test_identifier_is_quoted_for_sql(name: str, quoted: str) -> None:
    assert pg.identifier(name) == quoted


@pytest.mark.parametrize(
    ("exists", "verifier", "statement"),
    [
        (
            False,
            None,
            'CREATE ROLE "mlflow_user" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;',
        ),
        (
            True,
            "SCRAM-SHA-256$x",
            'ALTER ROLE "mlflow_user" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS '
            "PASSWORD 'SCRAM-SHA-256$x';",
        ),
    ],
)
def test_role_gets_no_right_but_to_log_in(exists: bool, verifier: str | None, statement: str) -> None:
    assert pg.role_sql("mlflow_user", exists, verifier) == f"SET log_min_error_statement = 'panic';\n{statement}\n"


def test_database_is_utf8_whatever_the_cluster_is_and_closed_to_others() -> None:
    assert pg.database_sql("mlflow_db", "mlflow_user") + pg.revoke_sql("mlflow_db") == (
        'CREATE DATABASE "mlflow_db" OWNER "mlflow_user" TEMPLATE template0 '
        "ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';\n"
        'REVOKE CONNECT, TEMPORARY ON DATABASE "mlflow_db" FROM PUBLIC;\n'
    )
