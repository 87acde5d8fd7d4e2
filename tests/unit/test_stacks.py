"""What the hosts of a stack take from each other, and the sentences for what contradicts between them."""

from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.domain.certificates import HostCertificate
from mlflow_stack.domain.object_store import ObjectStore
from mlflow_stack.domain.tracking_server import TrackingServer
from mlflow_stack.inventory_check import HostEntry, check_inventory
from mlflow_stack.roles.postgresql import listen_addresses
from mlflow_stack.stacks import partial_upgrades
from tests.unit.defaults import entry
from tests.unit.domain.test_given_certificates import certificate, pem
from tests.unit.refusals import MODEL, SEVERAL, refusal

MODELS: dict[str, Any] = {"production_models": {"diabetes": MODEL}}


def one(problem: str) -> str:
    return f"1 problem in the inventory and its settings; no host was changed\n  {problem}"


def test_tracking_host_takes_all_that_it_needs_from_the_host_of_its_database() -> None:
    own = {"postgresql_port": 5433, "postgresql_database": "a", "postgresql_role": "b", "postgresql_password": "env:C"}

    web = check_inventory([entry("db", ("postgresql",), "10.0.0.5", **own), entry("web", ("tracking",))])["web"]

    assert (
        web.database_uri
        == "postgresql+psycopg2://b@10.0.0.5:5433/a?sslmode=verify-full&sslrootcert=/etc/mlflow/database-ca.crt"
    )
    assert web.database_password == ("env:C", "postgresql_password")


def test_database_lets_in_the_tracking_servers_of_its_stack() -> None:
    hosts = check_inventory(
        [
            entry("db", ("postgresql",)),
            entry("web1", ("tracking",), "10.0.0.6", **SEVERAL),
            entry("web2", ("tracking",), "10.0.0.7", **SEVERAL),
            entry("gpu", ("production",), "10.0.0.8", **MODELS),
        ]
    )

    assert hosts["db"].postgresql.client_networks == ["10.0.0.6/32", "10.0.0.7/32"]


def test_networks_that_are_given_are_not_added_to() -> None:
    given = {"postgresql_client_networks": ["10.0.0.0/8"]}

    hosts = check_inventory([entry("db", ("postgresql",), **given), entry("web", ("tracking",))])

    assert hosts["db"].postgresql.client_networks == ["10.0.0.0/8"]


def test_database_of_a_host_with_everything_listens_on_its_host_alone() -> None:
    assert check_inventory([entry()])["mlflow1"].postgresql.client_networks == []


def test_tracking_server_with_a_name_for_an_address_needs_its_network_named() -> None:
    message = refusal(entry("db", ("postgresql",)), entry("web", ("tracking",), "web.example.com"))

    assert message == one(
        "db: postgresql_client_networks is empty, and web has a name for an address (web.example.com); set it to the "
        "network that web connects from"
    )


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.1.1", "::1", "localhost"])
def test_addresses_of_forwarded_ports_are_not_taken_for_those_between_hosts(address: str) -> None:
    alone = f"has an address for this computer alone ({address})"

    message = refusal(
        entry("db", ("postgresql",), address),
        entry("web", ("tracking",), address, tracking_bind="0.0.0.0"),
        entry("gpu1", ("production",), address, **MODELS),
        entry("gpu2", ("production",), address, **MODELS),
    )

    assert message == (
        "3 problems in the inventory and its settings; no host was changed\n"
        f"  db: postgresql_address is empty, and db {alone}; set it to the one that the tracking hosts reach it by\n"
        f"  db: postgresql_client_networks is empty, and web {alone}; set it to the network that web connects from\n"
        f"  gpu1, gpu2: tracking_public_name is empty on web, which {alone}; set it there to the name that this host "
        "reaches it by"
    )


def test_hosts_behind_forwarded_ports_use_the_addresses_that_are_given() -> None:
    database = {"postgresql_address": "10.0.0.5", "postgresql_client_networks": ["10.0.0.0/24"]}
    web = {"tracking_bind": "0.0.0.0", "tracking_public_name": "10.0.0.6"}

    hosts = check_inventory(
        [
            entry("db", ("postgresql",), "127.0.0.1", **database),
            entry("web", ("tracking",), "127.0.0.1", **web),
            entry("gpu", ("production",), "127.0.0.1", **MODELS),
        ]
    )

    assert "@10.0.0.5:" in hosts["web"].database_uri
    assert hosts["gpu"].tracking_server.uri == "http://10.0.0.6:5000"


def test_host_with_everything_needs_no_other_address_than_that_of_a_forwarded_port() -> None:
    hosts = check_inventory([entry("mlflow1", address="127.0.0.1", tracking_bind="0.0.0.0", **MODELS)])

    assert listen_addresses(hosts["mlflow1"]) == {}


@pytest.mark.parametrize(
    ("address", "own", "expected"),
    [
        ("10.0.0.5", {}, "localhost,10.0.0.5"),
        ("db.example.com", {}, "*"),
        ("127.0.0.1", {}, "*"),
        ("127.0.0.1", {"postgresql_address": "10.0.0.5"}, "localhost,10.0.0.5"),
    ],
)
def test_database_for_other_hosts_listens_where_they_reach_it(address: str, own: dict[str, Any], expected: str) -> None:
    hosts = check_inventory([entry("db", address=address, postgresql_client_networks=["10.0.0.0/24"], **own)])

    assert listen_addresses(hosts["db"]) == {"listen_addresses": expected}


def test_model_host_takes_port_and_name_of_the_tracking_server() -> None:
    own = {"tracking_bind": "0.0.0.0", "tracking_port": 5005, "tracking_public_name": "mlflow.example.com"}

    hosts = check_inventory([entry("web", ("postgresql", "tracking"), **own), entry("gpu", ("production",), **MODELS)])

    assert hosts["gpu"].tracking_server.uri == "http://mlflow.example.com:5005"


def apart(*groups: str, **web: Any) -> list[HostEntry]:
    """Return a tracking server, in these groups too, and a host of models that are from there."""
    return [
        entry("web", ("postgresql", "tracking", *groups), "10.0.0.5", **web),
        entry("gpu", ("production",), "10.0.0.8", **MODELS),
    ]


def test_model_host_logs_in_at_the_proxy_in_front_of_the_tracking_server() -> None:
    hosts = check_inventory(apart("proxy", tracking_public_name="mlflow.example.com"))

    assert hosts["gpu"].tracking_server == TrackingServer(
        "https://mlflow.example.com", user="mlflow-production", ca_file="/var/lib/mlflow-models/tracking-ca.crt"
    )
    assert hosts["gpu"].tracking_certificates == {
        "web": HostCertificate(
            "/etc/mlflow/credentials/proxy", "/etc/mlflow/proxy/ca.crt", ("mlflow.example.com", "10.0.0.5")
        )
    }
    assert hosts["web"].tracking_server == TrackingServer("unix:/run/mlflow/tracking.sock")


def test_model_host_trusts_what_its_system_does_where_the_certificate_was_given(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text(certificate("mlflow.example.com", ends=3650))
    (tmp_path / "key.pem").write_text(pem())
    given = {"proxy_tls": "files", "proxy_tls_certificate": f"{tmp_path}/cert.pem", "proxy_port": 8443}

    hosts = check_inventory(
        apart("proxy", tracking_public_name="mlflow.example.com", proxy_tls_key=f"file:{tmp_path}/key.pem", **given)
    )

    assert hosts["gpu"].tracking_server == TrackingServer(
        "https://mlflow.example.com:8443", user="mlflow-production", ca_file="/etc/ssl/certs/ca-certificates.crt"
    )
    assert hosts["gpu"].tracking_certificates == {}


def test_registry_elsewhere_is_asked_with_its_own_login_and_authority(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(certificate(ends=3650))
    own = {"production_tracking_uri": "https://registry.example.com/", "production_tracking_user": "ada"}
    own |= {"production_tracking_password": "env:ADA", "production_tracking_ca_file": f"{tmp_path}/ca.pem"}

    gpu = check_inventory([entry("gpu", ("production",), **own, **MODELS)])["gpu"]

    assert gpu.tracking_server == TrackingServer(
        "https://registry.example.com", user="ada", ca_file="/var/lib/mlflow-models/tracking-ca.crt"
    )


def test_registry_elsewhere_is_not_known_by_the_authority_of_the_stacks_own_proxy() -> None:
    web, gpu = apart("proxy")
    elsewhere = entry("gpu", gpu.groups, gpu.address, **MODELS, production_tracking_uri="https://registry.example.com")

    found = check_inventory([web, elsewhere])["gpu"].tracking_server

    assert found == TrackingServer("https://registry.example.com", ca_file="/etc/ssl/certs/ca-certificates.crt")


def test_proxy_for_its_own_host_alone_is_refused_where_models_are_elsewhere() -> None:
    assert refusal(*apart("proxy", proxy_bind="127.0.0.1")) == one(
        "gpu: the tracking server is on another host, but proxy_bind is '127.0.0.1' there; set it to an address that "
        "this host can reach"
    )


def test_name_of_the_hosts_of_models_is_no_users() -> None:
    assert refusal(*apart("proxy", proxy_users={"mlflow-production": "generated"})) == one(
        "web: proxy_users: 'mlflow-production' is the user that hosts of models log in as, with a password of their "
        "own; take another name"
    )


@pytest.mark.parametrize(
    ("host", "data", "problem"),
    [
        (
            "web",
            {"postgresql_port": 5434},
            "postgresql_port is 5434 on web and 5433 on db; web takes it from db, the host of the group postgresql: "
            "set it there alone",
        ),
        (
            "web",
            {"postgresql_password": "env:OTHER"},
            "postgresql_password is not the same on web and db; web takes it from db, the host of the group "
            "postgresql: set it there alone",
        ),
        (
            "gpu",
            {"tracking_port": 5005},
            "tracking_port is 5005 on gpu and 5000 on web; gpu takes it from web, the host of the group tracking: set "
            "it there alone",
        ),
    ],
)
def test_setting_that_contradicts_the_host_it_is_taken_from_is_refused(
    host: str, data: dict[str, Any], problem: str
) -> None:
    extra = {"db": {"postgresql_port": 5433}, "web": {"tracking_bind": "0.0.0.0"}, "gpu": MODELS}
    extra[host] = {**extra[host], **data}

    message = refusal(
        entry("db", ("postgresql",), **extra["db"]),
        entry("web", ("tracking",), **extra["web"]),
        entry("gpu", ("production",), **extra["gpu"]),
    )

    assert message == one(problem)


def test_two_databases_in_one_stack_are_refused() -> None:
    message = refusal(entry("db1", ("postgresql",)), entry("db2", ("postgresql",)), entry("web", ("tracking",)))

    assert message == one(
        "db1 and db2 are in the group postgresql of one stack, which has one database; give independent stacks names "
        "with inventory_stack, or take all but one out of the group"
    )


def test_two_hosts_with_everything_in_one_named_stack_are_refused() -> None:
    hosts = [entry(name, inventory_stack="a", **SEVERAL) for name in ("one", "two")]

    assert refusal(*hosts) == one(
        "one and two are in the group postgresql of one stack, which has one database; give independent stacks names "
        "with inventory_stack, or take all but one out of the group"
    )


def test_hosts_that_have_everything_are_stacks_of_their_own() -> None:
    hosts = check_inventory([entry("one"), entry("two")])

    assert {name: settings.stack_hosts["tracking"] for name, settings in hosts.items()} == {
        "one": ("one",),
        "two": ("two",),
    }


def test_stacks_of_one_inventory_do_not_see_each_other() -> None:
    a, b = {"inventory_stack": "a"}, {"inventory_stack": "b", "tracking_bind": "0.0.0.0"}

    hosts = check_inventory(
        [
            entry("db_a", ("postgresql",), "10.0.0.1", **a),
            entry("web_a", ("tracking",), "10.0.0.2", **a),
            entry("web_b", ("postgresql", "tracking"), "10.0.0.3", **b),
            entry("gpu_b", ("production",), "10.0.0.4", **MODELS, inventory_stack="b"),
        ]
    )

    assert "@10.0.0.1:" in hosts["web_a"].database_uri
    assert hosts["gpu_b"].tracking_server.uri == "http://10.0.0.3:5000"
    assert hosts["web_b"].postgresql.client_networks == []


def test_stack_without_a_database_is_refused_though_another_has_one() -> None:
    message = refusal(entry("a", inventory_stack="a"), entry("b", ("tracking",), inventory_stack="b"))

    assert message == one(
        "b: the group tracking needs a database: add a group postgresql, or set tracking_database_uri"
    )


def test_several_tracking_servers_get_no_certificate_by_acme() -> None:
    data = {**SEVERAL, "tracking_bind": "", "proxy_tls": "acme", "proxy_acme_accept_terms": True}
    hosts = [entry(name, ("tracking", "proxy"), f"10.0.0.{number}", **data) for number, name in ((6, "a"), (7, "b"))]

    message = refusal(entry("db", ("postgresql",), "10.0.0.5"), *hosts)

    assert message == one(
        "proxy_tls is 'acme', and a and b have one name: an ACME server would ask one of them for what another shows; "
        "set it to 'files', with a certificate for all of them"
    )


def test_several_tracking_servers_need_one_name_and_one_store() -> None:
    message = refusal(
        entry("db", ("postgresql",)),
        entry("web1", ("tracking",), tracking_bind="10.0.0.1"),
        entry("web2", ("tracking",)),
    )

    assert message == (
        "3 problems in the inventory and its settings; no host was changed\n"
        "  web1 and web2 are one tracking server to their users, but tracking_public_name is empty; set it to the name "
        "of their load balancer\n"
        "  web1 and web2 are one tracking server to their users, but each keeps artifacts of its own in "
        "/var/lib/mlflow/artifacts; set tracking_artifacts_destination to an object store, or mount one network file "
        "system there on all of them and set tracking_artifacts_shared = True\n"
        "  web2: tracking_bind is '127.0.0.1', where no load balancer reaches the server; set it to the host's address"
    )


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"tracking_port": 5001}, "tracking_port is 5001 on web2 and 5000 on web1"),
        (
            {"tracking_public_name": "b.example.com"},
            "tracking_public_name is 'b.example.com' on web2 and 'mlflow.example.com' on web1",
        ),
        (
            {"tracking_artifacts_destination": "/srv/b"},
            "tracking_artifacts_destination is '/srv/b' on web2 and '/var/lib/mlflow/artifacts' on web1",
        ),
        ({"tracking_upgrade_database": True}, "tracking_upgrade_database is True on web2 and False on web1"),
        ({"tracking_admins": []}, "tracking_admins is [] on web2 and ['admin'] on web1"),
        ({"tracking_database_password": "env:X"}, "tracking_database_password is not the same on web2 and web1"),
    ],
)
def test_tracking_servers_of_one_stack_that_differ_are_refused(data: dict[str, Any], found: str) -> None:
    message = refusal(
        entry("db", ("postgresql",)),
        entry("web1", ("tracking",), **SEVERAL),
        entry("web2", ("tracking",), **{**SEVERAL, **data}),
    )

    assert message == one(f"{found}; the tracking servers of one stack need the same: set it in group_data/tracking.py")


BUCKET = {
    **{name: value for name, value in SEVERAL.items() if name != "tracking_artifacts_shared"},
    "tracking_artifacts_destination": "s3://bucket/mlflow",
    "tracking_artifacts_access_key_id": "AKIA1",
    "tracking_artifacts_credentials": "env:KEY",
}


def test_tracking_servers_with_an_object_store_need_no_shared_directory() -> None:
    hosts = [entry("db", ("postgresql",)), *(entry(name, ("tracking",), **BUCKET) for name in ("web1", "web2"))]

    checked = check_inventory(hosts)

    store = ObjectStore("s3://bucket/mlflow", access_key_id="AKIA1", has_credentials=True)
    assert [checked[name].object_store for name in ("web1", "web2")] == [store, store]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (
            {"tracking_artifacts_destination": "s3://other/mlflow"},
            "tracking_artifacts_destination is 's3://other/mlflow' on web2 and 's3://bucket/mlflow' on web1",
        ),
        (
            {"tracking_artifacts_credentials": "env:OTHER"},
            "tracking_artifacts_credentials is not the same on web2 and web1",
        ),
    ],
)
def test_tracking_servers_with_different_object_stores_are_refused(data: dict[str, Any], found: str) -> None:
    message = refusal(
        entry("db", ("postgresql",)),
        entry("web1", ("tracking",), **BUCKET),
        entry("web2", ("tracking",), **{**BUCKET, **data}),
    )

    assert message == one(f"{found}; the tracking servers of one stack need the same: set it in group_data/tracking.py")


def test_password_in_the_wrong_setting_is_refused_for_a_database_of_others() -> None:
    uri = "postgresql+psycopg2://u@db/d"

    assert refusal(entry("web", ("tracking",), tracking_database_uri=uri, postgresql_password="env:X")) == one(
        "web: postgresql_password is for a database that MLflow Stack sets up; the one for tracking_database_uri is "
        "tracking_database_password"
    )


def test_hosts_wait_for_those_that_they_need() -> None:
    hosts = check_inventory(
        [
            entry("db", ("postgresql",)),
            entry("web1", ("tracking",), **SEVERAL),
            entry("web2", ("tracking", "production"), **SEVERAL, **MODELS),
            entry("gpu", ("production",), **MODELS),
        ]
    )

    waits = {name: (host.waits_for("postgresql"), host.waits_for("tracking")) for name, host in hosts.items()}
    assert waits == {
        "db": ((), ()),
        "web1": (("db",), ()),
        "web2": (("db",), ()),
        "gpu": ((), ("web1", "web2")),
    }


def test_only_hosts_with_others_in_their_stack_have_anything_to_wait_for() -> None:
    hosts = check_inventory([entry("one"), entry("two")])

    assert [host.has_other_hosts for host in hosts.values()] == [False, False]


def test_upgrade_of_a_database_under_servers_that_are_left_out_is_refused() -> None:
    shared = {**SEVERAL, "tracking_upgrade_database": True}
    hosts = check_inventory(
        [entry("db", ("postgresql",)), entry("web1", ("tracking",), **shared), entry("web2", ("tracking",), **shared)]
    )

    assert partial_upgrades(hosts, {"db", "web1", "web2"}) == []
    assert partial_upgrades(hosts, {"db"}) == []
    assert partial_upgrades(hosts, {"db", "web1"}) == [
        (
            "tracking_upgrade_database lets this run upgrade the database under web2, which --limit leaves out; run "
            "without --limit, or set it to False",
            ["web1"],
        )
    ]
