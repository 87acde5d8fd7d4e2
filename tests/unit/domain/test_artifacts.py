"""The artifact store that several tracking servers share."""

import pytest

from mlflow_stack.domain.artifacts import MARK, StoreState, difference, parse_state, unusable

STORE = "/srv/mlflow-artifacts"
MINE = StoreState(uid=998, owner=998, writable=True, mark="one")


def test_store_is_read_as_a_host_prints_it() -> None:
    assert parse_state(["uid=998", "owner=0", "writable=yes", "mark=one"]) == StoreState(998, 0, True, "one")


def test_store_of_a_fresh_host_has_no_user_and_no_directory() -> None:
    assert parse_state(["uid=", "mark="]) == StoreState()


def test_store_that_the_server_can_write_is_usable() -> None:
    assert unusable(MINE, STORE) == ""


def test_store_is_judged_only_when_the_user_is_there() -> None:
    assert unusable(StoreState(owner=998), STORE) == ""


@pytest.mark.parametrize(
    ("mine", "first", "problem"),
    [
        (MINE, MINE, ""),
        (MINE, StoreState(), ""),
        (StoreState(uid=998, owner=998, writable=True), StoreState(uid=998, owner=998, writable=True), ""),
        (
            MINE,
            StoreState(uid=997, owner=998, mark="one"),
            f"user mlflow has uid 998 here and uid 997 on web1; files in {STORE} belong to a uid, so give it the same "
            "one on both (usermod --uid, with the server stopped)",
        ),
        (
            MINE,
            StoreState(uid=998, owner=998, mark="two"),
            f"{STORE} is one store here and another on web1; mount the same network file system on both, and move the "
            "artifacts of one into the other",
        ),
        (
            StoreState(uid=998, owner=998, writable=True),
            MINE,
            f"{STORE} is not the store that web1 has: the mark {MARK} that it made there is missing here; mount the "
            "same network file system on both",
        ),
    ],
)
def test_stores_of_two_hosts_are_compared(mine: StoreState, first: StoreState, problem: str) -> None:
    assert difference(mine, first, "web1", STORE) == problem
