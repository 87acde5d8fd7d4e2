"""What other hosts may reach, in the words of a setting and of nftables; bad words are in test_bad_settings.py."""

import pytest

from mlflow_stack.domain.firewall import Opening, parse_opening


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("9100/tcp", "tcp dport 9100"),
        ("161/udp", "udp dport 161"),
        ("60000-61000/udp", "udp dport 60000-61000"),
        ("9100/tcp from 10.0.0.0/8", "ip saddr 10.0.0.0/8 tcp dport 9100"),
        ("9100/tcp from 10.0.0.5", "ip saddr 10.0.0.5/32 tcp dport 9100"),
        ("9100/tcp from FD00::/8", "ip6 saddr fd00::/8 tcp dport 9100"),
    ],
)
def test_entry_becomes_a_rule_that_says_where_it_is_from(text: str, rule: str) -> None:
    assert parse_opening(text).rule == f'{rule} accept comment "firewall_allow: {text}"'


def test_comment_of_a_rule_is_never_longer_than_nftables_takes() -> None:
    longest = parse_opening("10000-20000/tcp from 1111:2222:3333:4444:5555:6666:7777:8888/128")

    assert len(longest.reason) < 128


@pytest.mark.parametrize(
    ("opening", "held"),
    [(Opening(5000), [5000]), (Opening(4999, 5001), [4999, 5000, 5001]), (Opening(5000, protocol="udp"), [])],
)
def test_opening_holds_the_ports_of_its_protocol_alone(opening: Opening, held: list[int]) -> None:
    assert [port for port in range(4990, 5010) if opening.holds("tcp", port)] == held
