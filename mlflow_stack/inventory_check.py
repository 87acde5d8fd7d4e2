"""Checks the whole inventory before any host is touched, and says everything that is wrong in one message."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pyinfra.api.arguments import all_global_arguments
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from mlflow_stack.setting_types import without_password
from mlflow_stack.settings import ROLES, ModelSettings, Settings, setting_names, split_by_role

_LOOPBACK = ("127.0.0.1", "::1")
_lock = threading.Lock()
_loaded: dict[int, dict[str, Settings]] = {}


@dataclass(frozen=True)
class HostEntry:
    """One host of an inventory: its address, its groups, its data, and the data keys that belong to pyinfra."""

    name: str
    address: str
    groups: tuple[str, ...]
    data: Mapping[str, Any]
    foreign_keys: frozenset[str] = frozenset()


def load(host: Host) -> Settings:
    """Return the settings of a host; the first call checks every host of the inventory.

    Raises DeployError that lists every problem of every host. deploy.py calls this first, on each host, before it
    declares anything, so a bad setting stops the whole run with no host changed.
    """
    with _lock:  # pyinfra loads deploy.py for all hosts at once
        if id(host.state) not in _loaded:
            _loaded[id(host.state)] = check_inventory(_entries(host.state), _empty_groups(host.state))
    return _loaded[id(host.state)][host.name]


def check_inventory(entries: Iterable[HostEntry], empty_groups: Iterable[str] = ()) -> dict[str, Settings]:
    """Return the settings of each host by name; raise DeployError with all problems."""
    entries = list(entries)
    problems: dict[str, list[str]] = {}
    checked: dict[str, Settings] = {}
    for group in empty_groups:
        problems[f"group {group!r} has no hosts; list them in the inventory, or remove the group"] = []
    for entry in entries:
        found, wrong = _check_host(entry, entries)
        for problem in wrong:
            problems.setdefault(problem, []).append(entry.name)
        if found:
            checked[entry.name] = found
    for name, settings in checked.items():
        server = next((other for other in checked.values() if "tracking" in other.groups), None)
        if server:  # the name that it answers to, not merely an address of its host
            checked[name] = settings.model_copy(update={"tracking_host": server.tracking_public_name})
    for name, settings in checked.items():
        # What one host needs of another can be judged only when all of them are known.
        needs = _contradictions(settings, checked) if len(checked) == len(entries) else []
        for problem in _shared_ports(settings) + needs:
            problems.setdefault(problem, []).append(name)
    if problems:
        raise DeployError(_report(problems, [entry.name for entry in entries]))
    return checked


def _check_host(entry: HostEntry, entries: list[HostEntry]) -> tuple[Settings | None, list[str]]:
    problems = _unknown_settings(entry)
    if not set(entry.groups) & set(ROLES):
        problems.append(f"in no group of a role; put it into one of {', '.join(ROLES)} in the inventory")
    try:
        settings = Settings(
            **split_by_role(dict(entry.data)),  # type: ignore[arg-type]  # pydantic checks it, that is the point
            host_address=entry.address,
            groups=entry.groups,
            postgresql_host=_address_of("postgresql", entries, "postgresql_address"),
            tracking_host=_address_of("tracking", entries, "tracking_public_name"),
        )
    except ValidationError as error:
        details = error.errors()
        absent = [detail for detail in details if detail["type"] == "missing" and len(detail["loc"]) == 2]
        return None, problems + _absent(absent) + [_describe(detail) for detail in details if detail not in absent]
    return settings, problems


def _address_of(role: str, entries: list[HostEntry], setting: str) -> str | None:
    for entry in entries:
        if role in entry.groups:
            return str(entry.data.get(setting) or entry.address)
    return None


def _unknown_settings(entry: HostEntry) -> list[str]:
    known = setting_names()
    problems = []
    for key in sorted(set(entry.data) - set(known) - entry.foreign_keys):
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}?" if near else "docs/settings.md lists them; name data of your own custom_…"
        if near or not key.startswith("custom_"):
            problems.append(f"{key}: unknown setting; {hint}")
    return problems


def _absent(details: list[ErrorDetails]) -> list[str]:
    """Return one problem for all settings that have no value: that is group_data/ not being read."""
    if not details:
        return []
    first = "_".join(str(part) for part in details[0]["loc"])
    more = f" and {len(details) - 1} more" if len(details) > 1 else ""
    return [f"{first}{more}: required, but not set; run pyinfra in the directory that holds group_data/all.py"]


def _describe(detail: ErrorDetails) -> str:
    role, *path = detail["loc"]
    if not path and detail["type"] == "value_error":  # a model validator, which names its settings itself
        return detail["msg"].removeprefix("Value error, ")
    name = f"{role}_{path[0]}" + "".join(f"[{part!r}]" for part in path[1:] if part != "[key]")
    if detail["type"] == "missing":
        return f"{name}: required, but not given"
    if detail["type"] == "extra_forbidden":
        known = list(ModelSettings.model_fields)
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        return f"{name}: unknown setting; " + (f"did you mean {near[0]!r}?" if near else f"expected {', '.join(known)}")
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "model_type":
        message = f"expected a dictionary with the keys {', '.join(ModelSettings.model_fields)}"
    message = message[0].lower() + message[1:]
    found = "" if str(path[0]) == "password" or repr(detail["input"]) in message else f"; found {detail['input']!r}"
    return f"{name}: {message}{without_password(found)}"


def _shared_ports(settings: Settings) -> list[str]:
    return [
        f"port {port} is claimed twice, by {' and '.join(names)}; give each its own"
        for port, names in settings.ports().items()
        if len(names) > 1
    ]


def _contradictions(settings: Settings, hosts: Mapping[str, Settings]) -> list[str]:
    """Return what is wrong between settings that are each right by themselves."""
    problems = []
    if "tracking" in settings.groups:
        problems += _database_contradictions(settings, hosts)
    if "production" in settings.groups and not settings.production.tracking_uri and "tracking" not in settings.groups:
        problems += _registry_contradictions(settings, hosts)
    return problems


def _database_contradictions(settings: Settings, hosts: Mapping[str, Settings]) -> list[str]:
    if settings.tracking.database_uri or "postgresql" in settings.groups:
        return []
    servers = [other for other in hosts.values() if "postgresql" in other.groups]
    if not servers:
        return ["the group tracking needs a database: add a group postgresql, or set tracking_database_uri"]
    if problem := _difference(settings, servers[0], "postgresql", ("port", "database", "role", "password")):
        return [problem]
    if not servers[0].postgresql.client_networks:
        return ["the database is on another host, but postgresql_client_networks is empty; add this host's network"]
    return []


def _registry_contradictions(settings: Settings, hosts: Mapping[str, Settings]) -> list[str]:
    if not settings.production.models:
        return []
    servers = [other for other in hosts.values() if "tracking" in other.groups]
    if not servers:
        return ["production_models need a tracking server: add a group tracking, or set production_tracking_uri"]
    if problem := _difference(settings, servers[0], "tracking", ("port",)):
        return [problem]
    if servers[0].tracking.bind in _LOOPBACK:
        return [
            f"the tracking server is on another host, but tracking_bind is {servers[0].tracking.bind!r} there; "
            "set it to an address that this host can reach"
        ]
    return []


def _difference(settings: Settings, server: Settings, role: str, fields: tuple[str, ...]) -> str:
    """Return which setting of a role this host and the role's own host have differently, if any."""
    here, there = getattr(settings, role), getattr(server, role)
    for field in fields:
        if getattr(here, field) != getattr(there, field):
            shown = "" if field == "password" else f": {getattr(here, field)!r} here, {getattr(there, field)!r} there"
            return (
                f"{role}_{field} differs from that of the host of the group {role}{shown}; set it in group_data/all.py"
            )
    return ""


def _report(problems: Mapping[str, list[str]], names: list[str]) -> str:
    lines = []
    for problem, hosts in problems.items():
        where = "" if not hosts else "all hosts: " if len(hosts) == len(names) > 1 else f"{', '.join(hosts)}: "
        lines.append(f"  {where}{problem}")
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return "\n".join([f"{count} in the inventory and its settings; no host was changed", *lines])


def _entries(state: State) -> list[HostEntry]:
    pyinfra_arguments = {name for name, _ in all_global_arguments()}
    entries = []
    for host in state.inventory:
        data: dict[str, Any] = host.data.dict()  # type: ignore[no-untyped-call]  # pyinfra's own
        connector_keys = set(getattr(host.connector.data_cls, "__annotations__", {}))
        address = str(data.get("ssh_hostname") or host.name)
        foreign = frozenset(pyinfra_arguments | connector_keys)
        entries.append(HostEntry(host.name, address, tuple(host.groups), data, foreign))
    return entries


def _empty_groups(state: State) -> list[str]:
    # pyinfra forgets a group without hosts, but not that there was data for it.
    inventory = state.inventory
    return [role for role in ROLES if role in inventory.group_data and not inventory.groups.get(role)]
