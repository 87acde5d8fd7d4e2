"""What MLflow's accounts and permissions are to be; that MLflow then acts so is in tests/e2e/test_permissions.py."""

import configparser
import json

from mlflow_stack.domain.permissions import HEALTH_USER, OWN_USER, configuration, password_of, wanted
from mlflow_stack.on_host import accounts


def test_password_is_the_same_here_and_on_the_host() -> None:
    assert password_of("0123456789abcdef", "ada") == accounts.password_of(b"0123456789abcdef", "ada")
    assert (OWN_USER, HEALTH_USER) == (accounts.OWN_USER, accounts.HEALTH_USER)


def test_password_of_each_user_is_another_and_long_enough_for_mlflow() -> None:
    passwords = {password_of("0123456789abcdef", user) for user in ("ada", "bob", accounts.FLASK_KEY)}

    assert [len(password) for password in passwords] == [64] * 3


def test_there_are_accounts_for_users_and_our_own() -> None:
    found = json.loads(wanted(["bob", "ada"], ["ada"], {}, {}))

    assert found == {
        "users": {"ada": True, "bob": False, "mlflow-stack": True, "mlflow-health": False, "mlflow-production": False},
        "grants": [["mlflow-production", kind, "*", "READ"] for kind in ("experiment", "registered_model")],
    }


def test_star_is_every_user_who_is_not_named() -> None:
    rules = {"*": {"*": "READ"}, "fraud": {"*": "READ", "ada": "EDIT"}}

    found = json.loads(wanted(["ada", "bob"], [], {}, rules))

    assert [grant for grant in found["grants"] if grant[0] != "mlflow-production"] == [
        ["ada", "registered_model", "*", "READ"],
        ["ada", "registered_model", "fraud", "EDIT"],
        ["bob", "registered_model", "*", "READ"],
        ["bob", "registered_model", "fraud", "READ"],
    ]


def test_name_with_a_dollar_reaches_the_host_past_systemd() -> None:
    text = wanted(["ada"], [], {"a$HOME'ä": {"ada": "READ"}}, {})

    assert "$" not in text
    assert ["ada", "experiment", "a$HOME'ä", "READ"] in json.loads(text)["grants"]


def test_uri_with_a_percent_sign_is_read_as_it_is() -> None:
    uri = "postgresql+psycopg2://me@db.example.com:5432/mlflow?options=-c%20search_path%3Dmlflow"
    parser = configparser.ConfigParser()

    parser.read_string(configuration(uri))

    assert dict(parser["mlflow"]) == {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": uri,
        "admin_username": "mlflow-stack",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
