"""A run that has nothing to do: how many commands reach the host, how long it takes, and how long processors work."""

from __future__ import annotations

import os
import resource

from bench.common import bench_lab, median, say, seconds, served
from bench.hosts import count_commands, log_commands
from lab import Host

RUNS = 5


def processor_seconds_here() -> float:
    """Return the seconds of processor that this program's children have taken, once they have ended."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def processor_seconds(host: Host) -> float:
    """Return the seconds of processor that a host's processes have taken, and their children that have ended.

    utime, stime, cutime and cstime of proc(5). What ends elsewhere than in a process that stays is not in it.
    """
    lines = host.run("cat /proc/[0-9]*/stat").stdout.splitlines()
    ticks = sum(int(field) for line in lines for field in line.rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    with bench_lab() as lab:
        stack = served(lab)
        log_commands(stack.host)
        commands, times, here, there = set(), [], [], []
        for number in range(RUNS):
            before = count_commands(stack.host)
            worked_there, worked_here = processor_seconds(stack.host), processor_seconds_here()
            times.append(seconds(lambda: _assert_noop(stack.converge().changed)))
            here.append(processor_seconds_here() - worked_here)
            there.append(processor_seconds(stack.host) - worked_there)
            commands.add(count_commands(stack.host) - before)
            say(f"run {number + 1}: {times[-1]:.1f} s")
    print("| no-op run of the whole stack on one host | |\n|---|---|")
    print(f"| remote commands (sshd's count; {RUNS} runs) | {', '.join(map(str, sorted(commands)))} |")
    print(f"| seconds, median (range) | {median(times)} |")
    print(f"| seconds of processor where pyinfra runs | {median(here)} |")
    print(f"| seconds of processor on the host | {median(there)} |")


def _assert_noop(changed: list[str]) -> None:
    if changed:
        raise SystemExit(f"not a no-op run, it changed: {changed}")


if __name__ == "__main__":
    main()
