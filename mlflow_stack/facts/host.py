"""Facts about a host as such: its survey, its packages, its accounts and directories."""

from __future__ import annotations

from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain.survey import SURVEY_SCRIPT, HostSurvey, parse_survey


class Survey(FactBase[HostSurvey]):
    """Everything that preflight judges. Call it with `_sudo=False`: it finds out itself whether sudo works."""

    default = HostSurvey

    def command(self) -> StringCommand:
        return StringCommand(SURVEY_SCRIPT.strip())

    def process(self, output: list[str]) -> HostSurvey:
        return parse_survey(output)


class InstalledPackages(FactBase[list[str]]):
    """Those of the given Debian packages that are installed."""

    default = list

    def command(self, packages: tuple[str, ...]) -> StringCommand:
        names = " ".join(map(quote, packages))
        return StringCommand(f"dpkg-query -W -f='${{db:Status-Status}} ${{Package}}\\n' {names} 2>/dev/null || true")

    def process(self, output: list[str]) -> list[str]:
        return [line.split()[1] for line in output if line.startswith("installed ")]


class Layout(FactBase[dict[str, str]]):
    """Users by "user:NAME" (their passwd line), directories by path ("MODE OWNER GROUP", "link" for a link); absent
    ones are left out."""

    default = dict

    def command(self, users: tuple[str, ...], directories: tuple[str, ...]) -> StringCommand:
        return StringCommand(
            f"getent passwd {' '.join(map(quote, users))} | sed 's/^/user:/'; "
            f"for d in {' '.join(map(quote, directories))}; do "
            'if [ -L "$d" ]; then echo "$d:link"; elif [ -d "$d" ]; then stat -c "%n:%a %U %G" "$d"; fi; done; true'
        )

    def process(self, output: list[str]) -> dict[str, str]:
        state = {}
        for line in output:
            if line.startswith("user:"):
                state[":".join(line.split(":")[:2])] = line.removeprefix("user:")
            else:
                path, _, found = line.rpartition(":")
                state[path] = found
        return state
