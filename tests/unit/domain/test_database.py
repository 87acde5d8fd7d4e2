"""What the URI of a database becomes, and the files that passwords are kept in."""

import shlex
from configparser import RawConfigParser

import pytest

from mlflow_stack.domain.database import (
    MYSQL_PASSFILE,
    PASSFILE,
    as_tracking_user,
    mysql_options,
    passfile,
    revision_query,
    secured,
    with_password,
)
from mlflow_stack.on_host.database import Server, encrypted, mysql_arguments, own_uri, parse, password_fault, pgpass

MYSQL, POSTGRESQL = "mysql+pymysql://u@db.example.com:3307/d", "postgresql+psycopg2://u@db.example.com/d"
CA = "/etc/mlflow/database-ca.crt"


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        (MYSQL, Server(True, "db.example.com", 3307, "u", "d", {})),
        (POSTGRESQL, Server(False, "db.example.com", 5432, "u", "d", {})),
        ("mysql+pymysql://a%40b@[fd00::1]/d", Server(True, "fd00::1", 3306, "a@b", "d", {})),
        (
            "postgresql+psycopg2://u@/d?host=/run/postgresql&port=5433",
            Server(False, "/run/postgresql", 5433, "u", "d", {"host": "/run/postgresql", "port": "5433"}),
        ),
        (
            "mysql+pymysql://u@localhost/d?unix_socket=/run/my.sock",
            Server(True, "localhost", 3306, "u", "d", {"unix_socket": "/run/my.sock"}),
        ),
    ],
)
def test_uri_says_where_the_database_is(uri: str, server: Server) -> None:
    assert parse(uri) == server


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (MYSQL, f"{MYSQL}?ssl_ca={CA}&ssl_check_hostname=true"),
        (f"{MYSQL}?ssl_check_hostname=false", f"{MYSQL}?ssl_check_hostname=false&ssl_ca={CA}"),
        (POSTGRESQL, f"{POSTGRESQL}?sslmode=verify-full&sslrootcert={CA}"),
        (f"{POSTGRESQL}?sslmode=verify-full", f"{POSTGRESQL}?sslmode=verify-full&sslrootcert={CA}"),
    ],
)
def test_server_is_looked_at_where_its_authority_is_known(uri: str, expected: str) -> None:
    assert secured(uri, is_verified=True) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (MYSQL, f"{MYSQL}?ssl_check_hostname=false"),
        (f"{MYSQL}?ssl_disabled=true", f"{MYSQL}?ssl_disabled=true"),
        (POSTGRESQL, f"{POSTGRESQL}?sslmode=require"),
        (f"{POSTGRESQL}?connect_timeout=5", f"{POSTGRESQL}?connect_timeout=5&sslmode=require"),
        (f"{POSTGRESQL}?sslmode=disable", f"{POSTGRESQL}?sslmode=disable"),
        ("mysql+pymysql://u@127.0.0.1/d", "mysql+pymysql://u@127.0.0.1/d"),
        ("postgresql+psycopg2://u@/d?host=/run/postgresql", "postgresql+psycopg2://u@/d?host=/run/postgresql"),
    ],
)
def test_database_on_another_host_is_reached_by_tls_unless_it_is_not_wanted(uri: str, expected: str) -> None:
    assert secured(uri, is_verified=False) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        (f"?ssl_ca={CA}&ssl_check_hostname=true", {"ssl": {"ca": CA, "check_hostname": True}}),
        (f"?ssl_check_hostname=false&ssl_ca={CA}", {"ssl": {"ca": CA, "check_hostname": False}}),
        ("?ssl_check_hostname=false", {"ssl": {"check_hostname": False}}),
        ("?ssl_disabled=true", {"ssl_disabled": True}),
    ],
)
def test_pymysql_is_told_of_tls_what_sqlalchemy_tells_it(query: str, expected: dict[str, object]) -> None:
    from sqlalchemy import make_url  # noqa: PLC0415  # takes its time, which no other test here needs
    from sqlalchemy.dialects.mysql.pymysql import dialect  # noqa: PLC0415

    _, theirs = dialect().create_connect_args(make_url(MYSQL + query))

    ours = mysql_arguments(parse(MYSQL + query))
    assert ours == {"host": "db.example.com", "port": 3307, "user": "u", "database": "d", **expected}
    assert {name: str(value) for name, value in theirs.items()} == {
        **{
            name: str(value).replace("True", "true") if name == "ssl_disabled" else str(value)
            for name, value in ours.items()
        }
    }


def test_pymysql_is_told_of_a_unix_socket_what_sqlalchemy_tells_it() -> None:
    from sqlalchemy import make_url  # noqa: PLC0415
    from sqlalchemy.dialects.mysql.pymysql import dialect  # noqa: PLC0415

    uri = "mysql+pymysql://u@localhost:3306/d?unix_socket=/run/my.sock"

    assert mysql_arguments(parse(uri)) == dialect().create_connect_args(make_url(uri))[1]
    assert parse(uri).address == "/run/my.sock"


@pytest.mark.parametrize(
    "uri",
    [
        f"{MYSQL}?ssl_ca={CA}",
        f"{MYSQL}?ssl_check_hostname=false",
        f"{POSTGRESQL}?sslmode=verify-ca",
        "mysql+pymysql://u@localhost/d?unix_socket=/run/my.sock",
    ],
)
def test_uri_that_says_itself_what_is_wanted_of_tls_stays_as_it_is(uri: str) -> None:
    assert encrypted(uri) == uri


def test_uri_of_mysql_says_where_the_server_has_the_password() -> None:
    assert with_password(POSTGRESQL) == POSTGRESQL
    assert with_password(f"{MYSQL}?ssl_disabled=true") == (
        f"{MYSQL}?ssl_disabled=true&read_default_file=/run/mlflow-tracking/mysql.cnf&read_default_group=pymysql"
    )


def test_program_of_ours_gives_what_it_starts_its_own_copy_of_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = with_password(MYSQL)

    assert own_uri(uri) == uri
    monkeypatch.setenv("MLFLOW_DATABASE_OPTION_FILE", "/run/mlflow-stack-1/mysql.cnf")
    assert own_uri(uri) == f"{MYSQL}?read_default_file=/run/mlflow-stack-1/mysql.cnf&read_default_group=pymysql"


@pytest.mark.parametrize("password", ["plain", " p#w; ", 'a"b', "it's", "back\\slash\\n", '"', "'quoted'", "a=b:c%d$e"])
def test_option_file_gives_pymysql_every_password(password: str) -> None:
    """As its Parser reads it: no escapes, and quotes around a value are taken off. MariaDB's: tests/servers."""
    parser = RawConfigParser(allow_no_value=True)
    parser.read_string(mysql_options(password))

    assert parser["pymysql"]["password"] == f'"{password}"'


def test_password_that_pymysql_would_send_otherwise_is_refused() -> None:
    reason = "holds a character that PyMySQL can't send; expected printable ones of ASCII for MySQL"

    assert [password_fault(MYSQL, password) for password in ("a b", "ü", "a\nb")] == ["", reason, reason]
    assert password_fault(POSTGRESQL, "ü") == ""


def test_password_has_a_file_of_its_own_kind() -> None:
    assert (passfile(POSTGRESQL), passfile(MYSQL)) == (PASSFILE, MYSQL_PASSFILE)


@pytest.mark.parametrize(
    ("uri", "file", "command"),
    [
        (
            POSTGRESQL,
            PASSFILE,
            "psql -X -A -t -q postgresql://u@db.example.com/d -c 'SELECT json_build_object('\"'\"'revision'\"'\"', "
            "version_num) FROM alembic_version'",
        ),
        (
            f"{MYSQL}?ssl_ca={CA}&ssl_check_hostname=true",
            MYSQL_PASSFILE,
            "mariadb --defaults-file=$RUNTIME_DIRECTORY/mysql.cnf --protocol=tcp --host=db.example.com --port=3307 "
            f"--user=u --ssl-ca={CA} --ssl-verify-server-cert --batch --skip-column-names '--execute=SELECT "
            "json_object('\"'\"'revision'\"'\"', version_num) FROM alembic_version' d",
        ),
        (
            f"{MYSQL}?ssl_disabled=true",
            "",
            "mariadb --no-defaults --protocol=tcp --host=db.example.com --port=3307 --user=u --skip-ssl --batch "
            "--skip-column-names '--execute=SELECT json_object('\"'\"'revision'\"'\"', version_num) FROM "
            "alembic_version' d",
        ),
    ],
)
def test_revision_is_asked_for_without_python_too(uri: str, file: str, command: str) -> None:
    assert revision_query(uri, file) == command


def test_password_file_escapes_what_would_end_the_field() -> None:
    assert pgpass(r"a:b\c") == "*:*:*:*:a\\:b\\\\c\n"


def test_command_of_the_tracking_user_gets_no_password_on_its_line() -> None:
    assert as_tracking_user("mlflow db upgrade x", "") == "runuser -u mlflow -- env -C / mlflow db upgrade x"
    assert as_tracking_user("mlflow db upgrade x", "/etc/mlflow/credentials/pgpass") == (
        "systemd-run --quiet --wait --pipe --collect -p User=mlflow "
        "-p LoadCredential=pgpass:/etc/mlflow/credentials/pgpass -p PrivateMounts=yes "
        "-p RuntimeDirectory=mlflow-stack-$$ -p RuntimeDirectoryMode=0700 "
        "sh -c 'install --mode=600 $CREDENTIALS_DIRECTORY/pgpass $RUNTIME_DIRECTORY/pgpass; "
        "PGPASSFILE=$RUNTIME_DIRECTORY/pgpass exec mlflow db upgrade x'"
    )


def test_option_file_of_mysql_is_handed_over_in_the_same_way() -> None:
    script = (
        "install --mode=600 $CREDENTIALS_DIRECTORY/mysql.cnf $RUNTIME_DIRECTORY/mysql.cnf; "
        "MLFLOW_DATABASE_OPTION_FILE=$RUNTIME_DIRECTORY/mysql.cnf exec mlflow db upgrade x"
    )

    command = as_tracking_user("mlflow db upgrade x", MYSQL_PASSFILE)

    assert shlex.split(command)[-1] == script
    assert "-p LoadCredential=mysql.cnf:/etc/mlflow/credentials/mysql.cnf " in command
