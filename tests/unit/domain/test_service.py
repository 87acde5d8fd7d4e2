"""Why a unit has to be restarted, and the digest of what it runs on."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.domain.service import (
    ServiceState,
    digest_script,
    gate_command,
    parse_state,
    read_command,
    reasons_to_restart,
    restart_command,
    stamp_path,
)
from tests.unit.recorded import lines

RUNNING = parse_state(lines("deployed", "Service"))
UNIT = "mlflow-tracking.service"


def test_unit_that_works_on_what_it_was_proved_with_needs_no_restart() -> None:
    assert reasons_to_restart(RUNNING) == []


def test_unit_of_a_fresh_host_has_to_be_started() -> None:
    assert reasons_to_restart(parse_state(lines("fresh", "Service"))) == ["it is inactive"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"digest": "another"}, "it was never proved ready with its present configuration"),
        ({"proved": ""}, "it was never proved ready with its present configuration"),
        ({"changed_since_start": True}, "its configuration is newer than its process"),
        ({"not_ready": "not ready: GET http://…: HTTP 500"}, "not ready: GET http://…: HTTP 500"),
        ({"properties": {"ActiveState": "failed"}}, "it is failed"),
        ({"properties": {"ActiveState": "active", "NeedDaemonReload": "yes"}}, "its unit file changed"),
        ({"properties": {}}, "it is absent"),
    ],
)
def test_unit_that_is_not_as_it_was_proved_is_restarted(change: dict[str, Any], reason: str) -> None:
    assert reasons_to_restart(replace(RUNNING, **change)) == [reason]


def test_unit_that_is_down_has_one_reason_and_not_three() -> None:
    state = replace(RUNNING, properties={"ActiveState": "inactive"}, proved="", not_ready="it is not running")

    assert reasons_to_restart(state) == ["it is inactive"]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (["skipped=yes"], {"skipped": True, "not_ready": "it is not running"}),
        (["newer=yes", "newer=yes", "ready=yes"], {"changed_since_start": True, "not_ready": ""}),
        (["not_ready=not ready: a=b"], {"not_ready": "not ready: a=b"}),
    ],
)
def test_state_is_parsed(output: list[str], expected: dict[str, Any]) -> None:
    state = parse_state(output)

    assert state == replace(ServiceState(not_ready="it is not running"), properties=state.properties, **expected)


def digest(*watched: Path) -> str:
    """Run the digest script for a unit that does not exist, so that only the watched files count."""
    script = digest_script("no-such-unit-of-mlflow-stack.service", [str(path) for path in watched])
    command = f'systemctl() {{ :; }}; {script}; echo "$digest"'
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def test_digest_changes_with_the_content_of_a_watched_file(tmp_path: Path) -> None:
    file = tmp_path / "tracking.env"
    file.write_text("A=1\n")
    before = digest(file)

    file.write_text("A=2\n")

    assert before != digest(file)
    assert len(before) == 64


def test_digest_changes_with_the_target_of_a_watched_link(tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to("releases/v1")
    before = digest(link)

    link.unlink()
    link.symlink_to("releases/v2")

    assert before != digest(link)


def test_digest_of_the_same_files_is_the_same_and_of_a_missing_one_another(tmp_path: Path) -> None:
    file = tmp_path / "tracking.env"
    file.write_text("A=1\n")

    assert digest(file) == digest(file)
    assert digest(file) != digest(tmp_path / "missing")


def test_stamp_is_kept_for_each_unit() -> None:
    assert stamp_path(UNIT) == "/var/lib/mlflow-stack/mlflow-tracking.service.proved"


def test_reading_skips_a_unit_whose_release_is_not_there() -> None:
    command = read_command(UNIT, [], [], "true", only_if="/nonexistent/current")

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=20)

    assert done.stdout == "skipped=yes\n"


@pytest.mark.parametrize(
    "command", [read_command(UNIT, ["/b"], ["/a"], "true", ""), gate_command(UNIT, ["/a"], "true", 9)]
)
def test_commands_are_valid_for_a_plain_shell(command: str) -> None:
    done = subprocess.run(["sh", "-n", "-c", command], capture_output=True, text=True, check=False, timeout=20)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("opened", "calls"),
    [
        ("2026-01-01 10:00:00", [f"stop {UNIT} mlflow.socket", f"restart {UNIT}"]),
        ("2026-01-01 12:00:00", [f"restart {UNIT}"]),
        ("", [f"restart {UNIT}"]),  # it is not open: there is nothing to renew
    ],
)
def test_socket_is_renewed_only_when_its_file_is_newer(tmp_path: Path, opened: str, calls: list[str]) -> None:
    """Run for real, with systemctl replaced by a shell function that writes down what it was called with."""
    command = restart_command(UNIT, "mlflow.socket").replace("/etc/systemd/system", str(tmp_path))
    functions = (
        f'systemctl() {{ case "$*" in show*) echo "{opened}";; *) echo "$*" >> {tmp_path}/calls;; esac; }}; '
        'stat() { date -d "2026-01-01 11:00:00" +%s; }; '
    )

    subprocess.run(["sh", "-c", functions + command], check=True, timeout=20)

    assert (tmp_path / "calls").read_text().splitlines() == [f"reset-failed {UNIT} mlflow.socket", *calls]


def test_gate_that_fails_shows_the_log_and_writes_no_stamp(tmp_path: Path) -> None:
    """Run for real, with the two programs of systemd replaced by shell functions that say that they were called."""
    command = gate_command(UNIT, [], "sh -c 'echo not ready: $READY_WAIT_S >&2; exit 1'", 7)
    functions = 'journalctl() { echo "log: $*"; }; systemctl() { :; }; '

    done = subprocess.run(
        ["sh", "-c", functions + command.replace("/var/lib/mlflow-stack", str(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "not ready: 7",
        "last log lines of mlflow-tracking.service:",
        "log: -u mlflow-tracking.service -n 20 --no-pager -o cat",
    ]
    assert list(tmp_path.iterdir()) == []


def test_gate_that_passes_stamps_the_digest(tmp_path: Path) -> None:
    watched = tmp_path / "tracking.env"
    watched.write_text("A=1\n")
    command = gate_command(UNIT, [str(watched)], "true", 7).replace("/var/lib/mlflow-stack", str(tmp_path))

    subprocess.run(["sh", "-c", f"systemctl() {{ :; }}; {command}"], check=True, timeout=20)

    assert (tmp_path / f"{UNIT}.proved").read_text() == digest(watched) + "\n"
