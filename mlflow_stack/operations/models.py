"""Releases of models: what the registry says, downloaded and ready to be served."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from shlex import quote

from pyinfra.api.command import StringCommand
from pyinfra.api.operation import operation
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.environment import EnvironmentSpec, ModelEnvironmentError, Toolchain, model_environment
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.model_uri import parse_model_uri
from mlflow_stack.domain.tracking_server import PASSWORD_FILE, TrackingServer
from mlflow_stack.facts.conda import Environment
from mlflow_stack.facts.mlflow import Models
from mlflow_stack.look import agreed, look, look_again
from mlflow_stack.operations.commands import Write
from mlflow_stack.operations.conda import build_environment
from mlflow_stack.operations.refusal import refuse

Commands = Generator[StringCommand, None, None]


@operation()
def release(
    model: str,
    uris: Mapping[str, str],
    required: bool,
    registry: str,
    server: TrackingServer,
    client_environment: str,
    channels: tuple[str, ...],
    toolchain: Toolchain,
    keep: int,
) -> Commands:
    """Ensure that the version which the model's URI resolves to now is downloaded, has its environment, and is current.

    `uris` are those of all models of the host, by name: they are looked up together.
    A release is a directory: the model as the tracking server gave it, a link to its environment, and a marker. It is
    made beside the one that is served and becomes `current` by the rename of a symbolic link. Nothing is downloaded
    or installed when the server starts. Hosts with the same `registry` release the same version in a run, also while
    somebody moves the alias.
    """
    uri = uris[model]
    question = {
        "python": f"{toolchain.conda_prefix}/bin/python",
        "server": server,
        "wanted": json.dumps({name: vars(parse_model_uri(each)) for name, each in uris.items()}),
    }
    state = look(Models, **question).get(model, {})
    if "resolved" not in state and not state.get("missing"):
        why = f"{uri} is looked up when {server.uri} answers ({state.get('error') or 'it is not there yet'})"
        state = look_again(Models, why, **question).get(model, {"error": "no Python to ask with", "missing": False})
    if "error" in state:
        if state["missing"] and not required:
            host.noop(f"{state['error']} yet; model {model} is skipped until there is")
            return
        yield from refuse(f"production_models[{model!r}]: {uri}: {state['error']}")
        return
    resolved = agreed(f"{registry} {uri}", state["resolved"])
    try:
        spec = _release_environment(model, resolved["conda_yaml"], channels)
    except ModelEnvironmentError as error:
        advice = "log the model again with mlflow.<flavor>.log_model"
        yield from refuse(f"production_models[{model!r}]: {uri}: {error}; {advice}")
        return
    release_name = f"{resolved['id']}-{spec.digest[:8]}"
    if state["current"] == release_name:
        host.noop(f"{uri} is {release_name}, which is served")
        return
    yield from _download(model, resolved["uri"], server, client_environment)
    built = look(Environment, path=spec.path)
    if not built.complete:
        yield from build_environment(spec, toolchain, built)
    yield from _publish(model, release_name, spec, keep)


def _release_environment(model: str, conda_yaml: str | None, channels: tuple[str, ...]) -> EnvironmentSpec:
    if conda_yaml is None:
        raise ModelEnvironmentError("it was logged without an environment (no conda.yaml)")
    return model_environment(model, conda_yaml, channels)


def _staging(model: str) -> str:
    return f"{layout.MODELS_DIR}/.staging/{model}"


def _download(model: str, uri: str, server: TrackingServer, client_environment: str) -> Commands:
    """Yield the download by MLflow's own client, as the models' user: what a registry holds is not trusted by root."""
    staging = _staging(model)
    yield StringCommand(
        f"rm -rf {staging} && install -d -m 700 -o {layout.PRODUCTION_USER} -g {layout.PRODUCTION_USER} {staging}"
    )
    variables = f"HOME={staging} MLFLOW_DISABLE_TELEMETRY=true MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false"
    as_user = f"timeout -k 30 3600 runuser -u {layout.PRODUCTION_USER} -- env {variables}"
    program, python = f"{client_environment}/bin/mlflow", f"{client_environment}/bin/python -I {layout.LIBEXEC_DIR}"
    download = f"artifacts download --artifact-uri {quote(uri)} --dst-path {staging}/model > /dev/null"
    client = f"{as_user} {program} {download}"
    if server.user:
        login = f"{python}/with_login.py {quote(server.user)}"
        client = f"{as_user} {login} {program} {download} < {PASSWORD_FILE}"
    if server.uri.startswith("unix:"):
        alone = "systemd-run --quiet --wait --pipe --collect --same-dir -p PrivateNetwork=yes"
        socket = quote(server.uri.removeprefix("unix:"))
        client = f"{alone} {python}/over_socket.py {socket} {client}"
    else:
        client = f"env {server.variables} {client}"
    yield StringCommand(f"cd {staging} && {client} && test -f {staging}/model/MLmodel")


def _publish(model: str, name: str, spec: EnvironmentSpec, keep: int) -> Commands:
    """Yield the commands that make a staged model a release, make it current, and drop the oldest ones."""
    staging, home = _staging(model), f"{layout.MODELS_DIR}/{model}"
    target = f"{home}/releases/{name}"
    marker = ManagedFile(f"{staging}/{layout.MARKER}", json.dumps({"release": name, "environment": spec.path}) + "\n")
    yield StringCommand(
        f"chown -R root: {staging} && chmod -R u=rwX,go=rX {staging} && ln -sfn {spec.path} {staging}/env"
    )
    yield Write(marker)
    yield StringCommand(
        f"install -d -m 755 {home} {home}/releases && rm -rf {target} && mv -T {staging} {target} && "
        f"ln -sfn releases/{name} {home}/.current && mv -fT {home}/.current {home}/current"
    )
    # The current release was touched last, so it is the newest and never among the removed. An environment that no
    # release of this model links to any more goes with them.
    yield StringCommand(
        f"touch {target} && cd {home}/releases && ls -1t | tail -n +{keep + 2} | xargs -r rm -rf -- && "
        f"for env in {layout.ENVS_DIR}/model-{model}-????????????; do "
        'readlink ./*/env | grep -qxF "$env" || rm -rf "$env"; done'
    )
