"""The tracking server and its model on Unix sockets: no port and no network, and the model still comes from there."""

from __future__ import annotations

import pytest

from lab.errors import CommandFailed
from tests.e2e.stack import Stack

TRACKING, MODEL = "mlflow-tracking.service", "mlflow-production@diabetes.service"
SOCKETS = {TRACKING: "/run/mlflow/tracking.sock", MODEL: "/run/mlflow/production-diabetes.sock"}
UNIX = {"tracking_bind": "unix", "production_bind": "unix"}


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack whose services were moved from their ports to sockets."""
    run = served.converge(**UNIX)
    assert run.changed == [
        "Tracking | Write the unit and configuration of mlflow-tracking",
        "Tracking | Run mlflow-tracking and see it work",
        "Production | Write the units and configuration of mlflow-production",
        "Production | Run mlflow-production@diabetes and see it predict",
        "Firewall | Write the rules and the unit of mlflow-firewall, without the ports of before",
        "Firewall | Load the rules of mlflow-firewall and see them in force, without the ports of before",
    ]
    return served


def get(stack: Stack, unit: str, path: str, user: str = "root") -> str:
    """Return the status of an answer on a service's socket, as a user of the host gets it."""
    curl = f"curl -s -o /dev/null -w %{{http_code}} --unix-socket {SOCKETS[unit]} http://localhost{path}"
    return stack.host.run(f"cd / && runuser -u {user} -- {curl}").stdout


def test_second_run_changes_nothing(stack: Stack) -> None:
    assert stack.converge(**UNIX).changed == []


def test_services_answer_on_their_sockets_and_listen_on_no_port(stack: Stack) -> None:
    ports = stack.host.run("ss -Hltn | awk '{print $4}' | sed 's/.*://' | sort -u").stdout.split()

    assert (get(stack, TRACKING, "/health"), get(stack, MODEL, "/ping")) == ("200", "200")
    assert ports == ["22", "5432"]


@pytest.mark.parametrize(("unit", "user"), [(TRACKING, "mlflow"), (MODEL, "mlflow-model")])
def test_socket_is_for_the_service_and_for_root(stack: Stack, unit: str, user: str) -> None:
    path = "/health" if unit == TRACKING else "/ping"

    assert stack.host.run(f"stat -c '%a %U %G' {SOCKETS[unit]}").stdout == f"660 {user} {user}\n"
    assert get(stack, unit, path, user) == "200"
    for other in ("nobody", "deploy", "mlflow-model" if unit == TRACKING else "mlflow"):
        with pytest.raises(CommandFailed):
            get(stack, unit, path, other)


@pytest.mark.parametrize("unit", SOCKETS)
def test_service_has_no_network(stack: Stack, unit: str) -> None:
    pid = stack.processes(unit)[0]
    links = stack.host.run(f"nsenter --net --target {pid} ip -o link | cut -d: -f2").stdout.split()
    exposure = stack.host.run(f"systemd-analyze security --no-pager {unit} | tail -n 1").stdout

    print(exposure)
    assert links == ["lo"]
    assert float(exposure.split(":")[1].split()[0]) <= 0.5


def test_model_is_released_from_the_socket_of_its_host(stack: Stack) -> None:
    stack.host.run("rm /var/lib/mlflow-models/diabetes/current/.mlflow-stack.json")

    run = stack.converge(**UNIX)

    assert run.changed == [
        "Production | Release model diabetes",
        "Production | Run mlflow-production@diabetes and see it predict",
    ]
    assert get(stack, MODEL, "/ping") == "200"


def test_services_answer_on_their_sockets_after_a_reboot(stack: Stack) -> None:
    stack.host.reboot()

    stack.wait_for(f"[ $(systemctl is-active {' '.join(SOCKETS)} | sort -u) = active ]")
    assert (get(stack, TRACKING, "/health"), get(stack, MODEL, "/ping")) == ("200", "200")
    assert stack.converge(**UNIX).changed == []


def test_services_go_back_to_their_ports(stack: Stack) -> None:
    stack.converge()

    assert stack.fault() == ""
    assert stack.host.run("ss -Hlx | grep -F /run/mlflow/ || true").stdout == ""
