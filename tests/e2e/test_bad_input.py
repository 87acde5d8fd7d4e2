"""Input that only a host can show to be bad: refused with a sentence, exit status 1, and the host as it was."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.platforms import supported
from tests.e2e import registry
from tests.e2e.stack import MODEL, REPOSITORY, Run, Stack

WRONG_SHA256 = "0" * 64
CACHE, CONDA, ENVS = "/opt/mlflow/cache", "/opt/mlflow/miniconda3", "/opt/mlflow/envs"
HEADING = "{} on the hosts; no host was changed"
CHECK_HOST = "check that the host is up, that ssh_hostname and ssh_port are its own, and the firewalls"


def obstacles(stack: Stack, **overrides: Any) -> list[str]:
    """Deploy, which must be refused and leave the host as it was; return what stands in the way."""
    before = stack.fingerprint()

    run = stack.deploy(**overrides)

    assert run.status == 1, run.output
    assert "Traceback" not in run.output
    assert stack.fingerprint() == before
    return problems(run)


def problems(run: Run) -> list[str]:
    """Return the sentences of a preflight message, without the host's name."""
    lines = run.output.splitlines()
    start = next(number for number, line in enumerate(lines) if "on the hosts; no host was changed" in line)
    found = [line.strip().removeprefix("mlflow1: ") for line in lines[start + 1 :] if line.startswith("  mlflow1: ")]
    count = "1 obstacle" if len(found) == 1 else f"{len(found)} obstacles"
    assert lines[start].endswith(HEADING.format(count))
    return found


# --- hosts that can't be used -------------------------------------------------------------------------------------


def test_everything_that_is_wrong_with_a_host_is_said_at_once(served: Stack) -> None:
    served.recovers()
    before = served.invocations()
    served.host.run("systemctl stop mlflow-tracking; mkdir /etc/postgresql/15/other")
    served.host.put("/etc/systemd/system/mlflow.service", "[Service]\nExecStart=/bin/true\n")
    served.host.run(f"systemd-run --quiet --unit squatter {CONDA}/bin/python -m http.server 5000")
    served.wait_for("ss -Hltn 'sport = 5000' | grep -q .")
    pid = served.host.run("systemctl show -P MainPID squatter").stdout.strip()
    try:
        found = obstacles(
            served,
            conda_installer_sha256={"aarch64": WRONG_SHA256},
            preflight_min_memory_mib=10**9,
            preflight_min_free_disk_mib=10**9,
        )
    finally:
        served.host.run("rmdir /etc/postgresql/15/other; rm /etc/systemd/system/mlflow.service")
        served.host.run("systemctl stop squatter; systemctl daemon-reload; systemctl start mlflow-tracking")

    assert [re.sub(r"\d+ MiB (free|of)", r"N MiB \1", problem) for problem in found] == [
        "architecture 'x86_64' has no installer in conda_installer_sha256, which knows aarch64",
        "N MiB of memory, expected 1000000000; take a larger host or lower preflight_min_memory_mib",
        "N MiB free below /opt, expected 200000000; free some or lower preflight_min_free_disk_mib",
        "N MiB free below /var, expected 200000000; free some or lower preflight_min_free_disk_mib",
        f"port 5000 is held by python (pid {pid}); stop it, or change tracking_port",
        "/etc/systemd/system/mlflow.service was not written by MLflow Stack; stop it, move it away and keep its data",
        "a PostgreSQL cluster of another version or name is in /etc/postgresql/15/other/; "
        "expected /etc/postgresql/15/main/ or none",
    ]
    assert served.restarted_since(before) == ["mlflow-tracking"]


def test_sudo_that_wants_a_password_is_named_with_the_line_that_helps(served: Stack) -> None:
    served.host.put("/etc/sudoers.d/zz-ask", "deploy ALL=(ALL) PASSWD: ALL\n", "440")

    found = obstacles(served)

    served.host.run("rm /etc/sudoers.d/zz-ask")
    assert found == [
        "user 'deploy' can't become root without a password (sudo: a password is required); "
        "allow it in /etc/sudoers.d: deploy ALL=(ALL) NOPASSWD: ALL"
    ]


def test_unknown_distribution_is_refused_with_the_known_ones(served: Stack) -> None:
    served.host.run("cp -a /etc/os-release /root/; rm /etc/os-release")
    served.host.put("/etc/os-release", 'ID=fedora\nVERSION_ID=40\nPRETTY_NAME="Fedora Linux 40"\n')

    found = obstacles(served)

    served.host.run("mv -f /root/os-release /etc/os-release")
    assert found == [f"Fedora Linux 40 is not supported; expected {supported()}"]


# --- hosts that can't be reached ----------------------------------------------------------------------------------


def connect_errors(stack: Stack, *options: str, **overrides: Any) -> list[str]:
    """Run pyinfra, without a terminal, which must end with status 1; return its lines about hosts."""
    before = debug_log()
    process = stack.start(*options, **overrides)
    _, output = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert "Traceback" not in output
    assert debug_log() == before
    return [line.strip() for line in output.splitlines() if line.startswith("    [")]


def debug_log() -> float | None:
    """Return when pyinfra last wrote its log of a crash."""
    log = REPOSITORY / "pyinfra-debug.log"
    return log.stat().st_mtime if log.exists() else None


@pytest.mark.parametrize("options", [["--dry"], ["-y"], []], ids=["dry", "yes", "neither"])
def test_host_that_does_not_answer_is_named(served: Stack, options: list[str]) -> None:
    nobody = f"{served.host.address.rpartition('.')[0]}.250"

    assert connect_errors(served, *options, ssh_hostname=nobody) == [
        f"[mlflow1] Could not connect ([Errno None] Unable to connect to port 22 on {nobody}); {CHECK_HOST}"
    ]


def test_key_that_the_host_refuses_is_named(served: Stack, tmp_path: Path) -> None:
    key = new_key(tmp_path)

    assert connect_errors(served, "-y", ssh_key=str(key)) == [
        f"[mlflow1] Authentication error (username=deploy, key={key}) (Authentication failed.); "
        "check ssh_user and ssh_key; the key's public part goes into its ~/.ssh/authorized_keys"
    ]


def test_host_with_another_key_than_before_is_refused(served: Stack, tmp_path: Path) -> None:
    public = new_key(tmp_path).with_suffix(".pub").read_text().rpartition(" ")[0]
    (tmp_path / "known_hosts").write_text(f"{served.host.address} {public}\n")

    assert connect_errors(served, "-y", ssh_known_hosts_file=str(tmp_path / "known_hosts")) == [
        f"[mlflow1] SSH host key error (Host key for {served.host.address} does not match.); find out why before you "
        "go on; only if the host was made anew, remove its old key from ssh_known_hosts_file"
    ]


def test_run_that_nobody_can_confirm_is_ended_with_what_to_do(served: Stack) -> None:
    before = served.fingerprint()
    process = served.start(tracking_workers=2)

    _, output = process.communicate(timeout=120)

    assert process.returncode == 1
    assert output.rstrip().endswith(
        "pyinfra asks, and there is no terminal to answer from; run with --dry to see the changes or -y to make them"
    )
    assert served.fingerprint() == before


# --- models that can't be served ----------------------------------------------------------------------------------


def test_every_model_that_can_not_be_served_is_named_with_the_reason(served: Stack) -> None:
    served.recovers()
    run_id = registry.registered(served).source_run_id
    bare = registry.others(served)[0].model_id
    served.host.run(f"rm $(find /var/lib/mlflow/artifacts -path '*{bare}*' -name conda.yaml)")
    missing = "0" * 32
    uris = {
        "models:/nothing@champion": "no model 'nothing' is registered",
        "models:/diabetes@nobody": "model 'diabetes' has no alias 'nobody'",
        "models:/diabetes/99": "model 'diabetes' has no version 99",
        f"models:/m-{missing}": f"no logged model 'm-{missing}'",
        f"runs:/{missing}/model": f"no run '{missing}'",
        f"runs:/{run_id}/other": f"run '{run_id}' has no model 'other'",
        f"models:/{bare}": "it was logged without an environment (no conda.yaml); "
        "log the model again with mlflow.<flavor>.log_model",
    }
    models = {f"m{number}": {"uri": uri, "port": 5100 + number} for number, uri in enumerate(uris)}

    found = obstacles(served, production_models={**MODEL, **models})

    assert found == [
        f"Production | Release model m{number}: production_models['m{number}']: {uri}: {reason}"
        for number, (uri, reason) in enumerate(uris.items())
    ]


# --- installers that must not be run ------------------------------------------------------------------------------


INSTALLERS = {
    "404": "the server answered HTTP 404, expected 200; check the address",
    "truncated": "the download broke off before its end (curl: (18) transfer closed with N bytes remaining to read); "
    "run the deploy again",
    "html": "its SHA-256 is X, expected 0; it is an HTML page (a proxy's error or login page?); check the address",
    "": "its SHA-256 is X, expected 0; the file was deleted and not run; correct the SHA-256 in the settings only if "
    "you trust the new file",
}


@pytest.mark.parametrize(("fault", "reason"), INSTALLERS.items(), ids=["404", "truncated", "html", "other content"])
def test_bad_installer_is_not_run_and_not_kept(served: Stack, fault: str, reason: str) -> None:
    marker = served.host.run(f"cat {CONDA}/.mlflow-stack.json").stdout
    before = served.invocations()
    with faults(served, {"*/Miniconda3-*": fault} if fault else {}):
        run = served.deploy(conda_installer_sha256={"x86_64": WRONG_SHA256})

    assert run.status == 1
    assert installer_message(served, run) == reason
    assert served.host.run(f"ls {CACHE}").stdout.count("Miniconda3") == 0
    assert served.host.run(f"cat {CONDA}/.mlflow-stack.json").stdout == marker
    assert served.restarted_since(before) == []


def test_run_after_a_bad_installer_has_nothing_to_do(served: Stack) -> None:
    assert served.converge().changed == []


@contextmanager
def faults(stack: Stack, wanted: dict[str, str]) -> Iterator[None]:
    """Let the lab's proxy fail in these ways."""
    stack.host.lab.set_faults(wanted)
    try:
        yield
    finally:
        stack.host.lab.set_faults({})


def installer_message(stack: Stack, run: Run) -> str:
    """Return what was said about the installer, with figures that differ from run to run replaced."""
    line = next(line for line in run.output.splitlines() if "/Miniconda3-" in line)
    message = line.split(".sh: ", 1)[1].replace(WRONG_SHA256, "0")
    return re.sub(r"\d+( out of \d+)? bytes", "N bytes", re.sub("[0-9a-f]{64}", "X", message))


# --- a disk that is full ------------------------------------------------------------------------------------------


def test_disk_that_fills_up_while_an_environment_is_built_leaves_the_services_alone(served: Stack) -> None:
    served.converge()
    before = served.invocations()
    with little_space(served, ENVS, mib=120):
        run = served.deploy(conda_python="3.11")

    assert run.status == 1
    assert "No space left on device" in run.output
    assert served.restarted_since(before) == []
    assert served.fault() == ""
    assert served.converge().changed == []


@contextmanager
def little_space(stack: Stack, directory: str, mib: int) -> Iterator[None]:
    """Put a small disk under a directory; what is in there stays where it was."""
    stack.host.run(
        f"set -e; mkdir -p /mnt/all; mount --bind {directory} /mnt/all; "
        f"mount -t tmpfs -o size={mib}M tmpfs {directory}; "
        f'for d in $(ls /mnt/all); do mkdir "{directory}/$d"; mount --bind "/mnt/all/$d" "{directory}/$d"; done'
    )
    try:
        yield
    finally:
        stack.host.run(f"umount -R -l {directory}; umount -l /mnt/all; rmdir /mnt/all")


def new_key(directory: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / "key")], check=True)
    return directory / "key"
