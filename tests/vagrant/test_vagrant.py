"""`vagrant up && pyinfra @vagrant deploy.py`, with the shipped Vagrantfile and @vagrant.json as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Lab
from tests.e2e.stack import EXAMPLE
from tests.vagrant import machines
from tests.vagrant.machines import Ended, Machines

pytestmark = pytest.mark.lab

TRACKING, MODEL = "http://127.0.0.1:5000", "http://127.0.0.1:5001"  # where @vagrant.json's ports are forwarded to
ASK = ("curl", "-sS", "--fail-with-body", f"{MODEL}/invocations", "-H", "Content-Type: application/json")


@dataclass(frozen=True)
class Story:
    """What happened to a new machine, in order, and then to the one that took its place."""

    first: list[str]
    release: list[str]
    second: list[str]
    prediction: str
    routes: str
    host_key: str
    new_host_key: str
    plan: Ended


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of this test's own. Where Vagrant can't run the tests are skipped with the reason, but they fail in CI."""
    lab = Lab("mvagt", "10.77.11")
    if reasons := lab.check() + machines.missing():
        verdict = pytest.fail if os.environ.get("CI") else pytest.skip
        verdict("; ".join(reasons))
    lab.down()
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def story(lab: Lab) -> Story:
    vagrant = Machines(lab)
    vagrant.up()
    done(vagrant.run("vagrant", "up"))
    first = converge(vagrant)
    done(vagrant.run(sys.executable, "examples/train_diabetes.py", "--tracking-uri", TRACKING))
    release, second = converge(vagrant), converge(vagrant)
    prediction = done(vagrant.run(*ASK, "--data", json.dumps(EXAMPLE)))
    routes, host_key = done(vagrant.run("vagrant", "ssh", "-c", "ip route")), scan(vagrant)
    done(vagrant.run("vagrant", "destroy", "-f"))
    done(vagrant.run("vagrant", "up"))
    return Story(
        first=first,
        release=release,
        second=second,
        prediction=prediction,
        routes=routes,
        host_key=host_key,
        new_host_key=scan(vagrant),
        plan=vagrant.pyinfra("@vagrant", "deploy.py", "--dry", "--json"),
    )


def done(ended: Ended) -> str:
    """Return what a command printed that must have ended well."""
    assert ended.status == 0, ended.stdout + ended.stderr
    return ended.stdout


def converge(vagrant: Machines) -> list[str]:
    """Deploy; return the names of the operations that changed something."""
    results = json.loads(done(vagrant.pyinfra("@vagrant", "deploy.py", "-y", "--json")))["results"]
    return [operation["name"] for operation in results["operations"] if operation["success"]]


def scan(vagrant: Machines) -> str:
    return done(vagrant.run("ssh-keyscan", "-t", "ed25519", vagrant.address))


def test_first_run_makes_a_working_server_of_a_new_machine(story: Story) -> None:
    assert "Tracking | Run mlflow-tracking and see it work" in story.first


def test_model_that_was_trained_through_the_forwarded_port_is_released(story: Story) -> None:
    assert story.release == [
        "Production | Release model diabetes",
        "Production | Run mlflow-production@diabetes and see it predict",
    ]


def test_model_predicts_through_the_forwarded_port(story: Story) -> None:
    (prediction,) = json.loads(story.prediction)["predictions"]

    assert 25 <= prediction <= 346, "the range of the data it was trained on"


def test_second_run_changes_nothing(story: Story) -> None:
    assert story.second == []


def test_machine_that_was_made_again_is_planned_like_the_first(story: Story) -> None:
    assert story.new_host_key != story.host_key
    assert story.plan.status == 0, story.plan.stderr
    plan = json.loads(story.plan.stdout)["plan"]
    assert [operation["name"] for operation in plan if operation["hosts_with_change"]] == story.first


def test_machine_has_no_way_out_of_the_lab(story: Story, lab: Lab) -> None:
    address = Machines(lab).address

    assert story.routes.split() == f"{lab.network.prefix}.0/24 dev eth0 proto kernel scope link src {address}".split()


def test_machine_that_is_up_leaves_nothing_behind(story: Story, lab: Lab) -> None:
    assert all(traces(lab).values()), "while it is up, each kind of trace must be found"

    lab.down()

    assert not any(traces(lab).values()), traces(lab)


def traces(lab: Lab) -> dict[str, list[str]]:
    """All that this machine has of a lab with a machine of Vagrant's, by kind, found without asking either."""
    routes = subprocess.run(["ip", "route"], check=True, text=True, capture_output=True).stdout.splitlines()
    places = [*Path("/sys/class/net").iterdir(), *Path("/run/netns").glob("*")]
    roots = (Path("/dev/shm"), Path("/var/tmp"), Path("/run/lxc/lock/dev/shm"))
    groups = [path for path in Path("/sys/fs/cgroup").rglob("*") if path.name == lab.id]
    lxc = Path("/sys/fs/cgroup").rglob(f"lxc.*.{machines.REPOSITORY.name}_mlflow1_*")
    return {
        "links and namespaces": [str(path) for path in places if path.name.startswith(lab.id)],
        "routes": [route for route in routes if lab.network.prefix in route],
        "directories": [str(path) for root in roots for path in root.glob("*") if path.name == lab.id],
        "groups": [str(path) for path in [*groups, *lxc]],
        "processes": [path.name for path in Path("/proc").glob("[0-9]*") if is_of(lab, path)],
    }


def is_of(lab: Lab, process: Path) -> bool:
    """Whether a process is in the lab's groups, and not over (then it only waits for PID 1 to take note)."""
    return f"/{lab.id}/" in text(process / "cgroup") and ") Z " not in text(process / "stat")


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
