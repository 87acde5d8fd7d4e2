"""The sandbox of the services, proved on the running processes."""

from __future__ import annotations

import pytest

from lab.errors import CommandFailed
from tests.e2e.stack import Stack

TRACKING, MODEL = "mlflow-tracking.service", "mlflow-production@diabetes.service"
# By systemd's own count from 0 (safe) to 10; the units are also judged without a host (tests/unit/test_templates.py).
LIMITS = {TRACKING: 1.0, MODEL: 1.5}


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack that has answered; no test of this module breaks it."""
    served.recovers()
    return served


def inside(stack: Stack, unit: str, command: str) -> str:
    """Run a command as root with what a service's processes see of the file system; return what it printed."""
    pid = stack.processes(unit)[0]
    return stack.host.run(f"nsenter --mount --target {pid} sh -c '{command}'").stdout


@pytest.mark.parametrize("unit", LIMITS)
def test_systemd_itself_counts_the_exposure_low(stack: Stack, unit: str) -> None:
    found = stack.host.run(f"systemd-analyze security --no-pager {unit} | tail -n 1").stdout

    exposure = float(found.split(":")[1].split()[0])
    print(f"{unit}: {exposure}")
    assert exposure <= LIMITS[unit]


@pytest.mark.parametrize("unit", LIMITS)
def test_every_process_is_confined(stack: Stack, unit: str) -> None:
    pids = " ".join(map(str, stack.processes(unit)))
    status = stack.host.run(
        f"for pid in {pids}; do "
        "grep -hE '^(CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/$pid/status | tr -d '\\n\\t'; "
        '[ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/1/ns/user)" ] && echo " users" || echo; done'
    ).stdout.splitlines()

    assert set(status) == {"CapEff:0000000000000000CapBnd:0000000000000000CapAmb:0000000000000000NoNewPrivs:1Seccomp:2"}
    assert len(status) == 3


@pytest.mark.parametrize("path", ["/usr", "/etc", "/opt/mlflow", "/var/lib/mlflow-models", "/srv"])
@pytest.mark.parametrize("unit", LIMITS)
def test_file_system_is_read_only_also_for_root(stack: Stack, unit: str, path: str) -> None:
    with pytest.raises(CommandFailed, match="Read-only file system"):
        inside(stack, unit, f"touch {path}/x")


@pytest.mark.parametrize("unit", LIMITS)
def test_homes_and_other_people_s_temporary_files_are_not_there(stack: Stack, unit: str) -> None:
    stack.host.run("touch /tmp/somebodys /root/somebodys")

    assert inside(stack, unit, "ls -A /home /root /tmp 2>&1 | grep somebodys || true") == ""
    stack.host.run("rm /tmp/somebodys /root/somebodys")


def test_model_does_not_see_what_belongs_to_the_tracking_server(stack: Stack) -> None:
    for path in ("/var/lib/mlflow", "/etc/mlflow/credentials", "/var/backups"):
        assert inside(stack, MODEL, f"stat -c %a {path}") == "0\n", path


CONNECT = "timeout 5 bash -c 'exec 3<>/dev/tcp/{address}' 2>&1 && echo connected || true"


@pytest.mark.parametrize("unit", LIMITS)
def test_service_can_not_connect_to_another_host(stack: Stack, unit: str) -> None:
    """Whatever runs in the service's control group, root included: here a shell that puts itself there."""
    connect = CONNECT.format(address=f"{stack.host.lab.network.gateway}/3142")
    group = f"/sys/fs/cgroup/unified$(systemctl show -P ControlGroup {unit})/cgroup.procs"

    from_the_host = stack.host.run(connect).stdout
    from_the_service = stack.host.run(f"echo $$ > {group}; {connect}").stdout

    assert from_the_host == "connected\n"
    assert from_the_service == "", "its packets get lost"


def test_model_that_may_use_the_network_can_and_may_not_again_when_its_setting_is_gone(stack: Stack) -> None:
    connect = CONNECT.format(address=f"{stack.host.lab.network.gateway}/3142")
    inside_service = (
        f"echo $$ > /sys/fs/cgroup/unified$(systemctl show -P ControlGroup {MODEL})/cgroup.procs; {connect}"
    )
    model = {"diabetes": {**stack.settings["production_models"]["diabetes"], "network": True, "gpu": True}}

    opened = stack.converge(production_models=model)
    while_open = stack.host.run(inside_service).stdout
    devices = inside(stack, MODEL, "ls /dev | wc -l")
    closed = stack.converge()

    assert (
        opened.changed
        == closed.changed
        == [
            "Production | Write the units and configuration of mlflow-production",
            "Production | Run mlflow-production@diabetes and see it predict",
        ]
    )
    assert while_open == "connected\n"
    assert int(devices) >= int(stack.host.run("ls /dev | wc -l").stdout)
    assert stack.host.run(inside_service).stdout == ""


def test_root_runs_nothing_of_a_model_s_environment(stack: Stack) -> None:
    """Its packages are whoever's that logged the model; Python runs *.pth files of theirs at each start."""
    python = "/var/lib/mlflow-models/diabetes/current/env/bin/python"
    planted = stack.host.run(f"{python} -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'").stdout.strip()
    trap = "import os; os.getuid() or os.makedirs(\\'/root/trapped\\', exist_ok=True)"
    stack.host.run(f"printf '%s\\n' $'{trap}' > {planted}/planted.pth")

    run = stack.converge()
    trapped = stack.host.run("ls -d /root/trapped", check=False).stdout
    stack.host.run(f"systemctl restart {MODEL}; {python} -c ''")

    assert (run.changed, trapped) == ([], "")
    assert stack.host.run("ls -d /root/trapped").stdout == "/root/trapped\n", "the trap works"
    stack.host.run(f"rm -r {planted}/planted.pth /root/trapped")
