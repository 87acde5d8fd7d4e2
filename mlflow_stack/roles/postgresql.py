"""The database server."""

from __future__ import annotations

import ipaddress

from pyinfra.api.deploy import deploy

from mlflow_stack import secret_store
from mlflow_stack.domain import layout
from mlflow_stack.domain import postgresql as pg
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.operations import postgresql
from mlflow_stack.settings import Settings, is_loopback


@deploy("PostgreSQL")
def deploy_postgresql(settings: Settings, survey: HostSurvey) -> None:
    """Ensure a tuned server with the tracking database; other databases, roles and settings are left alone."""
    wanted, platform = settings.postgresql, survey.platform
    configuration = {
        "port": str(wanted.port),
        **listen_addresses(settings),
        **pg.tuning(survey.memory_mib, wanted.memory_share, wanted.max_connections),
    }
    postgresql.server(
        name="Configure the server",
        conf_dir=platform.postgresql_conf_dir,
        bin_dir=platform.postgresql_bin_dir,
        unit=platform.postgresql_unit,
        port=wanted.port,
        role=wanted.role,
        database=wanted.database,
        configuration=pg.configuration(configuration),
        hba_lines=pg.hba_lines(wanted.database, wanted.role, wanted.client_networks),
        ident_lines=[f"{pg.IDENT_MAP}  {layout.TRACKING_USER}  {wanted.role}"],
    )
    postgresql.database(
        name=f"Create role {wanted.role} and database {wanted.database}",
        conf_dir=platform.postgresql_conf_dir,
        unit=platform.postgresql_unit,
        port=wanted.port,
        role=wanted.role,
        database=wanted.database,
        password=_password(settings) if wanted.client_networks else None,
    )


def _password(settings: Settings) -> str:
    return secret_store.resolve(settings.postgresql.password, "postgresql_password", stack=settings.inventory.stack)


def listen_addresses(settings: Settings) -> dict[str, str]:
    """Return the server's own address (all addresses when none is known) for other hosts to reach it.

    Without other hosts the setting is not ours: Debian's default is this host alone.
    """
    if not settings.postgresql.client_networks:
        return {}
    address = settings.postgresql.address or ("" if is_loopback(settings.host_address) else settings.host_address)
    try:
        return {"listen_addresses": f"localhost,{ipaddress.ip_address(address)}"}
    except ValueError:
        return {"listen_addresses": "*"}
