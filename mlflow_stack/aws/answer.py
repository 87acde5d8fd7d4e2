"""The service is steady, and answers where its users will ask."""

from __future__ import annotations

import http.client
import socket
import ssl

from mlflow_stack.aws.api import Aws, Failed, wait_until

CALL_TIMEOUT_S = 30
SEARCH = "/api/2.0/mlflow/experiments/search"


# Tests lead it elsewhere: nobody but Amazon has a load balancer.
connect = socket.create_connection


class _At(http.client.HTTPConnection):
    """HTTP with a name at a load balancer, whether or not the name leads there yet."""

    def __init__(self, name: str, balancer: tuple[str, int], tls: bool) -> None:
        super().__init__(name, timeout=CALL_TIMEOUT_S)
        self.balancer, self.tls = balancer, tls

    def connect(self) -> None:
        self.sock = connect(self.balancer, CALL_TIMEOUT_S)
        if self.tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)


def wait_until_steady(aws: Aws, cluster: str, service: str, seconds: float) -> None:
    """Wait until all tasks of a service are of its newest deployment and run."""

    def is_steady() -> bool:
        (found,) = aws.ask("ecs", "describe_services", cluster=cluster, services=[service])["services"]
        return len(found["deployments"]) == 1 and found["runningCount"] == found["desiredCount"]

    wait_until(is_steady, f"service {service} is to run all its tasks", seconds)


def wait_until_answers(name: str, balancer: tuple[str, int], tls: bool, is_open: bool, seconds: float) -> None:
    """Wait until the server answers at the load balancer, and asks for a login unless it is open to everybody.

    The certificate has to be for the name. Raises Failed with what it answered last.
    """
    last = ""

    def answers() -> bool:
        nonlocal last
        last = _wrong(name, balancer, tls, is_open)
        return not last

    try:
        wait_until(answers, "", seconds)
    except Failed:
        raise Failed(f"{name} at {balancer[0]}: {last}, for {seconds:.0f} s; its log says why") from None


def _wrong(name: str, balancer: tuple[str, int], tls: bool, is_open: bool) -> str:
    """Return what is wrong with the answers, "" when nothing is."""
    try:
        health = _status(name, balancer, tls, "GET", "/health")
        search = _status(name, balancer, tls, "POST", SEARCH)
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"
    if health != 200:
        return f"GET /health: HTTP {health}"
    expected = 200 if is_open else 401
    login = "" if is_open else " without a login"
    return "" if search == expected else f"POST {SEARCH}{login}: HTTP {search}, expected {expected}"


def _status(name: str, balancer: tuple[str, int], tls: bool, method: str, path: str) -> int:
    server = _At(name, balancer, tls)
    body = b'{"max_results": 1}' if method == "POST" else None
    try:
        server.request(method, path, body, {"Content-Type": "application/json"})
        return server.getresponse().status
    finally:
        server.close()
