"""container.py: what a container is told, and the words in which it is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.domain.login import TRACKING_AREA, logins_text
from mlflow_stack.on_host import container
from mlflow_stack.on_host.container import Refused, Told

LOGINS = logins_text({(TRACKING_AREA, "ada"): "love lace"}, {(TRACKING_AREA, "ada"): b"salt"})
POSTGRESQL = "postgresql+psycopg2://mlflow_user@db.example.com:5432/mlflow_db"
RIGHT = {
    "MLFLOW_BACKEND_STORE_URI": POSTGRESQL,
    "MLFLOW_DATABASE_PASSWORD": "canary",
    "MLFLOW_ARTIFACTS_DESTINATION": "s3://bucket/path",
    "MLFLOW_LOGINS": LOGINS,
}
DATABASES = "postgresql+psycopg2://USER@HOST:PORT/DATABASE or mysql+pymysql://USER@HOST:PORT/DATABASE"
STORES = "s3://BUCKET/PATH, gs://BUCKET/PATH, wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PATH or a mount"


@pytest.fixture(autouse=True)
def drivers(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The modules that an image has, which are not those of this environment."""
    present = {"psycopg2", "boto3"}
    monkeypatch.setattr(container, "is_there", present.__contains__)
    return present


def problems(**variables: str) -> list[str]:
    """Return what is wrong with what a tracking container is told; "" leaves a variable out."""
    told = Told({**RIGHT, **variables})
    for read in (container.server, container.database, container.store, container.logins):
        read(told)
    return told.problems


def test_what_is_right_is_read() -> None:
    told = Told({**RIGHT, "PORT": "8080", "MLFLOW_WORKERS": "2"})

    assert container.server(told) == (8080, 2, 25)
    assert container.database(told) == (POSTGRESQL, "canary", "")
    assert container.store(told) == "s3://bucket/path"
    assert container.logins(told) == LOGINS.strip("\n")
    assert told.problems == []


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"PORT": "http"}, "PORT: expected a whole number from 1 to 65535; found 'http'"),
        ({"MLFLOW_WORKERS": "0"}, "MLFLOW_WORKERS: expected a whole number from 1 to 64; found '0'"),
        (
            {"MLFLOW_DRAIN_TIMEOUT_S": "-1"},
            "MLFLOW_DRAIN_TIMEOUT_S: expected a whole number from 1 to 3600; found '-1'",
        ),
        ({"MLFLOW_BACKEND_STORE_URI": ""}, f"MLFLOW_BACKEND_STORE_URI: not given; expected {DATABASES}"),
        (
            {"MLFLOW_BACKEND_STORE_URI": "postgresql://u@h/d"},
            f"MLFLOW_BACKEND_STORE_URI: expected {DATABASES}; found 'postgresql' before ://",
        ),
        (
            {"MLFLOW_BACKEND_STORE_URI": "sqlite:///mlflow.db"},
            f"MLFLOW_BACKEND_STORE_URI: expected {DATABASES}; found 'sqlite' before ://",
        ),
        (
            {"MLFLOW_BACKEND_STORE_URI": "mysql+pymysql://u@h:3306/d"},
            "MLFLOW_BACKEND_STORE_URI: mysql+pymysql:// needs pymysql, which this image does not have; build it with "
            '"mysql" in image_addons',
        ),
        *(
            (
                {"MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://{rest}"},
                "MLFLOW_BACKEND_STORE_URI: holds a password; take it out, and give it in a file that "
                "MLFLOW_DATABASE_PASSWORD_FILE names, or in MLFLOW_DATABASE_PASSWORD",
            )
            for rest in ("u:canary@h/d", "u:ca/na%20ry@h/d", "u@h/d?password=canary", "u@h/d?a=b&passwd=canary")
        ),
        (
            {"MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://u@h:port/d"},
            "MLFLOW_BACKEND_STORE_URI: expected a number as port",
        ),
        (
            {"MLFLOW_DATABASE_PASSWORD": "canary\nbird"},
            "MLFLOW_DATABASE_PASSWORD: has more than one line; expected the password alone",
        ),
        (
            {"MLFLOW_DATABASE_PASSWORD_FILE": "/run/secrets/password"},
            "MLFLOW_DATABASE_PASSWORD and MLFLOW_DATABASE_PASSWORD_FILE: both are given; leave one of them out",
        ),
        (
            {"MLFLOW_DATABASE_PASSWORD": "", "MLFLOW_DATABASE_PASSWORD_FILE": "/nowhere/password"},
            "MLFLOW_DATABASE_PASSWORD_FILE: /nowhere/password can't be read (No such file or directory); mount it so "
            f"that uid {os.getuid()} may",
        ),
        (
            {"MLFLOW_DATABASE_PASSWORD": "", "MLFLOW_DATABASE_PASSWORD_FILE": "/dev/null"},
            "MLFLOW_DATABASE_PASSWORD_FILE: /dev/null is empty; expected the secret in it",
        ),
        (
            {"MLFLOW_DATABASE_CA": "certificates/rds.pem"},
            "MLFLOW_DATABASE_CA: expected certificates in PEM, which begin with -----BEGIN CERTIFICATE-----",
        ),
        (
            {
                "MLFLOW_DATABASE_CA": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
                "MLFLOW_BACKEND_STORE_URI": f"{POSTGRESQL}?sslmode=require",
            },
            "MLFLOW_DATABASE_CA: MLFLOW_BACKEND_STORE_URI has options of its own for TLS (ssl…); leave them out",
        ),
        (
            {"MLFLOW_ARTIFACTS_DESTINATION": ""},
            f"MLFLOW_ARTIFACTS_DESTINATION: not given; expected {STORES}",
        ),
        (
            {"MLFLOW_ARTIFACTS_DESTINATION": "./artifacts"},
            f"MLFLOW_ARTIFACTS_DESTINATION: expected {STORES}; found './artifacts'",
        ),
        (
            {"MLFLOW_ARTIFACTS_DESTINATION": "gs://bucket"},
            "MLFLOW_ARTIFACTS_DESTINATION: gs:// needs google.cloud.storage, which this image does not have; build it "
            'with "gcs" in image_addons',
        ),
        (
            {"MLFLOW_ARTIFACTS_DESTINATION": "wasbs://c@a.blob.core.windows.net"},
            "MLFLOW_ARTIFACTS_DESTINATION: wasbs:// needs azure.storage.blob and azure.identity, which this image does "
            'not have; build it with "azure" in image_addons',
        ),
        (
            {"MLFLOW_ARTIFACTS_DESTINATION": "/nowhere"},
            f"MLFLOW_ARTIFACTS_DESTINATION: /nowhere is no directory that uid {os.getuid()} may write; mount one there",
        ),
        (
            {"MLFLOW_ARTIFACTS_DESTINATION": "/dev/shm"},
            "MLFLOW_ARTIFACTS_DESTINATION: /dev/shm is on tmpfs, and artifacts would be gone with the container; mount "
            "a directory there, or name a bucket",
        ),
        (
            {"MLFLOW_LOGINS": ""},
            "nobody would be asked for a login: give MLFLOW_LOGINS_FILE or MLFLOW_LOGINS (`python -m mlflow_stack "
            "image logins`), or MLFLOW_OPEN_TO_EVERYBODY=true where the platform asks, or the network is private",
        ),
        (
            {"MLFLOW_OPEN_TO_EVERYBODY": "true"},
            "MLFLOW_OPEN_TO_EVERYBODY is true, and MLFLOW_LOGINS says who may log in; leave one of them out",
        ),
        (
            {"MLFLOW_OPEN_TO_EVERYBODY": "yes"},
            "MLFLOW_OPEN_TO_EVERYBODY: expected true or false; found 'yes'",
        ),
        (
            {"MLFLOW_LOGINS": "ada canary"},
            "MLFLOW_LOGINS: a line is not AREA USER SALT HASH; expected what `python -m mlflow_stack image logins` "
            "prints",
        ),
        (
            {"MLFLOW_LOGINS": "models/diabetes shop 00 00"},
            "MLFLOW_LOGINS: there is no user of the area 'tracking'; expected what `python -m mlflow_stack image "
            "logins` prints",
        ),
        (
            {"MLFLOW_LOGINS": "tracking mlflow-stack 00 00"},
            "MLFLOW_LOGINS: a user is called mlflow-stack, as who asks whether the server works is; expected what "
            "`python -m mlflow_stack image logins` prints",
        ),
    ],
)
def test_bad_variable_is_refused_in_one_sentence_without_any_secret(variables: dict[str, str], problem: str) -> None:
    assert problems(**variables) == [problem]
    assert "canary" not in problem


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        ("u@h:port/d", "expected a number as port"),
        ("u@h", "expected mysql+pymysql://USER@HOST:PORT/DATABASE"),
        (
            "u@h/d?ssl_ca=/ca.pem&ssl_verify_identity=true",
            "ssl_verify_identity can't be given here; expected only ssl_ca, ssl_check_hostname, ssl_disabled, "
            "unix_socket",
        ),
        (
            "u@h/d?ssl_disabled=false",
            "expected ssl_disabled=true, or none of it: PyMySQL takes any other word for true as well",
        ),
    ],
)
def test_address_of_mysql_that_pymysql_would_take_otherwise_is_refused(
    drivers: set[str], rest: str, problem: str
) -> None:
    drivers.add("pymysql")

    assert problems(MLFLOW_BACKEND_STORE_URI=f"mysql+pymysql://{rest}") == [f"MLFLOW_BACKEND_STORE_URI: {problem}"]


def test_password_that_pymysql_would_send_otherwise_is_refused(drivers: set[str]) -> None:
    drivers.add("pymysql")

    assert problems(MLFLOW_BACKEND_STORE_URI="mysql+pymysql://u@h/d", MLFLOW_DATABASE_PASSWORD="ü") == [
        "MLFLOW_DATABASE_PASSWORD: holds a character that PyMySQL can't send; expected printable ones of ASCII for "
        "MySQL"
    ]


def test_all_problems_are_said_at_once() -> None:
    told = Told({})
    for read in (container.database, container.store, container.logins):
        read(told)

    with pytest.raises(Refused) as refusal:
        told.judged()

    assert str(refusal.value).splitlines() == [
        "3 problems in what this container is told; nothing was started",
        f"  MLFLOW_BACKEND_STORE_URI: not given; expected {DATABASES}",
        f"  MLFLOW_ARTIFACTS_DESTINATION: not given; expected {STORES}",
        "  nobody would be asked for a login: give MLFLOW_LOGINS_FILE or MLFLOW_LOGINS (`python -m mlflow_stack image "
        "logins`), or MLFLOW_OPEN_TO_EVERYBODY=true where the platform asks, or the network is private",
    ]


def test_secret_in_a_file_is_read_without_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("canary \n")

    told = Told({"MLFLOW_DATABASE_PASSWORD_FILE": str(tmp_path / "password")})

    assert told.secret("MLFLOW_DATABASE_PASSWORD") == "canary "


def test_open_server_needs_no_logins() -> None:
    assert problems(MLFLOW_LOGINS="", MLFLOW_OPEN_TO_EVERYBODY="true") == []


def test_model_is_served_openly_or_not_at_all() -> None:
    closed, opened = Told({}), Told({"MLFLOW_OPEN_TO_EVERYBODY": "true"})
    container.model_is_open(closed)
    container.model_is_open(opened)

    assert opened.problems == []
    assert closed.problems == [
        "a model's server has no login: set MLFLOW_OPEN_TO_EVERYBODY=true where the platform asks for one, or the "
        "network is private"
    ]


def test_drivers_of_this_environment_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    assert container.is_there("psycopg2")
    assert not container.is_there("nowhere.at.all")


MOUNTS: dict[str, Any] = {"/": "overlay", "/data": "ext4", "/data/cache": "tmpfs", "/data/with\\040space": "nfs4"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/artifacts", "ext4"), ("/data/cache/a", "tmpfs"), ("/srv", "overlay"), ("/data/with space/a", "nfs4")],
)
def test_file_system_of_a_path_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("".join(f"none {point} {type_} rw 0 0\n" for point, type_ in MOUNTS.items()))

    assert container.file_system(path, str(mounts)) == kind


def test_file_system_that_was_mounted_last_at_a_place_is_on_top(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("none / ext4 rw 0 0\nnone /data ext4 rw 0 0\nnone /data tmpfs rw 0 0\n")

    assert container.file_system("/data/a", str(mounts)) == "tmpfs"
