"""The settings of one host, typed, and what follows from them.

The models carry types and limits and no defaults; the defaults and what each setting means stand in group_data/all.py
(tests/unit/test_settings.py: both name the same settings).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mlflow_stack.domain import layout
from mlflow_stack.setting_types import (
    REPOSITORY,
    AbsolutePath,
    HostName,
    HttpUrl,
    IndexUrl,
    IpAddress,
    ModelName,
    OptionalHttpUrl,
    PgName,
    Port,
    Positive,
    StackName,
    artifacts_directory,
    database_uri,
    lock_exists,
    matches,
    model_uri,
    network,
    outside_reference,
    secret_reference,
)

ROLES = ("postgresql", "tracking", "production")


class RoleSettings(BaseModel):
    """Settings of one role: what group_data calls ROLE_name is `name` here."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class InventorySettings(RoleSettings):
    stack: StackName


class PreflightSettings(RoleSettings):
    min_free_disk_mib: Positive
    min_memory_mib: Positive
    former_name: str


class CondaSettings(RoleSettings):
    prefix: AbsolutePath
    installer_version: Annotated[str, matches(r"(?!latest)[A-Za-z0-9_.-]+", "a pinned version, never latest")]
    installer_url: Annotated[
        str, matches(r"https?://\S+\.sh", "an address that starts with http:// or https:// and ends with .sh")
    ]
    installer_sha256: dict[str, Annotated[str, matches(r"[0-9a-f]{64}", "64 hexadecimal digits")]]
    channels: Annotated[list[str], Field(min_length=1)]
    channel_alias: HttpUrl
    accept_anaconda_tos: bool
    python: Annotated[str, AfterValidator(lock_exists)]
    package_installer: Literal["uv", "pip"]
    package_index_url: IndexUrl
    keep_envs: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _anaconda_is_accepted(self) -> CondaSettings:
        anaconda = [name for name in self.channels if name == "defaults" or "repo.anaconda.com" in name]
        if anaconda and not self.accept_anaconda_tos:
            raise ValueError(
                f"conda_channels: {anaconda[0]!r} is under Anaconda's Terms of Service; "
                "use conda-forge, or set conda_accept_anaconda_tos = True when you have accepted them"
            )
        return self

    def installer_for(self, architecture: str) -> tuple[str, str]:
        """Return the installer's URL and SHA-256 for an architecture (`uname -m`); KeyError when it has none."""
        url = self.installer_url.replace("{version}", self.installer_version).replace("{arch}", architecture)
        return url, self.installer_sha256[architecture]

    @property
    def lock_file(self) -> Path:
        return REPOSITORY / "locks" / f"mlflow-py{self.python}.txt"


class PostgresqlSettings(RoleSettings):
    database: PgName
    role: PgName
    port: Port
    memory_share: Annotated[float, Field(ge=0.05, le=0.5)]
    max_connections: Annotated[int, Field(ge=10, le=10_000)]
    address: HostName
    client_networks: list[Annotated[str, AfterValidator(network)]]
    password: Annotated[str, AfterValidator(secret_reference)]


class TrackingSettings(RoleSettings):
    bind: IpAddress
    port: Port
    public_name: HostName
    workers: Annotated[int, Field(ge=1, le=64)]
    job_execution: bool
    database_uri: Annotated[str, AfterValidator(database_uri)]
    database_password: Annotated[str, AfterValidator(outside_reference)]
    artifacts_destination: Annotated[AbsolutePath, AfterValidator(artifacts_directory)]
    artifacts_shared: bool
    upgrade_database: bool
    ready_timeout_s: Annotated[int, Field(ge=10, le=3600)]


class ModelSettings(RoleSettings):
    """One entry of production_models; the only settings with defaults here, since entries are written by users."""

    uri: Annotated[str, AfterValidator(model_uri)]
    port: Port
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    required: bool = True


class ProductionSettings(RoleSettings):
    models: dict[ModelName, ModelSettings]
    bind: IpAddress
    tracking_uri: OptionalHttpUrl
    ready_timeout_s: Annotated[int, Field(ge=10, le=3600)]
    keep_releases: Annotated[int, Field(ge=0)]


class Settings(BaseModel):
    """All settings of one host, and what follows from them. Field names are the prefixes in group_data."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    inventory: InventorySettings
    preflight: PreflightSettings
    conda: CondaSettings
    postgresql: PostgresqlSettings
    tracking: TrackingSettings
    production: ProductionSettings

    # Where this host stands in the inventory; set by inventory_check and stacks, not by users.
    host_name: str
    host_address: str
    groups: tuple[str, ...]
    # The names of the hosts of this host's stack, by role, in the order of the inventory.
    stack_hosts: Mapping[str, tuple[str, ...]] = {}
    postgresql_host: str | None = None
    tracking_host: str | None = None

    @property
    def has_local_database(self) -> bool:
        return "postgresql" in self.groups and not self.tracking.database_uri

    @property
    def database_password(self) -> tuple[str, str] | None:
        """The reference to the database's password and the setting that it stands in; None where there is none.

        Over the Unix socket the kernel says who the user is; another provider may know it by other means.
        """
        if self.tracking.database_uri:
            reference = self.tracking.database_password
            return (reference, "tracking_database_password") if reference else None
        return None if self.has_local_database else (self.postgresql.password, "postgresql_password")

    @property
    def database_needs_password(self) -> bool:
        return self.database_password is not None

    @property
    def database_uri(self) -> str:
        """SQLAlchemy URI of the tracking database, never with a password in it."""
        if self.tracking.database_uri:
            return self.tracking.database_uri
        role, database, port = self.postgresql.role, self.postgresql.database, self.postgresql.port
        if self.has_local_database:
            return f"postgresql+psycopg2://{role}@/{database}?host=/var/run/postgresql&port={port}"
        return (
            f"postgresql+psycopg2://{role}@{_bracketed(self.postgresql_host or '')}:{port}/{database}?sslmode=require"
        )

    @property
    def tracking_public_name(self) -> str:
        if self.tracking.public_name:
            return self.tracking.public_name
        return self.host_address if _is_any(self.tracking.bind) else self.tracking.bind

    @property
    def has_other_hosts(self) -> bool:
        """True where other hosts are of the same stack, so that one has to wait for another."""
        return len({name for names in self.stack_hosts.values() for name in names}) > 1

    def waits_for(self, role: str) -> tuple[str, ...]:
        """Return the hosts that must have `role` ("postgresql" or "tracking") ready before this one's own start."""
        if role == "postgresql":
            needed = "tracking" in self.groups and not self.has_local_database and not self.tracking.database_uri
        else:
            own = "tracking" in self.groups or bool(self.production.tracking_uri)
            needed = bool(self.production.models) and "production" in self.groups and not own
        return self.stack_hosts[role] if needed else ()

    @property
    def tracking_names(self) -> tuple[str, ...]:
        """Names by which the tracking server is asked for: by users, and on its own host."""
        own = () if _is_any(self.tracking.bind) else (self.tracking.bind,)
        return (self.tracking_public_name, "localhost", "127.0.0.1", *own)

    @property
    def tracking_uri(self) -> str:
        """Address by which this host reaches the tracking server."""
        if self.production.tracking_uri:
            return self.production.tracking_uri.rstrip("/")
        if "tracking" in self.groups:
            name = "127.0.0.1" if _is_any(self.tracking.bind) else self.tracking.bind
        else:
            name = self.tracking_host or ""
        return f"http://{_bracketed(name)}:{self.tracking.port}"

    @property
    def registry(self) -> str:
        """What tells registries of models apart: hosts with the same one are to serve the same versions."""
        return self.production.tracking_uri or ",".join(self.stack_hosts.get("tracking", ()))

    @property
    def production_address(self) -> str:
        """Address by which this host reaches its own models."""
        return "127.0.0.1" if _is_any(self.production.bind) else self.production.bind

    def ports(self) -> dict[int, list[str]]:
        """Return the TCP ports that the roles of this host listen on, with the settings that claim each."""
        claims: dict[int, list[str]] = {}
        if "postgresql" in self.groups:
            claims.setdefault(self.postgresql.port, []).append("postgresql_port")
        if "tracking" in self.groups:
            claims.setdefault(self.tracking.port, []).append("tracking_port")
        if "production" in self.groups:
            for name, model in self.production.models.items():
                claims.setdefault(model.port, []).append(f"production_models[{name!r}]['port']")
        return claims

    def owned_directories(self) -> list[str]:
        """Return the directories that MLflow Stack makes and keeps on this host."""
        return [layout.OPT_DIR, layout.CONFIG_DIR, layout.STATE_DIR, layout.MODELS_DIR, layout.BACKUP_DIR]


def _is_any(address: str) -> bool:
    return ipaddress.ip_address(address).is_unspecified


def is_loopback(address: str) -> bool:
    """Return whether a name or address means each computer itself, as that of a forwarded port does."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def role_models() -> dict[str, type[RoleSettings]]:
    """Return the model of each role's settings by prefix."""
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, RoleSettings)
    }


def setting_names() -> list[str]:
    """Return the name of every setting, as group_data spells it."""
    return [f"{role}_{field}" for role, model in role_models().items() for field in model.model_fields]


def split_by_role(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return flat settings as one dictionary a role, without the prefixes."""
    return {
        role: {field: data[f"{role}_{field}"] for field in model.model_fields if f"{role}_{field}" in data}
        for role, model in role_models().items()
    }
