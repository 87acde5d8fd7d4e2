"""The rendered units, whole; tests/data/expected/ mirrors the paths on a host.

When a template changes on purpose: `python -m tests.unit.test_templates` writes the expected files anew; read the diff.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError

from mlflow_stack.domain import layout
from mlflow_stack.domain.artifacts import MARK
from mlflow_stack.domain.firewall import Opening
from mlflow_stack.domain.permissions import KEY_FILE, configuration
from mlflow_stack.domain.tracking import environment_file
from mlflow_stack.roles.firewall import rules_text, unit_text
from mlflow_stack.roles.proxy import LOGINS, nginx_conf
from mlflow_stack.roles.proxy_certificate import renewal_unit
from mlflow_stack.roles.tracking import variables
from mlflow_stack.settings import ROLES, Settings
from mlflow_stack.templates import render
from tests.unit.defaults import settings
from tests.unit.domain.test_given_certificates import certificate
from tests.unit.gcp.found import manifest

EXPECTED = Path(__file__).resolve().parents[1] / "data/expected"
ENVIRONMENT = "/opt/mlflow/envs/mlflow-0123456789ab"
TLS_GROUPS = "X25519:prime256v1:secp384r1"
REMOTE = {
    "tracking_database_uri": "postgresql+psycopg2://mlflow_user@db.example.com:5432/mlflow_db?sslmode=require",
    "tracking_database_password": "env:MLFLOW_DB_PASSWORD",
}
BUCKET = {
    "tracking_artifacts_destination": "s3://bucket/mlflow",
    "tracking_artifacts_endpoint": "https://minio.example.com:9000",
    "tracking_artifacts_region": "eu-central-1",
    "tracking_artifacts_access_key_id": "AKIA1",
    "tracking_artifacts_credentials": "env:STORE_KEY",
    "tracking_artifacts_ca_file": "minio.pem",
}
MYSQL = {
    "tracking_database_uri": "mysql+pymysql://mlflow_user@db.example.com:3306/mlflow_db",
    "tracking_database_password": "env:MLFLOW_DB_PASSWORD",
}
MODELS = {
    "production_models": {"diabetes": {"uri": "models:/diabetes@champion"}},
    "production_tracking_uri": "https://mlflow.example.com",
}
ACME = {"proxy_tls": "acme", "proxy_acme_accept_terms": True}


def _tracking_unit(**data: Any) -> str:
    return render(f"{layout.UNIT_DIR}/mlflow-tracking.service", settings=settings(**data), environment=ENVIRONMENT)


def _proxied(**data: Any) -> Settings:
    return settings(ROLES, tracking_public_name="mlflow.example.com", **MODELS, **data)


def _permitting() -> Settings:
    return settings(ROLES, tracking_public_name="mlflow.example.com", tracking_permissions=True)


def _rules() -> str:
    data: dict[str, Any] = {
        "tracking_bind": "0.0.0.0",
        "production_bind": "0.0.0.0",
        "production_models": {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}},
        "postgresql_client_networks": ["10.0.0.0/24", "fd00::/8"],
        "firewall_allow": ["9100/tcp from 10.0.0.0/8", "60000-61000/udp", "111/tcp from 127.0.0.1"],
    }
    return rules_text([Opening(22, reason="SSH"), *settings(**data).openings()])


# By the file below tests/data/expected/.
RENDERED: dict[str, Callable[[], str]] = {
    "local-database/etc/systemd/system/mlflow-tracking.service": _tracking_unit,
    "remote-database/etc/systemd/system/mlflow-tracking.service": lambda: _tracking_unit(**REMOTE),
    "object-store/etc/systemd/system/mlflow-tracking.service": lambda: _tracking_unit(tracking_bind="unix", **BUCKET),
    "object-store/etc/mlflow/tracking.env": lambda: environment_file(
        variables(settings(tracking_bind="unix", **BUCKET))
    ),
    "mysql-database/etc/systemd/system/mlflow-tracking.service": lambda: _tracking_unit(**MYSQL),
    "production/etc/systemd/system/mlflow-production.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-production.service"
    ),
    "production/etc/systemd/system/mlflow-production@.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-production@.service", settings=settings()
    ),
    "production/etc/systemd/system/mlflow-production@.socket": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-production@.socket", stream="127.0.0.1:5001", model="diabetes", group="mlflow-model"
    ),
    "local-database/etc/systemd/system/mlflow-tracking.socket": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-tracking.socket", stream="127.0.0.1:5000", group="mlflow"
    ),
    "unix/etc/systemd/system/mlflow-tracking.service": lambda: _tracking_unit(tracking_bind="unix"),
    "unix/etc/systemd/system/mlflow-tracking.socket": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-tracking.socket", stream=layout.TRACKING_SOCKET, group="mlflow"
    ),
    "unix/etc/systemd/system/mlflow-production@.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-production@.service", settings=settings(production_bind="unix")
    ),
    "unix/etc/systemd/system/mlflow-production@.socket": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-production@.socket",
        stream=layout.model_socket("diabetes"),
        model="diabetes",
        group="mlflow-model",
    ),
    "proxy/etc/mlflow/proxy/nginx.conf": lambda: nginx_conf(_proxied(), TLS_GROUPS),
    "proxy/etc/systemd/system/mlflow-proxy.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy.service", tls=True, http_port=80, no_network=True
    ),
    "proxy/etc/systemd/system/mlflow-proxy.socket": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy.socket", bind="0.0.0.0", port=443, http_port=80
    ),
    "proxy/etc/systemd/system/mlflow-proxy-login.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy-login.service", environment=ENVIRONMENT, logins=LOGINS, key_file=""
    ),
    "permissions/etc/systemd/system/mlflow-proxy-login.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy-login.service", environment=ENVIRONMENT, logins=LOGINS, key_file=KEY_FILE
    ),
    "permissions/etc/systemd/system/mlflow-tracking.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-tracking.service", settings=_permitting(), environment=ENVIRONMENT
    ),
    "permissions/etc/mlflow/tracking.env": lambda: environment_file(variables(_permitting())),
    "permissions/etc/mlflow/basic_auth.ini": lambda: configuration(_permitting().database_uri),
    "proxy/etc/systemd/system/mlflow-proxy-login.socket": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy-login.socket", stream=layout.LOGIN_SOCKET
    ),
    "proxy/etc/systemd/system/mlflow-proxy-certificate.service": lambda: renewal_unit(_proxied(), old_libffi=False),
    "remote-database/etc/systemd/system/mlflow-database-certificate.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-database-certificate.service",
        certificate=settings(postgresql_client_networks=["10.0.0.0/24"]).postgresql_certificate,
        postgresql="postgresql@15-main.service",
    ),
    "remote-database/etc/systemd/system/mlflow-database-certificate.timer": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-database-certificate.timer"
    ),
    "proxy/etc/systemd/system/mlflow-proxy-certificate.timer": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy-certificate.timer", acme=False
    ),
    "acme/etc/mlflow/proxy/nginx.conf": lambda: nginx_conf(_proxied(**ACME), TLS_GROUPS),
    "acme/etc/systemd/system/mlflow-proxy-certificate.service": lambda: renewal_unit(
        _proxied(
            **ACME, proxy_acme_server="https://ca.example.com/acme/acme/directory", proxy_acme_email="admin@example.com"
        ),
        old_libffi=False,
    ),
    "acme/etc/systemd/system/mlflow-proxy-certificate.timer": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy-certificate.timer", acme=True
    ),
    "proxy-in-front/etc/mlflow/proxy/nginx.conf": lambda: nginx_conf(
        settings(("production", "proxy"), proxy_tls="off", proxy_port=8080, proxy_clear_text=True, **MODELS), TLS_GROUPS
    ),
    "proxy-in-front/etc/systemd/system/mlflow-proxy.service": lambda: render(
        f"{layout.UNIT_DIR}/mlflow-proxy.service", tls=False, http_port=0, no_network=False
    ),
    "firewall/etc/mlflow/firewall.nft": _rules,
    "firewall/etc/systemd/system/mlflow-firewall.service": unit_text,
    "local-database/etc/mlflow/tracking.env": lambda: environment_file(variables(settings())),
    "mysql-database/etc/mlflow/tracking.env": lambda: environment_file(variables(settings(**MYSQL))),
    "remote-database/etc/mlflow/tracking.env": lambda: environment_file(
        variables(settings(**REMOTE, tracking_bind="0.0.0.0", tracking_public_name="mlflow.example.com"))
    ),
    "cloud-run/gcp/service.yaml": lambda: manifest("service", tracking_public_name="mlflow.example.com"),
    "cloud-run/gcp/migration.yaml": lambda: manifest("job", tracking_upgrade_database=True),
    "cloud-run-public/gcp/service.yaml": lambda: manifest(
        "service", gcp_public=True, gcp_database_version="MYSQL_8_4", gcp_min_instances=1
    ),
}


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_file_is_as_recorded(name: str) -> None:
    assert RENDERED[name]() == (EXPECTED / name).read_text()


def test_every_template_is_among_the_recorded_files() -> None:
    root = Path(__file__).resolve().parents[2] / "templates"
    whole = [path for path in root.rglob("*.j2") if not path.name.startswith("_")]  # others are parts of those
    templates = {path.relative_to(root).with_suffix("").as_posix() for path in whole}

    assert {name.split("/", 1)[1] for name in RENDERED} >= templates


@pytest.mark.parametrize("name", RENDERED)
def test_rendered_file_says_whose_it_is_and_ends_with_a_newline(name: str) -> None:
    text = RENDERED[name]()

    assert text.startswith("# Managed by MLflow Stack (")
    assert text.endswith("\n")
    assert "\n\n\n" not in text


UNITS = [name for name in RENDERED if name.endswith((".service", ".socket", ".timer"))]


@pytest.mark.parametrize("name", UNITS)
def test_unit_is_verified_without_a_word(name: str, tmp_path: Path) -> None:
    """`systemd-analyze verify` exits 0 for an unknown directive: its output is what counts, as it is for the deploy.

    The unit's own programs, files and users are not on this machine: its ExecStart= becomes /bin/true, and the
    complaints about them can't be avoided otherwise.
    """
    for other in [*UNITS, name]:  # a unit's socket has to be there, and a socket's service
        path = tmp_path / Path(other).name.replace("@.", "@diabetes.")
        path.write_text("".join(_startable(line) for line in RENDERED[other]().splitlines(keepends=True)))

    done = systemd_analyze("verify", str(tmp_path / Path(name).name.replace("@.", "@diabetes.")))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def _startable(line: str) -> str:
    return "ExecStart=/bin/true\n" if line.startswith("ExecStart=") else line


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("systemd-analyze"):
        assert not os.environ.get("CI"), "systemd-analyze is missing: install systemd"
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)


# By systemd's own count from 0 (safe) to 10. The firewall's has no mount namespace, as its template explains.
LIMITS = {
    "local-database": 1.0,
    "remote-database": 1.3,
    # It connects to the store, and so to any host.
    "object-store": 1.1,
    "mysql-database": 1.3,
    "production": 1.5,
    "unix": 0.5,
    "firewall": 2.8,
    "proxy": 0.5,
    "permissions": 0.5,
    "proxy-in-front": 1.1,
    # certbot is root, whose the key is, and asks a server elsewhere.
    "acme": 1.4,
}


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_unit_is_exposed_no_more_than(name: str, tmp_path: Path) -> None:
    path = tmp_path / Path(name).name.replace("@.", "@diabetes.")
    path.write_text(RENDERED[name]())
    folder = name.split("/", 1)[0]
    # The renewal is root, who alone has the key of the authority.
    limit = 0.9 if "certificate" in name and folder != "acme" else LIMITS[folder]

    done = systemd_analyze("security", "--offline=true", f"--threshold={round(limit * 10)}", "--no-pager", str(path))

    assert done.returncode == 0, done.stdout


def test_rules_are_taken_by_nftables_whether_there_are_some_already_or_not(tmp_path: Path) -> None:
    """In a network of its own, which only root can make; tests/e2e/test_firewall.py does it on real hosts."""
    if os.geteuid() or not shutil.which("nft"):
        assert not os.environ.get("CI"), "this needs root, and nftables"
        pytest.skip("needs root, and nft")
    (tmp_path / "firewall.nft").write_text(_rules())

    done = subprocess.run(
        ["unshare", "--net", "sh", "-euc", "nft -c -f firewall.nft; nft -f firewall.nft; nft -f firewall.nft"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("data", "sent"),
    [
        ({}, False),
        (ACME, True),
        ({**ACME, "proxy_hsts": False}, False),
        ({**ACME, "proxy_acme_server": "https://ca.example.com/directory"}, False),
        ({**ACME, "proxy_acme_server": "https://ca.example.com/directory", "proxy_acme_trusted": True}, True),
    ],
)
def test_browsers_are_told_to_come_with_tls_alone_only_where_they_trust_the_certificate(
    data: dict[str, Any], sent: bool
) -> None:
    assert ("Strict-Transport-Security" in nginx_conf(_proxied(**data), TLS_GROUPS)) == sent


def test_certbot_trusts_the_authority_that_is_given_for_its_server_alone(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(certificate("ca.example.com", ends=36500))
    private = {"proxy_acme_server": "https://10.0.0.9:8443/directory", "proxy_acme_ca_file": f"{tmp_path}/ca.pem"}

    unit = renewal_unit(_proxied(**ACME, **private), old_libffi=False)

    assert "\nEnvironment=REQUESTS_CA_BUNDLE=/etc/mlflow/proxy/acme-ca.crt\n" in unit


def test_certbot_may_write_code_only_where_its_python_has_to() -> None:
    units = {old: renewal_unit(_proxied(**ACME), old_libffi=old) for old in (True, False)}

    assert {old: "MemoryDenyWriteExecute=yes" in text for old, text in units.items()} == {True: False, False: True}


def test_template_without_a_value_is_refused() -> None:
    with pytest.raises(UndefinedError, match="'settings' is undefined"):
        render(f"{layout.UNIT_DIR}/mlflow-tracking.service")


def test_unit_of_the_tracking_server_holds_no_password_and_no_uri() -> None:
    unit = _tracking_unit(**REMOTE)

    assert "postgresql+psycopg2" not in unit
    assert "ExecStartPre=+/usr/bin/install --mode=600 --owner=mlflow /etc/mlflow/credentials/pgpass " in unit
    assert "Environment=PGPASSFILE=%t/mlflow-tracking/pgpass\n" in unit


if __name__ == "__main__":
    for file, text in RENDERED.items():
        (EXPECTED / file).parent.mkdir(parents=True, exist_ok=True)
        (EXPECTED / file).write_text(text())


AZURE = "wasbs://container@account.blob.core.windows.net/mlflow"
GIVEN = "${CREDENTIALS_DIRECTORY}/artifacts"


@pytest.mark.parametrize(
    ("uri", "before", "after"),
    [
        ("s3://bucket/mlflow", "", f"/usr/bin/env AWS_SHARED_CREDENTIALS_FILE={GIVEN} "),
        ("gs://bucket/mlflow", "", f"/usr/bin/env GOOGLE_APPLICATION_CREDENTIALS={GIVEN} "),
        (AZURE, f" --variables {GIVEN}", ""),
    ],
)
def test_server_is_let_into_an_object_store_by_a_file_that_systemd_hands_it(uri: str, before: str, after: str) -> None:
    login = {"tracking_artifacts_access_key_id": "AKIA1"} if uri.startswith("s3:") else {}
    unit = _tracking_unit(tracking_artifacts_destination=uri, tracking_artifacts_credentials="env:KEY", **login)

    server = f"{ENVIRONMENT}/bin/mlflow server"
    assert f" tracking http://127.0.0.1:5000{before} -- {after}{server}\n" in unit
    assert "\nLoadCredential=artifacts:/etc/mlflow/credentials/artifacts\n" in unit


@pytest.mark.parametrize("uri", ["s3://bucket/mlflow", "gs://bucket/mlflow", AZURE])
def test_server_that_is_known_by_the_identity_of_its_host_gets_no_credentials(uri: str) -> None:
    unit = _tracking_unit(tracking_artifacts_destination=uri)

    assert "LoadCredential" not in unit
    assert f" tracking http://127.0.0.1:5000 -- {ENVIRONMENT}/bin/mlflow server\n" in unit


def test_server_with_an_object_store_may_connect_to_other_hosts_and_write_no_directory_of_artifacts() -> None:
    unit = _tracking_unit(tracking_bind="unix", **BUCKET)

    assert not any(word in unit for word in ("PrivateNetwork", "IPAddressDeny", "ReadWritePaths", "RequiresMountsFor"))
    assert "\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n" in unit


def test_unit_on_a_shared_store_waits_for_the_mount_and_starts_only_where_the_mark_is() -> None:
    unit = _tracking_unit(tracking_artifacts_shared=True, tracking_artifacts_destination="/srv/mlflow-artifacts")

    assert "\nRequiresMountsFor=/srv/mlflow-artifacts\n" in unit
    assert f"\nExecStartPre=/usr/bin/test -e /srv/mlflow-artifacts/{MARK}\n" in unit
