"""The certificate of the proxy: of the host's own, from an ACME server, or given; and what renews it."""

from __future__ import annotations

from pathlib import Path

from mlflow_stack import secret_store
from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.operations import certificates, files, service
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

RENEWAL = "mlflow-proxy-certificate"
PEM = f"{layout.PROXY_TLS_DIR}/server.pem"


def before_the_start(settings: Settings, survey: HostSurvey) -> None:
    """Ensure a certificate for the proxy to start with."""
    if settings.uses_acme:
        certificates.stand_in(name="Make a certificate until there is one", certificate=settings.proxy_certificate)
        return
    if settings.proxy.tls == "self-signed":
        certificates.own(name="Make a certificate", certificate=settings.proxy_certificate)
        _renewal(settings, survey)
        return
    service.absent(name="Renew no certificate of our own", units=[f"{RENEWAL}.timer", f"{RENEWAL}.service"])
    if settings.proxy.tls == "files":
        pem = ManagedFile(PEM, _given_pem(settings), mode="600", is_secret=True)
        files.managed(name="Write the certificate", files=[pem])


def after_the_start(settings: Settings, survey: HostSurvey, check: str) -> None:
    """Ensure the certificate that the proxy has to run for, since its server asks it; `check` sees it in use."""
    if not settings.uses_acme:
        return
    _renewal(settings, survey)
    certificates.issued(
        name="Get the certificate from the ACME server",
        certificate=settings.acme_certificate,
        unit=f"{RENEWAL}.service",
        check=check,
    )


def _renewal(settings: Settings, survey: HostSurvey) -> None:
    renewal, timer = (f"{layout.UNIT_DIR}/{RENEWAL}.{kind}" for kind in ("service", "timer"))
    authority = _acme_authority(settings)
    units = [
        *authority,
        ManagedFile(renewal, renewal_unit(settings, survey.platform.old_libffi)),
        ManagedFile(timer, render(timer, acme=settings.uses_acme), check=survey.platform.verify_unit),
    ]
    surplus = [] if authority else [layout.ACME_CA_FILE]
    files.managed(name="Write the renewal of the certificate", files=units, absent=surplus)
    service.ready(name="Run the timer of the renewal", unit=f"{RENEWAL}.timer", files=units, check="true", timeout_s=0)


def renewal_unit(settings: Settings, old_libffi: bool) -> str:
    """Return the unit that renews the certificate; `old_libffi` as its platform has it."""
    wanted = settings.acme_certificate if settings.uses_acme else settings.proxy_certificate
    beside = layout.ACME_ACCOUNTS_DIR if settings.uses_acme else layout.PROXY_DIR
    return render(
        f"{layout.UNIT_DIR}/{RENEWAL}.service",
        command=wanted.command("ensure"),
        directories=f"{layout.PROXY_TLS_DIR} {beside}",
        pem=PEM,
        acme=settings.uses_acme,
        ca_file=layout.ACME_CA_FILE if settings.proxy.acme_ca_file else "",
        old_libffi=old_libffi,
    )


def _acme_authority(settings: Settings) -> list[ManagedFile]:
    path = settings.proxy.acme_ca_file
    return [ManagedFile(layout.ACME_CA_FILE, Path(path).expanduser().read_text())] if path else []


def _given_pem(settings: Settings) -> str:
    key = secret_store.resolve(settings.proxy.tls_key, "proxy_tls_key")
    return f"{key.strip()}\n{Path(settings.proxy.tls_certificate).expanduser().read_text()}"
