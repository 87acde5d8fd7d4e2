"""Several facts in one round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

TITLE = "# MLflow Stack looks at this host"
_CUT = "----8<---- "
_END = "END OF THE LOOK"

# Prints what a part printed. Its last line is its status; an empty one before that is there to end an unfinished line.
_SECTION = """
section() {
  mapfile -t -u "$1" lines
  status=${lines[-1]}
  unset 'lines[-1]'
  [ -n "${lines[-1]}" ] || unset 'lines[-1]'
  [ ${#lines[@]} = 0 ] || printf '%s\\n' "${lines[@]}"
  [ "$status" = 0 ] || exit "$status"
}
""".strip()


@dataclass(frozen=True)
class Question:
    """A fact with its arguments."""

    fact: type[FactBase[Any]]
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What makes two questions the same."""
        return f"{self.fact.__name__} {sorted(self.arguments.items())!r}"

    def __repr__(self) -> str:
        return self.fact.__name__  # pyinfra -v prints the arguments of a fact


class Batch(FactBase[list[Any]]):
    """The answers to several questions, in their order; pyinfra itself pays three round trips for each fact.

    The parts run side by side, each in a subshell of its own, since some of them wait for a server; what each printed
    comes behind a line with its fact's name. A part that fails makes the whole fact fail. bash reads the script on its
    standard input, and no .bashrc: where that is a connection it would (bash(1), INVOCATION).
    """

    default = list

    def command(self, questions: Sequence[Question]) -> StringCommand:
        self.questions = questions
        parts, begun, read = [], [], []
        for number, question in enumerate(questions):
            command = question.fact().command(**question.arguments)
            script = command.get_raw_value() if isinstance(command, StringCommand) else command
            parts.append(f"part{number}() {{\n{script}\n}}")
            begun.append(f"exec {{output{number}}}< <( (part{number}) < /dev/null; printf '\\n%s\\n' $?)")
            read.append(f"echo '{_CUT}{question.fact.__name__}'; section $output{number}")
        script = "\n".join([*parts, *begun, _SECTION, *read])
        return StringCommand(f"{TITLE}\nexec bash --norc -s <<'{_END}'\n{script}\n{_END}")

    def process(self, output: list[str]) -> list[Any]:
        sections: dict[str, list[list[str]]] = {}
        lines: list[str] = []  # before the first cut: of nobody
        for line in output:
            if line.startswith(_CUT):
                lines = []
                sections.setdefault(line.removeprefix(_CUT), []).append(lines)
            else:
                lines.append(line)
        return [_answer(question, sections.get(question.fact.__name__, [])) for question in self.questions]


def _answer(question: Question, sections: list[list[str]]) -> Any:
    """Return the answer from the next section of this fact; the default where nothing was printed, as in pyinfra."""
    lines = sections.pop(0) if sections else []
    fact = question.fact()
    if not lines:
        return fact.default()
    return fact.process(lines)
