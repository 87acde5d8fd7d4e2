"""The settings of each role, typed: what group_data calls ROLE_name is `name` in the model of the role.

The models carry types and limits and no defaults; the defaults and what each setting means stand in group_data/all.py
(tests/unit/test_settings.py: both name the same settings).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mlflow_stack.domain.database import is_mysql
from mlflow_stack.domain.listening import UNIX
from mlflow_stack.setting_types import (
    REPOSITORY,
    AbsolutePath,
    AcmeUrl,
    AnyPort,
    BindAddress,
    HostName,
    HttpUrl,
    IndexUrl,
    MailAddress,
    ModelName,
    PgName,
    Port,
    Positive,
    ProxyAddress,
    RegistryUrl,
    StackName,
    database_uri,
    firewall_entry,
    lock_exists,
    matches,
    model_uri,
    network,
    outside_reference,
    secret_reference,
)


class RoleSettings(BaseModel):
    """Settings of one role: what group_data calls ROLE_name is `name` here."""

    # Deferred: Settings has the validators of all roles in its own.
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=True)


class InventorySettings(RoleSettings):
    stack: StackName


class PreflightSettings(RoleSettings):
    min_free_disk_mib: Positive
    min_memory_mib: Positive
    former_name: str


class FirewallSettings(RoleSettings):
    enabled: bool
    allow: list[Annotated[str, AfterValidator(firewall_entry)]]


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

    def locked(self, addons: Sequence[str] = ()) -> str:
        """Return the packages of the MLflow environment, and of add-ons to it, as a hash-locked requirements file."""
        return "".join(self._lock(name).read_text() for name in ("mlflow", *addons))

    def unlocked(self, addons: Sequence[str]) -> list[str]:
        """Return the names of the add-ons' lock files that are not there."""
        return [self._lock(name).name for name in addons if not self._lock(name).exists()]

    def _lock(self, name: str) -> Path:
        return REPOSITORY / "locks" / f"{name}-py{self.python}.txt"


class PostgresqlSettings(RoleSettings):
    database: PgName
    role: PgName
    dump_role: PgName
    port: Port
    memory_share: Annotated[float, Field(ge=0.05, le=0.5)]
    max_connections: Annotated[int, Field(ge=10, le=10_000)]
    address: HostName
    client_networks: list[Annotated[str, AfterValidator(network)]]
    password: Annotated[str, AfterValidator(secret_reference)]

    @model_validator(mode="after")
    def _dumps_are_another_s(self) -> PostgresqlSettings:
        if self.dump_role == self.role:
            raise ValueError(
                f"postgresql_dump_role and postgresql_role are both {self.role!r}; the one may only read what the "
                "other owns: set postgresql_dump_role to another name"
            )
        return self


USER_NAME, WHAT_A_USER_IS = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", "a name of letters, digits and . _ @ -"
UserName = Annotated[str, matches(USER_NAME, WHAT_A_USER_IS)]
Users = dict[UserName, Annotated[str, AfterValidator(secret_reference)]]
# By the name of an experiment or a model, "*" for all: the permission of each user, "*" for all.
Rules = dict[
    Annotated[str, Field(min_length=1, max_length=255)],
    dict[
        Annotated[str, matches(rf"{USER_NAME}|\*", f'{WHAT_A_USER_IS}, or "*"')],
        Literal["READ", "EDIT", "MANAGE", "DENY"],
    ],
]


class TrackingSettings(RoleSettings):
    bind: BindAddress
    open_to_everybody: bool
    port: Port
    public_name: HostName
    workers: Annotated[int, Field(ge=1, le=64)]
    job_execution: bool
    network: bool
    database_uri: Annotated[str, AfterValidator(database_uri)]
    database_password: Annotated[str, AfterValidator(outside_reference)]
    database_ca_file: str
    upgrade_database: bool
    permissions: bool
    admins: list[UserName]
    experiment_permissions: Rules
    model_permissions: Rules
    ready_timeout_s: Annotated[int, Field(ge=10, le=3600)]

    @model_validator(mode="after")
    def _rules_are_in_force(self) -> TrackingSettings:
        for name in ("experiment_permissions", "model_permissions"):
            if getattr(self, name) and not self.permissions:
                raise ValueError(
                    f"tracking_{name} says who may do what, and tracking_permissions is False, so that everybody may "
                    f"do everything; set tracking_permissions = True, or leave tracking_{name} empty"
                )
        return self

    @model_validator(mode="after")
    def _authority_is_used(self) -> TrackingSettings:
        if not self.database_ca_file:
            return self
        if not self.database_uri:
            raise ValueError(
                "tracking_database_ca_file is for tracking_database_uri, which is empty; the hosts of one stack know "
                "each other by themselves"
            )
        if "ssl_disabled" in self.database_uri:
            raise ValueError(
                "tracking_database_uri has ssl_disabled, and tracking_database_ca_file says whom the certificate has "
                "to be from; leave one of them out"
            )
        mode = re.search(r"[?&]sslmode=([a-z-]*)", self.database_uri)
        if mode and not mode[1].startswith("verify-"):
            raise ValueError(
                f"tracking_database_uri has sslmode={mode[1]}, which does not look at the certificate, and "
                "tracking_database_ca_file says whom it has to be from; take sslmode out of the URI (verify-full)"
            )
        return self

    @model_validator(mode="after")
    def _permissions_have_tables(self) -> TrackingSettings:
        if self.permissions and is_mysql(self.database_uri):
            raise ValueError(
                "tracking_permissions needs PostgreSQL: MLflow's own migrations of its tables fail on MySQL and "
                "MariaDB, as they give two foreign keys the name fk_user_id; set it to False"
            )
        return self

    @model_validator(mode="after")
    def _jobs_reach_the_server(self) -> TrackingSettings:
        if self.job_execution and self.bind == UNIX:
            raise ValueError(
                "tracking_job_execution: the jobs ask the server over TCP, and tracking_bind is 'unix'; set it to "
                "'127.0.0.1'"
            )
        return self


class ProxySettings(RoleSettings):
    bind: ProxyAddress
    port: AnyPort
    http_port: Annotated[int, Field(ge=0, le=65535)]
    tls: Literal["self-signed", "files", "acme", "off"]
    tls_certificate: str
    tls_key: Annotated[str, AfterValidator(outside_reference)]
    acme_server: AcmeUrl
    acme_accept_terms: bool
    acme_email: MailAddress
    acme_ca_file: str
    acme_trusted: bool
    hsts: bool
    clear_text: bool
    users: Users
    max_request_mib: Positive

    @model_validator(mode="after")
    def _files_are_named(self) -> ProxySettings:
        if self.tls == "files" and not (self.tls_certificate and self.tls_key):
            raise ValueError(
                "proxy_tls is 'files': set proxy_tls_certificate to the file of the certificate and proxy_tls_key to a "
                "reference to its key"
            )
        if self.tls != "files" and (self.tls_certificate or self.tls_key):
            raise ValueError(f"proxy_tls_certificate and proxy_tls_key are for proxy_tls = 'files'; it is {self.tls!r}")
        return self

    @model_validator(mode="after")
    def _acme_is_possible(self) -> ProxySettings:
        given = [name for name in ("server", "email", "ca_file", "trusted") if getattr(self, f"acme_{name}")]
        if self.tls != "acme" and given:
            raise ValueError(f"proxy_acme_{given[0]} is for proxy_tls = 'acme'; it is {self.tls!r}")
        if self.tls == "acme" and not self.acme_accept_terms:
            raise ValueError(
                "proxy_tls is 'acme': read the terms of the ACME server's operator, where it has any, and set "
                "proxy_acme_accept_terms = True when you agree"
            )
        if self.tls == "acme" and self.http_port != 80:
            raise ValueError(
                f"proxy_tls is 'acme', and an ACME server asks a host for its name on port 80; proxy_http_port is "
                f"{self.http_port}: set it to 80"
            )
        if (self.acme_ca_file or self.acme_trusted) and not self.acme_server:
            raise ValueError(
                "proxy_acme_ca_file and proxy_acme_trusted are for proxy_acme_server, which is empty; Let's Encrypt is "
                "known and trusted everywhere"
            )
        return self


class ModelSettings(RoleSettings):
    """One entry of production_models; the only settings with defaults here, since entries are written by users."""

    uri: Annotated[str, AfterValidator(model_uri)]
    port: Port = 0  # needed unless it listens on a Unix socket (inventory_check)
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    required: bool = True
    network: bool = False
    gpu: bool = False
    users: Users = {}


class ProductionSettings(RoleSettings):
    models: dict[ModelName, ModelSettings]
    bind: BindAddress
    open_to_everybody: bool
    tracking_uri: RegistryUrl
    tracking_user: Annotated[str, matches(f"({USER_NAME})?", WHAT_A_USER_IS)]
    tracking_password: Annotated[str, AfterValidator(outside_reference)]
    tracking_ca_file: str
    ready_timeout_s: Annotated[int, Field(ge=10, le=3600)]
    keep_releases: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _login_is_whole(self) -> ProductionSettings:
        if bool(self.tracking_user) != bool(self.tracking_password):
            raise ValueError(
                "production_tracking_user and production_tracking_password belong together; set both, or none where "
                "production_tracking_uri needs no login"
            )
        if (self.tracking_user or self.tracking_ca_file) and not self.tracking_uri:
            raise ValueError(
                "production_tracking_user and production_tracking_ca_file are for production_tracking_uri, which is "
                "empty; the hosts of one stack are let in, and know each other, by themselves"
            )
        if self.tracking_user and self.tracking_uri.startswith("http:"):
            raise ValueError(
                f"production_tracking_uri is {self.tracking_uri!r}, and the password of production_tracking_user would "
                "cross the network in the clear; use an address that starts with https://"
            )
        return self
