"""The session with a host: a program there that lives as long as a run does, answers it, and holds the host's lock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from shlex import quote

LOCK_FILE = "/run/mlflow-stack.lock"
READY = "ready"

# Nothing of ours is on a fresh host: bash, coreutils and util-linux have to do. Descriptor 9 is the lock; the kernel
# frees it when this program ends, and nothing that it starts outlives it. It ends with its input (the run ended, or
# its connection did) and when nothing came for some seconds (the run's machine or the network is gone).
# Two seconds of patience: sshd needs a moment to notice that a run was killed. The time is that since boot, which
# nobody sets; so is the life of /run.
_LOCK = f"""
exec 9<>{LOCK_FILE} || exit 1
if ! flock -w 2 9; then
  read -r run start _ < {LOCK_FILE}
  read -r now _ < /proc/uptime
  echo "busy $run $((${{now%.*}} - start))"
  exit
fi
read -r now _ < /proc/uptime
echo "$1 ${{now%.*}} $$" > {LOCK_FILE}
"""
_ANSWER = f"""
echo {READY}
while read -r -t "$2" _; do echo; done
"""

# Part of the survey, which must take no lock: the holder's process has the file open as long as it holds it.
SURVEY_LOCK = f"""
set -- $($root cat {LOCK_FILE} 2>/dev/null)
if [ "$($root readlink "/proc/${{3:-none}}/fd/9")" = {LOCK_FILE} ] && [ "$1" != "$MLFLOW_STACK_RUN" ]; then
  read -r now _ < /proc/uptime
  echo "lock=$1 $((${{now%.*}} - $2))"
fi
"""


@dataclass(frozen=True)
class Holder:
    """The run that holds the lock of a host, as USER@MACHINE:PID-RANDOM, and for how many seconds it has done so."""

    run: str
    seconds: int

    def __str__(self) -> str:
        return f"another run ({self.run}) has been at work here for {_duration(self.seconds)}"


def session_command(run: str, silence_s: int, survey: str, *, lock: bool) -> str:
    """Return the command of a run's session, which ends when no line came to it for `silence_s` seconds.

    With `lock` it is root, takes the lock and keeps it to its end. It runs `survey` (domain/survey.py) and says READY,
    or a line for `parse_holder` when another run has the lock; before that, and instead, comes what a shell's start or
    sudo has to say. Then it answers each line with an empty one.
    """
    script = f"{_LOCK if lock else ''}\n(\nMLFLOW_STACK_RUN=$1 user=$3 ssh_port=$4\n{survey}\n)\n{_ANSWER}"
    # What sudo does not pass on: who logged in, and by which port of this host.
    login = '"$(id -un)" "${SSH_CONNECTION##* }"'
    session = f"bash --norc -c {quote(script)} mlflow-stack-session {quote(run)} {silence_s} {login}"
    root = '[ "$(id -u)" = 0 ] || root="sudo -n"; ' if lock else ""
    return f"sh -c {quote(f'{root}exec $root {session} 2>&1')}"


def parse_holder(line: str) -> Holder | None:
    """Return who is named in "busy RUN SECONDS" (a session) or "RUN SECONDS" (the survey); None for other lines."""
    match = re.fullmatch(r"(?:busy )?(?P<run>\S+) (?P<seconds>\d+)", line.strip())
    return Holder(match["run"], int(match["seconds"])) if match else None


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    shown = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(shown[:2]) or "0 s"
