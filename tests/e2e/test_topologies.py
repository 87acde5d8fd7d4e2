"""How hosts can share the work: each arrangement deployed, and judged from outside.

One host with everything on it is the rest of these tests; the database alone on a host is test_remote_database.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from lab import Host, Lab
from tests.e2e import web
from tests.e2e.balancer import Balancer
from tests.e2e.conform import conform
from tests.e2e.stack import MODEL, REPOSITORY, Run
from tests.e2e.topology import Topology, build, experiments, predictions, release

SHARED = "/srv/mlflow-artifacts"
STORE = {"tracking_artifacts_destination": SHARED, "tracking_artifacts_shared": True}
MODELS = {"production_models": MODEL, "production_bind": "0.0.0.0"}
SCHEMA = "Tracking | Bring the database schema up to date"
READY = "Tracking | Run mlflow-tracking and see it work"


@pytest.fixture(scope="module")
def built(lab: Lab, layer: str) -> str:
    return build(lab)


@pytest.fixture(scope="module")
def hosts(lab: Lab, built: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Host]]:
    """Three hosts, of which two have a directory of this machine in common, as they would a network file system."""
    shared = {SHARED: str(tmp_path_factory.mktemp("store"))}
    names = {"db1": {}, "web1": shared, "web2": shared}
    lab.down("mlflow1", *names)
    yield {name: lab.up(name, layers=[built], binds=binds) for name, binds in names.items()}
    lab.down(*names)


# --- database, tracking server and models on a host each ---------------------------------------------------------


@dataclass(frozen=True)
class Apart:
    """Three hosts, one role each, after their first run, a training, and two runs more."""

    stack: Topology
    first: Run
    release: Run
    last: Run


@pytest.fixture(scope="module")
def apart(hosts: dict[str, Host], tmp_path_factory: pytest.TempPathFactory) -> Apart:
    directory = tmp_path_factory.mktemp("apart")
    (directory / "password").write_text("between the hosts")
    stack = Topology(directory, hosts, tracking="web1", production="web2")
    stack.arrange(
        {"postgresql": ["db1"], "tracking": ["web1"], "production": ["web2"]},
        postgresql={"postgresql_port": 5433, "postgresql_password": f"file:{directory}/password"},
        tracking={"tracking_bind": "0.0.0.0", "tracking_port": 5005, **STORE},
        production=MODELS,
    )
    stack.url = f"http://{hosts['web1'].address}:5005"
    first = stack.converge()
    stack.train()
    return Apart(stack, first, stack.converge(), stack.converge())


def test_three_hosts_apart_serve_what_was_trained(apart: Apart) -> None:
    assert apart.stack.fault() == ""
    assert experiments(apart.stack.url) == ["Default", "diabetes"]


def test_host_that_needs_another_has_its_address_port_and_password_from_there(apart: Apart) -> None:
    hosts = apart.stack.hosts

    tracking = hosts["web1"].run("cat /etc/mlflow/tracking.env").stdout
    allowed = hosts["db1"].run("grep ^hostssl /etc/postgresql/15/main/pg_hba.conf").stdout.split()

    assert f"mlflow_user@{hosts['db1'].address}:5433/mlflow_db?sslmode=verify-full&sslrootcert=" in tracking
    assert allowed == ["hostssl", "mlflow_db", "mlflow_user", f"{hosts['web1'].address}/32", "scram-sha-256"]


def test_first_run_over_three_hosts_goes_in_the_order_of_their_needs(apart: Apart) -> None:
    database = "PostgreSQL | Create role mlflow_user and database mlflow_db"
    umbrella = "Production | Run mlflow-production"

    in_order = [name for name in apart.first.changed if name in (database, SCHEMA, READY, umbrella)]

    assert in_order == [database, SCHEMA, READY, umbrella]


def test_later_run_over_three_hosts_changes_nothing(apart: Apart) -> None:
    assert apart.last.changed == []


def test_promises_are_kept_on_three_hosts_each_of_which_has_its_own(apart: Apart) -> None:
    found = conform(apart.stack)

    assert found.is_kept, found.output
    assert found.held >= {"db1 8.18", "web1 6.2", "web1 6.4", "web2 6.3", "web2 6.6"}
    assert found.skipped >= {"db1 6.2", "web1 6.3", "web2 6.2", "web2 8.16"}


def test_host_that_needs_a_failed_one_says_so_and_goes_on_serving(apart: Apart) -> None:
    stack, directory = apart.stack, "/etc/postgresql/15/main/conf.d"
    stack.hosts["db1"].run(f"mount --bind {directory} {directory} && mount -o remount,ro,bind {directory}")

    failed = stack.deploy("--fail-percent", "100", postgresql_max_connections=150)

    stack.hosts["db1"].run(f"umount {directory}")
    assert failed.status == 1
    assert (
        "[web1] the database is on db1, where this run failed; nothing that needs it was done here. Put right what it "
        "says there, then deploy again" in " ".join(failed.output.split())
    )
    assert READY not in failed.changed
    assert stack.fault() == ""


# --- two tracking servers behind one address, two hosts with the same model --------------------------------------


@dataclass(frozen=True)
class Grown:
    """The same hosts with a tracking server and a model server more, after a run."""

    stack: Topology
    balancer: Balancer
    urls: tuple[str, str]


@pytest.fixture(scope="module")
def grown(lab: Lab, apart: Apart) -> Iterator[Grown]:
    stack, hosts, address = apart.stack, apart.stack.hosts, lab.network.gateway
    stack.arrange(
        {"postgresql": ["db1"], "tracking": ["web1", "web2"], "production": ["db1", "web2"]},
        postgresql=stack.data["postgresql"],
        tracking={"tracking_port": 5005, "tracking_public_name": address, **STORE},
        production=MODELS,
        web1={"tracking_bind": hosts["web1"].address},
        web2={"tracking_bind": hosts["web2"].address},
    )
    stack.url = f"http://{address}:5005"
    servers = [(hosts[name].address, 5005) for name in ("web1", "web2")]
    with Balancer((address, 5005), servers) as balancer:
        stack.converge()
        yield Grown(stack, balancer, (f"http://{servers[0][0]}:5005", f"http://{servers[1][0]}:5005"))


def test_stack_grows_by_one_run(grown: Grown) -> None:
    assert grown.stack.fault() == ""
    assert experiments(grown.stack.url) == ["Default", "diabetes"]


def test_both_tracking_servers_answer_behind_the_one_address(grown: Grown) -> None:
    before = grown.balancer.handed.copy()

    for _ in range(4):
        experiments(grown.stack.url)

    assert sorted((grown.balancer.handed - before).values()) == [2, 2]


def test_run_and_artifact_of_one_tracking_server_are_there_on_the_other(grown: Grown) -> None:
    one, other = grown.urls
    api, path = "api/2.0/mlflow", "api/2.0/mlflow-artifacts/artifacts/shared.txt"

    made = web.post(f"{one}/{api}/experiments/create", {"name": "made by one"})
    sent = web.put(f"{one}/{path}", b"sent to one")

    assert (made.status, sent.status) == (200, 200)
    assert "made by one" in experiments(other)
    assert web.get(f"{other}/{path}").body == "sent to one"


def test_model_trained_through_the_one_address_is_served_in_one_version_by_both(grown: Grown) -> None:
    stack, before = grown.stack, release(grown.stack.hosts["db1"])
    stack.train()

    stack.converge()

    db1, web2 = stack.hosts["db1"], stack.hosts["web2"]
    assert release(db1) == release(web2) != before
    assert predictions(db1) == predictions(web2)
    assert stack.converge().changed == []


def test_one_tracking_server_down_leaves_the_other_answering(grown: Grown) -> None:
    web1 = grown.stack.hosts["web1"]
    web1.crash()

    answers = [web.post(f"{grown.stack.url}/api/2.0/mlflow/experiments/search", {"max_results": 1}) for _ in range(4)]

    web1.start()
    assert [answer.status for answer in answers] == [200] * 4


def test_store_that_is_not_mounted_stops_the_run_and_the_server(grown: Grown) -> None:
    web2 = grown.stack.hosts["web2"]
    web2.run(f"systemctl stop mlflow-tracking; mount -t tmpfs tmpfs {SHARED} && chown mlflow: {SHARED}")

    started = web2.run("systemctl start mlflow-tracking; sleep 1; systemctl is-active mlflow-tracking", check=False)
    refused = grown.stack.deploy()

    web2.run(f"umount {SHARED}; systemctl reset-failed mlflow-tracking; systemctl restart mlflow-tracking")
    assert started.stdout.strip() in ("activating", "failed")
    assert refused.status == 1
    assert refused.changed == []
    assert (
        f"{SHARED} is not the store that web1 has: the mark .mlflow-stack-store that it made there is missing here; "
        "mount the same network file system on both" in " ".join(refused.output.split())
    )
    grown.stack.recovers()


# --- stacks that have nothing to do with each other --------------------------------------------------------------


OF_MODELS = REPOSITORY / ".secrets/team_b/mlflow-production"


@pytest.fixture(scope="module")
def stacks(lab: Lab, built: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """Team a with one host, team b with a proxy, permissions and two, after a run, a training in b, and a run more.

    What a client of team b's tracking server needs is in the environment.
    """
    names = ("a1", "b1", "b2")
    lab.down("mlflow1", "db1", "web1", "web2", *names)
    hosts = {name: lab.up(name, layers=[built]) for name in names}
    stack = Topology(tmp_path_factory.mktemp("stacks"), hosts, tracking="b1", production="b2")
    stack.arrange(
        {
            "team_a": ["a1"],
            "team_b": ["b1", "b2"],
            "postgresql": ["a1", "b1"],
            "tracking": ["a1", "b1"],
            "production": ["a1", "b2"],
            "proxy": ["b1"],
        },
        team_a={"inventory_stack": "team_a", "tracking_bind": "0.0.0.0"},
        team_b={
            "inventory_stack": "team_b",
            "postgresql_database": "team_b",
            "proxy_users": {"ada": "env:MLFLOW_TRACKING_PASSWORD"},
            "tracking_permissions": True,
            "tracking_admins": ["ada"],
        },
        production=MODELS,
    )
    stack.url, authority = f"https://{hosts['b1'].address}", stack.directory / "ca.crt"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", "enchantress")
        patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(authority))
        stack.converge()
        authority.write_text(web.get(f"http://{hosts['b1'].address}/ca.crt").body)
        stack.train()
        stack.converge()
        yield stack
    lab.down(*names)


def test_stacks_of_one_inventory_know_nothing_of_each_other(stacks: Topology) -> None:
    a1 = stacks.hosts["a1"]

    mine = sorted(each.name for each in MlflowClient(stacks.url).search_experiments())

    assert mine == ["Default", "diabetes"]
    assert experiments(f"http://{a1.address}:5000") == ["Default"]
    assert web.get(f"http://{a1.address}:5001/ping").status == 0


def test_models_of_another_host_come_through_the_proxy_with_a_login_of_their_own(stacks: Topology) -> None:
    b1, b2 = stacks.hosts["b1"], stacks.hosts["b2"]

    kept = b2.run(
        "stat -c '%n %a %U' /etc/mlflow/credentials/tracking-password /var/lib/mlflow-models/tracking-ca.crt"
    ).stdout
    logged_in = b1.run("cut -d ' ' -f 1,2 /etc/mlflow/credentials/logins").stdout.splitlines()

    assert len(predictions(b2)) == 1
    assert web.get(f"http://{b1.address}:5000/health").status == 0
    assert (
        kept == "/etc/mlflow/credentials/tracking-password 600 root\n/var/lib/mlflow-models/tracking-ca.crt 644 root\n"
    )
    assert logged_in[1:] == ["tracking ada", "tracking mlflow-production"]
    assert stacks.converge().changed == []


def test_password_and_authority_that_are_new_on_one_host_reach_the_other_in_one_run(stacks: Topology) -> None:
    b1, b2 = stacks.hosts["b1"], stacks.hosts["b2"]
    old = ("mlflow-production", OF_MODELS.read_text().strip())
    OF_MODELS.unlink()
    b1.run("rm /etc/mlflow/credentials/proxy/ca.key")

    planned, run = stacks.plan(), stacks.converge()

    authority = web.get(f"http://{b1.address}/ca.crt").body
    (stacks.directory / "ca.crt").write_text(authority)
    answers = [
        requests.get(f"{stacks.url}/version", auth=login, verify=stacks.directory / "ca.crt", timeout=30).status_code
        for login in (old, (old[0], OF_MODELS.read_text().strip()))
    ]
    assert "the certificate authority of b1 is made in this run" in " ".join(planned.output.split())
    assert set(run.changed) >= {
        "Production | Write the units and configuration of mlflow-production",
        "Production | Trust the tracking server",
    }
    assert answers == [401, 200]
    assert b2.run("cat /var/lib/mlflow-models/tracking-ca.crt").stdout == authority
    assert stacks.converge().changed == []


# --- a database that is somebody else's --------------------------------------------------------------------------

BY_HAND = """
apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends postgresql
cd /etc/postgresql/15/main
echo "listen_addresses = '*'" >> postgresql.conf
echo 'hostssl tracking ada {client}/32 scram-sha-256' >> pg_hba.conf
systemctl restart postgresql
runuser -u postgres -- psql -q -c "CREATE ROLE ada LOGIN PASSWORD 'enchantress'" -c 'CREATE DATABASE tracking OWNER ada'
"""


def test_database_that_somebody_else_manages_is_used_and_left_alone(lab: Lab, built: str, tmp_path: Path) -> None:
    lab.down("mlflow1", "a1", "b1", "b2", "web3", "theirs")
    theirs, web3 = lab.up("theirs"), lab.up("web3", layers=[built])
    theirs.run(f"set -e; {BY_HAND.format(client=web3.address)}", timeout=300)
    (tmp_path / "password").write_text("enchantress")
    stack = Topology(tmp_path, {"web3": web3}, tracking="web3", production="web3")
    stack.arrange(
        {"tracking": ["web3"]},
        tracking={
            "tracking_bind": "0.0.0.0",
            "tracking_database_uri": f"postgresql+psycopg2://ada@{theirs.address}/tracking?sslmode=require",
            "tracking_database_password": f"file:{tmp_path}/password",
        },
    )
    outside = Topology(tmp_path, {"theirs": theirs}, tracking="theirs", production="theirs")
    before = outside.fingerprint(databases=False)

    first, second = stack.converge(), stack.converge()
    made = web.post(f"{stack.url}/api/2.0/mlflow/experiments/create", {"name": "in their database"})

    after = outside.fingerprint(databases=False)
    names = theirs.run(
        "runuser -u postgres -- psql -A -t -d tracking -c 'SELECT name FROM experiments ORDER BY 1'"
    ).stdout
    lab.down("theirs", "web3")
    assert SCHEMA in first.changed
    assert second.changed == []
    assert (made.status, names.split("\n")) == (200, ["Default", "in their database", ""])
    assert after == before
    assert "enchantress" not in first.output
