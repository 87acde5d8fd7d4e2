"""The survey of a host: recorded output, and what stands in the way of a deploy."""

import re
from dataclasses import replace
from typing import Any

import pytest

from mlflow_stack import platforms
from mlflow_stack.domain.firewall import Opening
from mlflow_stack.domain.lock import Holder
from mlflow_stack.domain.obstacles import Needs, obstacles, one_machine_twice
from mlflow_stack.domain.survey import HostSurvey, Listener, OtherRun, parse_survey
from tests.unit.recorded import lines

FRESH = parse_survey(lines("fresh", "Survey"))
DEPLOYED = parse_survey(lines("deployed", "Survey"))
NEEDS = Needs(
    min_memory_mib=1800,
    min_free_disk_mib=5000,
    ports={5432: ["postgresql_port"], 5000: ["tracking_port"], 5001: ["production_models['diabetes']['port']"]},
    installer_architectures=("x86_64", "aarch64"),
    is_database_host=True,
    name="mlflow1",
)


def test_survey_of_a_fresh_host_is_parsed() -> None:
    assert FRESH.ssh_ports == (22,)
    assert replace(FRESH, listeners=(), memory_mib=0, free_disk_mib=None, machine_id="") == HostSurvey(
        user="root",
        os_id="debian",
        version_id="12",
        title="Debian GNU/Linux 12 (bookworm)",
        machine="x86_64",
        has_systemd=True,
        accounts={},
        ssh_port=22,
        ssh_sockets=(22,),
    )
    assert FRESH.memory_mib > 1000
    assert re.fullmatch("[0-9a-f]{32}", FRESH.machine_id)
    assert set(FRESH.free_disk_mib or {}) == {"/opt", "/var"}
    assert {(listener.port, listener.program, listener.unit) for listener in FRESH.listeners} == {
        (22, "sshd", "ssh.service")
    }


def test_survey_of_a_deployed_host_is_parsed() -> None:
    assert DEPLOYED.is_deployed
    assert DEPLOYED.machine_id == FRESH.machine_id
    assert {(listener.port, listener.unit) for listener in DEPLOYED.listeners} == {
        (22, "ssh.service"),
        (5000, "mlflow-tracking.socket"),
        (5001, "mlflow-production@diabetes.socket"),
        (5432, "postgresql@15-main.service"),
    }
    assert (DEPLOYED.clusters, DEPLOYED.foreign_units) == (("/etc/postgresql/15/main/",), ())
    assert (FRESH.firewall, DEPLOYED.firewall[-2]) == ((), 'tcp dport 5000 accept comment "tracking_port"')
    assert set(DEPLOYED.accounts or {}) == {"mlflow", "mlflow-model"}


def test_survey_of_a_host_knows_its_platform() -> None:
    assert FRESH.platform.postgresql_conf_dir == "/etc/postgresql/15/main"


def test_survey_without_any_output_is_of_an_unknown_system() -> None:
    assert parse_survey([]).os_id == ""


def test_process_of_another_run_that_has_just_ended_is_parsed() -> None:
    assert parse_survey(["other_run=ada@laptop:41 731"]).other_runs == (OtherRun("ada@laptop:41", 731, ""),)


def test_process_of_another_run_is_parsed() -> None:
    survey = parse_survey(["other_run=ada@laptop:41 731 apt-get -q install postgresql "])

    assert survey.other_runs == (OtherRun("ada@laptop:41", 731, "apt-get -q install postgresql"),)


def test_process_that_ends_while_it_is_looked_at_is_parsed() -> None:
    survey = parse_survey(["other_run=ada@laptop:41 731"])

    assert survey.other_runs == (OtherRun("ada@laptop:41", 731, ""),)


@pytest.mark.parametrize("survey", [FRESH, DEPLOYED], ids=["fresh", "deployed"])
def test_nothing_is_in_the_way_on_a_host_that_is_fresh_or_deployed(survey: HostSurvey) -> None:
    assert obstacles(survey, NEEDS) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"user": "deploy", "sudo": "sudo: a password is required"},
            "user 'deploy' can't become root without a password (sudo: a password is required); allow it in "
            "/etc/sudoers.d: deploy ALL=(ALL) NOPASSWD: ALL",
            id="sudo",
        ),
        pytest.param(
            {"os_id": "fedora", "version_id": "43", "title": "Fedora Linux 43"},
            f"Fedora Linux 43 is not supported; expected {platforms.supported()}",
            id="distribution",
        ),
        pytest.param(
            {"os_id": "", "version_id": "", "title": ""},
            f"an unknown system without /etc/os-release is not supported; expected {platforms.supported()}",
            id="no-os-release",
        ),
        pytest.param(
            {"has_systemd": False},
            "systemd is not running; MLflow Stack needs a host that is booted with it, not a container",
            id="no-systemd",
        ),
        pytest.param(
            {"machine": "riscv64"},
            "architecture 'riscv64' has no installer in conda_installer_sha256, which knows x86_64, aarch64",
            id="architecture",
        ),
        pytest.param(
            {"memory_mib": 900},
            "900 MiB of memory, expected 1800; take a larger host or lower preflight_min_memory_mib",
            id="memory",
        ),
        pytest.param(
            {"free_disk_mib": {"/opt": 4999, "/var": 5000}},
            "4999 MiB free below /opt, expected 5000; free some or lower preflight_min_free_disk_mib",
            id="disk",
        ),
        pytest.param(
            {"free_disk_mib": {"/opt": 999, "/var": 1000}, "is_deployed": True},
            "999 MiB free below /opt, expected 1000; free some or lower preflight_min_free_disk_mib",
            id="disk-of-a-deployed-host",
        ),
        pytest.param(
            {"listeners": (Listener(5000, "nginx", 71, "nginx.service"), Listener(5000, "nginx", 71, "nginx.service"))},
            "port 5000 is held by nginx (pid 71); stop it, or change tracking_port",
            id="port-on-both-address-families",
        ),
        pytest.param(
            {"listeners": (Listener(5001, "", 0, "-"),)},
            "port 5001 is held by another process; stop it, or change production_models['diabetes']['port']",
            id="port-of-an-unknown-process",
        ),
        pytest.param(
            {"listeners": (Listener(5432, "python", 9, "mlflow-tracking.service"),)},
            "port 5432 is held by python (pid 9); stop it, or change postgresql_port",
            id="port-of-another-role",
        ),
        pytest.param(
            {"foreign_units": ("/etc/systemd/system/mlflow.service",)},
            "/etc/systemd/system/mlflow.service was not written by MLflow Stack; stop it, move it away and keep "
            "its data",
            id="foreign-unit",
        ),
        pytest.param(
            {"clusters": ("/etc/postgresql/13/main/", "/etc/postgresql/15/main/")},
            "a PostgreSQL cluster of another version or name is in /etc/postgresql/13/main/; expected "
            "/etc/postgresql/15/main/ or none",
            id="foreign-cluster",
        ),
        pytest.param(
            {"accounts": {"mlflow": "mlflow:x:1000:1000:Ada:/home/mlflow:/bin/bash"}},
            "user 'mlflow' exists with the home '/home/mlflow', expected '/var/lib/mlflow'; it is somebody else's, "
            "rename it",
            id="foreign-user",
        ),
        pytest.param(
            {"other_runs": (OtherRun("ada@laptop:41", 731, "apt-get install"), OtherRun("ada@laptop:41", 732, "dpkg"))},
            "another run (ada@laptop:41) is still at work: apt-get install (pid 731); wait until it has ended",
            id="another-run",
        ),
        pytest.param(
            {"holder": Holder("ada@laptop:41", 125), "memory_mib": 900},
            "another run (ada@laptop:41) has been at work here for 2 min 5 s; wait until it has ended, or end it there",
            id="lock",
        ),
        pytest.param(
            {"user": "deploy", "no_session": "bash: /run/mlflow-stack.lock: Read-only file system"},
            "this run can't lock the host, nor notice when it is lost (bash: /run/mlflow-stack.lock: Read-only file "
            "system); expected that user 'deploy' may run bash as root, and that root can write /run",
            id="no-session",
        ),
        pytest.param(
            {"name": "mlflow2"},
            "this machine was deployed as 'mlflow2', and the inventory calls it 'mlflow1'; correct the address if it "
            "is another machine's, or set preflight_former_name = 'mlflow2' for this host if it was renamed",
            id="other-name",
        ),
    ],
)
def test_obstacle_is_named(change: dict[str, Any], message: str) -> None:
    assert obstacles(replace(FRESH, **change), NEEDS) == [message]


@pytest.mark.parametrize("name", ["mlflow1", "old"])
def test_machine_may_have_the_name_of_the_inventory_or_the_former_one(name: str) -> None:
    assert obstacles(replace(FRESH, name=name), replace(NEEDS, former_name="old")) == []


def test_one_machine_under_two_names_is_found_by_its_id() -> None:
    surveys = {"a": replace(FRESH, machine_id="1f"), "b": replace(FRESH, machine_id="2e")}

    assert one_machine_twice(surveys) == []
    assert one_machine_twice({**surveys, "c": surveys["a"]}) == [
        "a and c: one machine, by its /etc/machine-id 1f; list it once, or, if one is a copy of the other, give it an "
        "id of its own: rm /etc/machine-id; systemd-machine-id-setup"
    ]


def test_machines_without_an_id_are_not_taken_for_one() -> None:
    assert one_machine_twice({"a": replace(FRESH, machine_id=""), "b": replace(FRESH, machine_id="")}) == []


def test_lock_name_and_id_of_a_machine_are_parsed() -> None:
    survey = parse_survey(["machine_id=1f", "name=mlflow1", "lock=ada@laptop:41 125"])

    assert (survey.machine_id, survey.name, survey.holder) == ("1f", "mlflow1", Holder("ada@laptop:41", 125))


# --- what the firewall would close --------------------------------------------------------------------------------

CLOSED = (
    "port {0} of {1} would be closed to other hosts; list it in firewall_allow, as "
    '"{0}" to keep it open or as "{0} from 127.0.0.1" to close it, or set firewall_enabled = False'
)
EXPORTER = Listener(9100, "node_exporter", 71, "node_exporter.service")
PG = "postgresql@15-main.service"


def closed(*listeners: Listener, openings: tuple[Opening, ...] | None = (), **survey: Any) -> list[str]:
    """Return what is said of a fresh host with these listeners."""
    found = replace(FRESH, listeners=(*FRESH.listeners, *listeners), **survey)
    return obstacles(found, replace(NEEDS, openings=openings))


def test_listener_that_the_firewall_would_close_is_named_once_with_what_to_do() -> None:
    on_ipv6 = replace(EXPORTER, address="[::]")

    assert closed(EXPORTER, on_ipv6, Listener(161, "snmpd", 72, "snmpd.service", "0.0.0.0", "udp")) == [
        CLOSED.format("9100/tcp", "node_exporter (pid 71)"),
        CLOSED.format("161/udp", "snmpd (pid 72)"),
    ]


@pytest.mark.parametrize(
    "opening", [Opening(9100), Opening(9000, 9200), Opening(9100, source="127.0.0.1/32")], ids=["port", "range", "from"]
)
def test_listener_that_is_listed_is_not_named(opening: Opening) -> None:
    assert closed(EXPORTER, openings=(opening,)) == []


def test_listener_that_is_listed_for_the_other_protocol_is_named() -> None:
    assert len(closed(EXPORTER, openings=(Opening(9100, protocol="udp"),))) == 1


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.53%lo", "[::1]", "[::ffff:127.0.0.1]"])
def test_listener_that_other_hosts_can_not_reach_is_not_named(address: str) -> None:
    assert closed(replace(EXPORTER, address=address)) == []


@pytest.mark.parametrize("address", ["*", "0.0.0.0", "[::]", "10.0.0.1", "[fe80::1]%eth0", "172.17.0.1"])
def test_listener_that_other_hosts_can_reach_is_named(address: str) -> None:
    assert len(closed(replace(EXPORTER, address=address))) == 1


def test_nothing_is_named_where_the_firewall_is_there_already_or_not_wanted() -> None:
    assert closed(EXPORTER, firewall=("# Managed by MLflow Stack",)) == []
    assert closed(EXPORTER, openings=None) == []


def test_servers_of_ours_are_not_named_whatever_port_they_are_on() -> None:
    ours = (
        Listener(5005, "python", 1, "mlflow-tracking.service"),
        Listener(5006, "python", 2, "mlflow-production@iris.service"),
        Listener(5432, "postgres", 3, PG),
    )

    assert closed(*ours, is_deployed=True) == []


def test_database_server_that_was_there_before_us_is_named() -> None:
    assert closed(Listener(5432, "postgres", 3, PG)) == [CLOSED.format("5432/tcp", "postgres (pid 3)")]


def test_port_that_a_role_claims_is_named_once() -> None:
    assert len(closed(replace(EXPORTER, port=5000))) == 1


@pytest.mark.parametrize(
    ("port", "program", "is_named"),
    [(68, "dhclient", False), (546, "dhclient", False), (41234, "avahi-daemon", False), (51820, "", True)],
    ids=["DHCP", "DHCPv6", "a client", "the kernel's WireGuard"],
)
def test_udp_sockets_of_clients_are_not_named(port: int, program: str, is_named: bool) -> None:
    found = closed(Listener(port, program, 9 if program else 0, "-", "0.0.0.0", "udp"))

    assert found == ([CLOSED.format(f"{port}/udp", "another process")] if is_named else [])


@pytest.mark.parametrize(
    ("survey", "ports"),
    [
        ({"listeners": (Listener(2222, "sshd", 7, "ssh.service"), EXPORTER), "ssh_port": 2222}, (2222,)),
        ({"listeners": (Listener(22, "systemd", 1, "-"), EXPORTER), "ssh_sockets": (22, 2022), "ssh_port": 0}, (22,)),
        ({"listeners": (Listener(22, "sshd", 7, "ssh.service"),), "ssh_port": 2200}, (22, 2200)),
        ({"listeners": (), "ssh_port": 0}, (22,)),
    ],
    ids=["another port", "systemd listens for it", "this run came by another server", "nothing is known"],
)
def test_ports_of_ssh_are_found(survey: dict[str, Any], ports: tuple[int, ...]) -> None:
    assert replace(FRESH, **{"ssh_sockets": (), **survey}).ssh_ports == ports


def test_sockets_of_both_protocols_are_parsed_with_their_addresses() -> None:
    survey = parse_survey(
        [
            'listen=- tcp LISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:* users:(("systemd-resolve",pid=9,fd=14))',
            "listen=- udp UNCONN 0 0 [::]:51820 [::]:*",
            "ssh_port=",
        ]
    )

    assert survey.listeners == (
        Listener(53, "systemd-resolve", 9, "-", "127.0.0.53%lo", "tcp"),
        Listener(51820, "", 0, "-", "[::]", "udp"),
    )
    assert survey.ssh_port == 0


def test_obstacles_are_all_named_at_once() -> None:
    survey = replace(FRESH, memory_mib=900, has_systemd=False, foreign_units=("/etc/systemd/system/mlflow.service",))

    assert len(obstacles(survey, NEEDS)) == 3


def test_cluster_of_another_version_is_no_matter_on_a_host_without_the_database() -> None:
    survey = replace(FRESH, clusters=("/etc/postgresql/13/main/",))

    assert obstacles(survey, replace(NEEDS, is_database_host=False, ports={})) == []


def test_sudo_that_wants_a_password_is_found_by_the_survey_itself() -> None:
    survey = parse_survey(lines("fresh", "Survey-without-sudo"))

    assert obstacles(survey, NEEDS) == [
        "user 'deploy-without-sudo' can't become root without a password (sudo: a password is required); allow it in "
        "/etc/sudoers.d: deploy-without-sudo ALL=(ALL) NOPASSWD: ALL"
    ]
