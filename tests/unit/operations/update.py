"""Write the `commands` of all cases anew, from what the operations give now: `python -m tests.unit.operations.update`.

For a new case write everything but the commands and run this. Then read the diff: it is the review of the change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mlflow_stack.domain.files import ManagedFile, write_command
from tests.unit.operations.test_operations import FILES, commands_of, load, readable

DEFAULTS = {"mode": "644", "owner": "root", "group": "root", "check": None}
WRITE = re.compile(
    r'chown (?P<owner>\S+):(?P<group>\S+) "\$new"; chmod (?P<mode>\d+) "\$new"; '
    r'(?:(?P<check>.*); )?mv -fT "\$new" (?P<path>\S+)$'
)


class Dumper(yaml.SafeDumper):
    """YAML with texts of several lines as blocks."""


def _text(dumper: Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _text)


def shortened(command: dict[str, str]) -> Any:
    """Return a command as a case spells it: the text alone, or the file that it writes, where that says all."""
    if "stdin" not in command:
        return command["command"]
    match = WRITE.search(command["command"])
    if match:
        fields = {name: value for name, value in match.groupdict().items() if value != DEFAULTS.get(name)}
        file = ManagedFile(content=command["stdin"], **fields)
        if write_command(file) == command["command"]:
            return {"write": {"path": file.path, "content": file.content, **fields}}
    return command


def update(path: Path) -> None:
    case, arguments = load(path), path.parent / "_arguments.yaml"
    if {"noop", "error"} & set(case):
        return
    kwargs = {**(load(arguments) if arguments.exists() else {}), **case.get("kwargs", {})}
    found = commands_of(path.parent.name, kwargs, case.get("answers", {}), case.get("during", "plan"))
    commands = {"commands": [shortened(readable(command)) for command in found]}
    head = path.read_text().split("commands:")[0]
    path.write_text(head + yaml.dump(commands, Dumper=Dumper, sort_keys=False, width=110, allow_unicode=True))


if __name__ == "__main__":
    for file in FILES:
        update(file)
