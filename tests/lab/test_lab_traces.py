"""A lab leaves nothing behind, whatever happened to it, and says why it can not be where it can not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab, LabError, LabUnavailable, inventory

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


@pytest.fixture
def passing(lab: Lab) -> Iterator[Lab]:
    """A second lab beside the session's."""
    passing = Lab("mlabu", "10.77.10", conda=False)
    yield passing
    passing.down()


def traces(lab: Lab) -> dict[str, list[str]]:
    """All that this machine has of a lab, by kind, found without asking the lab."""
    routes = subprocess.run(["ip", "route"], check=True, text=True, capture_output=True).stdout.splitlines()
    places = [*Path("/sys/class/net").iterdir(), *Path("/run/netns").glob("*")]
    files = [path for top in ("/dev/shm", "/var/tmp", "/run/systemd/nspawn") for path in Path(top).glob("*")]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "links and namespaces": [str(path) for path in places if path.name.startswith(lab.id)],
        "routes": [route for route in routes if lab.network.prefix in route],
        "directories": [str(path) for path in files if path.name.startswith(lab.id)],
        "groups": [str(path) for path in Path("/sys/fs/cgroup").rglob(lab.id)],
        "mounts": [mount for mount in mounts if lab.id in mount],
        "processes": [pid for pid in processes() if f"/{lab.id}/" in read(f"/proc/{pid}/cgroup")],
    }


def processes() -> list[str]:
    """All but those that are over and wait for this machine's PID 1 to take note."""
    pids = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if ") Z " not in read(f"/proc/{pid}/stat")]


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def test_down_leaves_nothing_behind(passing: Lab) -> None:
    passing.up("h")
    assert all(traces(passing).values()), "while it is up, each kind of trace must be found"

    passing.down()

    assert not any(traces(passing).values()), traces(passing)
    passing.down()  # nothing to do, and nothing made
    assert not any(traces(passing).values()), traces(passing)


def test_down_leaves_nothing_behind_after_the_supervisor_was_killed(passing: Lab) -> None:
    host = passing.up("h")
    (supervisor,) = host.group.processes()
    os.kill(supervisor, signal.SIGKILL)
    assert host.run("true").returncode == 0, "the host itself lives on"

    passing.down()

    assert not any(traces(passing).values()), traces(passing)


def test_down_finds_everything_without_the_state_directory(passing: Lab) -> None:
    host = passing.up("h")
    host.freeze()
    subprocess.run(["rm", "-rf", str(passing.store.directory)], check=True)

    passing.down()

    assert not any(traces(passing).values()), traces(passing)


def test_labs_live_side_by_side(lab: Lab, passing: Lab) -> None:
    first, second = lab.up("one"), passing.up("one")

    passing.down()

    assert first.address != second.address
    assert first.run("hostname").stdout == "one\n"


def test_directory_of_somebody_else_is_neither_used_nor_removed(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis").touch()
    monkeypatch.setenv("LAB_DIR", str(tmp_path))
    mistaken = Lab("mlabu", "10.77.10", conda=False)

    with pytest.raises(LabError) as refusal:
        mistaken.up("h")
    mistaken.down()

    assert str(refusal.value) == f"state directory {tmp_path}: expected none or an empty one, found ['thesis']"
    assert os.listdir(tmp_path) == ["thesis"]


@pytest.mark.parametrize("verb", ["up", "status", "down"])
def test_refusal_names_the_reason_without_root(verb: str) -> None:
    program = f"import os, sys; from lab.__main__ import main; os.setuid(65534); sys.exit(main(['{verb}']))"

    refused = subprocess.run([sys.executable, "-c", program], check=False, text=True, capture_output=True, cwd=ROOT)

    assert refused.returncode == 1
    assert refused.stderr == (
        "lab: this machine can not run a lab:\n- it needs root (this is uid 65534): run it with sudo\n"
    )


def test_reasons_are_given_all_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for program in ("sh", "ip", "apt-get"):
        found = subprocess.run(["which", program], check=True, text=True, capture_output=True).stdout.strip()
        (tmp_path / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert Lab("mlabu", "10.77.10").check() == [
        "programs are missing: apt-get install -y --no-install-recommends "
        "mmdebstrap mount openssh-client systemd-container util-linux zstd",
    ]


def test_network_in_use_is_refused(lab: Lab) -> None:
    assert lab.up("one")

    assert Lab("mlabu", lab.network.prefix).check() == [
        "the lab's network 10.77.9.0/24 is in use (10.77.9.1 on mlabt0): set LAB_NET to other three octets"
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("Lab-1",), "lab id 'Lab-1': expected a letter and up to 9 letters or digits, all small"),
        (("mlabu", "10.77"), "lab network '10.77': expected the first three octets of an address, as in 10.77.0"),
    ],
)
def test_bad_name_is_refused_before_anything_is_made(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=r"^lab ") as refusal:
        Lab(*arguments)

    assert str(refusal.value) == complaint


def test_inventory_of_a_lab_that_is_not_up_says_what_to_do() -> None:
    with pytest.raises(LabUnavailable) as refusal:
        inventory.hosts(Lab("mlabu", "10.77.10"))

    assert str(refusal.value) == ("the lab is not up: run `make lab` first, or put your own hosts into inventory.py")
