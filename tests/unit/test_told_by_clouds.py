"""What a cloud tells a container is what the image's own programs read: both ends together, without a container."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import create_engine
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mlflow_stack.aws import migration
from mlflow_stack.domain.login import TRACKING_AREA, logins_text
from mlflow_stack.gcp.service import FRONT_END
from mlflow_stack.on_host import container, entrypoint
from mlflow_stack.on_host.container import Told
from tests.unit.aws.test_templates import filled
from tests.unit.defaults import REPOSITORY
from tests.unit.gcp.found import manifest

CANARY = "pw: of the database"
LOGINS = logins_text({(TRACKING_AREA, "ada"): "lovelace"}, {(TRACKING_AREA, "ada"): b"salt"})
MYSQL = {"aws_database_engine": "mysql", "aws_database_version": "8.4.9"}
RDS, SOCKET = "mlflow.abc.eu-central-1.rds.amazonaws.com", "/cloudsql/my-project-1:europe-west1:mlflow"
POSTGRESQL_AT, MYSQL_AT = "postgresql+psycopg2://mlflow_user@", "mysql+pymysql://mlflow_user@"
AUTHORITY = {"aws_database_ca_file": "TMP/bundle.pem"}
CERTIFICATES = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def container_of_aws(tmp_path: Path, **changed: Any) -> dict[str, Any]:
    """Return the container of the task definition."""
    template = filled(tmp_path, "tasks", **changed)
    (found,) = template["Resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"]
    return dict(found)


def told_by_aws(tmp_path: Path, **changed: Any) -> dict[str, str]:
    """Return the variables of a task's container, with its secrets in them as ECS reads them when it starts one."""
    found = container_of_aws(tmp_path, **changed)
    values = {"Ref": "eu-central-1"}  # AWS::Region
    plain = {
        each["Name"]: values["Ref"] if isinstance(each["Value"], dict) else each["Value"]
        for each in found["Environment"]
    }
    kept = {"database": json.dumps({"password": CANARY}), "logins": LOGINS}
    return plain | {each["Name"]: secret_of_aws(each["ValueFrom"], kept) for each in found["Secrets"]}


def secret_of_aws(value_from: str, kept: Mapping[str, str]) -> str:
    """Return what a secret's ARN:KEY:STAGE:VERSION leads to."""
    *arn, key, _stage, _version = value_from.split(":")
    (text,) = [text for name, text in kept.items() if f"mlflow/{name}" in ":".join(arn)]
    return str(json.loads(text)[key]) if key else text


def told_by_gcp(tmp_path: Path, kind: str = "service", **changed: Any) -> dict[str, str]:
    """Return the variables of a container on Cloud Run; what it mounts is below `tmp_path`."""
    template = yaml.safe_load(manifest(kind, **changed))["spec"]["template"]["spec"]
    spec = template if kind == "service" else template["template"]["spec"]
    (found,) = spec["containers"]
    for volume in spec["volumes"]:
        (mounted,) = [each["mountPath"] for each in found["volumeMounts"] if each["name"] == volume["name"]]
        (item,) = volume["secret"]["items"]
        file = tmp_path / mounted.lstrip("/") / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(LOGINS if volume["name"].endswith("logins") else CANARY)
    return {each["name"]: each["value"].replace("/secrets/", f"{tmp_path}/secrets/") for each in found["env"]}


def read(variables: dict[str, str]) -> tuple[Any, ...]:
    """Return what `serve` reads of the variables: the server, the database, the store, and the logins."""
    told = Told(variables)
    found = tuple(reader(told) for reader in (container.server, container.database, container.store, container.logins))
    told.judged()
    return found


@pytest.mark.parametrize(
    ("changed", "uri"),
    [
        ({}, f"{POSTGRESQL_AT}{RDS}:5432/mlflow_db"),
        (MYSQL, f"{MYSQL_AT}{RDS}:5432/mlflow_db"),
    ],
    ids=["postgresql", "mysql"],
)
def test_task_of_aws_is_told_what_it_reads(tmp_path: Path, changed: dict[str, Any], uri: str) -> None:
    server, database, store, logins = read(told_by_aws(tmp_path, **changed))

    assert server == (5000, 1, 110)
    assert database == (uri, CANARY, "")
    assert store == "s3://mlflow-123456789012-eu-central-1/artifacts"
    assert logins == LOGINS.strip("\n")


@pytest.mark.parametrize(
    ("version", "uri"),
    [
        ("POSTGRES_17", f"{POSTGRESQL_AT}/mlflow_db?host={SOCKET}"),
        ("MYSQL_8_4", f"{MYSQL_AT}localhost/mlflow_db?unix_socket={SOCKET}"),
    ],
)
def test_service_on_cloud_run_is_told_what_it_reads(tmp_path: Path, version: str, uri: str) -> None:
    server, database, store, logins = read(told_by_gcp(tmp_path, gcp_public=True, gcp_database_version=version))

    assert server == (5000, 1, 8)
    assert database == (uri, CANARY, "")
    assert store == "gs://my-project-1-mlflow/artifacts"
    assert logins == LOGINS.strip("\n")


def test_server_is_open_only_where_nobody_has_a_login_or_the_cloud_asks_for_one(tmp_path: Path) -> None:
    assert read(told_by_aws(tmp_path, logins=False))[-1] == ""
    assert read(told_by_gcp(tmp_path))[-1] == ""


@pytest.mark.parametrize(("allowed", "expected"), [(False, False), (True, True)])
def test_migrations_are_told_whether_they_may_upgrade(tmp_path: Path, allowed: bool, expected: bool) -> None:
    of_aws = told_by_aws(tmp_path) | {each["name"]: each["value"] for each in migration.upgrade_variables(allowed)}
    of_gcp = told_by_gcp(tmp_path, "job", tracking_upgrade_database=allowed)

    for variables in (of_aws, of_gcp):
        told = Told(variables)
        assert (container.database(told).password, told.switch(container.UPGRADE)) == (CANARY, expected)
        assert told.problems == []


@pytest.mark.parametrize(
    ("changed", "arguments"),
    [
        ({}, {"sslmode": "require"}),
        (MYSQL, {"ssl": {"check_hostname": False}}),
        (AUTHORITY, {"sslmode": "verify-full", "sslrootcert": "TMP/mlflow-stack/database-ca.pem"}),
        (AUTHORITY | MYSQL, {"ssl": {"ca": "TMP/mlflow-stack/database-ca.pem", "check_hostname": True}}),
    ],
    ids=["postgresql", "mysql", "postgresql-with-amazon-s-authority", "mysql-with-amazon-s-authority"],
)
def test_driver_of_a_task_speaks_tls_and_looks_at_the_certificate_where_its_authority_is_named(
    tmp_path: Path, changed: dict[str, Any], arguments: dict[str, Any]
) -> None:
    (tmp_path / "bundle.pem").write_text(f"# Amazon RDS eu-central-1 Root CA\n{CERTIFICATES}")

    variables = told_by_aws(
        tmp_path, **{name: str(value).replace("TMP", str(tmp_path)) for name, value in changed.items()}
    )
    made = entrypoint.database_variables(container.database(Told(variables)))

    engine = create_engine(made[container.DATABASE])
    _, given = engine.dialect.create_connect_args(engine.url)
    shown = json.loads(json.dumps(given).replace(str(tmp_path), "TMP"))
    assert (shown["host"], shown.items() >= arguments.items()) == (RDS, True)
    if AUTHORITY.items() <= changed.items():
        assert (tmp_path / "mlflow-stack/database-ca.pem").read_text() == CERTIFICATES.strip("\n")


def test_driver_finds_the_socket_of_cloud_sql_and_the_password(tmp_path: Path) -> None:
    connected = {}
    for version in ("POSTGRES_17", "MYSQL_8_4"):
        made = entrypoint.database_variables(
            container.database(Told(told_by_gcp(tmp_path, gcp_database_version=version)))
        )
        engine = create_engine(made[container.DATABASE])
        connected[version] = engine.dialect.create_connect_args(engine.url)[1]

    assert connected["POSTGRES_17"] == {"dbname": "mlflow_db", "user": "mlflow_user", "host": SOCKET}
    assert connected["MYSQL_8_4"]["unix_socket"] == SOCKET
    assert connected["MYSQL_8_4"]["read_default_file"] == str(tmp_path / "mlflow-stack/my.cnf")
    assert (tmp_path / "mlflow-stack/pgpass").read_text() == "*:*:*:*:pw\\: of the database\n"
    assert (tmp_path / "mlflow-stack/my.cnf").read_text() == f'[client]\npassword="{CANARY}"\n'


def test_server_answers_by_the_names_that_users_the_cloud_and_its_proxy_ask_by(tmp_path: Path) -> None:
    from mlflow.server.security_utils import is_allowed_host_header  # noqa: PLC0415  # takes its time

    aws, gcp = (
        told["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",") for told in (told_by_aws(tmp_path), told_by_gcp(tmp_path))
    )

    names = ("mlflow-123456789012.europe-west1.run.app", "mlflow-abc123-ew.a.run.app")
    assert all(is_allowed_host_header(gcp, name) for name in names)
    assert is_allowed_host_header(aws, "mlflow.example.com")
    assert not any(is_allowed_host_header(each, "evil.example.com") for each in (aws, gcp))


def client_of(networks: str, peer: str, forwarded: str) -> str:
    """Return who the server takes a request's client for (uvicorn, with FORWARDED_ALLOW_IPS)."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    scope = {
        "type": "http",
        "client": (peer, 1),
        "scheme": "http",
        "headers": [(b"x-forwarded-for", forwarded.encode())],
    }
    asyncio.run(ProxyHeadersMiddleware(app, networks)(scope, None, None))  # type: ignore[arg-type]  # it asks nothing
    return seen[0]


@pytest.mark.parametrize("peer", ["10.42.3.4", "10.42.100.4", "169.254.8.1"])
def test_wrong_logins_are_counted_for_the_client_that_the_balancer_saw_and_not_for_one_that_it_names(
    tmp_path: Path, peer: str
) -> None:
    networks = told_by_aws(tmp_path)["FORWARDED_ALLOW_IPS"] if peer.startswith("10.") else FRONT_END

    assert client_of(networks, peer, "192.0.2.1, 203.0.113.9") == "203.0.113.9"
    assert client_of(networks, "198.51.100.1", "192.0.2.1") == "198.51.100.1"


def test_server_has_ended_before_the_platform_ends_it(tmp_path: Path) -> None:
    drain = Told(told_by_aws(tmp_path)).number("MLFLOW_DRAIN_TIMEOUT_S", 25, 3600)

    assert drain < container_of_aws(tmp_path)["StopTimeout"]
    assert Told(told_by_gcp(tmp_path)).number("MLFLOW_DRAIN_TIMEOUT_S", 25, 3600) < 10  # s, Cloud Run's own


def test_containers_are_told_nothing_that_the_docs_of_the_image_do_not_know(tmp_path: Path) -> None:
    documented = (REPOSITORY / "docs/how-to/container-image.md").read_text()
    (tmp_path / "bundle.pem").write_text(CERTIFICATES)
    told = {
        *told_by_aws(tmp_path, aws_database_ca_file=str(tmp_path / "bundle.pem")),
        *told_by_gcp(tmp_path),
        *told_by_gcp(tmp_path, gcp_public=True),
        *told_by_gcp(tmp_path, "job", tracking_upgrade_database=True),
    }

    assert sorted(name for name in told if f"`{name}`" not in documented) == ["AWS_DEFAULT_REGION"]
