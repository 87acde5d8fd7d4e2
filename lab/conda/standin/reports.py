"""The subcommands that show, configure and run: list, info, env list, config, clean, tos, run, shell.posix."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from dataclasses import asdict
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import yaml

from . import __version__, cache, channels, environments
from . import config as configuration
from .config import ROOT, Config
from .errors import CondaError


def emit(args: Namespace, content: object, text: str) -> None:
    """Print the object with --json, the text otherwise."""
    print(json.dumps(content, indent=2) if args.json else text)


def list_packages(args: Namespace, config: Config) -> None:
    """conda list: the packages of an environment, those that pip put there included."""
    prefix = environments.require(environments.locate(args.name, args.prefix, config))
    records = environments.records(prefix)
    if args.explicit:
        kind = "md5" if args.md5 else "sha256" if args.sha256 else ""
        print("# platform: linux-64\n@EXPLICIT")
        print("\n".join(f"{record['url']}#{record[kind]}" if kind else record["url"] for record in records))
        return
    rows = [environments.describe(record) for record in records]
    names = {row["name"] for row in rows}
    rows += [row for row in _installed_by_pip(prefix) if row["name"] not in names]
    rows = sorted((row for row in rows if re.search(args.regex or "", row["name"])), key=lambda row: str(row["name"]))
    lines = [f"{row['name']:<24} {row['version']:<15} {row['build_string']:<15} {row['channel']}" for row in rows]
    emit(args, rows, "\n".join([f"# packages in environment at {prefix}:", "#", *lines]))


def _installed_by_pip(prefix: Path) -> list[dict[str, Any]]:
    found = []
    for path in prefix.glob("lib/python3.*/site-packages/*.dist-info/METADATA"):
        metadata = HeaderParser().parsestr(path.read_text())
        name, version = re.sub(r"[-_.]+", "-", metadata["Name"]).lower(), metadata["Version"]
        found.append({
            "base_url": "https://conda.anaconda.org/pypi", "build_number": 0, "build_string": "pypi_0",
            "channel": "pypi", "dist_name": f"{name}-{version}-pypi_0", "name": name, "platform": "pypi",
            "version": version,
        })  # fmt: skip
    return found


def info(args: Namespace, config: Config) -> None:
    """conda info: where things are."""
    if args.base:
        emit(args, {"root_prefix": str(ROOT)}, str(ROOT))
    elif args.envs:
        list_environments(args, config)
    else:
        content = _info(config)
        emit(args, content, "\n".join(f"{key.replace('_', ' '):>25} : {value}" for key, value in content.items()))


def _info(config: Config) -> dict[str, Any]:
    active = os.environ.get("CONDA_PREFIX")
    urls = channels.urls(config.channels, config)
    return {
        "active_prefix": active,
        "channels": [f"{url}/{subdir}" for url in urls for subdir in channels.SUBDIRS],
        "conda_prefix": str(ROOT),
        "conda_version": __version__,
        "config_files": [str(path) for path in configuration.files() if path.is_file()],
        "default_prefix": active or str(ROOT),
        "envs": environments.known(config),
        "envs_dirs": config.envs_dirs,
        "offline": config.offline,
        "pkgs_dirs": config.pkgs_dirs,
        "platform": "linux-64",
        "python_version": ".".join(map(str, sys.version_info)),
        "rc_path": str(configuration.user_file()),
        "root_prefix": str(ROOT),
        "root_writable": os.access(ROOT, os.W_OK),
        "sys_rc_path": str(configuration.system_file()),
        "user_rc_path": str(configuration.user_file()),
    }


def list_environments(args: Namespace, config: Config) -> None:
    """conda env list."""
    found = environments.known(config)
    details = {path: {"name": "base" if path == str(ROOT) else Path(path).name} for path in found}
    lines = [f"{details[path]['name']:<24} {path}" for path in found]
    emit(args, {"envs": found, "envs_details": details}, "\n".join(["", "# conda environments:", "#", *lines, ""]))


def configure(args: Namespace, config: Config) -> None:
    """conda config: show the settings, or edit one .condarc."""
    if args.show is not None:
        settings = asdict(config)
        unknown = [key for key in args.show if key not in settings]
        if unknown:
            raise CondaError("ArgumentError", f"Invalid configuration parameters: {', '.join(unknown)}")
        shown = {key: settings[key] for key in args.show or sorted(settings)}
        emit(args, shown, yaml.safe_dump(shown).rstrip())
        return
    path = Path(args.file[0]) if args.file else _scope(args)
    content = configuration.read_file(path)
    _edit(content, args)
    path.write_text(yaml.safe_dump(content) if content else "")


def _scope(args: Namespace) -> Path:
    if args.env and os.environ.get("CONDA_PREFIX"):
        return Path(os.environ["CONDA_PREFIX"]) / ".condarc"
    return configuration.system_file() if args.system else configuration.user_file()


def _edit(content: dict[str, Any], args: Namespace) -> None:
    for key, value in args.set:
        *parents, last = key.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = yaml.safe_load(value)
    for key, value in args.prepend:
        content[key] = [value, *(entry for entry in content.get(key, []) if entry != value)]
    for key, value in args.append:
        content[key] = [*(entry for entry in content.get(key, []) if entry != value), value]
    for key, value in args.remove:
        if value not in content.get(key, []):
            raise CondaError("CondaKeyError", f"'{key}': value '{value}' not present in config")
        content[key] = [entry for entry in content[key] if entry != value]
    for key in args.remove_key:
        if key not in content:
            raise CondaError("CondaKeyError", f"'{key}': key not present in config")
        del content[key]


def clean(args: Namespace, config: Config) -> None:
    """conda clean: free the package cache of what no environment shares."""
    removed = [] if args.dry_run else cache.clean(config)
    emit(args, {"success": True, "removed": removed}, f"Removed {len(removed)} entries from the package cache.")


def terms(args: Namespace, config: Config) -> None:
    """conda tos accept: agree to the terms of the active channels, for the user unless --system or --site."""
    if args.action != "accept":
        raise CondaError("CondaValueError", f"the stand-in knows only `conda tos accept`, not `{args.action}`")
    urls = channels.urls([*args.channel, *([] if args.override_channels else config.channels)], config)
    accepted = channels.accept_terms(urls, args.scope, config)
    text = "\n".join(f"accepted Terms of Service for {url}" for url in accepted)
    emit(args, {url: {"accepted": True} for url in accepted}, text)


def run(args: Namespace, config: Config) -> int:
    """conda run: a command inside an environment; its exit status is passed on."""
    prefix = environments.require(environments.locate(args.name, args.prefix, config))
    environment = {**os.environ, **_activation(prefix), "PATH": f"{prefix}/bin:{os.environ.get('PATH', '')}"}
    capture = not args.live_stream
    done = subprocess.run(args.command_line, env=environment, cwd=args.cwd, capture_output=capture, check=False)
    if capture:  # conda too shows it only when the command has ended
        sys.stdout.buffer.write(done.stdout)
        sys.stderr.buffer.write(done.stderr)
    return done.returncode


def shell(args: Namespace, config: Config) -> None:
    """conda shell.posix: the shell code that `conda activate` evaluates (see conda.sh)."""
    action, *names = args.arguments or ["hook"]
    if action == "hook":
        print((ROOT / "etc/profile.d/conda.sh").read_text())
        return
    active = os.environ.get("CONDA_PREFIX", "")
    path = [entry for entry in os.environ.get("PATH", "").split(":") if not active or entry != f"{active}/bin"]
    if action == "deactivate":
        lines = [f"export PATH={shlex.quote(':'.join(path))}", "export CONDA_SHLVL=0",
                 "unset CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_PROMPT_MODIFIER"]  # fmt: skip
    elif action in ("activate", "reactivate"):
        wanted = active if action == "reactivate" else (names or ["base"])[0]
        named, prefix = (None, wanted) if "/" in wanted else (wanted, None)
        target = environments.require(environments.locate(named, prefix, config))
        variables = {**_activation(target), "PATH": ":".join([f"{target}/bin", *path])}
        lines = [f"export {key}={shlex.quote(value)}" for key, value in variables.items()]
        lines += [f". {shlex.quote(str(script))}" for script in sorted(target.glob("etc/conda/activate.d/*.sh"))]
    else:
        raise CondaError("ArgumentError", f"invalid choice: '{action}'")
    print("\n".join(lines))


def _activation(prefix: Path) -> dict[str, str]:
    name = "base" if prefix == ROOT else prefix.name if prefix.parent.name == "envs" else str(prefix)
    return {
        "CONDA_PREFIX": str(prefix),
        "CONDA_SHLVL": "1",
        "CONDA_DEFAULT_ENV": name,
        "CONDA_PROMPT_MODIFIER": f"({name}) ",
        "CONDA_EXE": str(ROOT / "bin/conda"),
        "CONDA_PYTHON_EXE": str(ROOT / "bin/python"),
    }
