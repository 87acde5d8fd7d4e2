"""The lab's command line; see `python -m lab --help`."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from datetime import timedelta

from .core import Lab
from .errors import LabError
from .inventory import as_file, find

DEFAULT_HOST = "mlflow1"
EPILOG = """\
environment:
  LAB_ID     name of the lab, also the prefix of all that it makes on this machine (default: mlab)
  LAB_NET    first three octets of its network (default: 10.77.0)
  LAB_DIR    its state directory, which `down` removes (default: /var/tmp/LAB_ID)
  LAB_MIRROR URL of a Debian mirror, where apt's own sources name none

example:
  python -m lab up mlflow1 mlflow2 && python -m lab exec mlflow1 systemctl status; python -m lab down
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m lab",
        description="Throwaway Debian hosts on this machine, each with systemd, SSH and an address. Needs root.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help=f"start hosts (default: {DEFAULT_HOST}); those that run stay as they are")
    up.add_argument("--release", default="bookworm", help="Debian release of new hosts (default: %(default)s)")
    up.add_argument("--layer", action="append", default=[], help="start new hosts as clones of this snapshot")
    up.add_argument("names", metavar="NAME", nargs="*")
    down = commands.add_parser("down", help="remove hosts; no names: the whole lab")
    down.add_argument("names", metavar="NAME", nargs="*")
    commands.add_parser("status", help="list the hosts")
    commands.add_parser("inventory", help="print a pyinfra inventory file of the hosts")

    execute = commands.add_parser("exec", help="run a command on a host, as root over SSH")
    execute.add_argument("name", metavar="NAME")
    execute.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER)
    snapshot = commands.add_parser("snapshot", help="keep a host's disk for clones; the host is stopped for it")
    snapshot.add_argument("name", metavar="NAME")
    snapshot.add_argument("layer", metavar="LAYER")
    for verb, text in {
        "reboot": "reboot, and wait for SSH",
        "crash": "cut the power (`up` starts it again)",
        "cut": "pull the network cable",
        "mend": "plug the network cable in again",
        "freeze": "stop all processes where they are",
        "thaw": "let them go on",
    }.items():
        commands.add_parser(verb, help=text).add_argument("name", metavar="NAME", nargs="?", default=DEFAULT_HOST)
    return top


def main(arguments: list[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    lab = find()
    try:
        if os.geteuid():
            lab.ensure()  # names every reason, root among them
        return _do(lab, asked)
    except LabError as problem:
        print(f"lab: {problem}", file=sys.stderr)
        return 1


def _do(lab: Lab, asked: argparse.Namespace) -> int:
    match asked.command:
        case "up":
            for name in asked.names or [DEFAULT_HOST]:
                host = lab.up(name, release=asked.release, layers=asked.layer)
                print(f"{host.name} is up at {host.address}")
        case "down":
            lab.down(*asked.names)
        case "status":
            print(_status(lab))
        case "inventory":
            print(as_file(lab), end="")
        case "snapshot":
            lab.snapshot(asked.name, asked.layer)
        case "exec":
            return _execute(lab, asked.name, asked.words)
        case verb:
            getattr(lab.host(asked.name), verb)()
    return 0


def _execute(lab: Lab, name: str, words: list[str]) -> int:
    """Give the command this process's own streams, and its exit status back. One word is a line for the shell."""
    command = words[0] if len(words) == 1 else shlex.join(words)
    return subprocess.run([*lab.access.command(), f"root@{lab.host(name).address}", command], check=False).returncode


def _status(lab: Lab) -> str:
    rows = [("HOST", "ADDRESS", "RELEASE", "STATE", "UPTIME", "MEMORY")]
    for host in lab.hosts():
        state, uptime = ("up", str(timedelta(seconds=int(host.uptime())))) if host.is_up() else ("down", "-")
        rows.append((host.name, host.address, host.record.release, state, uptime, f"{host.memory() >> 20} MiB"))
    lines = ["".join(cell.ljust(14) for cell in row).rstrip() for row in rows]
    return "\n".join(lines) if len(rows) > 1 else f"lab {lab.id} has no hosts"


if __name__ == "__main__":
    sys.exit(main())
