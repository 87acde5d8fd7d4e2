"""Miniconda and Python environments."""

from __future__ import annotations

import posixpath
from collections.abc import Generator
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.bounds import within
from mlflow_stack.domain.conda import installation_marker, installer_path
from mlflow_stack.domain.environment import (
    UMASK,
    EnvironmentSpec,
    Toolchain,
    compile_command,
    conda_create_command,
    install_command,
    uv_install_command,
)
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.facts.conda import Conda, Environment, Environments, EnvironmentState
from mlflow_stack.look import look
from mlflow_stack.operations.commands import Write
from mlflow_stack.operations.refusal import refuse

Commands = Generator[StringCommand, None, None]


@operation()
def miniconda(prefix: str, version: str, architecture: str, url: str, sha256: str, condarc: str) -> Commands:
    """Ensure that Miniconda of this version is installed at `prefix`, with `condarc` as its configuration.

    The installer is verified before it runs. It makes the prefix first and is not atomic, so a marker is written last:
    a prefix without one is unfinished and made anew if we began it, and somebody else's otherwise, which is refused.
    A changed version is installed over the old one by the installer's own -u; environments are kept.
    """
    state = look(Conda, prefix=prefix)
    marker = ManagedFile(f"{prefix}/{layout.MARKER}", installation_marker(version, sha256))
    settings = ManagedFile(f"{prefix}/.condarc", condarc)
    if state.exists and not state.marker and not state.started:
        yield from refuse(
            f"{prefix} exists and was not made by MLflow Stack; set conda_prefix to a path that does not exist yet"
        )
        return
    installed = state.marker.strip() == marker.content.strip()
    if installed and state.condarc == settings.state() and not state.started:
        host.noop(f"Miniconda {version} is installed at {prefix}")
        return
    if not installed:
        installer = installer_path(version, architecture)
        yield StringCommand(f"sh {layout.LIBEXEC_DIR}/fetch.sh", quote(url), sha256, quote(installer))
        started = quote(f"{prefix}.started")
        yield StringCommand(f"{UMASK}mkdir -p {quote(posixpath.dirname(prefix))} && touch {started}")
        if state.exists and not state.marker:
            yield StringCommand("rm -rf", quote(prefix))
        update = "-u " if state.marker else ""
        yield StringCommand(UMASK + within(900, f"bash {quote(installer)} -b {update}-p {quote(prefix)}"))
    if state.condarc != settings.state() or not installed:
        yield Write(settings)
    if not installed:
        yield Write(marker)
    if not installed or state.started:
        # From now on a prefix without a marker is not one that we began.
        yield StringCommand("rm -f", quote(f"{prefix}.started"))


@operation()
def environment(spec: EnvironmentSpec, toolchain: Toolchain) -> Commands:
    """Ensure that the environment of `spec` is complete at spec.path.

    It is built in its final place, since Python environments can't be moved, and nobody uses it before its marker is
    there.
    """
    state = look(Environment, path=spec.path)
    if state.complete:
        host.noop(f"environment {spec.path} is complete")
        return
    yield from build_environment(spec, toolchain, state)


def build_environment(spec: EnvironmentSpec, toolchain: Toolchain, state: EnvironmentState) -> Commands:
    """Yield the commands that build an environment from nothing; a half-built one is removed first."""
    path, python = quote(spec.path), f"{quote(spec.path)}/bin/python"
    if state.exists:
        yield StringCommand("rm -rf", path)
    yield StringCommand(conda_create_command(spec, toolchain))
    requirements = ManagedFile(f"{spec.path}/requirements.txt", spec.requirements)
    yield Write(requirements)
    if toolchain.program == "uv":
        yield StringCommand(uv_install_command(spec, toolchain), _stdin=toolchain.uv_lock)
    if spec.builder != "root":
        yield StringCommand(f"chown -R {spec.builder}: {path}")
    yield StringCommand(install_command(spec, toolchain))
    if spec.locked:
        check = f"{python} -I {layout.LIBEXEC_DIR}/check_environment.py {path}/requirements.txt"
        yield StringCommand(within(300, check))
    yield StringCommand(compile_command(spec))
    if spec.builder != "root":
        yield StringCommand(f"chown -R root: {path}")
    marker = ManagedFile(f"{spec.path}/{layout.MARKER}", spec.marker)
    yield Write(marker)


@operation()
def pruned(keep: int, used: tuple[str, ...]) -> Commands:
    """Ensure that of the environments nothing uses any more only the newest `keep` are left, and no unfinished ones.

    `used` are environments that this run deploys; the others of their kind, the present one included, are idle after
    it. Those of models go with their releases (operations/models.py) and are touched here only when unfinished.
    """
    state = look(Environments)
    kind = f"{layout.ENVS_DIR}/mlflow-"
    idle = [path for path in state.complete if path.startswith(kind) and path not in {*state.used, *used}]
    unfinished = [path for path in state.unfinished if path not in {*state.used, *used}]
    if len(idle) <= keep and not unfinished:
        host.noop(f"{len(idle)} unused environments are kept for a rollback")
        return
    for path in unfinished:
        # It may be what a model of this very run was waiting for.
        yield StringCommand(f"[ -f {quote(path)}/{layout.MARKER} ] || rm -rf {quote(path)}")
    for path in idle[keep:]:
        yield StringCommand("rm -rf", quote(path))
