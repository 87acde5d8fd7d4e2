"""The database on a host of its own: TLS and a SCRAM password, which nobody sees."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from shlex import quote

import pytest

from lab import Host, Lab
from lab.inventory import connection, settings
from lab.process import wait_until
from tests.e2e import web
from tests.e2e.conform import conform
from tests.e2e.conftest import NAME
from tests.e2e.stack import Run, Stack

TLS, AUTHORITY = "/etc/postgresql/mlflow", "/etc/mlflow/database-ca.crt"
PASSWORD = "canary: p@ss'word\\with$everything"


class TwoHosts(Stack):
    """The deployed host as tracking server, and a second host for its database."""

    def __init__(self, host: Host, database: Host, directory: Path) -> None:
        super().__init__(host, directory, production_models={})
        self.database = database
        password = directory / "password"
        password.write_text(PASSWORD)
        self.settings["postgresql_password"] = f"file:{password}"

    def inventory(self, **overrides: object) -> Path:
        shared = {**settings(self.host.lab), **self.settings, **overrides}
        entries = [(host.name, {**connection(host), **shared}) for host in (self.host, self.database)]
        path = self.directory / "inventory.py"
        path.write_text(f"tracking = [{entries[0]!r}]\npostgresql = [{entries[1]!r}]\n")
        return path

    def psql(self, uri_options: str, password: str) -> str:
        """Log in from the tracking host; return the answer or the last line of the refusal."""
        uri = f"postgresql://mlflow_user@{self.database.address}/mlflow_db?{uri_options}"
        query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        command = f"PGPASSWORD={quote(password)} psql -X -A -t {quote(uri)} -c {quote(query)}"
        done = self.host.run(command, check=False)
        return (done.stdout or done.stderr).strip().splitlines()[-1]

    def shake_hands(self, options: str) -> subprocess.CompletedProcess[str]:
        """Begin a TLS connection with the database's server from the tracking host."""
        server = f"{self.database.address}:5432"
        command = f"openssl s_client -starttls postgres -connect {server} -CAfile {AUTHORITY} {options} < /dev/null"
        return self.host.run(f"{command} 2>&1", check=False)

    def certificate(self) -> str:
        """Return the certificate that the database's server shows, in PEM."""
        shown = self.shake_hands("").stdout
        return shown[shown.index("-----BEGIN CERTIFICATE-----") : shown.index("-----END CERTIFICATE-----")]


@pytest.fixture(scope="module")
def apart(lab: Lab, served: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TwoHosts, Run, Run]]:
    """Two hosts after two runs."""
    stack = TwoHosts(served.host, lab.up("db1"), tmp_path_factory.mktemp("apart"))
    yield stack, stack.converge(), stack.converge()
    lab.down("db1")


def test_tracking_server_moves_to_the_database_of_another_host(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, first, _ = apart

    stack.train()

    runs = stack.database.run("runuser -u postgres -- psql -A -t -d mlflow_db -c 'SELECT count(*) FROM runs'").stdout
    assert "Tracking | Bring the database schema up to date" in first.changed
    assert runs == "3\n"


def test_second_run_over_two_hosts_changes_nothing(apart: tuple[TwoHosts, Run, Run]) -> None:
    _, _, second = apart

    assert second.changed == []


def test_connections_of_the_server_are_encrypted(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart

    query = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'mlflow_user'"
    answer = stack.database.run(f'runuser -u postgres -- psql -A -t -c "{query}"').stdout

    assert answer == "t\n"


def test_login_without_tls_or_with_a_wrong_password_is_refused(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart

    plain = stack.psql("sslmode=disable", "wrong")
    wrong = stack.psql("sslmode=require", "wrong")

    refused = f'no pg_hba.conf entry for host "{stack.host.address}", user "mlflow_user", database "mlflow_db"'
    assert plain.endswith(f"FATAL:  {refused}, no encryption")
    assert wrong.endswith('FATAL:  password authentication failed for user "mlflow_user"')


def test_server_is_known_by_its_certificate_and_another_one_would_not_be(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart
    another = stack.host.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=another 2>/dev/null"
    )
    stack.host.put("/root/another.crt", another.stdout)
    verify = "sslmode=verify-full&sslrootcert"

    asked = stack.host.run("grep -o 'sslmode=.*' /etc/mlflow/tracking.env").stdout
    trusted = stack.psql(f"{verify}={AUTHORITY}", PASSWORD)
    stranger = stack.psql(f"{verify}=/root/another.crt", PASSWORD)

    assert asked == f'{verify}={AUTHORITY}"\n'
    assert trusted == "t"
    assert stranger.endswith("SSL error: certificate verify failed")


def test_server_speaks_tls_from_1_2_on(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart

    spoken = {
        version: stack.shake_hands(f"-{version} -cipher DEFAULT@SECLEVEL=0").returncode == 0
        for version in ("tls1_1", "tls1_2")
    }
    spoken["tls1_3"] = stack.shake_hands("-tls1_3").returncode == 0

    assert spoken == {"tls1_1": False, "tls1_2": True, "tls1_3": True}


def test_certificate_is_renewed_without_anybody_noticing(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart
    before, running = stack.certificate(), stack.host.run("systemctl show -P InvocationID mlflow-tracking").stdout
    keys = f"cd {TLS} && stat -c '%n %a %U' . ca.key server.pem"
    timer = stack.database.run("systemctl show -P ActiveState mlflow-database-certificate.timer").stdout

    stack.database.run(f"rm {TLS}/server.pem; systemctl start mlflow-database-certificate")

    assert wait_until(lambda: stack.certificate() != before, 10)
    assert "Verify return code: 0 (ok)" in stack.shake_hands("").stdout
    assert stack.psql(f"sslmode=verify-full&sslrootcert={AUTHORITY}", PASSWORD) == "t"
    assert web.post(f"{stack.url}/api/2.0/mlflow/experiments/search", {"max_results": 1}).status == 200
    assert stack.host.run("systemctl show -P InvocationID mlflow-tracking").stdout == running
    assert (timer, stack.database.run(keys).stdout) == (
        "active\n",
        ". 700 postgres\nca.key 600 postgres\nserver.pem 600 postgres\n",
    )
    assert stack.converge().changed == []


def test_authority_that_was_lost_is_made_anew_and_trusted_by_one_run(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart
    stack.database.run(f"rm {TLS}/ca.key")

    run = stack.converge()

    assert {"PostgreSQL | Make the certificate of the server", "Tracking | Trust the database"} <= set(run.changed)
    assert stack.database.run(f"cat {TLS}/ca.crt").stdout == stack.host.run(f"cat {AUTHORITY}").stdout
    assert stack.psql(f"sslmode=verify-full&sslrootcert={AUTHORITY}", PASSWORD) == "t"
    assert stack.converge().changed == []


def test_role_for_dumps_reads_all_of_the_database_and_changes_nothing(apart: tuple[TwoHosts, Run, Run]) -> None:
    database, sql = apart[0].database, "psql -XAtq -U mlflow_dump mlflow_db -c"
    attempts = {
        "DELETE FROM runs": "permission denied for table runs",
        "CREATE TABLE mine (a int)": "permission denied for schema public",
        "CREATE TEMPORARY TABLE mine (a int)": 'permission denied to create temporary tables in database "mlflow_db"',
        "SELECT * FROM pg_authid": "permission denied for table pg_authid",
    }

    dump = database.run("pg_dump -U mlflow_dump --no-privileges mlflow_db | grep -v restrict | sha256sum").stdout
    whole = "cd / && runuser -u postgres -- pg_dump --no-privileges mlflow_db | grep -v restrict | sha256sum"
    refusals = {each: database.run(f"{sql} '{each}'", check=False).stderr.splitlines()[0] for each in attempts}

    assert database.run(f"{sql} 'SELECT count(*) FROM runs'").stdout == "3\n"
    assert dump == database.run(whole).stdout
    assert refusals == {each: f"ERROR:  {reason}" for each, reason in attempts.items()}


def test_nobody_but_root_is_the_role_for_dumps(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart
    here = stack.database.run("psql -U mlflow_dump mlflow_db -c 'SELECT 1'", user="deploy", check=False).stderr
    uri = f"postgresql://mlflow_dump@{stack.database.address}/mlflow_db?sslmode=require"
    there = stack.host.run(f"psql '{uri}' -c 'SELECT 1'", check=False).stderr

    assert here.strip().endswith('FATAL:  Peer authentication failed for user "mlflow_dump"')
    assert 'no pg_hba.conf entry for host "' in there


def test_password_is_only_where_root_alone_can_read_it(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, first, second = apart

    places = "/etc /opt/mlflow/libexec /var/log /tmp /run/systemd/system"
    found = {
        host.name: host.run(f"grep -rlaF 'canary' {places} 2>/dev/null; true").stdout.split()
        for host in (stack.host, stack.database)
    }
    shown = stack.host.run("systemctl show mlflow-tracking; ps axeww", user="deploy").stdout
    mode = stack.host.run("stat -c '%a %U' /etc/mlflow/credentials /etc/mlflow/credentials/pgpass").stdout
    journals = [
        host.run("journalctl --no-pager | grep -c canary || true").stdout for host in (stack.host, stack.database)
    ]

    assert found == {NAME: ["/etc/mlflow/credentials/pgpass"], "db1": []}
    assert mode == "700 root\n600 root\n"
    assert "canary" not in shown + first.output + second.output
    assert journals == ["0\n", "0\n"]


def test_changed_password_is_rotated_by_one_run(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart
    (stack.directory / "password").write_text("another: p@ss'word")

    run = stack.converge()

    assert run.changed == [
        "PostgreSQL | Create role mlflow_user and database mlflow_db",
        "Tracking | Write the database password for mlflow-tracking",
        "Tracking | Run mlflow-tracking and see it work",
    ]
    assert stack.psql("sslmode=require", "another: p@ss'word") == "t"
    assert stack.converge().changed == []


def test_model_that_the_host_served_before_it_had_this_role_alone_is_found(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart

    found = conform(stack)

    assert found.failed == {f"{NAME} 8.11"}, found.output
    assert "found: mlflow-production@diabetes.socket listens on 0.0.0.0:5001/tcp" in found.output
    stack.host.run("systemctl disable --quiet --now mlflow-production mlflow-production@diabetes")


def test_every_promise_that_can_be_asked_is_kept_on_both_hosts(apart: tuple[TwoHosts, Run, Run]) -> None:
    stack, _, _ = apart

    found = conform(stack)

    assert found.is_kept, found.output
    assert found.held >= {f"{NAME} 5.5", f"{NAME} 6.4", f"{NAME} 8.6", "db1 5.5", "db1 8.9", "db1 8.17", "db1 8.18"}
