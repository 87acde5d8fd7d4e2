"""A first run and a run that has nothing to do, of MLflow Stack, of pyinfra's own operations and of Ansible.

`python -m bench.compare [--only noop] [--hosts 1,3,10] [--round-trips 0,50] [--repeats 3] …`; docs/benchmarks.md says
what is compared. Every tool is held to the same end state (end_state.py) and to changing nothing in a second run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common import bench_lab, median, say
from bench.desired import desired
from bench.end_state import end_state
from bench.hosts import CONVERGED, clear, converged, count_commands, fresh, prepare, reached
from bench.tools import Target, Tool, ours, tools
from lab import Host, Lab

# (hosts, round-trip time in ms, title of the tool) to what was measured in each repetition.
Seconds = dict[tuple[int, int, str], list[float]]


class Comparison:
    """The tools, what they are asked for, and a layer of a host on which none of them has anything to do."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.lab, self.known_hosts = lab, directory / "known_hosts"
        prepare(lab)
        [host] = fresh(lab, 1)
        with reached([host], 0, self.known_hosts) as targets:
            say("making the converged host")
            ours(host, self.known_hosts).run(targets)
            self.wanted: dict[str, Any] = desired(host, directory / "files")
            self.expected = end_state(host, self.wanted)
            self.tools = tools(host, self.known_hosts, self.wanted)
            for tool in self.tools:
                # Each may leave notes of its own beside: stock pyinfra the time of its apt update.
                say(f"{tool.title} finds to change there: {tool.run(targets).changed or 'nothing'}")
            for tool in self.tools:
                self._assert_noop(tool, targets)
        lab.snapshot(host.name, CONVERGED)

    def first_runs(self, counts: Sequence[int], round_trips: Sequence[int], repeats: int) -> Seconds:
        """Measure runs on fresh hosts; each has to end in the same state, and the next run has to change nothing."""
        measured: Seconds = defaultdict(list)
        for count, round_trip, repeat in _cells(counts, round_trips, repeats):
            for tool in _turned(self.tools, repeat):
                hosts = fresh(self.lab, count)
                with reached(hosts, round_trip, self.known_hosts) as targets:
                    seconds = tool.run(targets).seconds
                    self._assert_noop(tool, targets)
                for host in hosts:
                    self._assert_end_state(tool, host)
                measured[count, round_trip, tool.title].append(seconds)
                say(f"first run, {count} hosts, {round_trip} ms: {tool.title} {seconds:.1f} s")
        return measured

    def noop_runs(
        self, counts: Sequence[int], round_trips: Sequence[int], repeats: int
    ) -> tuple[Seconds, dict[str, int]]:
        """Measure runs that change nothing, in turn on the same hosts; also the remote commands of each on a host."""
        measured: Seconds = defaultdict(list)
        commands: dict[str, int] = {}
        clear(self.lab)
        for count in sorted(counts):
            hosts = converged(self.lab, count)
            for round_trip in round_trips:
                with reached(hosts, round_trip, self.known_hosts) as targets:
                    for tool in self.tools:  # not measured: after it, files are in the hosts' memory
                        commands[tool.title] = self._commands(tool, targets)
                    for repeat in range(repeats):
                        for tool in _turned(self.tools, repeat):
                            seconds = self._assert_noop(tool, targets)
                            measured[count, round_trip, tool.title].append(seconds)
                            say(f"no-op run, {count} hosts, {round_trip} ms: {tool.title} {seconds:.1f} s")
        return measured, commands

    def _commands(self, tool: Tool, targets: Sequence[Target]) -> int:
        before = count_commands(targets[0].host)
        self._assert_noop(tool, targets)
        return count_commands(targets[0].host) - before

    def _assert_noop(self, tool: Tool, targets: Sequence[Target]) -> float:
        outcome = tool.run(targets)
        if outcome.changed:
            raise SystemExit(f"{tool.title}: not a no-op run, it changed {outcome.changed}")
        return outcome.seconds

    def _assert_end_state(self, tool: Tool, host: Host) -> None:
        found = end_state(host, self.wanted)
        if found != self.expected:
            lacking, surplus = set(self.expected) - set(found), set(found) - set(self.expected)
            raise SystemExit(f"{tool.title}: another end state; lacking {sorted(lacking)}, instead {sorted(surplus)}")


def _cells(counts: Sequence[int], round_trips: Sequence[int], repeats: int) -> list[tuple[int, int, int]]:
    return [(count, round_trip, repeat) for count in counts for round_trip in round_trips for repeat in range(repeats)]


def _turned(all_tools: Sequence[Tool], repeat: int) -> list[Tool]:
    """Return the tools in another order for each repetition: none always runs on what the same one has warmed."""
    first = repeat % len(all_tools)
    return [*all_tools[first:], *all_tools[:first]]


def table(measured: Mapping[tuple[int, int, str], list[float]], titles: Sequence[str]) -> str:
    """Return a markdown table: medians and ranges in seconds, and how many times ours each is."""
    lines = [f"| hosts | round trip | {' | '.join(titles)} |", "|---|---|" + "---|" * len(titles)]
    for count, round_trip in dict.fromkeys((count, round_trip) for count, round_trip, _ in measured):
        ours_s = statistics.median(measured[count, round_trip, titles[0]])
        cells = [median(measured[count, round_trip, titles[0]])]
        for title in titles[1:]:
            values = measured[count, round_trip, title]
            cells.append(f"{median(values)}, **{statistics.median(values) / ours_s:.1f} times**")
        lines.append(f"| {count} | {round_trip} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


def growth(measured: Mapping[tuple[int, int, str], list[float]], titles: Sequence[str]) -> str:
    """Return a markdown table: how many times the median of one host more hosts take."""
    lines = [f"| hosts | round trip | {' | '.join(titles)} |", "|---|---|" + "---|" * len(titles)]
    for count, round_trip in dict.fromkeys((count, round_trip) for count, round_trip, _ in measured):
        if count > 1 and (1, round_trip, titles[0]) in measured:
            cells = [
                statistics.median(measured[count, round_trip, title])
                / statistics.median(measured[1, round_trip, title])
                for title in titles
            ]
            lines.append(f"| {count} | {round_trip} ms | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    return "\n".join(lines)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--only", choices=("first", "noop"), help="leave out the other half")
    parser.add_argument("--hosts", type=_numbers, default=[1, 3, 10], help="of no-op runs (default: 1,3,10)")
    parser.add_argument(
        "--first-hosts", type=_numbers, default=[1, 3], help="of first runs, 1.4 GB each (default: 1,3)"
    )
    parser.add_argument("--round-trips", type=_numbers, default=[0, 50], help="milliseconds (default: 0,50)")
    parser.add_argument("--repeats", type=int, default=3, help="of no-op runs (default: 3)")
    parser.add_argument("--first-repeats", type=int, default=1, help="of first runs (default: 1)")
    return parser.parse_args()


def main() -> None:
    asked = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, bench_lab() as lab:
        comparison = Comparison(lab, Path(directory))
        titles = [tool.title for tool in comparison.tools]
        if asked.only != "noop":
            first = comparison.first_runs(asked.first_hosts, asked.round_trips, asked.first_repeats)
            print(f"First run, seconds, median (range):\n\n{table(first, titles)}\n", flush=True)
        if asked.only != "first":
            noop, commands = comparison.noop_runs(asked.hosts, asked.round_trips, asked.repeats)
            print(f"No-op run, seconds, median (range):\n\n{table(noop, titles)}\n")
            print(f"No-op run, times the seconds of one host:\n\n{growth(noop, titles)}\n")
            print("No-op run, remote commands for one host:\n")
            print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
            print(f"| {' | '.join(str(commands[title]) for title in titles)} |")


if __name__ == "__main__":
    main()
