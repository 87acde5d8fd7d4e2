"""Several hosts, and what goes wrong with them in a run: two runs at once, hosts that are lost, down or mixed up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import Host, Lab
from lab.inventory import connection, settings
from lab.process import wait_until
from tests.e2e.stack import REPOSITORY, Run

NAMES = ("db1", "db2", "db3")
SILENCE_S = 15
# Far more than a run takes, and less than pyinfra would wait by itself: for ever.
TIMEOUT_S = 180
INSTALL_PACKAGES = "Base | Install packages"
PROGRAM = "/opt/mlflow/libexec/ready.py"
REMAINS = "its command may still be at work there: run again when the host is back, the run waits for it to end"
CHECK_HOST = "check that the host is up, that ssh_hostname and ssh_port are its own, and the firewalls"

# apt-get stands still in a hook of dpkg until a file appears, at most for two minutes.
HOOK = 'DPkg::Pre-Invoke {"i=0; until test -e /tmp/go || test $i -gt 1200; do sleep 0.1; i=$((i+1)); done";};\n'


class Fleet:
    """Hosts that carry the database only, and runs on them."""

    def __init__(self, hosts: list[Host], directory: Path) -> None:
        self.hosts, self.directory = {host.name: host for host in hosts}, directory

    def start(self, *options: str, addresses: dict[str, str] | None = None) -> Running:
        """Start a run on all hosts; `addresses`: by name, other than they are."""
        known = {name: host.address for name, host in self.hosts.items()}
        data = {**connection(self.hosts["db1"]), **settings(self.hosts["db1"].lab)}
        hosts = [
            (name, {**data, "ssh_hostname": address, "inventory_stack": name})
            for name, address in {**known, **(addresses or {})}.items()
        ]
        inventory = self.directory / "inventory.py"
        inventory.write_text(f"postgresql = {hosts!r}\n")
        return Running(inventory, *options)

    def run(self, *options: str, addresses: dict[str, str] | None = None) -> Run:
        return self.start(*options, addresses=addresses).end()

    @contextmanager
    def hung(self, name: str) -> Iterator[Callable[[], None]]:
        """Let the next run stand still on a host, in the middle of a command; yield what lets it go on."""
        host = self.hosts[name]
        host.run("apt-get -q purge -y curl; rm -f /tmp/go")
        host.put("/etc/apt/apt.conf.d/99hang", HOOK)
        try:
            yield lambda: host.put("/tmp/go", "")
        finally:
            host.run("rm /etc/apt/apt.conf.d/99hang; touch /tmp/go")


class Running:
    """A run that has been started; what it prints can be read meanwhile."""

    def __init__(self, inventory: Path, *options: str) -> None:
        self.log = inventory.with_suffix(f".{len(list(inventory.parent.glob('*.log')))}.log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pyinfra", str(inventory), "deploy.py", *options],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=dict(os.environ, NO_COLOR="1", MLFLOW_STACK_SILENCE_S=str(SILENCE_S)),
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def says(self, words: str) -> None:
        """Wait until it has printed these words."""
        assert wait_until(lambda: words in self.output or self.process.poll() is not None, TIMEOUT_S)
        assert words in self.output

    def end(self) -> Run:
        """Wait for its end."""
        status = self.process.wait(timeout=TIMEOUT_S)
        rows = re.findall(r"^    (\S.*?) {2,}\d+ +(\S+) +(\S+) +(\S+) *$", self.output, re.MULTILINE)
        return Run(
            status, self.output, [name for name, success, *_ in rows if success.isdecimal() and name != "Grand total"]
        )


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet([lab.up(name) for name in NAMES], tmp_path_factory.mktemp("fleet"))
    first = fleet.run("-y")
    assert first.status == 0, first.output
    yield fleet
    lab.down(*NAMES)


def stands_still(host: Host) -> bool:
    return host.run("pgrep -f '[u]ntil test -e /tmp/go'", check=False).returncode == 0


def assert_converged(fleet: Fleet) -> None:
    again = fleet.run("-y")
    assert (again.status, again.changed) == (0, []), again.output


# --- two runs at once ---------------------------------------------------------------------------------------------


def test_second_run_is_refused_with_owner_pid_and_age_until_the_first_is_killed(fleet: Fleet) -> None:
    with fleet.hung("db2") as go_on:
        first = fleet.start("-y")
        assert wait_until(lambda: stands_still(fleet.hosts["db2"]), TIMEOUT_S), first.output

        refused = [fleet.run("-y"), fleet.run("--dry")]
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        second = fleet.start("-y")
        second.says("Waiting for another run (")
        go_on()
        last = second.end()

    owner = rf"another run \(\S+@\S+:{first.process.pid}-[0-9a-f]{{6}}\) has been at work here for (\d+ min )?\d+ s"
    for run in refused:
        assert run.status == 1
        assert "3 obstacles on the hosts; no host was changed" in run.output
        for name in NAMES:
            assert re.search(
                rf"^  {name}: {owner}; wait until it has ended, or end it there$", run.output, re.MULTILINE
            )
    assert last.status == 0, last.output
    assert "no host was changed" not in last.output
    assert_converged(fleet)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_run_that_is_stopped_says_so_and_the_next_one_finishes(fleet: Fleet, number: signal.Signals) -> None:
    with fleet.hung("db2") as go_on:
        running = fleet.start("-y")
        assert wait_until(lambda: stands_still(fleet.hosts["db2"]), TIMEOUT_S), running.output
        running.process.send_signal(number)
        stopped = running.end()
        second = fleet.start("-y")
        second.says("[db2] Waiting for another run (")
        go_on()
        last = second.end()

    assert stopped.status == 128 + number
    assert "Stopped; commands that are at work on hosts go on." in stopped.output
    assert "Traceback" not in stopped.output
    assert last.status == 0, last.output


def test_plan_takes_no_lock(fleet: Fleet) -> None:
    before = fleet.hosts["db1"].run("cat /run/mlflow-stack.lock").stdout

    assert fleet.run("--dry").status == 0

    assert fleet.hosts["db1"].run("cat /run/mlflow-stack.lock").stdout == before


def test_host_that_can_not_be_locked_stops_the_run(fleet: Fleet) -> None:
    host = fleet.hosts["db2"]
    host.put("/etc/sudoers.d/zz-no-bash", "deploy ALL=(ALL) NOPASSWD: ALL, !/bin/bash, !/usr/bin/bash\n", "440")
    try:
        run = fleet.run("-y")
    finally:
        host.run("rm /etc/sudoers.d/zz-no-bash")

    assert run.status == 1
    assert "1 obstacle on the hosts; no host was changed" in run.output
    assert re.search(
        r"^  db2: this run can't lock the host, nor notice when it is lost \(.*bash", run.output, re.MULTILINE
    )
    assert "expected that user 'deploy' may run bash as root, and that root can write /run" in run.output


# --- hosts that are lost ------------------------------------------------------------------------------------------


def kill_session(host: Host) -> None:
    host.run("kill -9 $(pgrep -of 'sshd: deploy@')")


LOSSES: dict[str, tuple[Callable[[Host], None], Callable[[Host], None], str]] = {
    "network cut": (Host.cut, Host.mend, f"the host has not answered for {SILENCE_S} s"),
    "host frozen": (Host.freeze, Host.thaw, f"the host has not answered for {SILENCE_S} s"),
    "session killed": (kill_session, Host.wait, "the host closed the connection"),
}


@pytest.mark.parametrize(("lose", "regain", "reason"), LOSSES.values(), ids=LOSSES)
def test_host_that_is_lost_in_a_command_is_given_up_and_the_next_run_waits_for_the_command(
    fleet: Fleet, lose: Callable[[Host], None], regain: Callable[[Host], None], reason: str
) -> None:
    lost = fleet.hosts["db2"]
    fleet.hosts["db1"].run(f"rm {PROGRAM}")
    with fleet.hung("db2") as go_on:
        running = fleet.start("-y")
        assert wait_until(lambda: stands_still(lost), TIMEOUT_S), running.output

        lose(lost)
        run = running.end()
        regain(lost)
        lost.wait()
        second = fleet.start("-y")
        second.says("[db2] Waiting for another run (")
        go_on()
        repair = second.end()

    assert run.status == 1
    assert run.output.splitlines()[-2:] == ["1 of 3 hosts failed", f"  db2: {INSTALL_PACKAGES}: {reason}; {REMAINS}"]
    assert f"[db2] Lost: {reason}; {REMAINS}" in run.output
    assert "Traceback" not in run.output
    assert run.changed == ["Base | Install the programs of MLflow Stack"]  # on db1, which went on
    assert repair.status == 0, repair.output
    assert_converged(fleet)


def test_host_that_is_lost_between_two_commands_is_given_up_and_the_others_go_on(fleet: Fleet) -> None:
    lost = fleet.hosts["db2"]
    lost.run(f"rm {PROGRAM}")
    with fleet.hung("db1") as go_on:
        running = fleet.start("-y")
        assert wait_until(lambda: stands_still(fleet.hosts["db1"]), TIMEOUT_S), running.output

        lost.freeze()  # while it waits for db1; its next command is then begun and gets no answer
        go_on()
        try:
            run = running.end()
        finally:
            lost.thaw()
    lost.wait()

    assert "Traceback" not in run.output
    assert run.status == 1
    assert run.output.splitlines()[-2:] == [
        "1 of 3 hosts failed",
        f"  db2: Base | Install the programs of MLflow Stack: the host has not answered for {SILENCE_S} s; {REMAINS}",
    ]
    assert run.changed == [INSTALL_PACKAGES]  # on db1, which went on
    assert fleet.run("-y").status == 0
    assert_converged(fleet)


def test_command_that_fails_on_one_host_is_named_at_the_end_and_the_others_go_on(fleet: Fleet) -> None:
    fleet.hosts["db1"].run(f"rm {PROGRAM}")
    fleet.hosts["db2"].run(f"rm {PROGRAM} && mkdir {PROGRAM} && touch {PROGRAM}/full")

    run = fleet.run("-y")

    fleet.hosts["db2"].run(f"rm -r {PROGRAM}")
    assert run.status == 1
    assert run.output.splitlines()[-2] == "1 of 3 hosts failed"
    assert re.fullmatch(
        r"  db2: Base \| Install the programs of MLflow Stack: .*ready\.py.*; put that right and run again",
        run.output.splitlines()[-1],
    )
    assert fleet.hosts["db1"].run(f"ls {PROGRAM}").returncode == 0
    assert fleet.run("-y").status == 0
    assert_converged(fleet)


# --- hosts that are down ------------------------------------------------------------------------------------------


def test_others_converge_while_one_host_is_down(fleet: Fleet) -> None:
    down = fleet.hosts["db3"]
    fleet.hosts["db1"].run(f"rm {PROGRAM}")
    down.stop()
    try:
        plan = fleet.run("--dry")
        run = fleet.run("-y")
        limited = fleet.run("-y", "--limit", "db1", "--limit", "db2")
    finally:
        down.start()

    for found in (plan, run):
        assert found.status == 1
        heading, line = found.output.splitlines()[-2:]
        assert heading == "1 of 3 hosts failed"
        assert re.fullmatch(rf"  db3: connecting: Could not connect \(.*\); {re.escape(CHECK_HOST)}", line)
    assert run.changed == ["Base | Install the programs of MLflow Stack"]
    assert (limited.status, limited.changed) == (0, [])
    assert_converged(fleet)


# --- hosts that are mixed up --------------------------------------------------------------------------------------


def test_hosts_that_swapped_addresses_are_left_alone(fleet: Fleet) -> None:
    first, second = fleet.hosts["db1"], fleet.hosts["db2"]

    run = fleet.run("-y", addresses={"db1": second.address, "db2": first.address})

    assert run.status == 1
    assert run.output.rstrip().endswith(
        "2 obstacles on the hosts; no host was changed\n"
        "  db1: this machine was deployed as 'db2', and the inventory calls it 'db1'; correct the address if it is "
        "another machine's, or set preflight_former_name = 'db2' for this host if it was renamed\n"
        "  db2: this machine was deployed as 'db1', and the inventory calls it 'db2'; correct the address if it is "
        "another machine's, or set preflight_former_name = 'db1' for this host if it was renamed"
    )


def test_machine_that_is_in_the_inventory_twice_is_left_alone(fleet: Fleet) -> None:
    run = fleet.run("-y", addresses={"db1": fleet.hosts["db2"].address})

    assert run.status == 1
    machine_id = fleet.hosts["db2"].run("cat /etc/machine-id").stdout.strip()
    assert (
        f"\n  db1 and db2: one machine, by its /etc/machine-id {machine_id}; list it once, or, if one is a "
        in run.output
    )
    assert "another run" not in run.output
