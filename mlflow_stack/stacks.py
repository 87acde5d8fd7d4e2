"""Stacks: which hosts belong together, what each takes from the others, and what contradicts between them.

A stack is one database, the tracking servers on it behind one address, and the models served from it. What one host
needs of another is never written twice: it is taken from the settings of the host that has it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from mlflow_stack.domain.listening import is_address, is_local, is_loopback
from mlflow_stack.settings import ROLES, Settings

# What other hosts take from the host of a role.
TAKEN = {"postgresql": ("port", "database", "role", "password"), "tracking": ("port", "public_name")}
# What the tracking servers of one stack must have alike: to their users they are one.
ALIKE = {
    "tracking": (
        *("port", "public_name", "database_uri", "database_password", "database_ca_file", "upgrade_database"),
        *("permissions", "admins", "experiment_permissions", "model_permissions"),
    ),
    "tracking_artifacts": (
        *("destination", "shared", "endpoint", "region", "access_key_id", "credentials", "ca_file"),
    ),
}

# A problem: its sentence, and the hosts that it is found on (none when the sentence names them).
Problem = tuple[str, list[str]]


@dataclass(frozen=True)
class Member:
    """A host's settings as they are given, and the names of those that are given for it in particular.

    `own` leaves out what stands in group_data/all.py: only a value that somebody chose for this host can contradict
    another host's.
    """

    settings: Settings
    own: frozenset[str] = frozenset()


def complete(members: Mapping[str, Member]) -> tuple[dict[str, Settings], list[Problem]]:
    """Return the settings of all hosts, each with what it takes from its stack, and every contradiction."""
    completed: dict[str, Settings] = {}
    problems: list[Problem] = []
    for hosts in _stacks(members):
        stack = _Stack(hosts)
        completed |= {name: stack.complete(member.settings) for name, member in hosts.items()}
        problems += stack.problems()
    return {name: completed[name] for name in members}, problems


def partial_upgrades(hosts: Mapping[str, Settings], in_limit: Collection[str]) -> list[Problem]:
    """Return what is wrong with a run that may upgrade a database while servers on it are left out by --limit."""
    problems: list[Problem] = []
    for name, settings in hosts.items():
        left_out = [other for other in settings.stack_hosts["tracking"] if other not in in_limit]
        if name in in_limit and "tracking" in settings.groups and settings.tracking.upgrade_database and left_out:
            problem = (
                f"tracking_upgrade_database lets this run upgrade the database under {', '.join(left_out)}, which "
                "--limit leaves out; run without --limit, or set it to False"
            )
            problems.append((problem, [name]))
    return problems


def _stacks(members: Mapping[str, Member]) -> Iterator[Mapping[str, Member]]:
    """Yield the hosts of each stack. Hosts that name none and each have all it needs are stacks of their own."""
    by_name: dict[str, dict[str, Member]] = {}
    for name, member in members.items():
        by_name.setdefault(member.settings.inventory.stack, {})[name] = member
    for stack, hosts in by_name.items():
        if not stack and all({"postgresql", "tracking"} <= set(host.settings.groups) for host in hosts.values()):
            yield from ({name: member} for name, member in hosts.items())
        else:
            yield hosts


class _Stack:
    def __init__(self, members: Mapping[str, Member]) -> None:
        self.members = members
        self.databases, self.servers = self._of("postgresql"), self._of("tracking")
        # The tracking servers that reach the database of this stack over the network.
        self.clients = [
            host for host in self.servers if "postgresql" not in host.groups and not host.tracking.database_uri
        ]

    def _of(self, role: str) -> list[Settings]:
        return [member.settings for member in self.members.values() if role in member.settings.groups]

    # --- what a host takes from the others ----------------------------------------------------------------------

    def complete(self, settings: Settings) -> Settings:
        """Return a host's settings with those of the database and the tracking server that it uses."""
        taken: dict[str, object] = {
            "stack_hosts": {role: tuple(host.host_name for host in self._of(role)) for role in ROLES}
        }
        if self.databases:
            database = self.databases[0]
            taken["postgresql"] = settings.postgresql if "postgresql" in settings.groups else database.postgresql
            taken["postgresql_host"] = database.postgresql.address or database.host_address
            taken["postgresql_certificates"] = {database.host_name: database.postgresql_certificate}
        if "postgresql" in settings.groups and not settings.postgresql.client_networks:
            taken["postgresql"] = settings.postgresql.model_copy(update={"client_networks": self._client_networks()})
        if self.servers:
            server = self.servers[0]
            taken["tracking"] = settings.tracking if "tracking" in settings.groups else server.tracking
            taken["tracking_host"] = server.tracking_public_name
            taken["tracking_proxy_url"] = server.proxy_url if server.has_proxy else ""
            taken["tracking_certificates"] = {
                host.host_name: host.proxy_certificate
                for host in self.servers
                if host.has_proxy and host.proxy.tls == "self-signed"
            }
        return settings.model_copy(update=taken)

    def _client_networks(self) -> list[str]:
        return [str(ipaddress.ip_network(host.host_address)) for host in self.clients if _is_address(host.host_address)]

    # --- what contradicts ---------------------------------------------------------------------------------------

    def problems(self) -> list[Problem]:
        return [
            *self._database_problems(),
            *self._server_problems(),
            *self._registry_problems(),
            *self._taken_problems("postgresql", self.databases),
            *self._taken_problems("tracking", self.servers),
        ]

    def _database_problems(self) -> Iterator[Problem]:
        if len(self.databases) > 1:
            yield (
                f"{_names(self.databases)} are in the group postgresql of one stack, which has one database; give "
                "independent stacks names with inventory_stack, or take all but one out of the group",
                [],
            )
        if self.clients and not self.databases:
            yield (
                "the group tracking needs a database: add a group postgresql, or set tracking_database_uri",
                [host.host_name for host in self.clients],
            )
        elif self.databases and self.clients:
            yield from self._address_problems(self.databases[0])
        if not self.databases:
            yield from self._unused_passwords()

    def _address_problems(self, database: Settings) -> Iterator[Problem]:
        if not database.postgresql.address and is_loopback(database.host_address):
            yield (
                f"postgresql_address is empty, and {database.host_name} has an address for this computer alone "
                f"({database.host_address}); set it to the one that the tracking hosts reach it by",
                [database.host_name],
            )
        for host in self.clients if not database.postgresql.client_networks else []:
            if not _is_address(host.host_address):
                has = (
                    "an address for this computer alone" if is_loopback(host.host_address) else "a name for an address"
                )
                yield (
                    f"postgresql_client_networks is empty, and {host.host_name} has {has} ({host.host_address}); set "
                    f"it to the network that {host.host_name} connects from",
                    [database.host_name],
                )

    def _unused_passwords(self) -> Iterator[Problem]:
        for host in self.servers:
            given = host.postgresql.password != "generated"  # noqa: S105  # the default reference
            if host.tracking.database_uri and given and not host.tracking.database_password:
                yield (
                    "postgresql_password is for a database that MLflow Stack sets up; the one for "
                    "tracking_database_uri is tracking_database_password",
                    [host.host_name],
                )

    def _server_problems(self) -> Iterator[Problem]:
        if len(self.servers) < 2:
            return
        first, names = self.servers[0], _names(self.servers)
        for role, field in ((role, field) for role, fields in ALIKE.items() for field in fields):
            other = next((host for host in self.servers if _differ(host, first, role, field)), None)
            if other:
                yield (
                    f"{_found(other, first, role, field)}; the tracking servers of one stack need the same: set "
                    "it in group_data/tracking.py",
                    [],
                )
        if not first.tracking.public_name:
            yield (
                f"{names} are one tracking server to their users, but tracking_public_name is empty; set it to the "
                "name of their load balancer",
                [],
            )
        if first.artifact_directory and not first.tracking_artifacts.shared:
            yield (
                f"{names} are one tracking server to their users, but each keeps artifacts of its own in "
                f"{first.artifact_directory}; set tracking_artifacts_destination to an object store, or mount one "
                "network file system there on all of them and set tracking_artifacts_shared = True",
                [],
            )
        if any(host.uses_acme for host in self.servers):
            yield (
                f"proxy_tls is 'acme', and {names} have one name: an ACME server would ask one of them for what "
                "another shows; set it to 'files', with a certificate for all of them",
                [],
            )
        for host in self.servers:
            if is_local(host.tracking_bind) and not host.has_proxy:
                yield (
                    f"tracking_bind is {host.tracking_bind!r}, where no load balancer reaches the server; set it to "
                    "the host's address",
                    [host.host_name],
                )

    def _registry_problems(self) -> Iterator[Problem]:
        for host in self._of("production"):
            if host.production.tracking_uri or "tracking" in host.groups or not host.production.models:
                continue
            if not self.servers:
                yield (
                    "production_models need a tracking server: add a group tracking, or set production_tracking_uri",
                    [host.host_name],
                )
            elif self.servers[0].has_proxy and is_local(self.servers[0].proxy.bind):
                yield (
                    f"the tracking server is on another host, but proxy_bind is {self.servers[0].proxy.bind!r} there; "
                    "set it to an address that this host can reach",
                    [host.host_name],
                )
            elif len(self.servers) == 1 and not self.servers[0].has_proxy and is_local(self.servers[0].tracking_bind):
                yield (
                    f"the tracking server is on another host, but tracking_bind is {self.servers[0].tracking_bind!r} "
                    "there; set it to an address that this host can reach",
                    [host.host_name],
                )
            elif not self.servers[0].tracking.public_name and is_loopback(self.servers[0].tracking_public_name):
                yield (
                    f"tracking_public_name is empty on {self.servers[0].host_name}, which has an address for this "
                    f"computer alone ({self.servers[0].tracking_public_name}); set it there to the name that this host "
                    "reaches it by",
                    [host.host_name],
                )

    def _taken_problems(self, role: str, owners: list[Settings]) -> Iterator[Problem]:
        """Yield what was set for a host in particular, though it is taken from the host of the role."""
        for name, member in self.members.items():
            if not owners or role in member.settings.groups:
                continue
            for field in TAKEN[role]:
                if f"{role}_{field}" in member.own and _differ(member.settings, owners[0], role, field):
                    yield (
                        f"{_found(member.settings, owners[0], role, field)}; {name} takes it from "
                        f"{owners[0].host_name}, the host of the group {role}: set it there alone",
                        [],
                    )


def _is_address(name: str) -> bool:
    """Return whether this is an address that other hosts know a host by."""
    return is_address(name) and not is_loopback(name)


def _differ(one: Settings, other: Settings, role: str, field: str) -> bool:
    return bool(getattr(getattr(one, role), field) != getattr(getattr(other, role), field))


def _found(one: Settings, other: Settings, role: str, field: str) -> str:
    """Return the words for a setting that two hosts have differently; a reference to a secret is not shown."""
    here, there = getattr(getattr(one, role), field), getattr(getattr(other, role), field)
    if "password" in field or "credentials" in field:
        return f"{role}_{field} is not the same on {one.host_name} and {other.host_name}"
    return f"{role}_{field} is {here!r} on {one.host_name} and {there!r} on {other.host_name}"


def _names(hosts: list[Settings]) -> str:
    names = [host.host_name for host in hosts]
    return f"{', '.join(names[:-1])} and {names[-1]}"
