"""Databases that somebody else manages, on a host of their own: a MariaDB and a PostgreSQL, over TLS.

What is said of a bad one, sentence by sentence, is in tests/servers/test_database_check.py; here a run says it, through
OpenSSH, and changes nothing.

E2E_DATABASES names another release of Debian for that host, by hand: older and newer servers. Dumps need a pg_dump that
is as new as the server's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab import Host, Lab
from lab.inventory import connection, settings
from mlflow_stack.domain.database import mysql_options
from tests.e2e import web
from tests.e2e.conform import conform
from tests.e2e.conftest import NAME
from tests.e2e.stack import Run, Stack
from tests.e2e.test_plan_is_the_run import mlflow_stack

PASSWORD = "canary: p@ss'word\\with$everything#"
ANOTHER = "canary after a change"
OPTIONS, AUTHORITY = "/etc/mlflow/credentials/mysql.cnf", "/etc/mlflow/database-ca.crt"
SCHEMA, RUN_TRACKING = (
    "Tracking | Bring the database schema up to date",
    "Tracking | Run mlflow-tracking and see it work",
)
WRITE = "Tracking | Write the database password for mlflow-tracking"
OLDER = "c8d9e0f1a2b3"

# As their administrator would set them up: an authority, a certificate for the host's address, TLS or nothing.
SET_UP = r"""
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends mariadb-server postgresql openssl
mkdir -p /srv/tls && cd /srv/tls
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -keyout ca.key -out ca.pem -subj /CN=theirs
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -keyout /dev/null -out other.pem -subj /CN=another
openssl req -newkey rsa:2048 -nodes -keyout key.pem -out server.csr -subj /CN=theirs
echo 'subjectAltName=IP:ADDRESS' > name
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out cert.pem -extfile name
for user in mysql postgres; do
  install -d -m 700 -o $user /srv/tls/$user && install -m 600 -o $user ca.pem cert.pem key.pem /srv/tls/$user
done
cat > /etc/mysql/mariadb.conf.d/90-theirs.cnf <<'END'
[mariadb]
bind-address = 0.0.0.0
require_secure_transport = ON
log_bin = /var/lib/mysql/binlog
log_bin_trust_function_creators = 1
ssl_ca = /srv/tls/mysql/ca.pem
ssl_cert = /srv/tls/mysql/cert.pem
ssl_key = /srv/tls/mysql/key.pem
END
cd /etc/postgresql/*/main
cat >> postgresql.conf <<'END'
listen_addresses = '*'
ssl = on
ssl_cert_file = '/srv/tls/postgres/cert.pem'
ssl_key_file = '/srv/tls/postgres/key.pem'
END
echo 'hostssl all mlflow_user CLIENT/32 scram-sha-256' >> pg_hba.conf
systemctl restart mariadb postgresql
"""

# Run by the tracking host's own Python: what an MLflow of some months ago would have made, with an experiment.
MAKE_OLDER = f"""
import sys
from alembic import command
from mlflow.store.db import utils
engine = utils.create_sqlalchemy_engine(sys.argv[1])
utils.InitialBase.metadata.create_all(engine)
config = utils._get_alembic_config(sys.argv[1])
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, "{OLDER}")
with engine.begin() as connection:
    connection.exec_driver_sql(
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage) "
        "VALUES (7, 'made before the upgrade', 'mlflow-artifacts:/7', 'active')"
    )
"""


class Theirs:
    """The host of the databases, by its administrator's hand."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def mysql(self, statement: str) -> str:
        self.host.put("/root/statement.sql", statement)
        return self.host.run("mariadb --batch --skip-column-names < /root/statement.sql").stdout.strip()

    def postgresql(self, statement: str, database: str = "postgres") -> str:
        self.host.put("/tmp/statement.sql", statement)
        command = f"cd /; runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d {database} -f /tmp/statement.sql"
        return self.host.run(command).stdout.strip()

    def contents(self) -> str:
        """Return a checksum of all that is in MLflow's database on MariaDB."""
        dump = "mariadb-dump --skip-dump-date --order-by-primary --triggers mlflow_db"
        return self.host.run(f"set -o pipefail; {dump} | sha256sum").stdout


class Elsewhere(Stack):
    """The deployed host as tracking server, on a database of `theirs`."""

    def __init__(self, host: Host, theirs: Theirs, directory: Path) -> None:
        super().__init__(host, directory, production_models={})
        self.theirs, self.password, self.ca_file = theirs, directory / "password", directory / "ca.pem"
        self.password.write_text(PASSWORD)
        self.ca_file.write_text(theirs.host.run("cat /srv/tls/ca.pem").stdout)
        self.settings |= self.database("mysql+pymysql", 3306)

    def database(self, scheme: str, port: int, name: str = "mlflow_db") -> dict[str, Any]:
        return {
            "tracking_database_uri": f"{scheme}://mlflow_user@{self.theirs.host.address}:{port}/{name}",
            "tracking_database_password": f"file:{self.password}",
            "tracking_database_ca_file": str(self.ca_file),
        }

    def inventory(self, second: dict[str, Any] | None = None, **overrides: object) -> Path:
        data = {**connection(self.host), **settings(self.host.lab), **self.settings, **overrides}
        path = self.directory / "inventory.py"
        path.write_text(f"tracking = [{(self.host.name, data)!r}]\n")
        return path

    def python(self) -> str:
        """Return the Python that the tracking server runs on; other environments are on the host as well."""
        start = "grep -o '^ExecStart=[^ ]*' /etc/systemd/system/mlflow-tracking.service"
        return self.host.run(start).stdout.strip().removeprefix("ExecStart=")

    def unit(self) -> tuple[str, str]:
        """Return whether the tracking server runs, and whether it starts with its host."""
        states = self.host.run("systemctl is-active mlflow-tracking; systemctl is-enabled mlflow-tracking; true")
        active, enabled = states.stdout.split()
        return active, enabled


@pytest.fixture(scope="module")
def theirs(lab: Lab) -> Iterator[Theirs]:
    """A host with both servers, each with a user and an empty database for MLflow."""
    host = lab.up("db1", release=os.environ.get("E2E_DATABASES", "bookworm"))
    script = SET_UP.replace("ADDRESS", host.address).replace("CLIENT", lab.host(NAME).address)
    host.run(f"set -e; {script}", timeout=600)
    theirs = Theirs(host)
    of_mysql, of_postgresql = PASSWORD.replace("\\", "\\\\").replace("'", "\\'"), PASSWORD.replace("'", "''")
    theirs.mysql(
        f"CREATE USER mlflow_user@'%' IDENTIFIED BY '{of_mysql}' REQUIRE SSL;"
        "CREATE DATABASE mlflow_db CHARACTER SET utf8mb4; GRANT ALL ON mlflow_db.* TO mlflow_user@'%';"
        "CREATE DATABASE older_db CHARACTER SET utf8mb4; GRANT ALL ON older_db.* TO mlflow_user@'%';"
        "CREATE DATABASE poor_db CHARACTER SET latin1; GRANT SELECT ON poor_db.* TO mlflow_user@'%'"
    )
    theirs.postgresql(f"CREATE ROLE mlflow_user LOGIN PASSWORD '{of_postgresql}'")
    theirs.postgresql("CREATE DATABASE mlflow_db OWNER mlflow_user ENCODING 'UTF8' TEMPLATE template0")
    yield theirs
    lab.down("db1")


@pytest.fixture(scope="module")
def stack(served: Stack, theirs: Theirs, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    return Elsewhere(served.host, theirs, tmp_path_factory.mktemp("elsewhere"))


@dataclass(frozen=True)
class Move:
    """A plan and two runs that move the tracking server to MariaDB; `seen`: what both hosts held before and after."""

    plan: Run
    first: Run
    second: Run
    seen: tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def move(stack: Elsewhere, theirs: Theirs) -> Move:
    def seen() -> tuple[str, str]:
        return stack.fingerprint(), theirs.contents()

    before = seen()
    plan, planned = stack.plan(), seen()
    first, moved = stack.converge(), seen()
    second, unmoved = stack.converge(), seen()
    return Move(plan, first, second, (before, planned, moved, unmoved))


def said(run: Run) -> str:
    return " ".join(run.output.split())


# --- before anything is changed ------------------------------------------------------------------------------------


def test_bad_databases_are_refused_before_the_host_is_changed(stack: Elsewhere, theirs: Theirs) -> None:
    """In the order in which somebody would come upon them; the host still has a database of its own."""
    address, before = f"{theirs.host.address}:3306", stack.fingerprint()
    (stack.directory / "wrong").write_text("hunter2")
    (stack.directory / "other.pem").write_text(theirs.host.run("cat /srv/tls/other.pem").stdout)
    cases: list[tuple[dict[str, Any], list[str]]] = [
        (
            stack.database("mysql+pymysql", 3307),
            [f"{theirs.host.address}:3307 can't be reached from this host; check its name and port"],
        ),
        (
            {"tracking_database_ca_file": f"{stack.directory}/other.pem"},
            [f"{address} shows a certificate that is not from tracking_database_ca_file; give the file of this"],
        ),
        (
            {"tracking_database_password": f"file:{stack.directory}/wrong"},
            [f"{address} refuses user mlflow_user; check the user and tracking_database_password"],
        ),
        (
            stack.database("mysql+pymysql", 3306, "poor_db"),
            [
                f"{address}: its database poor_db has the character set latin1, expected utf8mb4; while it is empty,",
                f"{address}: user mlflow_user@% has no right to INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, "
                "REFERENCES, TRIGGER in poor_db; GRANT ALL PRIVILEGES ON poor_db.* TO it",
            ],
        ),
    ]

    refusals = [(stack.deploy(**data), expected) for data, expected in cases]

    for run, expected in refusals:
        assert run.status == 1
        assert "obstacle" in run.output
        for sentence in expected:
            assert f"{NAME}: tracking_database_uri: {sentence}" in said(run)
        assert "hunter2" not in run.output
        assert "Traceback" not in run.output
    assert stack.fingerprint() == before
    assert theirs.mysql("SHOW TABLES IN mlflow_db") == ""


# --- on MariaDB ----------------------------------------------------------------------------------------------------


def test_plan_of_the_move_touches_nothing_and_is_what_the_run_then_does(move: Move) -> None:
    before, planned, _, _ = move.seen

    assert move.plan.status == 0, move.plan.output
    assert planned == before
    assert {WRITE, SCHEMA, RUN_TRACKING} <= set(move.plan.planned)
    assert move.first.changed == move.plan.planned


def test_second_run_changes_nothing_and_plan_and_drift_know_of_nothing_to_do(stack: Elsewhere, move: Move) -> None:
    _, _, moved, unmoved = move.seen
    plan, drift = (mlflow_stack(command, str(stack.inventory())) for command in ("plan", "drift"))

    assert move.second.changed == []
    assert unmoved == moved
    assert re.fullmatch(rf"{NAME}: nothing to do; \d+ as declared", plan.stdout.strip()), plan.stdout + plan.stderr
    assert (plan.returncode, drift.returncode, drift.stdout) == (0, 0, ""), drift.stdout + drift.stderr


@pytest.mark.usefixtures("move")
def test_runs_of_users_are_in_their_database(stack: Elsewhere, theirs: Theirs) -> None:
    stack.train()

    assert theirs.mysql("SELECT count(*) FROM mlflow_db.runs") == "3"


@pytest.mark.usefixtures("move")
def test_server_is_known_by_its_certificate(stack: Elsewhere) -> None:
    """Their server takes no connection without TLS; that it is looked at, the URI says, and a wrong authority shows."""
    asked = stack.host.run("grep -o 'ssl_.*' /etc/mlflow/tracking.env").stdout
    other = stack.theirs.host.run("cat /srv/tls/other.pem").stdout
    stack.host.put("/srv/other.pem", other)
    uri = f"mysql+pymysql://mlflow_user@{stack.theirs.host.address}/mlflow_db?ssl_ca=/srv/other.pem"
    ask = f"{stack.python()} -I /opt/mlflow/libexec/schema.py revision"
    stranger = stack.host.run(f"{ask} '{uri}&ssl_check_hostname=true'")

    assert asked == (
        f"ssl_ca={AUTHORITY}&ssl_check_hostname=true&read_default_file=/run/mlflow-tracking/mysql.cnf"
        '&read_default_group=pymysql"\n'
    )
    assert "shows a certificate that is not from tracking_database_ca_file" in stranger.stdout


def test_password_is_only_where_root_and_the_server_can_read_it(stack: Elsewhere, move: Move) -> None:
    places = "/etc /opt/mlflow/libexec /var/log /tmp /run/systemd/system"
    found = stack.host.run(f"grep -rlaF canary {places} 2>/dev/null; true").stdout.split()
    shown = stack.host.run("systemctl show mlflow-tracking; ps axeww", user="deploy").stdout
    modes = stack.host.run(f"stat -c '%a %U' {OPTIONS} /run/mlflow-tracking /run/mlflow-tracking/mysql.cnf").stdout

    assert found == [OPTIONS]
    assert stack.host.run(f"cat {OPTIONS}").stdout == mysql_options(PASSWORD)
    assert modes == "600 root\n700 mlflow\n600 mlflow\n"
    assert "canary" not in shown + move.plan.output + move.first.output + move.second.output
    assert stack.host.run("journalctl --no-pager | grep -c canary || true").stdout == "0\n"


@pytest.mark.usefixtures("move")
def test_host_whose_sshd_forwards_nothing_looks_itself_before_the_schema_is_made(
    stack: Elsewhere, theirs: Theirs
) -> None:
    with forwarding_nothing(stack.host):
        plan = stack.plan()
        run = stack.deploy(**stack.database("mysql+pymysql", 3306, "poor_db"))

    later = (
        f"[{NAME}] the database can't be asked from here, as the host's sshd forwards nothing; it is looked at on the "
        "host, before the schema is touched"
    )
    assert later in said(plan)
    assert run.status == 1
    assert "the tracking database can't be used: its database poor_db has the character set latin1" in said(run)
    assert theirs.mysql("SHOW TABLES IN poor_db") == ""


@contextmanager
def forwarding_nothing(host: Host) -> Iterator[None]:
    host.put("/etc/ssh/sshd_config.d/nothing.conf", "AllowTcpForwarding no\n")
    host.run("systemctl reload ssh")
    try:
        yield
    finally:
        host.run("rm /etc/ssh/sshd_config.d/nothing.conf; systemctl reload ssh")


@pytest.mark.usefixtures("move")
def test_changed_password_is_taken_up_by_one_run(stack: Elsewhere, theirs: Theirs) -> None:
    before = theirs.contents()
    stack.password.write_text(ANOTHER)
    theirs.mysql(f"ALTER USER mlflow_user@'%' IDENTIFIED BY '{ANOTHER}'")

    run = stack.converge()

    # The host can't look at the schema before it has the password: it does in the run, and leaves it as it is.
    assert run.changed == [WRITE, SCHEMA, RUN_TRACKING]
    assert theirs.contents() == before
    assert stack.converge().changed == []


@pytest.mark.usefixtures("move")
def test_every_promise_that_can_be_asked_is_kept_on_mariadb_and_a_worse_one_is_found(
    stack: Elsewhere, theirs: Theirs
) -> None:
    # What the host served before it had this role alone.
    stack.host.run("systemctl disable --quiet --now mlflow-production mlflow-production@diabetes")
    kept = conform(stack)
    theirs.mysql("ALTER DATABASE mlflow_db CHARACTER SET latin1")
    try:
        broken = conform(stack)
    finally:
        theirs.mysql("ALTER DATABASE mlflow_db CHARACTER SET utf8mb4")

    assert kept.is_kept, kept.output
    assert f"{NAME} 6.9" in kept.held
    assert broken.failed == {f"{NAME} 6.9"}, broken.output


# --- an upgrade ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def older(stack: Elsewhere, theirs: Theirs, move: Move) -> dict[str, Any]:
    """Settings for a database that an older MLflow made, with a table in the way of a later migration."""
    stack.host.put("/root/make_older.py", MAKE_OLDER)
    uri = (
        f"mysql+pymysql://mlflow_user@{theirs.host.address}/older_db?ssl_ca={AUTHORITY}&ssl_check_hostname=true"
        f"&read_default_file={OPTIONS}&read_default_group=pymysql"
    )
    stack.host.run(f"cd / && {stack.python()} /root/make_older.py '{uri}'", timeout=300)
    theirs.mysql("CREATE TABLE older_db.guardrails (in_the_way INT)")
    return stack.database("mysql+pymysql", 3306, "older_db")


def test_older_schema_is_refused_unasked_and_the_server_goes_on(stack: Elsewhere, older: dict[str, Any]) -> None:
    run = stack.deploy(**older)

    assert run.status == 1
    assert f"the tracking database has schema revision {OLDER}, this MLflow has " in said(run)
    assert stack.unit() == ("active", "enabled")


def test_upgrade_that_fails_half_way_keeps_the_server_down_and_says_how_to_go_on(
    stack: Elsewhere, theirs: Theirs, older: dict[str, Any]
) -> None:
    run = stack.deploy(**older, tracking_upgrade_database=True)
    again = stack.deploy(**older, tracking_upgrade_database=True)
    states = stack.unit()

    command = re.search(r"MLFLOW_DATABASE_OPTION_FILE=\S+ \S+ -I \S+ restore '[^']+' \S+\.sql\.gz", run.output)
    assert (run.status, again.status) == (1, 1)
    assert "MySQL takes nothing back: no server may be started on it." in said(run)
    assert "an upgrade of the tracking database has begun and not ended, which MySQL can't take back." in said(again)
    assert states == ("inactive", "disabled")
    assert command
    assert command[0].startswith(f"MLFLOW_DATABASE_OPTION_FILE={OPTIONS} /opt/mlflow/envs/mlflow-")

    restored = stack.host.run(command[0])

    assert restored.stdout.endswith(f" is restored: the schema is at revision {OLDER}\n")
    theirs.mysql("DROP TABLE older_db.guardrails")


def test_upgrade_after_the_dump_was_restored_ends_well(stack: Elsewhere, theirs: Theirs, older: dict[str, Any]) -> None:
    run = stack.converge(**older, tracking_upgrade_database=True)

    found = web.post(f"{stack.url}/api/2.0/mlflow/experiments/search", {"max_results": 10})
    assert {SCHEMA, RUN_TRACKING} <= set(run.changed)
    assert stack.unit() == ("active", "enabled")
    assert "made before the upgrade" in found.body
    assert "alembic_mlflow_stack_upgrade" not in theirs.mysql("SHOW TABLES IN older_db")
    assert stack.converge(**older).changed == []


# --- on PostgreSQL -------------------------------------------------------------------------------------------------


def test_tracking_server_moves_to_a_postgresql_whose_certificate_is_looked_at(stack: Elsewhere, theirs: Theirs) -> None:
    stack.password.write_text(PASSWORD)
    data = stack.database("postgresql+psycopg2", 5432)

    first, second = stack.converge(**data), stack.converge(**data)

    made = web.post(f"{stack.url}/api/2.0/mlflow/experiments/create", {"name": "in their database"})
    assert SCHEMA in first.changed
    assert second.changed == []
    assert made.status == 200, made
    assert theirs.postgresql("SELECT name FROM experiments ORDER BY 1", "mlflow_db") == "Default\nin their database"
    assert stack.host.run("grep -o 'sslmode=.*' /etc/mlflow/tracking.env").stdout == (
        f'sslmode=verify-full&sslrootcert={AUTHORITY}"\n'
    )
    assert stack.host.run(f"test -e {OPTIONS} && echo there; true").stdout == ""
