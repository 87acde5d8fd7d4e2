"""The service answers at its load balancer, with its certificate, and asks for a login."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_stack.aws import answer, api
from mlflow_stack.aws.api import Failed
from tests.unit.aws.balancer import balancer
from tests.unit.aws.certificate import PUBLIC_NAME, Pair, make_pair


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PAUSE_S", 0.01)


def refusal(address: tuple[str, int], tls: bool = True, is_open: bool = False) -> str:
    """Return the message for what answers at an address."""
    with pytest.raises(Failed) as failed:
        answer.wait_until_answers(PUBLIC_NAME, address, tls, is_open, 0.05)
    return str(failed.value)


def test_server_that_answers_and_asks_for_a_login_is_taken(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with balancer(tmp_path, pair) as (address, hosts):
        answer.wait_until_answers(PUBLIC_NAME, address, True, False, 5)

    assert hosts == [PUBLIC_NAME, PUBLIC_NAME]


def test_server_without_tls_is_taken_where_that_is_said(tmp_path: Path) -> None:
    with balancer(tmp_path, None, search=200) as (address, hosts):
        answer.wait_until_answers(PUBLIC_NAME, address, False, True, 5)

    assert hosts == [PUBLIC_NAME, PUBLIC_NAME]


@pytest.mark.parametrize(
    ("health", "search", "is_open", "reason"),
    [
        (503, 401, False, "GET /health: HTTP 503"),
        (
            200,
            200,
            False,
            "POST /api/2.0/mlflow/experiments/search without a login: HTTP 200, expected 401",
        ),
        (200, 403, True, "POST /api/2.0/mlflow/experiments/search: HTTP 403, expected 200"),
    ],
)
def test_other_answers_are_refused(tmp_path: Path, health: int, search: int, is_open: bool, reason: str) -> None:
    with balancer(tmp_path, None, health, search) as (address, _):
        assert refusal(address, tls=False, is_open=is_open) == (
            f"mlflow.example.com at 127.0.0.1: {reason}, for 0 s; its log says why"
        )


def test_certificate_for_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with balancer(tmp_path, make_pair(names=["other.example.com"])) as (address, _):
        assert "certificate is not valid for 'mlflow.example.com'" in refusal(address)


def test_server_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with balancer(tmp_path, None) as (address, _):
        pass

    assert refusal(address, tls=False) == (
        "mlflow.example.com at 127.0.0.1: no answer ([Errno 111] Connection refused), for 0 s; its log says why"
    )
