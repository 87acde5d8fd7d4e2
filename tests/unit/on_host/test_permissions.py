"""permissions.py: what can be judged without a database; the rest is in tests/e2e/test_permissions.py."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from werkzeug.security import check_password_hash, generate_password_hash

from mlflow_stack.on_host.accounts import password_of
from mlflow_stack.on_host.permissions import Found, differences, hashed, is_known, is_right
from tests.unit.defaults import REPOSITORY

KEY = b"0123456789abcdef"
ADA, OWN = password_of(KEY, "ada"), password_of(KEY, "mlflow-stack")
USERS = {"ada": False, "mlflow-stack": True}
GRANTS = {("ada", "experiment", "3", "EDIT")}
RIGHT = Found(
    {"ada": (hashed(ADA, "salt"), False), "mlflow-stack": (hashed(OWN, "salt"), True), "left": ("scrypt:…", False)},
    GRANTS,
    {("ada", "ada")},
)


def test_hash_is_one_that_mlflow_accepts() -> None:
    assert check_password_hash(hashed(ADA, "salt"), ADA)
    assert not check_password_hash(hashed(ADA, "salt"), "another password")


def test_hash_that_mlflow_would_make_counts_as_another_password() -> None:
    """It is right, but slow: MLflow computes it several times for each request."""
    assert is_right(hashed(ADA, "salt"), ADA)
    assert not is_right(hashed("another password", "salt"), ADA)
    assert not is_right(generate_password_hash(ADA), ADA)


def test_accounts_that_are_right_differ_in_nothing_and_others_do_not_matter() -> None:
    assert differences(RIGHT, USERS, GRANTS, KEY) == []


@pytest.mark.parametrize(
    ("found", "sentences"),
    [
        ({"users": {}}, ["ada has no account", "mlflow-stack has no account", "mlflow-stack may not do everything"]),
        ({"users": {**RIGHT.users, "ada": (hashed("x", "salt"), False)}}, ["ada has another password"]),
        ({"users": {**RIGHT.users, "ada": (hashed(ADA, "salt"), True)}}, ["ada may do everything"]),
        ({"users": {**RIGHT.users, "left": ("scrypt:…", True)}}, ["left may do everything"]),
        ({"grants": set(), "members": set()}, ["no EDIT for ada on experiment 3", "roles of ours have other members"]),
        (
            {"grants": {("ada", "experiment", "3", "MANAGE")}},
            ["no EDIT for ada on experiment 3", "surplus MANAGE for ada on experiment 3"],
        ),
        ({"members": {("ada", "ada"), ("ada", "left")}}, ["roles of ours have other members"]),
    ],
)
def test_what_differs_is_named(found: dict[str, object], sentences: list[str]) -> None:
    assert differences(RIGHT._replace(**found), USERS, GRANTS, KEY) == sentences  # type: ignore[arg-type]


def test_tables_are_those_of_the_locked_mlflow() -> None:
    """When this fails, MLflow's tables have changed: read its migration, then mend permissions.py and this."""
    locked = [
        re.findall(r"^# mlflow-auth-schema-revision: (\S+)$", lock.read_text(), re.MULTILINE)
        for lock in (REPOSITORY / "locks").glob("mlflow-py*.txt")
    ]

    assert locked == [["f1a2b3c4d5e6"]] * 4
    assert is_known("f1a2b3c4d5e6")
    assert not is_known("0123456789ab")


def test_tables_have_the_columns_that_are_written() -> None:
    models = Path(find_spec("mlflow").submodule_search_locations[0], "server/auth/db/models.py").read_text()  # type: ignore[union-attr,index]
    tables = re.findall(r'__tablename__ = "(\w+)"\n(.*?)(?=\nclass |\Z)', models, re.DOTALL)

    columns = {name: set(re.findall(r"^    (\w+) = Column\(", body, re.MULTILINE)) for name, body in tables}
    assert columns == {
        "users": {"id", "username", "password_hash", "is_admin"},
        "roles": {"id", "name", "workspace", "description"},
        "role_permissions": {"id", "role_id", "resource_type", "resource_pattern", "permission"},
        "user_role_assignments": {"id", "user_id", "role_id"},
    }
