"""Services: when one has to be restarted, judged by state and not by what happened during a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import FileState, parse_states, read_states_command

# Seconds after its start in which a unit that does not answer yet is waited for.
STARTING_S = 60


@dataclass(frozen=True)
class ServiceState:
    """`properties`: of `systemctl show`. `digest`: of everything that the service runs on; `proved`: the same at the
    last readiness gate that it passed. `changed_since_start`: a file of those is newer than the process.
    `not_ready`: why the readiness check fails, "" when it passes. `skipped`: what it would run is not there.
    `files`: states of the files of ours that it runs on."""

    properties: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    proved: str = ""
    changed_since_start: bool = False
    not_ready: str = "absent"
    skipped: bool = False
    files: Mapping[str, FileState] = field(default_factory=dict)


def stamp_path(unit: str) -> str:
    """Return the file that holds the digest which a unit was last proved ready with."""
    return f"{layout.STAMPS_DIR}/{unit}.proved"


def digest_script(unit: str, watched: Sequence[str]) -> str:
    """Return shell code that sets $files and $digest: the unit, its drop-ins and the watched paths.

    A watched symbolic link counts with its target's name, so that pointing it elsewhere is a change.
    """
    return (
        f"files=$(systemctl show -P FragmentPath -P DropInPaths {quote(unit)} | tr '\\n' ' '); "
        f'files="$files {" ".join(watched)}"; '
        'digest=$(for f in $files; do readlink "$f" || sha256sum "$f" 2>/dev/null; done | sha256sum | cut -c1-64)'
    )


def read_command(unit: str, files: Sequence[str], watched: Sequence[str], ready: str, only_if: str) -> str:
    """Return a command that prints a ServiceState; the readiness check runs only when the unit is active.

    A unit that was started a moment ago (a reboot, a crash) gets its time to answer instead of another restart.
    """
    return (
        (f"[ -e {quote(only_if)} ] || {{ echo skipped=yes; exit 0; }}; " if only_if else "")
        + f"systemctl show -p LoadState,ActiveState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp {quote(unit)}; "
        f"{{ {read_states_command(files)}; }} | sed 's/^/file=/'; "
        f"{digest_script(unit, [*files, *watched])}; "
        f'echo "digest=$digest"; echo "proved=$(cat {stamp_path(unit)} 2>/dev/null)"; '
        f'since=$(date -d "$(systemctl show -P ActiveEnterTimestamp {quote(unit)})" +%s 2>/dev/null || echo 0); '
        'for f in $files; do [ "$(stat -c %Z "$f" 2>/dev/null || echo 0)" -gt "$since" ] && echo newer=yes; done; '
        f"left=$((since + {STARTING_S} - $(date +%s))); "
        f"if systemctl is-active --quiet {quote(unit)}; then "
        f"if out=$(export READY_WAIT_S=$((left > 0 ? left : 0)); {ready} 2>&1); then echo ready=yes; "
        'else echo "not_ready=$(echo "$out" | tail -n 1)"; fi; fi; true'
    )


def parse_state(lines: Sequence[str]) -> ServiceState:
    """Parse the output of read_command."""
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    files = [line.removeprefix("file=") for line in lines if line.startswith("file=")]
    not_ready = "" if "ready" in values else values.get("not_ready", "it is not running")
    return ServiceState(
        properties=values,
        digest=values.get("digest", ""),
        proved=values.get("proved", ""),
        changed_since_start="newer" in values,
        not_ready=not_ready,
        skipped="skipped" in values,
        files=parse_states(files),
    )


def reasons_to_restart(state: ServiceState, reloads: bool = False) -> list[str]:
    """Return why a unit has to be (re)started; empty when it runs, and works, on exactly what it should.

    One that `reloads` may be older than its configuration: that it was proved with it says that it has taken it.
    """
    reasons = []
    if state.properties.get("NeedDaemonReload") == "yes":
        reasons.append("its unit file changed")
    if state.properties.get("ActiveState") != "active":
        reasons.append(f"it is {state.properties.get('ActiveState', 'absent')}")
    elif state.digest != state.proved:
        reasons.append("it was never proved ready with its present configuration")
    elif state.changed_since_start and not reloads:
        reasons.append("its configuration is newer than its process")
    elif state.not_ready:
        reasons.append(state.not_ready)
    return reasons


def restart_command(unit: str, socket: str, reloads: bool = False) -> str:
    """Return a command that restarts a unit, and its socket before when that is older than its file.

    One that `reloads` is restarted only when it is older than its unit's file.

    A unit that used up its start limit would refuse to start, hence reset-failed. How the start went is for the gate
    to say, with the reason and the log.
    """
    both = " ".join(map(quote, filter(None, (unit, socket))))
    renew = (
        f'since=$(date -d "$(systemctl show -P ActiveEnterTimestamp {quote(socket)})" +%s 2>/dev/null || echo 0); '
        f'[ "$(stat -c %Z {layout.UNIT_DIR}/{quote(socket)})" -le "$since" ] || systemctl stop {both}; '
    )
    restart = f"systemctl restart {quote(unit)}"
    if reloads:
        restart = (
            f'since=$(date -d "$(systemctl show -P ActiveEnterTimestamp {quote(unit)})" +%s 2>/dev/null || echo 0); '
            f'if systemctl is-active --quiet {quote(unit)} && [ "$(stat -c %Z {layout.UNIT_DIR}/{quote(unit)})" -lt '
            f'"$since" ]; then systemctl reload {quote(unit)}; else {restart}; fi'
        )
    return f"systemctl reset-failed {both} 2>/dev/null; {renew if socket else ''}{restart} || true"


def gate_command(unit: str, watched: Sequence[str], ready: str, timeout_s: int) -> str:
    """Return a command that waits until the unit works and then stamps what it works with.

    `ready` is a simple command; programs that can wait read READY_WAIT_S (on_host/ready.py). On failure it prints the
    reason and the unit's last log lines, and exits 1: a run never ends well with a service that does not work.
    """
    journal = f"journalctl -u {quote(unit)} -n 20 --no-pager -o cat >&2"
    return (
        f"if ! READY_WAIT_S={timeout_s} {ready}; then echo 'last log lines of {unit}:' >&2; {journal}; exit 1; fi; "
        f'{digest_script(unit, watched)}; echo "$digest" > {stamp_path(unit)}'
    )
