"""PostgreSQL: tuning, files, verifiers and SQL."""

import base64

import pytest

from mlflow_stack.domain import postgresql as pg


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
    assert pg.hba_lines("mlflow_db", "mlflow_user", "mlflow_dump", ["10.0.0.0/24", "fd00::/8"]) == [
        "local    mlflow_db  mlflow_user  peer  map=mlflow",
        "local    mlflow_db  mlflow_dump  peer  map=mlflow",
        "hostssl  mlflow_db  mlflow_user  10.0.0.0/24  scram-sha-256",
        "hostssl  mlflow_db  mlflow_user  fd00::/8  scram-sha-256",
    ]


def test_role_for_dumps_is_root_and_the_server_s_own_user() -> None:
    assert pg.ident_lines("mlflow_user", "mlflow", "mlflow_dump") == [
        "mlflow  mlflow  mlflow_user",
        "mlflow  postgres  mlflow_dump",
        "mlflow  root  mlflow_dump",
    ]


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


RIGHTS = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"


def test_sql_makes_what_is_missing_and_takes_away_what_is_too_much() -> None:
    owner = "(SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'mlflow_db')"

    assert pg.ensure_sql("mlflow_user", "mlflow_db", None) == (
        "SET log_min_error_statement = 'panic';\n"
        "SELECT 'CREATE ROLE \"mlflow_user\"' WHERE NOT EXISTS "
        "(SELECT FROM pg_roles WHERE rolname = 'mlflow_user') \\gexec\n"
        f'ALTER ROLE "mlflow_user" {RIGHTS};\n'
        'SELECT \'CREATE DATABASE "mlflow_db" OWNER "mlflow_user" TEMPLATE template0 '
        "ENCODING ''UTF8'' LC_COLLATE ''C.UTF-8'' LC_CTYPE ''C.UTF-8''' "
        f"WHERE {owner} IS NULL \\gexec\n"
        f"DO $do$ BEGIN IF {owner} <> 'mlflow_user' THEN "
        f"RAISE 'database % belongs to role %', 'mlflow_db', {owner}; END IF; END $do$;\n"
        'REVOKE CONNECT, TEMPORARY ON DATABASE "mlflow_db" FROM PUBLIC;\n'
    )


def test_sql_sets_a_password_only_when_there_is_a_verifier() -> None:
    without, with_one = pg.ensure_sql("u", "d", None), pg.ensure_sql("u", "d", "SCRAM-SHA-256$4096:it's")

    assert with_one == without.replace(f"{RIGHTS};", f"{RIGHTS} PASSWORD 'SCRAM-SHA-256$4096:it''s';")
    assert "PASSWORD" not in without


def test_sql_quotes_names_inside_the_statements_that_it_builds() -> None:
    sql = pg.ensure_sql('o\'hara "x"', "d'b", None)

    assert 'SELECT \'CREATE ROLE "o\'\'hara ""x"""\' WHERE' in sql
    assert 'SELECT \'CREATE DATABASE "d\'\'b" OWNER "o\'\'hara ""x""" TEMPLATE template0 ' in sql
    assert "rolname = 'o''hara \"x\"')" in sql


def test_role_for_dumps_may_read_what_is_there_and_what_is_made_later() -> None:
    assert pg.dump_role_sql("mlflow_dump", "mlflow_user", "mlflow_db") == (
        "SELECT 'CREATE ROLE \"mlflow_dump\"' WHERE NOT EXISTS "
        "(SELECT FROM pg_roles WHERE rolname = 'mlflow_dump') \\gexec\n"
        f'ALTER ROLE "mlflow_dump" {RIGHTS} PASSWORD NULL;\n'
        "SELECT format('REVOKE %I FROM %I', pg_get_userbyid(roleid), pg_get_userbyid(member)) FROM pg_auth_members "
        "WHERE pg_get_userbyid(member) = 'mlflow_dump' \\gexec\n"
        'GRANT CONNECT ON DATABASE "mlflow_db" TO "mlflow_dump";\n'
        '\\connect "mlflow_db"\n'
        'GRANT USAGE, CREATE ON SCHEMA public TO "mlflow_user";\n'
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;\n"
        'REVOKE ALL ON SCHEMA public FROM "mlflow_dump";\n'
        'GRANT USAGE ON SCHEMA public TO "mlflow_dump";\n'
        'REVOKE ALL ON ALL TABLES IN SCHEMA public FROM "mlflow_dump";\n'
        'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "mlflow_dump";\n'
        'ALTER DEFAULT PRIVILEGES FOR ROLE "mlflow_user" IN SCHEMA public GRANT SELECT ON TABLES TO "mlflow_dump";\n'
        'REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM "mlflow_dump";\n'
        'GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO "mlflow_dump";\n'
        'ALTER DEFAULT PRIVILEGES FOR ROLE "mlflow_user" IN SCHEMA public GRANT SELECT ON SEQUENCES TO "mlflow_dump";\n'
    )
