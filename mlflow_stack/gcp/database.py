"""The Cloud SQL instance, its database and its user, whose password is in Secret Manager and nowhere else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Difference, Field, Step, at, changed, flags_of
from mlflow_stack.gcp.survey import Found, is_stopped
from mlflow_stack.gcp_settings import DATABASE, DATABASE_USER, LABEL, GcpSettings


def _fixed(settings: GcpSettings) -> list[Field]:
    """Return what an instance is made with and keeps."""
    return [
        Field("gcp_region", "region", settings.region, (f"--region={settings.region}",)),
        Field(
            "gcp_database_version",
            "databaseVersion",
            settings.database_version,
            (f"--database-version={settings.database_version}",),
        ),
    ]


def _fields(settings: GcpSettings, there: Any) -> list[Field]:
    availability = "REGIONAL" if settings.database_highly_available else "ZONAL"
    # It grows by itself, and never shrinks.
    disk_gb = max(settings.database_disk_gb, int(at(there, "settings.dataDiskSizeGb") or 0))
    logs = ("binaryLogEnabled", "--enable-bin-log")
    if not settings.is_mysql:
        logs = ("pointInTimeRecoveryEnabled", "--enable-point-in-time-recovery")
    edition = settings.database_edition
    return [
        Field("running", "settings.activationPolicy", "ALWAYS", ("--activation-policy=always",)),
        Field("edition", "settings.edition", edition, (f"--edition={edition.lower().replace('_', '-')}",)),
        Field("tier", "settings.tier", settings.database_tier, (f"--tier={settings.database_tier}",)),
        Field("disk, GB", "settings.dataDiskSizeGb", str(disk_gb), (f"--storage-size={disk_gb}GB",)),
        Field("availability", "settings.availabilityType", availability, (f"--availability-type={availability}",)),
        Field("nightly backup", "settings.backupConfiguration.enabled", True, ("--backup-start-time=02:00",)),
        Field("point-in-time recovery", f"settings.backupConfiguration.{logs[0]}", True, (logs[1],)),
        Field("protection from deletion", "settings.deletionProtectionEnabled", True, ("--deletion-protection",)),
        # An address that connectors find it by (Cloud Run's own is one); no network is let in directly.
        Field("public address", "settings.ipConfiguration.ipv4Enabled", True, ("--assign-ip",)),
        Field("TLS", "settings.ipConfiguration.sslMode", "ENCRYPTED_ONLY", ("--ssl-mode=ENCRYPTED_ONLY",)),
        *_private_network(settings, there),
        *_flags(settings, there),
    ]


def _private_network(settings: GcpSettings, there: Any) -> list[Field]:
    """Return the network that machines reach the instance by; the API gives it with an address before it or without."""
    if not settings.machines:
        return []
    path, wanted = "settings.ipConfiguration.privateNetwork", f"projects/{settings.project}/global/networks/"
    wanted += settings.network
    found = str(at(there, path) or "")
    return [Field("private network", path, found if found.endswith(wanted) else wanted, (f"--network={wanted}",))]


def _flags(settings: GcpSettings, there: Any) -> list[Field]:
    """Return what lets MLflow make the trigger of its schema, although MySQL keeps a binary log. Other flags stay."""
    if not settings.is_mysql:
        return []
    path, ours = "settings.databaseFlags", {"name": "log_bin_trust_function_creators", "value": "on"}
    found = at(there, path) or []
    wanted = found if ours in found else [*(each for each in found if each["name"] != ours["name"]), ours]
    flag = "|".join(f"{each['name']}={each['value']}" for each in wanted)
    # A value may hold a comma (`gcloud topic escaping`).
    return [Field("flags", path, wanted, (f"--database-flags={'^|^' if '|' in flag else ''}{flag}",))]


def problems(settings: GcpSettings, found: Found) -> Iterator[str]:
    """Yield why an instance that is there can't be used."""
    there = found.thing("instances", settings.name)
    for field in changed(_fixed(settings), there) if there else ():
        yield (
            f"{field.name}: Cloud SQL instance {settings.name} has {field.found(there)}, and {field.wanted} is "
            "declared; that can't be changed in place: declare what it has, or choose another gcp_name"
        )


def instance(settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure the instance and the database in it."""
    there = found.thing("instances", settings.name)
    fields = _fields(settings, there)
    if not there:
        # gcloud's stable track takes no labels here. The administrator's password is nobody's: it is set, since
        # MySQL's would be empty, and forgotten. `gcloud sql users set-password` gives another one.
        create = ("beta", "sql", "instances", "create", settings.name, *flags_of([*_fixed(settings), *fields]))
        flags = {"--root-password": secrets.token_urlsafe(32)}
        command = Command((*create, f"--labels={LABEL}={settings.name}", "--flags-file=-"), json.dumps(flags), True)
        differences = tuple(field.difference() for field in [*_fixed(settings), *fields])
        yield Step("create", f"Cloud SQL instance {settings.name}", (command,), differences)
    elif wrong := changed(fields, there):
        command = Command(("sql", "instances", "patch", settings.name, *flags_of(wrong)))
        differences = tuple(field.difference(there) for field in wrong)
        yield Step("change", f"Cloud SQL instance {settings.name}", (command,), differences)
    if not has_database(settings, found):
        charset = "utf8mb4" if settings.is_mysql else "UTF8"
        create = ("sql", "databases", "create", DATABASE, f"--instance={settings.name}", f"--charset={charset}")
        yield Step("create", f"database {DATABASE}", (Command(create),), (Difference("character set", charset),))


def has_user(settings: GcpSettings, found: Found) -> bool:
    """Return whether the user is there. One that is stopped can't be asked: it is stopped only when it was whole."""
    return is_stopped(settings, found) or found.thing("users", DATABASE_USER) is not None


def has_database(settings: GcpSettings, found: Found) -> bool:
    """Return whether the database is there, in the same way."""
    return is_stopped(settings, found) or found.thing("databases", DATABASE) is not None


def new_user(settings: GcpSettings, password: str) -> Step:
    """Return the step that makes the user."""
    return _user("create", "create", settings, password)


def changed_user(settings: GcpSettings, password: str) -> Step:
    """Return the step that gives the user another password."""
    return _user("change", "set-password", settings, password)


def _user(verb: str, command: str, settings: GcpSettings, password: str) -> Step:
    arguments = ("sql", "users", command, DATABASE_USER, f"--instance={settings.name}", "--flags-file=-")
    flags = {"--password": password, **({"--host": "%"} if settings.is_mysql else {})}
    difference = Difference("password", f"the one of secret {settings.password_secret}")
    return Step(verb, f"database user {DATABASE_USER}", (Command(arguments, json.dumps(flags), True),), (difference,))


def backup(settings: GcpSettings) -> Step:
    """Return the step that keeps the database as it is, before its schema is changed, which can't be undone."""
    command = ("sql", "backups", "create", f"--instance={settings.name}", "--description=before a migration")
    return Step("back up", f"Cloud SQL instance {settings.name}", (Command(command),))
