"""The directory that several tracking servers share, and where a server's artifacts were before."""

import subprocess
from pathlib import Path

import pytest

from mlflow_stack.domain.artifacts import (
    MARK,
    FormerStore,
    StoreState,
    difference,
    left_behind,
    parse_former,
    parse_state,
    read_command,
    read_former_command,
    unusable,
)
from mlflow_stack.domain.tracking import environment_file

STORE = "/srv/mlflow-artifacts"
AS_SERVER = "runuser -u mlflow -- "
MINE = StoreState(uid=998, owner=998, writable=True, mark="one")


def test_store_is_read_as_a_host_prints_it() -> None:
    printed = ["uid=998", "owner=0", "writable=yes", f"mount={STORE} nfs4", "mark=one"]

    assert parse_state(printed) == StoreState(998, 0, True, "one", (STORE, "nfs4"))


def test_store_of_a_fresh_host_has_no_user_and_no_directory() -> None:
    assert parse_state(["uid=", "mount=", "mark="]) == StoreState()


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


@pytest.mark.parametrize(
    "mount",
    [(STORE, "nfs4"), ("/srv", "nfs4"), ("/srv", "fuse.glusterfs"), ("/srv", "ceph"), (STORE, "ext4"), ("", "")],
)
def test_store_is_usable_on_a_network_file_system_or_a_mount_of_its_own(mount: tuple[str, str]) -> None:
    assert unusable(StoreState(998, 998, True, mount=mount), STORE) == ""


@pytest.mark.parametrize(("target", "kind"), [("/", "ext4"), ("/srv", "xfs"), ("/", "overlay")])
def test_directory_that_nothing_is_mounted_at_is_no_store_whoever_may_write_there(target: str, kind: str) -> None:
    assert unusable(StoreState(998, 998, True, mount=(target, kind)), STORE) == (
        f"nothing is mounted at {STORE}: it is part of {target}, {kind} of this host alone, but "
        "tracking_artifacts_shared says that it is a network file system of all tracking hosts; mount it, then deploy "
        "again"
    )


def test_mount_of_a_directory_is_read_from_the_system(tmp_path: Path) -> None:
    expected = subprocess.run(
        ["findmnt", "-n", "-o", "TARGET,FSTYPE", "-T", str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.split()

    state = parse_state(run(read_command(str(tmp_path))))

    assert list(state.mount) == expected
    assert state.owner == tmp_path.stat().st_uid


def run(command: str) -> list[str]:
    """Run a command as this user, who is the server's here, and return what it printed."""
    done = subprocess.run(
        ["bash", "-c", command.replace(AS_SERVER, "")], capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.splitlines()


def former(directory: Path, destination: str) -> FormerStore:
    """Return what a host prints whose server was told this destination."""
    configuration = directory / "tracking.env"
    configuration.write_text(environment_file({"A": "1", "MLFLOW_ARTIFACTS_DESTINATION": destination, "B": "2"}))
    return parse_former(run(read_former_command(str(configuration))))


def test_host_without_a_server_has_no_artifacts(tmp_path: Path) -> None:
    assert parse_former(run(read_former_command(str(tmp_path / "tracking.env")))) == FormerStore()


def test_artifacts_are_found_below_the_destination_of_before(tmp_path: Path) -> None:
    store = tmp_path / "artifacts"
    (store / "1/run/artifacts").mkdir(parents=True)
    (store / MARK).touch()

    before = former(tmp_path, str(store))
    (store / "1/run/artifacts/model.pkl").touch()
    after = former(tmp_path, str(store))

    assert (before, after) == (FormerStore(str(store)), FormerStore(str(store), has_artifacts=True))


@pytest.mark.parametrize("destination", ["s3://bucket/mlflow", "/not/mounted"])
def test_destination_that_can_not_be_looked_into_is_not_taken_for_empty(tmp_path: Path, destination: str) -> None:
    assert former(tmp_path, destination) == FormerStore(destination, has_artifacts=True)


@pytest.mark.parametrize(
    ("state", "moved_from"),
    [
        (FormerStore(), ""),
        (FormerStore("/a/b"), ""),
        (FormerStore("s3://bucket/mlflow", True), ""),
        (FormerStore("/a/b", True), "/a/b"),
    ],
)
def test_nothing_is_left_behind_where_nothing_was_or_everything_was_copied(state: FormerStore, moved_from: str) -> None:
    assert left_behind(state, "s3://bucket/mlflow", moved_from) == ""
