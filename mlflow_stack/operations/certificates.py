"""The certificate by which a host is known, and the authorities that it knows others by."""

from __future__ import annotations

from collections.abc import Generator, Mapping

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.bounds import within
from mlflow_stack.domain.certificates import AcmeCertificate, HostCertificate
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.facts.certificates import OwnAuthority, OwnCertificate
from mlflow_stack.facts.files import FileStates
from mlflow_stack.look import Later, look, look_at
from mlflow_stack.operations.commands import Write
from mlflow_stack.operations.refusal import refuse

Commands = Generator[StringCommand, None, None]


@operation()
def own(certificate: HostCertificate, reload_unit: str = "") -> Commands:
    """Ensure a certificate for its names by an authority of the host's own, with more than 30 days before it.

    The authority stays the same: those who trust it never have to be told again. `reload_unit` is told of a new one, if
    it runs.
    """
    found = look(OwnCertificate, certificate=certificate)
    if not found.to_do:
        host.noop(f"the certificate is well; its authority is {found.fingerprint}")
        return
    # Root's is the proxy's, whose fingerprint people compare; clients of the other are told by `trusted`.
    quiet = "" if certificate.owner == "root" else " > /dev/null"
    yield StringCommand(certificate.command("ensure") + quiet)
    if reload_unit:
        yield StringCommand(f"systemctl try-reload-or-restart {reload_unit}")


@operation()
def stand_in(certificate: HostCertificate) -> Commands:
    """Ensure that there is any certificate: one of the host's own until it has another.

    The proxy needs one to start, and an ACME server asks the proxy before it gives one.
    """
    if look(FileStates, paths=(certificate.pem,)):
        host.noop("there is a certificate")
        return
    yield StringCommand(f"{certificate.command('ensure')} > /dev/null")


@operation()
def issued(certificate: AcmeCertificate, unit: str, check: str) -> Commands:
    """Ensure that the host has this certificate from its ACME server, and that `check` sees it in use.

    It is got by `unit`, which renews it as well: a run does so only where the unit's timer should have, long ago. When
    the server gives none, its reason is what the run ends with, and what was there before stays in use.
    """
    found = look(OwnCertificate, certificate=certificate)
    if not found.to_do:
        host.noop(f"the certificate for {certificate.name} is well and from {certificate.server}")
        return
    reason = f"{layout.ACME_STATE_DIR}/failure"
    log = f"journalctl -u {unit} -n 20 --no-pager -o cat >&2; [ ! -s {reason} ] || cat {reason} >&2"
    yield StringCommand(f"rm -f {reason}; ({within(600, f'systemctl start {unit}')}) || {{ {log}; exit 1; }}")
    yield StringCommand(f"READY_WAIT_S=30 {check}")


@operation()
def trusted(path: str, certificates: Mapping[str, HostCertificate]) -> Commands:
    """Ensure that `path` holds the authorities that other hosts have made for themselves, by the names of the hosts.

    A host that failed, or that --limit leaves out, can't be asked: then what is there stays.
    """
    found = {
        name: look_at(host.inventory.get_host(name), OwnAuthority, certificate=certificate)
        for name, certificate in certificates.items()
    }
    present = look(FileStates, paths=(path,))
    missing = [name for name, text in found.items() if not text]
    left_out = [name for name in missing if not _takes_part(name)]
    if missing and path in present and left_out == missing:
        host.noop(f"{path} is kept; {' and '.join(missing)} could not be asked")
        return
    if missing and not host.state.is_executing and not left_out:
        raise Later(f"the certificate authority of {' and '.join(missing)} is made in this run")
    if missing:
        yield from refuse(
            f"{' and '.join(missing)} has no certificate authority that this host could trust; deploy there first, "
            "without --limit"
        )
        return
    file = ManagedFile(path, "".join(found.values()))
    if present.get(path) == file.state():
        host.noop(f"{path} is that of {' and '.join(found)}")
        return
    yield Write(file)


def _takes_part(name: str) -> bool:
    other = host.inventory.get_host(name)
    return host.state.is_host_in_limit(other) and other not in host.state.failed_hosts
