"""Checks the whole inventory before any host is touched, and says everything that is wrong in one message.

The only module that reads host.data and group_data.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pyinfra.api.arguments import all_global_arguments
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from mlflow_stack import proxy_check, stacks
from mlflow_stack.domain.listening import UNIX
from mlflow_stack.setting_types import without_password
from mlflow_stack.settings import ROLES, WITHOUT_HOSTS, Settings, role_models, setting_names, split_by_role

_lock = threading.Lock()
_loaded: dict[State, dict[str, Settings]] = {}


@dataclass(frozen=True)
class HostEntry:
    """One host of an inventory: its address, its groups, its data, and the data keys that belong to pyinfra.

    Of its data, `group_data` is what each of its groups gives and `host_keys` names what is given beside the host or
    on the command line; the rest is from group_data/all.py.
    """

    name: str
    address: str
    groups: tuple[str, ...]
    data: Mapping[str, Any]
    foreign_keys: frozenset[str] = frozenset()
    group_data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    host_keys: frozenset[str] = frozenset()


def load(host: Host) -> Settings:
    """Return the settings of a host; the first call checks every host of the inventory.

    Raises DeployError that lists every problem of every host. deploy.py calls this first, on each host, before it
    declares anything, so a bad setting stops the whole run with no host changed.
    """
    with _lock:  # pyinfra loads deploy.py for all hosts at once
        if host.state not in _loaded:
            _loaded[host.state] = _check_state(host.state)
    return _loaded[host.state][host.name]


def _check_state(state: State) -> dict[str, Settings]:
    groups = [name for name, hosts in state.inventory.groups.items() if hosts]
    checked = check_inventory(
        _entries(state), _empty_groups(state), misspelt_groups(state.inventory.group_data, groups)
    )
    in_limit = {host.name for host in state.inventory if state.is_host_in_limit(host)}
    if problems := stacks.partial_upgrades(checked, in_limit):
        by_sentence: dict[str, list[str]] = {}
        for problem, names in problems:
            by_sentence.setdefault(problem, []).extend(names)
        raise DeployError(_report(by_sentence, list(checked)))
    return checked


def check_inventory(
    entries: Iterable[HostEntry], empty_groups: Iterable[str] = (), group_problems: Iterable[str] = ()
) -> dict[str, Settings]:
    """Return the settings of each host by name; raise DeployError with all problems."""
    entries = list(entries)
    problems: dict[str, list[str]] = {problem: [] for problem in group_problems}
    checked: dict[str, Settings] = {}
    for group in empty_groups:
        problems[f"group {group!r} has no hosts; list them in the inventory, or remove the group"] = []
    for entry in entries:
        found, wrong = _check_host(entry)
        for problem in wrong:
            problems.setdefault(problem, []).append(entry.name)
        if found:
            checked[entry.name] = found
    for name, settings in checked.items():
        own_problems = (_shared_ports, _unlisted_ports, _unlocked_addons, proxy_check.problems)
        for problem in (each for find in own_problems for each in find(settings)):
            problems.setdefault(problem, []).append(name)
    if len(checked) == len(entries):  # what one host needs of another can be judged only when all of them are known
        own = {entry.name: entry.host_keys.union(*entry.group_data.values()) for entry in entries}
        members = {name: stacks.Member(settings, own[name]) for name, settings in checked.items()}
        checked, contradictions = stacks.complete(members)
        for problem, names in contradictions:
            problems.setdefault(problem, []).extend(names)
    if problems:
        raise DeployError(_report(problems, [entry.name for entry in entries]))
    return checked


def _check_host(entry: HostEntry) -> tuple[Settings | None, list[str]]:
    problems = unknown_settings(entry.data, entry.foreign_keys) + _group_conflicts(entry)
    if not set(entry.groups) & set(ROLES):
        problems.append(f"in no group of a role; put it into one of {', '.join(ROLES)} in the inventory")
    given = {name: part for name, part in split_by_role(dict(entry.data)).items() if name not in WITHOUT_HOSTS}
    try:
        settings = Settings(
            **given,  # type: ignore[arg-type]  # pydantic checks it, that is the point
            host_name=entry.name,
            host_address=entry.address,
            groups=entry.groups,
        )
    except ValidationError as error:
        return None, problems + problems_of(error)
    return settings, problems


def problems_of(error: ValidationError) -> list[str]:
    """Return what is wrong with the settings of roles, a sentence each."""
    details = error.errors()
    absent = [detail for detail in details if detail["type"] == "missing" and len(detail["loc"]) == 2]
    return _absent(absent) + [_describe(detail) for detail in details if detail not in absent]


def unknown_settings(data: Collection[str], foreign_keys: frozenset[str] = frozenset()) -> list[str]:
    """Return a sentence for each name that is neither a setting's nor one of `foreign_keys`."""
    known = setting_names()
    problems = []
    for key in sorted(set(data) - set(known) - foreign_keys):
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
        known = _entry_keys(str(role), str(path[0]))
        near = difflib.get_close_matches(str(path[-1]), known, n=1)
        return f"{name}: unknown setting; " + (f"did you mean {near[0]!r}?" if near else f"expected {', '.join(known)}")
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "model_type":
        message = f"expected a dictionary with the keys {', '.join(_entry_keys(str(role), str(path[0])))}"
    message = message[0].lower() + message[1:]
    hidden = _may_hold_a_secret(name) or repr(detail["input"]) in message
    found = "" if hidden else f"; found {detail['input']!r}"
    return f"{name}: {message}{without_password(found)}"


def _entry_keys(role: str, field: str) -> list[str]:
    """Return the keys of each entry of a setting that is a dictionary of entries, as production_models."""
    _, entry = get_args(role_models()[role].model_fields[field].annotation)
    return list(entry.model_fields)


def _may_hold_a_secret(text: str) -> bool:
    """Return whether a setting, by its name or its value, is where somebody may have written a secret itself."""
    return any(word in text for word in ("password", "credentials", "users", "proxy_tls_key"))


def _shared_ports(settings: Settings) -> list[str]:
    return [
        f"port {port} is claimed twice, by {' and '.join(names)}; give each its own"
        for port, names in settings.ports().items()
        if len(names) > 1
    ]


def _unlisted_ports(settings: Settings) -> list[str]:
    if "production" not in settings.groups or settings.production_bind == UNIX:
        return []
    return [
        f"production_models[{name!r}]['port']: required, but not given; a model needs none only on a Unix socket, "
        "behind a proxy"
        for name, model in settings.production.models.items()
        if not model.port
    ]


def _unlocked_addons(settings: Settings) -> list[str]:
    return [
        f"conda_python is {settings.conda.python!r}, and there is no locks/{name}, which the MLflow environment needs "
        "beside its own; run `make lock`"
        for name in settings.conda.unlocked(settings.addons)
    ]


def _group_conflicts(entry: HostEntry) -> list[str]:
    """Return the settings that two groups of a host give it differently: the order of the inventory would decide."""
    problems = []
    for key in sorted({key for data in entry.group_data.values() for key in data} - entry.host_keys):
        given = [(group, data[key]) for group, data in entry.group_data.items() if key in data]
        (first, value), (last, other) = given[0], given[-1]
        if any(value != one for _, one in given):
            hidden = _may_hold_a_secret(f"{key} {value} {other}")
            shown = "" if hidden else f": {value!r} in {first}, {other!r} in {last}"
            problems.append(
                f"{key} is given differently by two groups of this host{shown}; give it in one of them, or beside the "
                "host in the inventory"
            )
    return problems


def misspelt_groups(data: Mapping[str, Mapping[str, Any]], groups: Collection[str]) -> list[str]:
    """Return the files of group_data/ that no host reads, when the name is nearly that of a group.

    `data` by the name of its file. Files for groups of other inventories are left alone: they are near to no group of
    this one, or to one that has a file of its own.
    """
    problems = []
    for name in sorted(set(data) - set(groups) - {*ROLES, "all"}):
        without_data = [group for group in groups if not data.get(group)]
        near = difflib.get_close_matches(name, [*ROLES, "all", *without_data], n=1, cutoff=0.86)
        if near:
            problems.append(
                f"group_data/{name}.py is read for no host: there is no group {name!r} in the inventory; did you mean "
                f"{near[0]}?"
            )
    return problems


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
    inventory = state.inventory
    for host in inventory:
        data: dict[str, Any] = host.data.dict()  # type: ignore[no-untyped-call]  # pyinfra's own
        connector_keys = set(getattr(host.connector.data_cls, "__annotations__", {}))
        address = str(data.get("ssh_hostname") or host.name)
        foreign = frozenset(pyinfra_arguments | connector_keys)
        group_data = {name: inventory.group_data.get(name, {}) for name in host.groups}
        own = frozenset({*inventory.host_data[host.name], *inventory.override_data})
        entries.append(HostEntry(host.name, address, tuple(host.groups), data, foreign, group_data, own))
    return entries


def _empty_groups(state: State) -> list[str]:
    # pyinfra forgets a group without hosts, but not that there was data for it.
    inventory = state.inventory
    return [role for role in ROLES if role in inventory.group_data and not inventory.groups.get(role)]
