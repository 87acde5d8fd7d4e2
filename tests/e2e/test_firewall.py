"""The firewall, scanned from another host: what is open, what is closed, and that nothing of others is touched."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import Host, Lab
from mlflow_stack.domain.firewall import RULES_FILE, TABLE, UNIT
from tests.e2e.scan import open_ports
from tests.e2e.stack import Stack
from tests.e2e.test_bad_input import WRONG_SHA256, obstacles
from tests.e2e.test_releases import RELEASES
from tests.e2e.topology import Topology
from tests.turns import of_today

RULES = [
    "Firewall | Write the rules and the unit of mlflow-firewall",
    "Firewall | Load the rules of mlflow-firewall and see them in force",
]
CLOSE = [f"{name}, without the ports of before" for name in RULES]
REMOVE = "Firewall | Remove the firewall"
SSH, TRACKING, MODEL = 22, 5000, 5001
THEIRS = "table ip theirs { chain input { type filter hook input priority 10; tcp dport 7777 drop; }; }"
# Everybody's listener: a web server that somebody started by hand.
BY_HAND, BY_HAND_PORT = "by-hand", 9100


SERVER = """
import socket, sys, time
client = socket.create_server((sys.argv[1], 7000)).accept()[0]
while True:
    client.send(b"x" * 100)
    time.sleep(0.2)
"""
CLIENT = """
import socket, sys
server = socket.create_connection((sys.argv[1], 7000))
while True:
    print(server.recv(100), flush=True)
"""


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    served.recovers()  # a clone has just been started
    return served


@pytest.fixture(scope="module")
def other(lab: Lab) -> Iterator[Host]:
    yield lab.up("other")
    lab.down("other")


@contextmanager
def listener(stack: Stack, address: str = "::") -> Iterator[None]:
    command = f"python3 -m http.server --bind {address} {BY_HAND_PORT}"
    stack.host.run(f"systemd-run --quiet --unit {BY_HAND} {command}")
    stack.wait_for(f"ss -Hltn 'sport = {BY_HAND_PORT}' | grep -q .")
    try:
        yield
    finally:
        stack.host.run(f"systemctl stop {BY_HAND}")


def rules(stack: Stack) -> str:
    """Return our rules as the kernel has them; "" without any."""
    return stack.host.run(f"nft -s list table {TABLE} 2>/dev/null; true").stdout


def ports(stack: Stack, other: Host, *wanted: int) -> list[int]:
    return open_ports(other, stack.host.address, [str(port) for port in wanted])


# --- what is open -------------------------------------------------------------------------------------------------


def test_other_host_reaches_ssh_and_what_the_roles_declare_and_nothing_else(stack: Stack, other: Host) -> None:
    assert open_ports(other, stack.host.address) == [SSH, TRACKING, MODEL]


def test_other_host_reaches_ssh_alone_by_ipv6(stack: Stack, other: Host) -> None:
    """MLflow listens by IPv4; what somebody starts on all addresses is closed by IPv6 too."""
    link = stack.host.run("ip -6 -o address show dev eth0 scope link").stdout.split()[3].partition("/")[0]

    with listener(stack):
        assert open_ports(other, f"{link}%eth0", ["1-10000"]) == [SSH]


def test_listener_that_somebody_starts_is_reached_from_its_own_host_alone(stack: Stack, other: Host) -> None:
    with listener(stack):
        on_the_host = open_ports(stack.host, "127.0.0.1", [str(BY_HAND_PORT)])
        assert (on_the_host, ports(stack, other, BY_HAND_PORT)) == ([BY_HAND_PORT], [])
        assert stack.converge().changed == []


def test_host_answers_ping(stack: Stack, other: Host) -> None:
    assert other.run(f"ping -c 1 -W 2 {stack.host.address}").returncode == 0


def test_ports_of_others_are_opened_by_a_setting_and_closed_again_without_it(stack: Stack, other: Host) -> None:
    with listener(stack):
        opened = stack.converge(firewall_allow=[f"{BY_HAND_PORT}/tcp"])
        assert ports(stack, other, BY_HAND_PORT) == [BY_HAND_PORT]
        stack.converge(firewall_allow=[f"{BY_HAND_PORT}/tcp from {other.address}"])
        assert ports(stack, other, BY_HAND_PORT) == [BY_HAND_PORT]
        stack.converge(firewall_allow=[f"{BY_HAND_PORT}/tcp from 127.0.0.1"])
        assert ports(stack, other, BY_HAND_PORT) == []
    assert opened.changed == stack.converge().changed == RULES


def test_database_is_reached_from_the_networks_of_its_clients_alone(stack: Stack, other: Host) -> None:
    (stack.directory / "password").write_text("for a client")

    stack.converge(
        postgresql_client_networks=[f"{other.address}/32"], postgresql_password=f"file:{stack.directory}/password"
    )

    from_other = ports(stack, other, 5432)
    with pytest.raises(TimeoutError):
        socket.create_connection((stack.host.address, 5432), timeout=2).close()
    stack.converge()
    assert from_other == [5432]
    assert ports(stack, other, 5432) == []


def test_ssh_is_reached_by_every_port_that_it_listens_on(stack: Stack, other: Host) -> None:
    stack.host.run("printf 'Port 22\\nPort 2222\\n' > /etc/ssh/sshd_config.d/two.conf; systemctl restart ssh")

    stack.converge()
    both = ports(stack, other, 22, 2222)

    stack.host.run("rm /etc/ssh/sshd_config.d/two.conf; systemctl restart ssh")
    stack.converge()
    assert both == [22, 2222]
    assert stack.converge().changed == []


# --- moving -------------------------------------------------------------------------------------------------------


def test_port_of_before_is_closed_when_the_server_has_moved(stack: Stack, other: Host) -> None:
    run = stack.converge(tracking_port=5005)
    moved = ports(stack, other, 5000, 5005)
    again = stack.converge(tracking_port=5005)
    stack.converge()

    assert run.changed[:2] == RULES
    assert run.changed[-2:] == CLOSE
    assert moved == [5005]
    assert again.changed == []
    assert ports(stack, other, 5000, 5005) == [5000]
    assert stack.converge().changed == []


def test_run_that_fails_on_the_way_cuts_nobody_off(stack: Stack) -> None:
    failed = stack.deploy(tracking_port=5005, conda_installer_sha256={"x86_64": WRONG_SHA256})

    assert failed.status == 1
    assert "tcp dport 5005" in rules(stack)
    assert stack.fault() == ""
    assert stack.converge().changed == RULES


def test_connection_that_is_older_than_the_firewall_goes_on(stack: Stack, other: Host) -> None:
    """It was opened by the host itself, to a port of another one, and only that one sends: conntrack knows neither."""
    stack.converge(firewall_enabled=False)
    for host, name, program in ((other, "server", SERVER), (stack.host, "client", CLIENT)):
        host.put(f"/srv/{name}.py", program)
        output = f"-p StandardOutput=file:/run/{name}.out"
        host.run(f"systemd-run --quiet --unit {name} {output} python3 /srv/{name}.py {other.address}")
        host.run("sleep 1")

    stack.converge()

    received = "stat -c %s /run/client.out"
    before = int(stack.host.run(received).stdout)
    stack.host.run("sleep 2")
    after = int(stack.host.run(received).stdout)
    stack.host.run("systemctl stop client")
    other.run("systemctl stop server")
    assert after > before


# --- staying as it is ---------------------------------------------------------------------------------------------

DRIFTS = {
    "all tables flushed": "nft flush ruleset",
    "table deleted": f"nft delete table {TABLE}",
    "rule added": f"nft insert rule {TABLE} input accept",
    "rule deleted": f"nft delete rule {TABLE} input handle "
    f"$(nft -a list table {TABLE} | sed -n 's/.*\"tracking_port\" # handle //p')",
    "policy changed": f"nft chain {TABLE} input '{{ policy accept; }}'",
    "rules edited": f"sed -i '/5000/d' {RULES_FILE}",
    "rules removed": f"rm {RULES_FILE}",
    "unit stopped": f"systemctl stop {UNIT}",
    "unit disabled": f"systemctl disable -q {UNIT}",
    "unit masked": f"systemctl disable -q --now {UNIT}; ln -sf /dev/null /etc/systemd/system/{UNIT}",
}


@pytest.mark.parametrize("drift", of_today(DRIFTS, 2))
def test_drift_is_seen_by_a_plan_and_repaired_by_a_run(stack: Stack, drift: str) -> None:
    before = rules(stack)
    stack.host.run(DRIFTS[drift])

    planned = stack.plan().planned
    run = stack.converge()

    assert "5000" in before
    assert planned == run.changed != []
    assert set(run.changed) <= set(RULES)
    assert rules(stack) == before
    assert stack.converge().changed == []


def test_reboot_keeps_it(stack: Stack, other: Host) -> None:
    before = rules(stack)

    stack.host.reboot()
    stack.recovers()

    with listener(stack):
        assert ports(stack, other, SSH, TRACKING, MODEL, BY_HAND_PORT) == [SSH, TRACKING, MODEL]
    assert rules(stack) == before
    assert stack.host.run("systemctl --failed --no-legend --plain").stdout == ""
    assert stack.converge().changed == []


@pytest.mark.parametrize("verb", ["restart", "reload"])
def test_service_of_the_distribution_that_flushes_all_tables_brings_it_back(stack: Stack, verb: str) -> None:
    before = rules(stack)
    stack.host.run("systemctl start nftables")
    stack.converge()

    stack.host.run(f"systemctl {verb} nftables; sleep 0.5")
    found = rules(stack)

    stack.host.run("systemctl stop nftables")
    assert found == before != ""
    stack.converge()


# --- leaving others alone -----------------------------------------------------------------------------------------


def test_only_what_is_ours_comes_and_goes(stack: Stack, other: Host) -> None:
    others = (
        "nft list ruleset; sha256sum /etc/nftables.conf; systemctl is-enabled nftables; systemctl is-active nftables"
    )
    stack.converge(firewall_enabled=False)
    stack.host.run(f"nft -f - <<'END'\n{THEIRS}\nEND")
    without = stack.host.run(f"{others}; true").stdout

    stack.converge()
    theirs = stack.host.run("nft list table ip theirs").stdout
    run = stack.converge(firewall_enabled=False)
    again = stack.converge(firewall_enabled=False)

    assert theirs in without
    assert run.changed == [REMOVE]
    assert again.changed == []
    assert stack.host.run(f"{others}; true").stdout == without
    assert (
        stack.host.run(f"ls -d {RULES_FILE} /etc/systemd/system/{UNIT} /run/mlflow-firewall", check=False).stdout == ""
    )
    with listener(stack):
        assert ports(stack, other, BY_HAND_PORT) == [BY_HAND_PORT]
    stack.host.run("nft delete table ip theirs")
    stack.converge()


def test_run_that_would_cut_others_off_is_refused_until_they_are_listed(stack: Stack, other: Host) -> None:
    stack.converge(firewall_enabled=False)
    with listener(stack):
        pid = stack.host.run(f"systemctl show -P MainPID {BY_HAND}").stdout.strip()

        refused = obstacles(stack)
        stack.converge(firewall_allow=[f"{BY_HAND_PORT}/tcp"])
        found = ports(stack, other, TRACKING, BY_HAND_PORT)

    assert refused == [
        f"port {BY_HAND_PORT}/tcp of python3 (pid {pid}) would be closed to other hosts; list it in firewall_allow, as "
        f'"{BY_HAND_PORT}/tcp" to keep it open or as "{BY_HAND_PORT}/tcp from 127.0.0.1" to close it, or set '
        "firewall_enabled = False"
    ]
    assert found == [TRACKING, BY_HAND_PORT]
    stack.converge()


# --- other releases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", of_today(RELEASES, 3))
def test_firewall_of_every_release_closes_stays_and_goes(lab: Lab, other: Host, release: str, tmp_path: Path) -> None:
    """With PostgreSQL alone, which is quickly there; test_releases.py has the other roles."""
    lab.down("alone")
    stack = Topology(tmp_path, {"alone": lab.up("alone", release=release)}, tracking="alone", production="alone")
    stack.arrange({"postgresql": ["alone"]})
    first, second, before = stack.converge(), stack.converge(), rules(stack)

    with listener(stack):
        found = ports(stack, other, SSH, BY_HAND_PORT)
    stack.host.reboot()
    after_boot, third = rules(stack), stack.converge()
    stack.host.run("nft flush ruleset")
    repaired, after_repair = stack.converge(), rules(stack)
    removed = stack.converge(firewall_enabled=False)
    failed = stack.host.run("systemctl --failed --no-legend --plain").stdout
    left = rules(stack)
    lab.down("alone")

    assert [name for name in first.changed if name.startswith("Firewall")] == RULES
    assert (second.changed, third.changed, repaired.changed) == ([], [], RULES[1:])
    assert found == [SSH]
    assert before == after_boot == after_repair != ""
    assert (removed.changed, left, failed) == ([REMOVE], "", "")
