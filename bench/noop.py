"""A run that has nothing to do: how many commands reach the host, and how long it takes."""

from __future__ import annotations

from bench.common import bench_lab, median, say, seconds, served
from lab import Host

RUNS = 5
LOGGED = "journalctl -t sshd -o cat --no-pager | grep -c 'Starting session: command for deploy' || true"


def count_commands(host: Host) -> int:
    """Return how many commands the SSH user has run since boot, as sshd logs them."""
    return int(host.run(LOGGED).stdout)


def main() -> None:
    with bench_lab() as lab:
        stack = served(lab)
        stack.host.put("/etc/ssh/sshd_config.d/bench.conf", "LogLevel VERBOSE\n")
        stack.host.run("systemctl reload ssh")
        commands, times = set(), []
        for number in range(RUNS):
            before = count_commands(stack.host)
            times.append(seconds(lambda: _assert_noop(stack.converge().changed)))
            commands.add(count_commands(stack.host) - before)
            say(f"run {number + 1}: {times[-1]:.1f} s")
    print("| no-op run of the whole stack on one host | |\n|---|---|")
    print(f"| remote commands (sshd's count; {RUNS} runs) | {', '.join(map(str, sorted(commands)))} |")
    print(f"| seconds, median (range) | {median(times)} |")


def _assert_noop(changed: list[str]) -> None:
    if changed:
        raise SystemExit(f"not a no-op run, it changed: {changed}")


if __name__ == "__main__":
    main()
