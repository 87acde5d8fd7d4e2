"""A fact for questions of others: what a script that changes nothing prints."""

from __future__ import annotations

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

_END = "END OF THE PROBE"


class Probe(FactBase[list[str]]):
    """The lines that a script of bash prints within so many seconds, and its exit status behind "status " (timeout(1)).

    It is read from a descriptor of its own, so that nothing in it reads the rest of it as input.
    """

    default = list

    def command(self, script: str, seconds: int) -> StringCommand:
        return StringCommand(
            f"timeout -k 2 {seconds} bash --norc /dev/fd/3 3<<'{_END}' 2>/dev/null\n{script}\n{_END}\n"
            "printf '\\nstatus %s\\n' $?"
        )

    def process(self, output: list[str]) -> list[str]:
        return output
