"""The command line, run as a user runs it."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Host, Lab

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]


def cli(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab", *arguments]
    environment = {**os.environ, "LAB_ID": lab.id, "LAB_NET": lab.network.prefix}
    return subprocess.run(command, check=False, text=True, capture_output=True, cwd=ROOT, env=environment, timeout=120)


def test_exec_gives_output_and_exit_status_of_the_command(lab: Lab, one: Host) -> None:
    words = cli(lab, "exec", "one", "printf", "%s|", "a b", "c")
    line = cli(lab, "exec", "one", "echo out; echo err >&2; exit 7")

    assert words.stdout == "a b|c|"
    assert (line.stdout, line.stderr, line.returncode) == ("out\n", "err\n", 7)


def test_status_tells_of_each_host(lab: Lab, one: Host, two: Host) -> None:
    two.crash()
    table = cli(lab, "status").stdout.splitlines()
    two.start()

    assert table[0].split() == ["HOST", "ADDRESS", "RELEASE", "STATE", "UPTIME", "MEMORY"]
    assert re.fullmatch(r"one +10\.77\.9\.11 +bookworm +up +\d+:\d\d:\d\d +\d+ MiB", table[1])
    assert re.fullmatch(r"two +10\.77\.9\.12 +bookworm +down +- +\d+ MiB", table[2])


def test_inventory_is_a_file_that_pyinfra_reads(lab: Lab, one: Host, two: Host, tmp_path: Path) -> None:
    file = tmp_path / "inventory.py"
    file.write_text(cli(lab, "inventory").stdout)

    hosts = runpy.run_path(str(file))["hosts"]

    assert [(name, data["ssh_hostname"]) for name, data in hosts] == [("one", "10.77.9.11"), ("two", "10.77.9.12")]


def test_unknown_host_is_an_error_of_one_line(lab: Lab, one: Host, two: Host) -> None:
    refused = cli(lab, "reboot", "three")

    assert (refused.returncode, refused.stderr) == (1, "lab: lab mlabt has no host three; it has: one, two\n")


def test_verbs_reach_the_host(lab: Lab, one: Host) -> None:
    before = one.boot_id()

    done = [cli(lab, verb, "one").returncode for verb in ("cut", "mend", "freeze", "thaw", "crash")]

    assert done == [0] * 5
    assert not one.is_up()
    assert cli(lab, "up", "one").stdout == "one is up at 10.77.9.11\n"
    assert one.boot_id() != before
