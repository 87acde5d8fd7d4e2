"""Checks of working.py, that services work: their scripts, run on this machine, and what is judged by."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlflow_stack.conform import working
from mlflow_stack.conform.checks import NotAsked, Unknown
from mlflow_stack.domain import layout
from mlflow_stack.settings import ROLES
from tests.unit.conform.judging import found, judged, run
from tests.unit.conform.servers import serving
from tests.unit.defaults import settings

UNITS = [
    *("Id=postgresql.service ActiveState=active UnitFileState=enabled",),
    "Id=postgresql@15-main.service ActiveState=active UnitFileState=enabled-runtime",
    "Id=mlflow-tracking.service ActiveState=active UnitFileState=enabled",
]


def test_unit_that_does_not_run_or_does_not_start_with_the_host_is_found() -> None:
    stopped = "Id=mlflow-production@diabetes.service ActiveState=inactive UnitFileState=disabled"
    absent = "Id=mlflow-firewall.service ActiveState=inactive UnitFileState="

    assert found(working.services, UNITS) == []
    assert found(working.services, [UNITS[0].replace("=active", "=inactive"), *UNITS[1:]]) == []
    assert found(working.services, [*UNITS[:1], UNITS[2]]) == ["no cluster of PostgreSQL is started"]
    assert found(working.services, [*UNITS, stopped, absent, "failed mlflow-proxy-certificate.service loaded"]) == [
        "mlflow-production@diabetes.service is inactive",
        "mlflow-production@diabetes.service is disabled",
        "mlflow-firewall.service is inactive",
        "mlflow-firewall.service is not there",
        "mlflow-proxy-certificate.service has failed",
    ]
    with pytest.raises(Unknown, match="systemd names no unit"):
        found(working.services, [])


def test_units_that_are_to_run_follow_from_the_settings() -> None:
    everything = settings(ROLES, postgresql_client_networks=["10.0.0.0/24"])
    assert working.units(everything) == [
        "mlflow-firewall.service",
        "mlflow-tracking.service",
        "mlflow-production.service",
        "mlflow-proxy-login.service",
        "mlflow-proxy.service",
        "mlflow-proxy-certificate.timer",
        "mlflow-database-certificate.timer",
    ]
    assert working.units(settings(firewall_enabled=False)) == ["mlflow-tracking.service", "mlflow-production.service"]


def test_answer_of_the_tracking_server_is_asked_with_curl() -> None:
    statuses = iter([200, 500])
    with serving(lambda *_: (next(statuses), {}, "{}")) as served:
        own = settings(tracking_port=served.port)
        well, ill = (judged(working.database, run(working.database, own, {}), own) for _ in range(2))
    down = judged(working.database, run(working.database, own, {}), own)

    method, path, headers = served.requests[0]
    assert (method, path, headers["Content-Type"]) == ("POST", working.SEARCH, "application/json")
    assert (well, ill) == ([], ["HTTP 500 for a search of experiments"])
    assert down == ["no answer to a search of experiments"]


@pytest.mark.parametrize(
    ("answer", "body", "faults"),
    [
        (200, '{"predictions": [1]}', []),
        (200, '{"error": "x"}', ["diabetes: HTTP 200 and no prediction"]),
        (400, '{"error_code": "BAD_REQUEST"}', ["diabetes: HTTP 400 and no prediction"]),
    ],
)
def test_model_is_asked_for_its_input_example(tmp_path: Path, answer: int, body: str, faults: list[str]) -> None:
    example = tmp_path / "diabetes/current/model/serving_input_example.json"
    example.parent.mkdir(parents=True)
    example.write_text('{"inputs": [1]}')

    def model(method: str, path: str, _: object) -> tuple[int, dict[str, str], str]:
        return (200, {}, "\n") if path == "/ping" else (answer, {}, body)

    with serving(model) as served:
        models = {"diabetes": {"uri": "models:/diabetes@champion", "port": served.port}}
        own = settings(production_models=models)
        said = run(working.predictions, own, {layout.MODELS_DIR: str(tmp_path)})

    assert [(method, path) for method, path, _ in served.requests] == [("GET", "/ping"), ("POST", "/invocations")]
    assert judged(working.predictions, said, own) == faults


def test_model_without_an_example_or_without_a_release_is_judged_by_what_it_is() -> None:
    models = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}}
    required = settings(production_models=models)
    optional = settings(production_models={"diabetes": {**models["diabetes"], "required": False}})

    assert found(working.predictions, ["diabetes 200 "], required) == []
    assert found(working.predictions, ["diabetes 000 000 0"], required) == ["diabetes: HTTP 000 for /ping"]
    assert found(working.predictions, ["diabetes"], required) == ["diabetes was never released"]
    assert found(working.predictions, ["diabetes 200 200 1"], optional) == []
    with pytest.raises(NotAsked, match="no model was released"):
        found(working.predictions, ["diabetes"], optional)
