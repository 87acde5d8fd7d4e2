"""The subcommands that change environments: create, install, remove, and env create, update, remove."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from . import cache, channels, environments, faults, linker, solver
from .config import ROOT, Config
from .errors import CondaError, CondaSystemExit
from .request import Request
from .request import read as read_request
from .solver import identity
from .specs import Record, Spec


def create(args: Namespace, config: Config) -> None:
    """Make an environment; one that exists is deleted first, with all that is in it, as conda does."""
    request = read_request(args.packages, args.file)
    name = args.name or (None if args.prefix else request.name)
    if not (name or args.prefix):
        raise CondaError("ArgumentError", "one of the arguments -n/--name -p/--prefix is required")
    prefix = environments.locate(name, args.prefix, config, new=True)
    urls = _channels(args, request, config)
    channels.check_terms(urls, config)
    _make_room(prefix, args, config)
    wanted = _explicit(request.explicit, [], config) if request.explicit else _solve(request.specs, urls, [], config)
    _change(prefix, wanted, request, args, config)


def install(args: Namespace, config: Config) -> None:
    """Bring packages into an existing environment; nothing happens where all are there."""
    request = read_request(args.packages, args.file)
    if not (request.specs or request.explicit or args.file):
        raise CondaError("CondaValueError", "too few arguments, must supply command line package specs or --file")
    name = args.name or (None if args.prefix else request.name)
    prefix = environments.require(environments.locate(name, args.prefix, config))
    urls = _channels(args, request, config)
    channels.check_terms(urls, config)
    present = environments.records(prefix)
    if request.explicit:
        wanted = _explicit(request.explicit, present, config)
    else:
        wanted = _update(request.specs, present, urls, args, config)
    _change(prefix, wanted, request, args, config)


def remove(args: Namespace, config: Config) -> None:
    """Remove packages with all that depend on them, or with --all the whole environment."""
    prefix = environments.require(environments.locate(args.name, args.prefix, config))
    channels.check_terms(_channels(args, Request(), config), config)
    if args.all:
        _remove_all(prefix, args, config)
        return
    if not args.packages:
        raise CondaError("CondaValueError", "no package names supplied,\n       try 'conda remove -h' for more details")
    present = environments.records(prefix)
    absent = [name for name in args.packages if name not in {record["name"] for record in present}]
    if absent:
        listed = "".join(f"\n  - {name}" for name in absent)
        message = f"The following packages are missing from the target environment:{listed}"
        raise CondaError("PackagesNotFoundError", message)
    gone = _with_dependents(set(args.packages), present)
    _change(prefix, [record for record in present if record["name"] not in gone], Request(), args, config)


def _channels(args: Namespace, request: Request, config: Config) -> list[str]:
    named = [*args.channel, *(name for name in request.channels if name != "nodefaults")]
    configured = [] if args.override_channels or "nodefaults" in request.channels else config.channels
    return channels.urls([*named, *configured], config)


def _confirm(args: Namespace, config: Config, question: str) -> None:
    """Ask, unless --yes, --json or always_yes say yes; no answer is a no."""
    if args.yes or args.json or config.always_yes:
        return
    print(f"{question} (y/[n])? ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CondaSystemExit("Exiting.")


def _make_room(prefix: Path, args: Namespace, config: Config) -> None:
    if not environments.is_environment(prefix):
        if prefix.is_dir():
            _confirm(args, config, f"WARNING: A directory already exists at the target location '{prefix}'\n"
                     "but it is not a conda environment.\nContinue creating environment")  # fmt: skip
        return
    if prefix == ROOT:
        raise CondaError("CondaValueError", "The target prefix is the base prefix. Aborting.")
    if args.dry_run:
        raise CondaError("CondaValueError", "Cannot `create --dry-run` with an existing conda environment")
    if not args.replace:  # `conda env create` never asks
        _confirm(args, config, f"WARNING: A conda environment already exists at '{prefix}'\n\n"
                 "Remove existing environment?\nThis will remove ALL directories contained within this specified "
                 "prefix directory, including any other conda environments.\n\n")  # fmt: skip
    shutil.rmtree(prefix)


def _explicit(lines: list[str], present: list[Record], config: Config) -> list[Record]:
    named = [cache.from_explicit(line, config) for line in lines]
    replaced = {record["name"] for record in named}
    return [*named, *(record for record in present if record["name"] not in replaced)]


def _solve(specs: list[str], urls: list[str], present: list[Record], config: Config) -> list[Record]:
    if not specs:
        return []
    return solver.solve([Spec.parse(text) for text in specs], channels.index(urls, config), present)


def _update(specs: list[str], present: list[Record], urls: list[str], args: Namespace, config: Config) -> list[Record]:
    renewed = {Spec.parse(text).name for text in specs}
    earlier = [record["requested_spec"] for record in present if record.get("requested_spec")]
    kept = [] if args.prune else [text for text in earlier if Spec.parse(text).name not in renewed]
    solution = _solve([*specs, *kept], urls, present, config)
    if args.prune:
        return solution
    chosen = {record["name"] for record in solution}
    return [*solution, *(record for record in present if record["name"] not in chosen)]


def _with_dependents(names: set[str], present: list[Record]) -> set[str]:
    for _ in present:  # each round adds a level of dependents; there are no more levels than packages
        names |= {record["name"] for record in present if names & {Spec.parse(d).name for d in record["depends"]}}
    return names


def _change(prefix: Path, wanted: list[Record], request: Request, args: Namespace, config: Config) -> None:
    unlink, link = linker.changes(prefix, wanted)
    fresh = not environments.is_environment(prefix)
    if not (unlink or link or fresh):
        _install_with_pip(prefix, request, args)
        message = "All requested packages already installed."
        _emit(args, {"success": True, "message": message}, f"\n# {message}\n")
        return
    outcome = {"success": True, "actions": _actions(prefix, unlink, link, config), "prefix": str(prefix)}
    if args.dry_run:
        _emit(args, {**outcome, "dry_run": True}, "\nDryRunExit: Dry run. Exiting.\n")
        return
    linker.apply(prefix, unlink, link, [Spec.parse(text) for text in request.specs], config)
    _install_with_pip(prefix, request, args)
    hint = f"#\n# To activate this environment, use\n#\n#     $ conda activate {prefix}" if fresh else ""
    _emit(args, outcome, f"Executing transaction: done\n{hint}")


def _actions(prefix: Path, unlink: list[Record], link: list[Record], config: Config) -> dict[str, Any]:
    fetch = [record for record in link if not cache.is_cached(record, config)]
    listed = {"FETCH": fetch, "UNLINK": unlink, "LINK": sorted(link, key=identity)}
    described = {kind: list(map(environments.describe, found)) for kind, found in listed.items() if found}
    return {**described, "PREFIX": str(prefix)}


def _install_with_pip(prefix: Path, request: Request, args: Namespace) -> None:
    if not request.pip or args.dry_run:
        return
    faults.point("pip")
    file = prefix / "condaenv.requirements.txt"
    file.write_text("\n".join(request.pip) + "\n")
    command = [str(prefix / "bin/python"), "-m", "pip", "install", "-U", "-r", str(file), "--exists-action=b"]
    try:
        done = subprocess.run(command, stdout=sys.stderr, cwd=request.folder, check=False)
    finally:
        file.unlink()
    if done.returncode:
        raise CondaError("CondaEnvException", "Pip failed")


def _remove_all(prefix: Path, args: Namespace, config: Config) -> None:
    if prefix == ROOT:
        raise CondaError("CondaEnvironmentError", "cannot remove root environment, add -n NAME or -p PREFIX option")
    _confirm(args, config, f"Remove all packages in environment {prefix}")
    unlink = environments.records(prefix)
    if not args.dry_run:
        shutil.rmtree(prefix)
        environments.unregister(prefix)
    outcome = {"success": True, "actions": _actions(prefix, unlink, [], config), "prefix": str(prefix)}
    _emit(args, outcome, f"\nRemove all packages in environment {prefix}:\n")


def _emit(args: Namespace, outcome: dict[str, Any], text: str) -> None:
    if args.json:
        print(json.dumps(outcome, indent=2))
    elif not args.quiet:
        print(text)
