"""Facts about Miniconda and the environments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import FileState, parse_states, read_states_command

# As EnvironmentSpec.path names them; anything else below the directory is somebody else's.
_OURS = re.compile(rf"{layout.ENVS_DIR}/(mlflow|model-[a-z0-9_-]+)-[0-9a-f]{{12}}")


@dataclass(frozen=True)
class CondaState:
    """`exists`: something is at the prefix. `started`: an installation of ours was begun there.

    `marker`: content of the marker of a complete installation, "" when there is none. `condarc`: state of
    PREFIX/.condarc, None when absent.
    """

    exists: bool = False
    started: bool = False
    marker: str = ""
    condarc: FileState | None = None


class Conda(FactBase[CondaState]):
    """The Miniconda installation at a prefix."""

    default = CondaState

    def command(self, prefix: str) -> StringCommand:
        p = quote(prefix)
        return StringCommand(
            f"[ -e {p} ] && echo exists; [ -e {p}.started ] && echo started; "
            f'[ -x {p}/bin/conda ] && [ -f {p}/{layout.MARKER} ] && echo "marker=$(cat {p}/{layout.MARKER})"; '
            + read_states_command((f"{prefix}/.condarc",))
        )

    def process(self, output: list[str]) -> CondaState:
        markers = [line.removeprefix("marker=") for line in output if line.startswith("marker=")]
        files = parse_states(
            [line for line in output if line not in ("exists", "started") and not line.startswith("marker=")]
        )
        return CondaState(
            exists="exists" in output,
            started="started" in output,
            marker=markers[0] if markers else "",
            condarc=next(iter(files.values()), None),
        )


@dataclass(frozen=True)
class EnvironmentState:
    """`exists`: the directory is there; `complete`: with its marker."""

    exists: bool = False
    complete: bool = False


class Environment(FactBase[EnvironmentState]):
    """One environment directory."""

    default = EnvironmentState

    def command(self, path: str) -> StringCommand:
        p = quote(path)
        return StringCommand(
            f"[ -e {p} ] && echo exists; [ -x {p}/bin/python ] && [ -f {p}/{layout.MARKER} ] && echo complete; true"
        )

    def process(self, output: list[str]) -> EnvironmentState:
        return EnvironmentState("exists" in output, "complete" in output)


@dataclass(frozen=True)
class EnvironmentList:
    """`complete`: environments of ours, newest first; `unfinished`: those without a marker; `used`: those that a unit
    of somebody else's or a kept release of a model runs on."""

    complete: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


class Environments(FactBase[EnvironmentList]):
    """All environments of ours on a host, and which of them something else than the tracking server uses."""

    default = EnvironmentList

    def command(self) -> StringCommand:
        return StringCommand(
            f"for e in $(ls -1dt {layout.ENVS_DIR}/*-???????????? 2>/dev/null); do "
            f'[ -f "$e/{layout.MARKER}" ] && echo "complete=$e" || echo "unfinished=$e"; done; '
            f"readlink {layout.MODELS_DIR}/*/releases/*/env 2>/dev/null | sed 's,^,used=,'; "
            f"find {layout.UNIT_DIR} -maxdepth 1 -name '*.service' ! -name mlflow-tracking.service "
            f"-exec grep -hoE '{layout.ENVS_DIR}/[A-Za-z0-9._-]+' {{}} + 2>/dev/null | sed 's,^,used=,'; true"
        )

    def process(self, output: list[str]) -> EnvironmentList:
        def values(key: str) -> list[str]:
            found = [line.removeprefix(f"{key}=") for line in output if line.startswith(f"{key}=")]
            return [path for path in found if _OURS.fullmatch(path)]

        return EnvironmentList(values("complete"), values("unfinished"), set(values("used")))
