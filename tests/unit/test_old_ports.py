"""Which ports stay open until the servers that use them have moved."""

from dataclasses import replace
from typing import Any

import pytest

from mlflow_stack.domain.firewall import Opening
from mlflow_stack.domain.survey import Listener, parse_survey
from mlflow_stack.roles.firewall import old_openings, openings, rules_text
from tests.unit.defaults import settings
from tests.unit.recorded import lines

DEPLOYED = replace(parse_survey(lines("deployed", "Survey")), firewall=())
OPEN: dict[str, Any] = {
    "tracking_bind": "0.0.0.0",
    "production_bind": "0.0.0.0",
    "production_models": {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}},
}


def test_no_port_is_old_on_a_host_that_is_as_its_settings_say() -> None:
    assert old_openings(settings(**OPEN), DEPLOYED) == []


@pytest.mark.parametrize(
    ("changed", "port"),
    [({"tracking_port": 5005}, 5000), ({"tracking_bind": "127.0.0.1"}, 5000), ({"production_models": {}}, 5001)],
    ids=["another port", "another address", "no model"],
)
def test_port_of_a_server_that_is_to_move_is_old(changed: dict[str, Any], port: int) -> None:
    assert old_openings(settings(**{**OPEN, **changed}), DEPLOYED) == [
        Opening(port, reason="until its server has moved")
    ]


def test_port_is_old_only_while_the_present_rules_let_others_reach_it() -> None:
    moved = settings(**{**OPEN, "tracking_port": 5005})
    rule = 'tcp dport {} accept comment "tracking_port"'

    open_now, closed_now = (
        old_openings(moved, replace(DEPLOYED, firewall=("# Managed", rule.format(port)))) for port in (5000, 5001)
    )

    assert (open_now, closed_now) == ([Opening(5000, reason="tracking_port")], [])


def test_rules_that_only_lose_a_port_stay_as_they_are_until_the_server_has_gone() -> None:
    before = rules_text(openings(settings(**OPEN, firewall_allow=["9100/tcp"]), DEPLOYED))
    survey = replace(DEPLOYED, firewall=tuple(line.strip() for line in before.splitlines()))
    without = settings(**{**OPEN, "tracking_bind": "127.0.0.1"}, firewall_allow=["9100/tcp"])

    assert rules_text([*openings(without, survey), *old_openings(without, survey)]) == before
    assert "tcp dport 5000" not in rules_text(openings(without, survey))


def test_servers_of_others_and_those_that_others_can_not_reach_have_no_old_ports() -> None:
    survey = replace(
        DEPLOYED,
        listeners=(
            Listener(9100, "node_exporter", 71, "node_exporter.service"),
            Listener(5009, "python", 72, "mlflow-tracking.service", "127.0.0.1"),
            Listener(5433, "postgres", 73, "postgresql@15-main.service"),
        ),
    )

    assert old_openings(settings(**OPEN), survey) == []
