"""The settings of one host, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from mlflow_stack.aws_settings import AwsSettings
from mlflow_stack.domain import layout, listening
from mlflow_stack.domain.certificates import LETS_ENCRYPT, AcmeCertificate, HostCertificate
from mlflow_stack.domain.database import VERIFIED, is_mysql, secured, with_password
from mlflow_stack.domain.environment import addons
from mlflow_stack.domain.firewall import Opening, parse_opening
from mlflow_stack.domain.listening import UNIX, bracketed, is_any, is_local
from mlflow_stack.domain.object_store import ObjectStore
from mlflow_stack.domain.tracking import allowed_origins
from mlflow_stack.domain.tracking_server import CA_FILE, MODELS_USER, SYSTEM_CA_FILE, TrackingServer
from mlflow_stack.gcp_settings import GcpSettings
from mlflow_stack.image_settings import ImageSettings
from mlflow_stack.on_host.database import parse
from mlflow_stack.role_settings import (
    CondaSettings,
    FirewallSettings,
    InventorySettings,
    PostgresqlSettings,
    PreflightSettings,
    ProductionSettings,
    ProxySettings,
    RoleSettings,
    TrackingSettings,
)
from mlflow_stack.store_settings import TrackingArtifactsSettings

ROLES = ("postgresql", "tracking", "production", "proxy")
# Of what has no hosts; what they say is judged where it is used (cloud_settings.py).
WITHOUT_HOSTS: dict[str, type[RoleSettings]] = {"image": ImageSettings, "aws": AwsSettings, "gcp": GcpSettings}


class Settings(BaseModel):
    """All settings of one host, and what follows from them. Field names are the prefixes in group_data."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    inventory: InventorySettings
    preflight: PreflightSettings
    firewall: FirewallSettings
    conda: CondaSettings
    postgresql: PostgresqlSettings
    tracking: TrackingSettings
    tracking_artifacts: TrackingArtifactsSettings
    production: ProductionSettings
    proxy: ProxySettings

    # Where this host stands in the inventory; set by inventory_check and stacks, not by users.
    host_name: str
    host_address: str
    groups: tuple[str, ...]
    # The names of the hosts of this host's stack, by role, in the order of the inventory.
    stack_hosts: Mapping[str, tuple[str, ...]] = {}
    postgresql_host: str | None = None
    tracking_host: str | None = None
    # The address of the proxy that the tracking server is behind, "" without one.
    tracking_proxy_url: str = ""
    # By the names of their hosts, the certificates of what this host uses that they have made for themselves.
    tracking_certificates: Mapping[str, HostCertificate] = {}
    postgresql_certificates: Mapping[str, HostCertificate] = {}

    @property
    def addons(self) -> tuple[str, ...]:
        """What the MLflow environment of this host needs beside MLflow's own packages; clients need nothing."""
        return addons(self.database_uri, self.tracking_artifacts.destination) if "tracking" in self.groups else ()

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
            uri = secured(self.tracking.database_uri, is_verified=bool(self.tracking.database_ca_file))
            return with_password(uri) if self.database_needs_password else uri
        role, database, port = self.postgresql.role, self.postgresql.database, self.postgresql.port
        if self.has_local_database:
            return f"postgresql+psycopg2://{role}@/{database}?host=/var/run/postgresql&port={port}"
        server = f"{bracketed(self.postgresql_host or '')}:{port}"
        return f"postgresql+psycopg2://{role}@{server}/{database}?{VERIFIED}"

    @property
    def uses_mysql(self) -> bool:
        return is_mysql(self.tracking.database_uri)

    @property
    def has_foreign_database(self) -> bool:
        """True on a tracking host whose database somebody else manages, so that it has to be looked at."""
        uri = self.tracking.database_uri
        is_own = "postgresql" in self.groups and bool(uri) and parse(uri).is_local
        return "tracking" in self.groups and bool(uri) and not is_own

    @property
    def serves_database(self) -> bool:
        """True where this host's database is for other hosts."""
        return "postgresql" in self.groups and bool(self.postgresql.client_networks)

    @property
    def makes_certificates(self) -> bool:
        return self.has_proxy or self.serves_database

    @property
    def postgresql_certificate(self) -> HostCertificate:
        """The certificate of the database's server for other hosts. It is the server's own user who makes it.

        The first name is also the subject: libpq before 15 knows addresses there alone (release notes of PostgreSQL 15,
        E.1.3.7).
        """
        names = (self.postgresql.address or self.host_address, self.host_address)
        known = tuple(dict.fromkeys(name for name in names if not name.startswith("@")))
        return HostCertificate(layout.DATABASE_TLS_DIR, layout.DATABASE_AUTHORITY, known, owner="postgres")

    @property
    def has_proxy(self) -> bool:
        return "proxy" in self.groups

    @property
    def tracking_bind(self) -> str:
        """Where the tracking server listens: behind a proxy on a Unix socket, except that its jobs ask it over TCP."""
        behind = UNIX if self.has_proxy and not self.tracking.job_execution else "127.0.0.1"
        return self.tracking.bind or behind

    @property
    def production_bind(self) -> str:
        """Where the models listen."""
        return self.production.bind or (UNIX if self.has_proxy else "127.0.0.1")

    @property
    def tracking_public_name(self) -> str:
        if self.tracking.public_name:
            return self.tracking.public_name
        bind = self.tracking_bind
        if self.has_proxy:
            return self.host_address
        return self.host_address if is_any(bind) else "localhost" if bind == UNIX else bind

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
        bind = self.tracking_bind
        own = () if is_any(bind) or bind == UNIX else (bind,)
        through_proxy = (self.host_address,) if self.has_proxy else ()
        return (self.tracking_public_name, *through_proxy, "localhost", "127.0.0.1", *own)

    @property
    def tracking_origins(self) -> list[str]:
        """Where the pages come from whose requests the tracking server takes."""
        through_proxy = [self._proxy_url(name) for name in self.proxy_names] if self.has_proxy else []
        own = [] if self.tracking_bind == UNIX else allowed_origins(self.tracking_names, self.tracking.port)
        return list(dict.fromkeys([*through_proxy, *own])) or allowed_origins(self.tracking_names, self.tracking.port)

    @property
    def object_store(self) -> ObjectStore | None:
        """The object store that the tracking server keeps artifacts in; None where it has a directory."""
        artifacts = self.tracking_artifacts
        if not artifacts.scheme:
            return None
        return ObjectStore(
            uri=artifacts.destination,
            endpoint=artifacts.endpoint,
            region=artifacts.region,
            access_key_id=artifacts.access_key_id,
            has_credentials=bool(artifacts.credentials),
            has_ca_file=bool(artifacts.ca_file),
        )

    @property
    def artifact_directory(self) -> str:
        """The directory that the tracking server keeps artifacts in; "" where it has an object store."""
        return "" if self.tracking_artifacts.scheme else self.tracking_artifacts.destination

    @property
    def own_artifact_directory(self) -> str:
        """The same where MLflow Stack makes and keeps it; a shared one is somebody's mount."""
        is_own = "tracking" in self.groups and not self.tracking_artifacts.shared
        return self.artifact_directory if is_own else ""

    @property
    def tracking_needs_network(self) -> bool:
        """True where the tracking server itself connects to other hosts: a database, an object store, what its jobs or
        gateway call."""
        elsewhere = not self.has_local_database or self.object_store is not None
        return self.tracking.network or self.tracking.job_execution or elsewhere

    @property
    def tracking_address(self) -> str:
        return listening.own_address(self.tracking_bind)

    @property
    def tracking_stream(self) -> str:
        """What the tracking server's socket unit listens on."""
        return listening.stream(self.tracking_bind, self.tracking.port, layout.TRACKING_SOCKET)

    @property
    def own_tracking_uri(self) -> str:
        """Address by which a tracking host reaches its own server."""
        return listening.url(self.tracking_bind, self.tracking.port, layout.TRACKING_SOCKET)

    @property
    def tracking_server(self) -> TrackingServer:
        """The tracking server that this host's models come from, and how it is let in there."""
        if self.production.tracking_uri:
            uri, user = self.production.tracking_uri.rstrip("/"), self.production.tracking_user
        elif "tracking" in self.groups:
            uri, user = self.own_tracking_uri, MODELS_USER if self.tracking.permissions else ""
        elif self.tracking_proxy_url:
            uri, user = self.tracking_proxy_url, MODELS_USER
        else:
            uri, user = f"http://{bracketed(self.tracking_host or '')}:{self.tracking.port}", ""
        # The authorities of this stack's proxies say nothing of a registry elsewhere.
        own_ca = self.production.tracking_ca_file if self.production.tracking_uri else self.tracking_certificates
        ca_file = (CA_FILE if own_ca else SYSTEM_CA_FILE) if uri.startswith("https:") else ""
        return TrackingServer(uri, user, ca_file)

    @property
    def has_permissions(self) -> bool:
        """True where the tracking server of this host asks who somebody is, and what they may do."""
        return "tracking" in self.groups and self.tracking.permissions

    @property
    def models_are_elsewhere(self) -> bool:
        """True where hosts of this stack serve models from a tracking server that is on none of them."""
        return bool(set(self.stack_hosts.get("production", ())) - set(self.stack_hosts.get("tracking", ())))

    # --- the proxy ---

    @property
    def proxy_names(self) -> tuple[str, ...]:
        """Names by which clients ask for what is behind the proxy; the first is the one to tell them."""
        first = self.tracking_public_name if "tracking" in self.groups else self.host_address
        # Some connectors of pyinfra have no address ("@local"); one that is alone is refused (proxy_check).
        others = () if self.host_address.startswith("@") else (self.host_address,)
        return tuple(dict.fromkeys((first, *others)))

    @property
    def proxy_certificate(self) -> HostCertificate:
        """The certificate that the proxy's host makes for itself, where it does."""
        return HostCertificate(layout.PROXY_TLS_DIR, layout.PROXY_AUTHORITY, self.proxy_names)

    @property
    def uses_acme(self) -> bool:
        return self.has_proxy and self.proxy.tls == "acme"

    @property
    def acme_certificate(self) -> AcmeCertificate:
        """The certificate that the proxy's host gets from an ACME server, where it does."""
        return AcmeCertificate(self.proxy_names[0], self.proxy.acme_server or LETS_ENCRYPT, self.proxy.acme_email)

    @property
    def sends_hsts(self) -> bool:
        """True where browsers trust the proxy's certificate, and are to come with TLS alone."""
        by_acme = self.proxy.tls == "acme" and (self.proxy.acme_trusted or not self.proxy.acme_server)
        return self.proxy.hsts and (self.proxy.tls == "files" or by_acme)

    @property
    def proxy_url(self) -> str:
        """What users of the proxy type, without a path."""
        return self._proxy_url(self.proxy_names[0])

    def _proxy_url(self, name: str) -> str:
        scheme, port = ("http", 80) if self.proxy.tls == "off" else ("https", 443)
        suffix = "" if self.proxy.port == port else f":{self.proxy.port}"
        return f"{scheme}://{bracketed(name)}{suffix}"

    @property
    def proxy_http_port(self) -> int:
        """The port that sends browsers on to the one with TLS; 0 for none."""
        return 0 if self.proxy.tls == "off" else self.proxy.http_port

    def socket_group(self, own: str) -> str:
        """Return the group of the Unix socket of a server whose own group is `own`."""
        return layout.PROXY_USER if self.has_proxy else own

    def proxied_models(self) -> tuple[str, ...]:
        return tuple(self.production.models) if "production" in self.groups else ()

    @property
    def registry(self) -> str:
        """What tells registries of models apart: hosts with the same one are to serve the same versions."""
        return self.production.tracking_uri or ",".join(self.stack_hosts.get("tracking", ()))

    @property
    def production_address(self) -> str:
        return listening.own_address(self.production_bind)

    def model_stream(self, model: str) -> str:
        """What a model's socket unit listens on."""
        return listening.stream(self.production_bind, self.production.models[model].port, layout.model_socket(model))

    def model_url(self, model: str) -> str:
        """Address by which this host reaches one of its models."""
        return listening.url(self.production_bind, self.production.models[model].port, layout.model_socket(model))

    def ports(self) -> dict[int, list[str]]:
        """Return the TCP ports that the roles of this host listen on, with the settings that claim each."""
        claims: dict[int, list[str]] = {}
        if "postgresql" in self.groups:
            claims.setdefault(self.postgresql.port, []).append("postgresql_port")
        if "tracking" in self.groups and self.tracking_bind != UNIX:
            claims.setdefault(self.tracking.port, []).append("tracking_port")
        if "production" in self.groups and self.production_bind != UNIX:
            for name, model in self.production.models.items():
                claims.setdefault(model.port, []).append(f"production_models[{name!r}]['port']")
        if self.has_proxy:
            claims.setdefault(self.proxy.port, []).append("proxy_port")
            if self.proxy_http_port:
                claims.setdefault(self.proxy_http_port, []).append("proxy_http_port")
        return claims

    def openings(self) -> list[Opening]:
        """Return what other hosts may reach on this one; SSH, which no setting names, comes to it."""
        found = []
        if "postgresql" in self.groups:
            networks = self.postgresql.client_networks
            found += [Opening(self.postgresql.port, source=each, reason="postgresql_port") for each in networks]
        if "tracking" in self.groups and not is_local(self.tracking_bind):
            found.append(Opening(self.tracking.port, reason="tracking_port"))
        if "production" in self.groups and not is_local(self.production_bind):
            models = self.production.models.items()
            found += [Opening(model.port, reason=f"production_models[{name!r}]['port']") for name, model in models]
        if self.has_proxy and not is_local(self.proxy.bind):
            ports = {"proxy_port": self.proxy.port, "proxy_http_port": self.proxy_http_port}
            found += [Opening(port, reason=reason) for reason, port in ports.items() if port]
        return [*found, *map(parse_opening, self.firewall.allow)]

    def owned_directories(self) -> list[str]:
        """Return the directories that MLflow Stack makes and keeps on this host."""
        return [layout.OPT_DIR, layout.CONFIG_DIR, layout.STATE_DIR, layout.MODELS_DIR, layout.BACKUP_DIR]


def role_models() -> dict[str, type[RoleSettings]]:
    """Return the model of each role's settings by prefix; those of what has no hosts come last."""
    of_hosts = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, RoleSettings)
    }
    return of_hosts | WITHOUT_HOSTS


def setting_names() -> list[str]:
    """Return the name of every setting, as group_data spells it."""
    return [f"{role}_{field}" for role, model in role_models().items() for field in model.model_fields]


def split_by_role(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return flat settings as one dictionary a role, without the prefixes."""
    return {
        role: {field: data[f"{role}_{field}"] for field in model.model_fields if f"{role}_{field}" in data}
        for role, model in role_models().items()
    }
