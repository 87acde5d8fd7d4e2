"""The command line of the stand-in: conda's subcommands and options, as far as they are needed here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import __version__, commands, config, reports
from .config import Config
from .errors import CondaError, CondaSystemExit

Handler = Callable[[argparse.Namespace, Config], int | None]
if TYPE_CHECKING:  # argparse knows no type parameters at run time
    Parsers = argparse._SubParsersAction[argparse.ArgumentParser]


def main() -> int:
    """Run one conda command; 0, or 1 for every failure, as with conda."""
    args = _parser().parse_args()
    try:
        settings = config.load()
        settings.offline |= getattr(args, "offline", False)
        settings.always_copy |= getattr(args, "copy", False)
        status: int | None = args.handler(args, settings)
    except CondaSystemExit as stop:
        print(f"\nCondaSystemExit: {stop}\n")
        return 0
    except CondaError as error:
        _report(error, as_json=args.json)
        return 1
    return status or 0


def _report(error: CondaError, *, as_json: bool) -> None:
    if as_json:
        head = {"error": f"{error.name}: {error}", "exception_name": error.name, "message": str(error)}
        print(json.dumps({**error.details, **head}, indent=2))
    else:
        print(f"\n{error.name}: {error}\n", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="conda", description="Stand-in for conda, for tests.")
    parser.add_argument("-V", "--version", action="version", version=f"conda {__version__}")
    subcommands = parser.add_subparsers(dest="command", required=True)
    _add_changing(subcommands)
    _add_reporting(subcommands)
    _add_env(subcommands)
    return parser


def _add(parent: Parsers, name: str, handler: Handler, *groups: Callable[[argparse.ArgumentParser], None],
         **defaults: object) -> argparse.ArgumentParser:  # fmt: skip
    command = parent.add_parser(name)
    command.set_defaults(handler=handler, **defaults)
    command.add_argument("--json", action="store_true")
    command.add_argument("-q", "--quiet", action="store_true")
    command.add_argument("-v", "--verbose", action="count")
    for group in groups:
        group(command)
    return command


def _target(command: argparse.ArgumentParser) -> None:
    command.add_argument("-n", "--name")
    command.add_argument("-p", "--prefix")


def _channel(command: argparse.ArgumentParser) -> None:
    command.add_argument("-c", "--channel", action="append", default=[])
    command.add_argument("-O", "--override-channels", action="store_true")


def _transaction(command: argparse.ArgumentParser) -> None:
    _channel(command)
    command.add_argument("-y", "--yes", action="store_true")
    command.add_argument("-d", "--dry-run", action="store_true")
    command.add_argument("-f", "--file", action="append", default=[])
    for flag in ("--offline", "--copy"):
        command.add_argument(flag, action="store_true")
    for accepted in ("--strict-channel-priority", "--no-default-packages", "-k"):  # change nothing here
        command.add_argument(accepted, action="store_true")
    command.add_argument("--solver")


def _packages(command: argparse.ArgumentParser) -> None:
    command.add_argument("packages", nargs="*", default=[])


def _add_changing(subcommands: Parsers) -> None:
    _add(subcommands, "create", commands.create, _target, _transaction, _packages, replace=False)
    _add(subcommands, "install", commands.install, _target, _transaction, _packages, prune=False)
    remove = _add(subcommands, "remove", commands.remove, _target, _transaction, _packages)
    remove.add_argument("--all", action="store_true")


def _add_reporting(subcommands: Parsers) -> None:
    listing = _add(subcommands, "list", reports.list_packages, _target)
    listing.add_argument("regex", nargs="?")
    for flag in ("--explicit", "--md5", "--sha256"):
        listing.add_argument(flag, action="store_true")
    information = _add(subcommands, "info", reports.info)
    for short, flag in (("-b", "--base"), ("-e", "--envs")):
        information.add_argument(short, flag, action="store_true")
    cleaning = _add(subcommands, "clean", reports.clean, _transaction)
    cleaning.add_argument("-a", "--all", action="store_true")
    running = _add(subcommands, "run", reports.run, _target)
    running.add_argument("--cwd")
    running.add_argument("-s", "--no-capture-output", "--live-stream", dest="live_stream", action="store_true")
    running.add_argument("command_line", nargs=argparse.REMAINDER)
    _add_configuring(subcommands)


def _add_configuring(subcommands: Parsers) -> None:
    configuring = _add(subcommands, "config", reports.configure)
    configuring.add_argument("--show", nargs="*")
    configuring.add_argument("--file", nargs=1)
    for flag in ("--system", "--env"):
        configuring.add_argument(flag, action="store_true")
    configuring.add_argument("--remove-key", action="append", default=[])
    for flags in (("--set",), ("--add", "--prepend"), ("--append",), ("--remove",)):
        key = flags[-1].lstrip("-")
        configuring.add_argument(*flags, dest=key, nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    terms = _add(subcommands, "tos", reports.terms, _channel)
    terms.add_argument("action")
    for scope in ("system", "site", "user"):
        terms.add_argument(f"--{scope}", dest="scope", action="store_const", const=scope, default="user")
    for name in ("shell.posix", "shell.bash"):
        _add(subcommands, name, reports.shell).add_argument("arguments", nargs=argparse.REMAINDER)


def _add_env(subcommands: Parsers) -> None:
    nested = subcommands.add_parser("env").add_subparsers(dest="env_command", required=True)
    _add(nested, "create", commands.create, _target, _transaction, packages=[], replace=True)
    update = _add(nested, "update", commands.install, _target, _transaction, packages=[])
    update.add_argument("--prune", action="store_true")
    _add(nested, "list", reports.list_environments)
    _add(nested, "remove", commands.remove, _target, _transaction, packages=[], all=True)
