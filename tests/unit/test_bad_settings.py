"""Settings that are wrong by themselves, and the whole message that each is refused with."""

from typing import Any

import pytest

from tests.unit.defaults import entry
from tests.unit.refusals import MODEL, one_problem, refusal


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
            'tracking_bind: expected an IPv4 address of the host, "127.0.0.1", "0.0.0.0" or "unix"; '
            "found 'localhost'",
            id="name-for-an-address",
        ),
        pytest.param(
            {"tracking_bind": "unix", "tracking_job_execution": True},
            "tracking_job_execution: the jobs ask the server over TCP, and tracking_bind is 'unix'; set it to "
            "'127.0.0.1'",
            id="jobs-without-a-port",
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
            {"postgresql_dump_role": "mlflow_user"},
            "postgresql_dump_role and postgresql_role are both 'mlflow_user'; the one may only read what the other "
            "owns: set postgresql_dump_role to another name",
            id="owner-for-dumps",
        ),
        pytest.param(
            {"tracking_database_uri": "postgresql://u@db/mlflow"},
            "tracking_database_uri: expected postgresql+psycopg2://USER@HOST:PORT/DATABASE, or mysql+pymysql://… for "
            "MySQL and MariaDB; the driver must be named, because SQLAlchemy 2.1 takes a bare postgresql:// for "
            "psycopg 3, which is not installed; found 'postgresql://u@db/mlflow'",
            id="uri-without-a-driver",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://db/mlflow"},
            "tracking_database_uri: expected mysql+pymysql://USER@HOST:PORT/DATABASE; found "
            "'mysql+pymysql://db/mlflow'",
            id="mysql-without-a-user",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://u@db:/mlflow;DROP"},
            "tracking_database_uri: expected mysql+pymysql://USER@HOST:PORT/DATABASE; found "
            "'mysql+pymysql://u@db:/mlflow;DROP'",
            id="mysql-with-a-strange-database",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://u@db:many/mlflow"},
            "tracking_database_uri: expected a number as port; found 'mysql+pymysql://u@db:many/mlflow'",
            id="mysql-with-a-strange-port",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://u@db/-mlflow"},
            "tracking_database_uri: expected mysql+pymysql://USER@HOST:PORT/DATABASE; found "
            "'mysql+pymysql://u@db/-mlflow'",
            id="mysql-with-a-database-like-an-option",
        ),
        pytest.param(
            {"tracking_database_uri": "postgresql+psycopg2://u@a:5432,b:5432/mlflow"},
            "tracking_database_uri: expected a number as port; found 'postgresql+psycopg2://u@a:5432,b:5432/mlflow'",
            id="postgresql-with-a-strange-port",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://u@db/mlflow?ssl_verify_identity=true"},
            "tracking_database_uri: ssl_verify_identity can't be given here; tracking_database_password and "
            "tracking_database_ca_file say what there is to say, ssl_disabled=true that no TLS is wanted, and "
            "ssl_check_hostname=false that the certificate has another name; found "
            "'mysql+pymysql://u@db/mlflow?ssl_verify_identity=true'",
            id="mysql-with-an-option",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://u@db/mlflow?ssl_check_hostname=true"},
            "tracking_database_uri: expected ssl_check_hostname=false, or none of it: with tracking_database_ca_file "
            "the name is looked at; found 'mysql+pymysql://u@db/mlflow?ssl_check_hostname=true'",
            id="mysql-with-a-name-that-is-looked-at-in-any-case",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://u@db/mlflow?ssl_disabled=false"},
            "tracking_database_uri: expected ssl_disabled=true, or none of it: PyMySQL takes any other word for true "
            "as well; found 'mysql+pymysql://u@db/mlflow?ssl_disabled=false'",
            id="mysql-with-ssl-disabled-false",
        ),
        pytest.param(
            {
                "tracking_database_uri": "mysql+pymysql://u@db/mlflow?ssl_disabled=true",
                "tracking_database_ca_file": "/etc/ssl/certs/ca-certificates.crt",
            },
            "tracking_database_uri has ssl_disabled, and tracking_database_ca_file says whom the certificate has to "
            "be from; leave one of them out",
            id="mysql-with-and-without-tls",
        ),
        pytest.param(
            {"tracking_database_uri": "mysql+pymysql://u@db/mlflow", "tracking_permissions": True},
            "tracking_permissions needs PostgreSQL: MLflow's own migrations of its tables fail on MySQL and MariaDB, "
            "as they give two foreign keys the name fk_user_id; set it to False",
            id="permissions-on-mysql",
        ),
        pytest.param(
            {"inventory_stack": "Team A"},
            "inventory_stack: expected a short name of lower-case letters, digits, - and _, a letter first; found "
            "'Team A'",
            id="stack-name",
        ),
        pytest.param(
            {"firewall_allow": ["9100"]},
            'firewall_allow[0]: expected "PORT/tcp", "PORT/udp", "FIRST-LAST/tcp" or "PORT/tcp from NETWORK"; found '
            "'9100'",
            id="opening-without-a-protocol",
        ),
        pytest.param(
            {"firewall_allow": ["9100/tcp", "2000-1000/tcp"]},
            'firewall_allow[1]: expected "PORT/tcp", "PORT/udp", "FIRST-LAST/tcp" or "PORT/tcp from NETWORK"; found '
            "'2000-1000/tcp'",
            id="opening-that-ends-before-it-begins",
        ),
        pytest.param(
            {"firewall_allow": ["9100-0/tcp"]},
            'firewall_allow[0]: expected "PORT/tcp", "PORT/udp", "FIRST-LAST/tcp" or "PORT/tcp from NETWORK"; found '
            "'9100-0/tcp'",
            id="opening-that-ends-at-no-port",
        ),
        pytest.param(
            {"firewall_allow": ["65536/udp"]},
            'firewall_allow[0]: expected "PORT/tcp", "PORT/udp", "FIRST-LAST/tcp" or "PORT/tcp from NETWORK"; found '
            "'65536/udp'",
            id="opening-of-no-port",
        ),
        pytest.param(
            {"firewall_allow": ["9100/tcp from intranet"]},
            'firewall_allow[0]: expected "PORT/tcp", "PORT/udp", "FIRST-LAST/tcp" or "PORT/tcp from NETWORK"; found '
            "'9100/tcp from intranet'",
            id="opening-to-a-name",
        ),
        pytest.param(
            {"firewall_allow": ["9100/tcp from 10.0.0.1/24"]},
            'firewall_allow[0]: expected a network like "10.0.0.0/24" after "from" (10.0.0.1/24 has host bits set); '
            "found '9100/tcp from 10.0.0.1/24'",
            id="opening-to-a-network-with-host-bits",
        ),
        pytest.param(
            {"firewall_allow": "9100/tcp"},
            "firewall_allow: input should be a valid list; found '9100/tcp'",
            id="text-for-openings",
        ),
        pytest.param(
            {"firewall_enabled": "no"},
            "firewall_enabled: input should be a valid boolean; found 'no'",
            id="text-for-the-firewall",
        ),
        pytest.param(
            {"production_tracking_uri": "mlflow.example.com:5000"},
            "production_tracking_uri: expected an address that starts with http:// or https://, without a login in it; "
            "found 'mlflow.example.com:5000'",
            id="tracking-uri-without-scheme",
        ),
        pytest.param(
            {"production_tracking_uri": "https://ada:pass%20word@mlflow.example.com"},
            "production_tracking_uri: expected an address that starts with http:// or https://, without a login in it; "
            "found 'https://ada:***@mlflow.example.com'",
            id="tracking-uri-with-a-login",
        ),
        pytest.param(
            {"production_tracking_uri": "https://mlflow.example.com", "production_tracking_user": "ada"},
            "production_tracking_user and production_tracking_password belong together; set both, or none where "
            "production_tracking_uri needs no login",
            id="tracking-user-without-password",
        ),
        pytest.param(
            {"production_tracking_user": "ada", "production_tracking_password": "env:ADA"},
            "production_tracking_user and production_tracking_ca_file are for production_tracking_uri, which is empty; "
            "the hosts of one stack are let in, and know each other, by themselves",
            id="tracking-user-in-its-own-stack",
        ),
        pytest.param(
            {
                "production_tracking_uri": "http://mlflow.example.com",
                "production_tracking_user": "ada",
                "production_tracking_password": "env:ADA",
            },
            "production_tracking_uri is 'http://mlflow.example.com', and the password of production_tracking_user "
            "would cross the network in the clear; use an address that starts with https://",
            id="tracking-password-in-the-clear",
        ),
        pytest.param(
            {"production_tracking_password": "secret"},
            'production_tracking_password: expected a reference: "env:NAME", "file:PATH" or "cmd:COMMAND"',
            id="tracking-password-itself",
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
            "production_models['diabetes']['port']: required, but not given; a model needs none only on a Unix socket, "
            "behind a proxy",
            id="no-port",
        ),
        pytest.param(
            {"diabetes": {**MODEL, "worker": 2}},
            "production_models['diabetes']['worker']: unknown setting; did you mean 'workers'?",
            id="misspelt-key",
        ),
        pytest.param(
            {"diabetes": {**MODEL, "colour": 1}},
            "production_models['diabetes']['colour']: unknown setting; expected uri, port, workers, required, network, "
            "gpu, users",
            id="unknown-key",
        ),
        pytest.param(
            {"diabetes": "models:/diabetes@champion"},
            "production_models['diabetes']: expected a dictionary with the keys uri, port, workers, required, network, "
            "gpu, users; found "
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
            "holds a password; leave it out of the URI and set tracking_database_password to a reference; found "
            "'postgresql+psycopg2://u:***@db:5432/mlflow'",
        ),
        (
            "postgresql+psycopg2://u:hunt/er2@db:5432/mlflow",
            "holds a password; leave it out of the URI and set tracking_database_password to a reference; found "
            "'postgresql+psycopg2://u:***@db:5432/mlflow'",
        ),
        (
            "postgresql+psycopg2://u@db/mlflow?sslmode=require&password=hunter2",
            "holds a password; leave it out of the URI and set tracking_database_password to a reference; found "
            "'postgresql+psycopg2://u@db/mlflow?sslmode=require&password=***'",
        ),
        (
            "postgresql://u:hunter2@db/mlflow",
            "expected postgresql+psycopg2://USER@HOST:PORT/DATABASE, or mysql+pymysql://… for MySQL and MariaDB; the "
            "driver must be named, because SQLAlchemy 2.1 takes a bare postgresql:// for psycopg 3, which is not "
            "installed; found 'postgresql://u:***@db/mlflow'",
        ),
        (
            "mysql+pymysql://u:hunter2@db/mlflow",
            "holds a password; leave it out of the URI and set tracking_database_password to a reference; found "
            "'mysql+pymysql://u:***@db/mlflow'",
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


@pytest.mark.parametrize("password", ["hunter2", "generated"])
def test_password_of_a_database_of_others_can_only_be_referred_to(password: str) -> None:
    data = {"tracking_database_uri": "postgresql+psycopg2://u@db/d", "tracking_database_password": password}

    assert refusal(entry(**data)) == one_problem(
        'tracking_database_password: expected a reference: "env:NAME", "file:PATH" or "cmd:COMMAND"'
    )
