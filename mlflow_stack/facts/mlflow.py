"""Facts about the tracking database's schema, permissions and models, read with the Python that is on the host."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from shlex import quote
from typing import Any

from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

from mlflow_stack.domain import layout
from mlflow_stack.domain.database import as_tracking_user, revision_query
from mlflow_stack.domain.permissions import KEY_FILE
from mlflow_stack.domain.tracking_server import TrackingServer


@dataclass(frozen=True)
class SchemaState:
    """`revision` of the database, None when it has no MLflow tables; `known`: this MLflow has it among its migrations;
    `error`: why it can't be read, "" when it can. `dump`: in words what to restore after an upgrade which has begun and
    not ended, "" for nothing (on_host/schema.py)."""

    revision: str | None = None
    error: str = "its state can't be read"
    known: bool = True
    dump: str = ""


class Schema(FactBase[SchemaState]):
    """The schema revision of a tracking database, as the tracking server's own user sees it."""

    default = SchemaState

    def command(self, python: str, uri: str, passfile: str) -> StringCommand:
        program = f"{quote(python)} -I {layout.LIBEXEC_DIR}/schema.py revision {quote(uri)}"
        return StringCommand(
            f"if [ -x {quote(python)} ]; then {as_tracking_user(program, passfile)}; "
            f"else {as_tracking_user(revision_query(uri, passfile), passfile)}; fi 2>/dev/null || true"
        )

    def process(self, output: list[str]) -> SchemaState:
        answer = json.loads(output[-1])
        begun = answer.get("begun")
        dump = begun[1] if begun else ""
        # What the first upgrade of an empty database has made so far is made anew.
        revision = None if begun and not dump else answer.get("revision")
        return SchemaState(revision, answer.get("error", ""), answer.get("known", True), dump)


@dataclass(frozen=True)
class PermissionsState:
    """`revision` of MLflow's tables for accounts and permissions, None when they are not there; `known` as above.
    `differences` from what is wanted, and what is `waiting` for something that is not there yet, in sentences; `error`:
    why they can't be read, "" when they can."""

    revision: str | None = None
    error: str = "their state can't be read"
    known: bool = True
    differences: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


class Permissions(FactBase[PermissionsState]):
    """What differs from the wanted accounts and permissions (on_host/permissions.py), by the key that the host has."""

    default = PermissionsState

    def command(self, python: str, uri: str, passfile: str, wanted: str) -> StringCommand:
        program = f"{quote(python)} -I {layout.LIBEXEC_DIR}/permissions.py differences {quote(uri)} {quote(wanted)}"
        asked = f"{as_tracking_user(program, passfile)} < {KEY_FILE}"
        return StringCommand(f"if [ -x {quote(python)} ] && [ -f {KEY_FILE} ]; then {asked}; fi 2>/dev/null || true")

    def process(self, output: list[str]) -> PermissionsState:
        answer = json.loads(output[-1])
        return PermissionsState(
            answer.get("revision"),
            answer.get("error", ""),
            answer.get("known", True),
            tuple(answer.get("differences", ())),
            tuple(answer.get("waiting", ())),
        )


class Models(FactBase[dict[str, Any]]):
    """What each wanted model resolves to in the registry, and which release of it is served (on_host/models.py)."""

    default = dict

    def command(self, python: str, server: TrackingServer, wanted: str) -> StringCommand:
        # The program is sent along, and the distribution's Python serves as well, so that a plan of a fresh host can
        # ask a registry that is there already.
        program = resources.files("mlflow_stack.on_host").joinpath("models.py").read_text()
        arguments = f"{quote(server.uri)} {layout.MODELS_DIR} {quote(wanted)} {server.arguments}".rstrip()
        return StringCommand(
            # One of an installation that was interrupted is there, and does not run.
            f"python={quote(python)}; $python -c '' 2>/dev/null || python=$(command -v python3) || exit 0\n"
            f"$python -I - {arguments} <<'END OF models.py' || true\n{program}\nEND OF models.py"
        )

    def process(self, output: list[str]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads("\n".join(output))
        return answer
