"""Facts about the files that we own."""

from __future__ import annotations

import base64
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain.files import FileState, parse_states, read_states_command


class FileStates(FactBase[dict[str, FileState]]):
    """Mode, owner, group and checksum of regular files, by path; anything else counts as absent."""

    default = dict

    def command(self, paths: tuple[str, ...]) -> StringCommand:
        return StringCommand(read_states_command(paths))

    def process(self, output: list[str]) -> dict[str, FileState]:
        return parse_states(output)


class FileTexts(FactBase[dict[str, str]]):
    """The texts of regular files, by path; absent ones are left out. What is no UTF-8 is shown with replacements."""

    default = dict

    def command(self, paths: tuple[str, ...]) -> StringCommand:
        return StringCommand(
            f"for f in {' '.join(map(quote, paths))}; do "
            'if [ -f "$f" ] && [ ! -L "$f" ]; then echo "$(base64 -w 0 < "$f") $f"; fi; done'
        )

    def process(self, output: list[str]) -> dict[str, str]:
        pairs = [line.split(" ", 1) for line in output]
        return {path: base64.b64decode(text).decode(errors="replace") for text, path in pairs}
