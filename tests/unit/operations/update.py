"""Write the `commands` of all cases anew, from what the operations give now: `python -m tests.unit.operations.update`.

For a new case write everything but the commands and run this. Then read the diff: it is the review of the change.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pyinfra.api.command import StringCommand

from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.postgresql import BEGIN, END
from mlflow_stack.operations.commands import Write
from tests.unit.operations.test_operations import FILES, commands_of, expected, load, readable

UNSAID = {
    "mode": "644",
    "owner": "root",
    "group": "root",
    "check": "",
    "is_secret": False,
    "own_directory": False,
    "begin": BEGIN,
    "end": END,
}


class Dumper(yaml.SafeDumper):
    """YAML with texts of several lines as blocks."""


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _text)


def shortened(command: StringCommand) -> Any:
    """Return a command as a case spells it: the text alone, or the file that it writes, where that says all."""
    plain = readable(command)
    if isinstance(command, Write):
        values = {each.name: getattr(command.file, each.name) for each in fields(command.file)}
        said = {name: value for name, value in values.items() if value != UNSAID.get(name)}
        said = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}
        short = {"write" if isinstance(command.file, ManagedFile) else "block": said}
        return short if expected(short) == plain else plain
    return plain if "stdin" in plain else plain["command"]


def update(path: Path) -> None:
    case, arguments = load(path), path.parent / "_arguments.yaml"
    if {"noop", "error"} & set(case):
        return
    kwargs = {**(load(arguments) if arguments.exists() else {}), **case.get("kwargs", {})}
    found = commands_of(path.parent.name, kwargs, case.get("answers", {}), case.get("during", "plan"))
    commands = {"commands": [shortened(command) for command in found]}
    head = path.read_text().split("commands:")[0]
    path.write_text(head + yaml.dump(commands, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True))


if __name__ == "__main__":
    for file in FILES:
        update(file)
