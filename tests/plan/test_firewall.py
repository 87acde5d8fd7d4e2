"""The firewall in a plan: what it lets in, when it closes, and what it refuses to close."""

from typing import Any

from tests.plan.conftest import FRESH, Planner, host
from tests.plan.test_plan import BASE, FIREWALL, POSTGRESQL
from tests.unit.recorded import lines

RULES_FILE, UNIT_FILE = "/etc/mlflow/firewall.nft", "/etc/systemd/system/mlflow-firewall.service"
CLOSE = [f"{name}, without the ports of before" for name in FIREWALL]
REMOVE = "Firewall | Remove the firewall"
EXPORTER = 'listen=node_exporter.service tcp LISTEN 0 128 *:9100 *:* users:(("node_exporter",pid=71,fd=3))'
TRACKING = 'listen=mlflow-tracking.service tcp LISTEN 0 128 0.0.0.0:5000 0.0.0.0:* users:(("python",pid=72,fd=3))'


def everywhere(**settings: Any) -> dict[str, list[Any]]:
    everything = [host("mlflow1", **settings)]
    return {"postgresql": everything, "tracking": everything}


def test_plan_shows_what_other_hosts_will_reach(plan: Planner) -> None:
    found = plan(**everywhere(tracking_bind="0.0.0.0", firewall_allow=["9100/tcp from 10.0.0.0/8"]))

    written = found.of("mlflow1", FIREWALL[0]).splitlines()
    assert found.status == 0, found.output
    assert written[0] == f"    {RULES_FILE} (new, 640 root:root)"
    assert [line.strip("+ ") for line in written if " dport " in line and "fe80" not in line] == [
        'tcp dport 22 accept comment "SSH"',
        'tcp dport 5000 accept comment "tracking_port"',
        'ip saddr 10.0.0.0/8 tcp dport 9100 accept comment "firewall_allow: 9100/tcp from 10.0.0.0/8"',
    ]
    assert f"    {UNIT_FILE} (new, 644 root:root)" in written
    assert "    $ systemctl enable --quiet mlflow-firewall.service" in found.of("mlflow1", FIREWALL[1])


def test_ports_are_opened_before_the_roles_and_those_of_before_are_closed_after_them(plan: Planner) -> None:
    found = plan(**everywhere(survey=[*FRESH, TRACKING], tracking_port=5005, tracking_bind="0.0.0.0"))

    order = found.operations
    assert found.status == 0, found.output
    assert order[: len(BASE) + 3] == [*BASE, *FIREWALL, POSTGRESQL[0]]
    assert order[-2:] == CLOSE
    assert '+        tcp dport 5000 accept comment "until its server has moved"' in found.of("mlflow1", FIREWALL[0])
    assert "tcp dport 5000 " not in found.of("mlflow1", CLOSE[0])


def test_firewall_that_is_not_wanted_is_neither_installed_nor_made(plan: Planner) -> None:
    found = plan(**everywhere(firewall_enabled=False, survey=[*FRESH, EXPORTER]))

    assert found.status == 0, found.output
    assert [name for name in found.operations if name.startswith("Firewall")] == [REMOVE]
    assert found.changes[REMOVE] == []
    assert "nftables" not in found.of("mlflow1", BASE[0])


def test_firewall_that_is_not_wanted_any_more_is_removed(plan: Planner) -> None:
    found = plan(
        **everywhere(firewall_enabled=False, answers={"FirewallRemains": lines("deployed", "FirewallRemains")})
    )

    assert found.of("mlflow1", REMOVE).splitlines() == [
        "    $ systemctl disable --now --quiet mlflow-firewall.service",
        "    $ /usr/sbin/nft delete table inet mlflow_stack",
        f"    {RULES_FILE} (removed)",
        f"    {UNIT_FILE} (removed)",
        "    $ systemctl daemon-reload",
    ]


def test_what_others_would_be_cut_off_from_stops_the_run(plan: Planner) -> None:
    found = plan(**everywhere(survey=[*FRESH, EXPORTER]))

    assert found.status == 1
    assert (
        "1 obstacle on the hosts; no host was changed @fake/mlflow1: port 9100/tcp of node_exporter (pid 71) would be "
        'closed to other hosts; list it in firewall_allow, as "9100/tcp" to keep it open or as "9100/tcp from '
        '127.0.0.1" to close it, or set firewall_enabled = False' in " ".join(found.output.split())
    )
    assert len(found.commands["@fake/mlflow1"]) == 1


def test_what_others_use_and_the_settings_list_is_no_obstacle(plan: Planner) -> None:
    found = plan(**everywhere(survey=[*FRESH, EXPORTER], firewall_allow=["9100/tcp"]))

    assert found.status == 0, found.output
