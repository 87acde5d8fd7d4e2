"""Miniconda and Python environments."""

from __future__ import annotations

from collections.abc import Generator
from shlex import quote

from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.api.command import StringCommand
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.conda import installation_marker, installer_path
from mlflow_stack.domain.environment import EnvironmentSpec
from mlflow_stack.domain.files import ManagedFile, write_command
from mlflow_stack.facts.conda import Conda, Environment, Environments

Commands = Generator[StringCommand, None, None]


@operation()
def miniconda(prefix: str, version: str, architecture: str, url: str, sha256: str, condarc: str) -> Commands:
    """Ensure that Miniconda of this version is installed at `prefix`, with `condarc` as its configuration.

    The installer is verified before it runs. It makes the prefix first and is not atomic, so a marker is written last:
    a prefix without one is unfinished and made anew if we began it, and somebody else's otherwise, which is refused.
    A changed version is installed over the old one by the installer's own -u; environments are kept.
    """
    state = host.get_fact(Conda, prefix=prefix)
    marker = ManagedFile(f"{prefix}/{layout.MARKER}", installation_marker(version, sha256))
    settings = ManagedFile(f"{prefix}/.condarc", condarc)
    if state.exists and not state.marker and not state.started:
        raise OperationError(
            f"{prefix} exists and was not made by MLflow Stack; set conda_prefix to a path that does not exist yet"
        )
    installed = state.marker.strip() == marker.content.strip()
    if installed and state.condarc == settings.state():
        host.noop(f"Miniconda {version} is installed at {prefix}")
        return
    if not installed:
        installer = installer_path(version, architecture)
        yield StringCommand(f"sh {layout.LIBEXEC_DIR}/fetch.sh", quote(url), sha256, quote(installer))
        yield StringCommand("touch", quote(f"{prefix}.started"))
        if state.exists and not state.marker:
            yield StringCommand("rm -rf", quote(prefix))
        update = "-u " if state.marker else ""
        yield StringCommand(f"bash {quote(installer)} -b {update}-p {quote(prefix)}")
    if state.condarc != settings.state() or not installed:
        yield StringCommand(write_command(settings), _stdin=settings.content)
    if not installed:
        yield StringCommand(write_command(marker), _stdin=marker.content)


@operation()
def environment(spec: EnvironmentSpec, prefix: str, installer: str, uv_lock: str, index_url: str) -> Commands:
    """Ensure that the environment of `spec` is complete at spec.path.

    It is built in its final place, since Python environments can't be moved, and nobody uses it before its marker is
    there. `installer` is "uv" or "pip"; `uv_lock` is the hash-locked requirements file of uv itself.
    """
    state = host.get_fact(Environment, path=spec.path, tool=uv_path(uv_lock))
    if state.complete:
        host.noop(f"environment {spec.path} is complete")
        return
    yield from build_environment(spec, prefix, installer, uv_lock, index_url, state.exists, state.tool)


def uv_path(uv_lock: str) -> str:
    """Return where the uv of a lock file is kept, outside every environment so that none holds more than its lock."""
    version = uv_lock.split("uv==", 1)[1].split()[0].rstrip("\\").strip()
    return f"{layout.OPT_DIR}/tools/uv-{version}/bin/uv"


def build_environment(
    spec: EnvironmentSpec, prefix: str, installer: str, uv_lock: str, index_url: str, exists: bool, has_uv: bool
) -> Commands:
    """Yield the commands that build an environment from nothing; a half-built one is removed first."""
    path, python = quote(spec.path), f"{quote(spec.path)}/bin/python"
    if exists:
        yield StringCommand("rm -rf", path)
    channels = " ".join(f"-c {quote(channel)}" for channel in spec.channels)
    packages = " ".join(map(quote, spec.conda_packages))
    # CI is unset because conda takes it as consent to Anaconda's terms of service.
    yield StringCommand(f"env -u CI {quote(prefix)}/bin/conda create -y -q -p {path} --override-channels {channels} {packages}")
    requirements = ManagedFile(f"{spec.path}/requirements.txt", spec.requirements)
    yield StringCommand(write_command(requirements), _stdin=requirements.content)
    if installer == "uv" and not has_uv:
        yield from _install_uv(python, uv_lock, index_url)
    if spec.builder != "root":
        yield StringCommand(f"chown -R {spec.builder}: {path}")
    yield StringCommand(_install_command(spec, python, installer, uv_lock, index_url))
    if spec.locked:
        yield StringCommand(f"{python} -I {layout.LIBEXEC_DIR}/check_environment.py {path}/requirements.txt")
    # Without byte code each start costs 2.5 times the CPU, since the service can't write it (conda.md 1.5). Status 1
    # only says that some package ships a template that is no Python.
    yield StringCommand(f"{_as_user(spec)}{python} -I -m compileall -qq -j 0 {path}/lib || true")
    if spec.builder != "root":
        yield StringCommand(f"chown -R root: {path}")
    marker = ManagedFile(f"{spec.path}/{layout.MARKER}", spec.marker)
    yield StringCommand(write_command(marker), _stdin=marker.content)


def _install_uv(python: str, uv_lock: str, index_url: str) -> Commands:
    tool = uv_path(uv_lock).removesuffix("/bin/uv")
    lock = ManagedFile(f"{layout.CACHE_DIR}/uv.txt", uv_lock)
    index = f"--index-url {quote(index_url)} " if index_url else ""
    yield StringCommand(write_command(lock), _stdin=uv_lock)
    yield StringCommand(
        f"rm -rf {tool}.part && {python} -I -m pip install -q --no-input --disable-pip-version-check --require-hashes {index}"
        f"--target {tool}.part -r {lock.path} && rm -rf {tool} && mv {tool}.part {tool}"
    )


def _install_command(spec: EnvironmentSpec, python: str, installer: str, uv_lock: str, index_url: str) -> str:
    hashes = "--require-hashes " if spec.locked else ""
    index = f"--index-url {quote(index_url)} " if index_url else ""
    source = f"{hashes}{index}-r {quote(spec.path)}/requirements.txt"
    if installer == "pip":
        return (
            f"{_as_user(spec)}{python} -I -m pip install -q --no-input --no-compile --no-cache-dir "
            f"--disable-pip-version-check {source}"
        )
    # Hard links to the cache save time and disk, but would hand root's files to another builder.
    link_mode = "hardlink" if spec.builder == "root" else "copy"
    variables = f"UV_CACHE_DIR={layout.CACHE_DIR}/uv-{spec.builder} UV_LINK_MODE={link_mode} UV_PYTHON_DOWNLOADS=never"
    return f"{_as_user(spec)}env {variables} {uv_path(uv_lock)} pip install -q --python {python} {source}"


def _as_user(spec: EnvironmentSpec) -> str:
    return "" if spec.builder == "root" else f"runuser -u {spec.builder} -- "


@operation()
def pruned(keep: int, used: tuple[str, ...]) -> Commands:
    """Ensure that of the environments nothing uses any more only the newest `keep` are left.

    `used` are environments that this run deploys; those of units and of kept model releases are found on the host.
    """
    state = host.get_fact(Environments)
    idle = [path for path in state.paths if path not in state.used and path not in used]
    if len(idle) <= keep:
        host.noop(f"{len(idle)} unused environments are kept for a rollback")
        return
    for path in idle[keep:]:
        yield StringCommand("rm -rf", quote(path))
