"""Hosts of the lab: they are real ones, they can be broken and mended, and they can not reach anything else."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from lab import CommandFailed, Host, Lab, LabError, image, inventory

pytestmark = pytest.mark.lab

OUTSIDE = "192.0.2.1"  # of no one: https://www.rfc-editor.org/rfc/rfc5737


def connect(address: str) -> str:
    """Shell command: try a TCP connection, print why there is none."""
    return f"""python3 -c '
import socket
try:
    socket.create_connection(("{address}", 9), timeout=5)
except OSError as problem:
    print(problem)
'"""


def test_host_is_a_whole_system(one: Host) -> None:
    state = one.run("systemctl is-system-running --wait; systemctl --failed --plain --no-legend; cat /etc/hostname")

    assert state.stdout == "running\none\n"


def test_deploy_user_has_sudo_without_password(one: Host) -> None:
    assert one.run("whoami; sudo whoami", user="deploy").stdout == "deploy\nroot\n"


def test_hosts_know_each_other_by_name(one: Host, two: Host) -> None:
    for host, peer in ((one, two), (two, one)):
        assert "1 received" in host.run(f"ping -c 1 -W 2 {peer.name}").stdout
        assert host.run(f"getent hosts {peer.name}").stdout.split() == [peer.address, peer.name]


def test_host_has_no_way_out(one: Host) -> None:
    refused = one.run(connect(OUTSIDE)).stdout, one.run(connect("192.0.2.2")).stdout

    assert refused == ("[Errno 101] Network is unreachable\n",) * 2


def test_traffic_for_the_lab_stays_on_this_machine_while_the_bridge_is_down(lab: Lab, one: Host) -> None:
    bridge = lab.network.bridge
    subprocess.run(["ip", "link", "set", bridge, "down"], check=True)
    try:
        with pytest.raises(OSError, match="No route to host"), socket.create_connection((one.address, 22), timeout=5):
            pass
    finally:
        subprocess.run(["ip", "link", "set", bridge, "up"], check=True)

    one.wait()


def test_failed_command_tells_all_about_it(one: Host) -> None:
    with pytest.raises(CommandFailed) as failure:
        one.run("echo progress; echo reason >&2; exit 3", user="deploy")

    command = "echo progress; echo reason >&2; exit 3"
    assert str(failure.value) == f"one (deploy): {command}: exit status 3\nstdout: progress\nstderr: reason"


def test_command_that_takes_too_long_is_given_up(one: Host) -> None:
    with pytest.raises(CommandFailed) as failure:
        one.run("echo begun; sleep 60", timeout=1)

    assert str(failure.value) == "one (root): echo begun; sleep 60: took too long\nstdout: begun\nstderr: "


def test_put_replaces_a_file_and_makes_its_directory(one: Host) -> None:
    one.put("/srv/a b/file", "before")
    one.put("/srv/a b/file", b"\x00\xff", mode="640")

    assert one.run("stat -c '%a %U %s' '/srv/a b/file'; od -An -tx1 '/srv/a b/file'").stdout == "640 root 2\n 00 ff\n"


def test_up_leaves_a_running_host_as_it_is(lab: Lab, one: Host) -> None:
    before = one.boot_id()

    again = lab.up("one", release="trixie")

    assert (again.boot_id(), again.address, again.record.release) == (before, one.address, "bookworm")


def test_reboot_is_a_new_boot_of_the_same_disk(one: Host) -> None:
    one.put("/root/kept", "yes")
    before = one.boot_id()

    one.reboot()

    assert one.boot_id() not in ("", before)
    assert one.run("cat /root/kept").stdout == "yes"
    assert float(one.run("cat /proc/uptime").stdout.split()[0]) < one.uptime() + 60


def test_stopped_host_shuts_down_in_order_and_starts_again(one: Host) -> None:
    one.stop()

    assert not one.is_up()
    assert "has been shut down" in one.console()[-100:]

    one.start()
    assert one.is_up()


def test_power_cut_ends_everything_at_once_and_the_disk_is_kept(one: Host) -> None:
    one.run("systemd-run --unit=writer sh -c 'echo written > /root/written; sleep 600'")
    one.run("until [ -s /root/written ]; do sleep 0.1; done", timeout=10)
    consoles_before = one.console().count("has been shut down")

    one.crash()

    assert not one.is_up()
    assert one.console().count("has been shut down") == consoles_before
    one.start()
    assert one.run("cat /root/written").stdout == "written\n"


def test_cut_host_can_not_be_reached_until_mended(one: Host) -> None:
    before = one.boot_id()

    one.cut()
    cut = one.run("true", check=False, timeout=20)
    one.mend()
    one.wait()

    assert cut.returncode == 255
    assert one.boot_id() == before


def test_frozen_host_keeps_connections_open_and_silent_until_thawed(one: Host) -> None:
    before = one.boot_id()

    one.freeze()
    with socket.create_connection((one.address, 22), timeout=5) as connection:
        connection.settimeout(1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        one.thaw()
        connection.settimeout(20)
        greeting = connection.recv(4)

    assert greeting == b"SSH-"
    assert one.boot_id() == before


def test_clone_starts_from_the_snapshot_with_an_identity_of_its_own(lab: Lab, two: Host) -> None:
    two.put("/root/deployed", "1")
    lab.snapshot("two", "deployed")
    two.put("/root/deployed", "2")

    clone = lab.up("clone", layers=["deployed"])

    assert clone.run("cat /root/deployed /etc/hostname").stdout == "1clone\n"
    assert two.run("cat /root/deployed").stdout == "2"
    for identity in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert clone.run(f"cat {identity}").stdout != two.run(f"cat {identity}").stdout
    assert lab.layers() == ["deployed"]
    lab.down("clone")
    assert "clone" not in two.run("cat /etc/hosts").stdout


def test_unknown_host_and_layer_are_named_with_those_there_are(lab: Lab, one: Host, two: Host) -> None:
    with pytest.raises(LabError) as no_host:
        lab.host("three")
    with pytest.raises(LabError) as no_layer:
        lab.up("three", layers=["missing"])

    assert str(no_host.value) == "lab mlabt has no host three; it has: one, two"
    assert str(no_layer.value).startswith("no layer missing; there are: ")


def test_memory_limit_of_a_unit_is_enforced(one: Host) -> None:
    if not one.group.binds():
        pytest.skip("this machine has cgroup v2 only: nspawn decides which controllers a host gets")
    run = "systemd-run --wait --quiet --unit={0} --property=MemoryMax={0} python3 -c 'bytearray(2 ** 27)'"

    within, beyond = (one.run(run.format(limit), check=False) for limit in ("512M", "32M"))

    assert within.returncode == 0
    assert beyond.returncode != 0
    assert "code=killed, status=9/KILL" in one.journal("32M.service")


def test_image_tells_which_glibc_and_systemd_it_has(one: Host) -> None:
    found = one.run("ldd --version | awk 'NR == 1 {print $NF}'; systemctl --version | awk 'NR == 1 {print $2}'").stdout

    glibc = image.glibc_version(Path(one.record.image))

    assert found.split() == [".".join(map(str, glibc)), str(image.systemd_version(Path(one.record.image)))]


def test_hosts_of_a_release_can_have_settings_of_their_own(lab: Lab, one: Host) -> None:
    lab.store.settings.write_text('{"conda_channel_alias": "http://all"}')
    lab.store.settings_of("buster").write_text('{"conda_channel_alias": "http://own", "conda_python": "3.13"}')
    try:
        all_hosts, own = inventory.settings(lab, one.record.release), inventory.settings(lab, "buster")
    finally:
        lab.store.settings.unlink()
        lab.store.settings_of("buster").unlink()

    assert all_hosts == {"conda_channel_alias": "http://all"}
    assert own == {"conda_channel_alias": "http://own", "conda_python": "3.13"}


def test_journal_of_a_unit_can_be_read(one: Host) -> None:
    assert "Started ssh.service" in one.journal("ssh.service")


def test_inventory_leads_to_the_hosts_as_pyinfra_takes_it(lab: Lab, one: Host, two: Host) -> None:
    lab.store.settings.write_text('{"conda_channel_alias": "http://here"}')
    try:
        names = dict(inventory.hosts(lab))
    finally:
        lab.store.settings.unlink()

    assert list(names) == ["one", "two"]
    assert names["one"] == {
        "ssh_hostname": "10.77.9.11",
        "ssh_user": "deploy",
        "ssh_key": "/var/tmp/mlabt/key",
        "ssh_known_hosts_file": "/var/tmp/mlabt/known_hosts",
        "ssh_strict_host_key_checking": "yes",
        "_sudo": True,
        "conda_channel_alias": "http://here",
    }
