"""Files that we own on a host: what they should be, and the shell command that puts one in place."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from shlex import quote

# Not the beginning of any other name of ours (layout.MARKER): what is called so is removed.
TEMPORARY = ".mlflow-stack-new"


@dataclass(frozen=True)
class ManagedFile:
    """A regular file as it should be.

    `mode` is octal digits ("640"). `check` is a shell command that exits 0 when the content is right; it finds the new
    file, under its own name, as "$new", and runs before the old file is replaced. `content` stays out of repr, and out
    of plans when it `is_secret`. With `own_directory` its directory, a drop-in's, is made when it is missing.
    """

    path: str
    content: str = field(repr=False)
    mode: str = "644"
    owner: str = "root"
    group: str = "root"
    check: str = field(default="", repr=False)
    is_secret: bool = False
    own_directory: bool = False

    def text(self, before: str) -> str:
        """Return what is in the file afterwards."""
        return self.content

    def state(self) -> FileState:
        return FileState(self.mode, self.owner, self.group, hashlib.sha256(self.content.encode()).hexdigest())


@dataclass(frozen=True)
class ManagedBlock:
    """Lines of ours in front of everybody else's in a file that is not ours, between the lines `begin` and `end`."""

    path: str
    lines: tuple[str, ...]
    begin: str
    end: str
    mode: str = "644"
    owner: str = "root"
    group: str = "root"
    is_secret: bool = False

    @property
    def content(self) -> str:
        return "\n".join([self.begin, *self.lines, self.end, ""])

    def text(self, before: str) -> str:
        """Return what is in the file afterwards; other lines stay as they are, and the last one gets its newline."""
        others = before if before.endswith("\n") or not before else f"{before}\n"
        pattern = rf"^{re.escape(self.begin)}\n.*?^{re.escape(self.end)}\n"
        return self.content + re.sub(pattern, "", others, flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class FileState:
    """What is compared: mode, owner, group and the SHA-256 of the content."""

    mode: str
    owner: str
    group: str
    sha256: str


def read_states_command(paths: Sequence[str]) -> str:
    """Return a command that prints the state of each path, one a line; paths that are no regular files are left out.

    A symbolic link counts as absent: we never write through one that somebody planted.
    """
    return (
        f"for f in {' '.join(map(quote, paths))}; do "
        'if [ -f "$f" ] && [ ! -L "$f" ]; then '
        'echo "$(stat -c "%a %U %G" "$f") $(sha256sum < "$f" | cut -c1-64) $f"; fi; done'
    )


def parse_states(lines: list[str]) -> dict[str, FileState]:
    """Parse the output of read_states_command."""
    states = {}
    for line in lines:
        mode, owner, group, sha256, path = line.split(" ", 4)
        states[path] = FileState(mode, owner, group, sha256)
    return states


def write_command(file: ManagedFile) -> str:
    """Return a command that replaces a file by what it reads on standard input, at once or not at all.

    The new file is made in a private directory beside the old one, so it never has too wide a mode, its name is right
    for programs that judge by name (systemd-analyze verify), and the last step is a rename. Nothing goes to /tmp, and
    nothing secret onto a command line (security.md 3.1: pyinfra's files.put does both).
    """
    directory = quote(posixpath.dirname(file.path))
    made = f"[ -d {directory} ] || install -d -m 755 {directory}; " if file.own_directory else ""
    return made + _replace_command(file, _receive(file), file.check)


def block_command(block: ManagedBlock) -> str:
    """Return a command that puts the block, which it reads on standard input, in front of the file's other lines.

    It takes them from the file as it is then, since a plan may come before the package that brings the file. A block
    whose end somebody removed is left alone: what follows it can't be told from it.
    """
    path, begin, end = quote(block.path), quote(block.begin), quote(block.end)
    others = (
        f"[ ! -f {path} ] || awk -v b={begin} -v e={end} "
        "'NR == FNR { if ($0 == e) last = FNR; next } $0 == b && FNR < last { skip = 1 } !skip; $0 == e { skip = 0 }' "
        f'{path} {path} >> "$new"'
    )
    return _replace_command(block, [*_receive(block), others], "")


def _receive(file: ManagedFile | ManagedBlock) -> list[str]:
    """Return commands that store standard input, and fail when it is not the whole content.

    A run that is killed, or cut off, while it sends ends the input as one that has sent everything.
    """
    failure = f"{file.path}: its content did not arrive whole and the file was left as it was; run the deploy again"
    size = len(file.content.encode())
    return ['cat > "$new"', f'[ "$(wc -c < "$new")" = {size} ] || {{ echo {quote(failure)} >&2; exit 1; }}']


def _replace_command(file: ManagedFile | ManagedBlock, make: Sequence[str], check: str) -> str:
    directory, name = posixpath.split(file.path)
    steps = [
        "set -eu",
        "umask 077",
        f"rm -rf {quote(directory)}/{TEMPORARY}.*",  # left by a run that was killed here
        f"d=$(mktemp -d {quote(f'{directory}/{TEMPORARY}.XXXXXX')})",
        "trap 'rm -rf \"$d\"' EXIT",
        f'new="$d"/{quote(name)}',
        *make,
        f'chown {quote(f"{file.owner}:{file.group}")} "$new"',
        f'chmod {quote(file.mode)} "$new"',
    ]
    if check:
        steps.append(check)
    steps.append(f'mv -fT "$new" {quote(file.path)}')
    return "; ".join(steps)
