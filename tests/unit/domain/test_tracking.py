"""The tracking server's configuration."""

import re
import shlex

import pytest

from mlflow_stack.domain.tracking import allowed_hosts, allowed_origins, environment_file

NAMES = ("mlflow.example.com", "localhost", "127.0.0.1")


def test_allowed_hosts_are_the_names_with_and_without_a_port() -> None:
    assert allowed_hosts(NAMES) == [
        "mlflow.example.com",
        "mlflow.example.com:*",
        "localhost",
        "localhost:*",
        "127.0.0.1",
        "127.0.0.1:*",
    ]


def test_allowed_hosts_name_nothing_twice() -> None:
    assert allowed_hosts(("127.0.0.1", "localhost", "127.0.0.1")) == [
        "127.0.0.1",
        "127.0.0.1:*",
        "localhost",
        "localhost:*",
    ]


def test_allowed_origins_are_those_of_the_names_and_of_a_proxy_for_the_first() -> None:
    assert allowed_origins(NAMES, 5000) == [
        "http://mlflow.example.com:5000",
        "http://localhost:5000",
        "http://127.0.0.1:5000",
        "https://mlflow.example.com",
    ]


def as_systemd_reads(text: str) -> dict[str, str]:
    """Read an EnvironmentFile by the rules of systemd.exec(5): in double quotes, \\ makes " \\ $ and ` literal."""
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, quoted = line.partition("=")
            assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', quoted), quoted
            values[name] = re.sub(r'\\(["\\$`])', r"\1", quoted[1:-1])
    return values


@pytest.mark.parametrize(
    "value", ["plain", "", "two words", "a#b;c", 'say "hi"', "it's", "C:\\dir", "^(a|b)$", "`id`", "ends\\", "Ä=数"]
)
def test_environment_file_gives_back_every_value(value: str) -> None:
    assert as_systemd_reads(environment_file({"A": value, "B": "x"})) == {"A": value, "B": "x"}


@pytest.mark.parametrize("value", ["plain", 'say "hi"', "^(a|b)$", "`id`", "C:\\dir"])
def test_environment_file_means_the_same_to_a_shell(value: str) -> None:
    line = environment_file({"A": value}).splitlines()[1]

    assert shlex.split(line.replace("\\$", "$").replace("\\`", "`")) == [f"A={value}"]


def test_environment_file_says_whose_it_is() -> None:
    assert environment_file({}) == "# Managed by MLflow Stack (mlflow_stack/roles); changes are overwritten.\n"
