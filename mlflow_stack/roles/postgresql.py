"""The database server."""

from __future__ import annotations

import ipaddress

from pyinfra.api.deploy import deploy

from mlflow_stack import secret_store
from mlflow_stack.domain import layout
from mlflow_stack.domain import postgresql as pg
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.listening import is_loopback
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.operations import certificates, files, postgresql, service
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

RENEWAL = "mlflow-database-certificate"


@deploy("PostgreSQL")
def deploy_postgresql(settings: Settings, survey: HostSurvey) -> None:
    """Ensure a tuned server with the tracking database; other databases, roles and settings are left alone."""
    wanted, platform, certificate = settings.postgresql, survey.platform, settings.postgresql_certificate
    pem = certificate.pem if settings.serves_database else ""
    if pem:
        certificates.own(
            name="Make the certificate of the server", certificate=certificate, reload_unit=platform.postgresql_unit
        )
    configuration = {
        "port": str(wanted.port),
        **listen_addresses(settings),
        **(pg.tls(pem) if pem else {}),
        **pg.tuning(survey.memory_mib, wanted.memory_share, wanted.max_connections),
    }
    cluster = pg.Cluster(
        conf_dir=platform.postgresql_conf_dir,
        unit=platform.postgresql_unit,
        port=wanted.port,
        role=wanted.role,
        dump_role=wanted.dump_role,
        database=wanted.database,
        pem=pem,
    )
    postgresql.server(
        name="Configure the server",
        cluster=cluster,
        bin_dir=platform.postgresql_bin_dir,
        configuration=pg.configuration(configuration),
        hba_lines=pg.hba_lines(wanted.database, wanted.role, wanted.dump_role, wanted.client_networks),
        ident_lines=pg.ident_lines(wanted.role, layout.TRACKING_USER, wanted.dump_role),
    )
    postgresql.database(
        name=f"Create role {wanted.role} and database {wanted.database}",
        cluster=cluster,
        password=_password(settings) if settings.serves_database else None,
    )
    postgresql.dump_role(name=f"Let role {wanted.dump_role} read database {wanted.database}", cluster=cluster)
    if pem:
        _renewal(settings, survey)


def _renewal(settings: Settings, survey: HostSurvey) -> None:
    """Ensure that the certificate is made anew in time."""
    renewal, timer = (f"{layout.UNIT_DIR}/{RENEWAL}.{kind}" for kind in ("service", "timer"))
    certificate, postgresql_unit = settings.postgresql_certificate, survey.platform.postgresql_unit
    units = [
        ManagedFile(renewal, render(renewal, certificate=certificate, postgresql=postgresql_unit)),
        ManagedFile(timer, render(timer), check=survey.platform.verify_unit),
    ]
    files.managed(name="Write the renewal of the server's certificate", files=units)
    service.ready(
        name="Run the timer of the server's certificate",
        unit=f"{RENEWAL}.timer",
        files=units,
        check="true",
        timeout_s=0,
    )


def _password(settings: Settings) -> str:
    return secret_store.resolve(settings.postgresql.password, "postgresql_password", stack=settings.inventory.stack)


def listen_addresses(settings: Settings) -> dict[str, str]:
    """Return the server's own address (all addresses when none is known) for other hosts to reach it.

    Without other hosts the setting is not ours: Debian's default is this host alone.
    """
    if not settings.serves_database:
        return {}
    address = settings.postgresql.address or ("" if is_loopback(settings.host_address) else settings.host_address)
    try:
        return {"listen_addresses": f"localhost,{ipaddress.ip_address(address)}"}
    except ValueError:
        return {"listen_addresses": "*"}
