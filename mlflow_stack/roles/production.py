"""The served models: mlflow-production@<model> under mlflow-production."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from mlflow_stack import secret_store
from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.permissions import KEY, password_of
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.domain.tracking import environment_file
from mlflow_stack.domain.tracking_server import CA_FILE, MODELS_PASSWORD, MODELS_USER, PASSWORD_FILE
from mlflow_stack.operations import certificates, files, models, service
from mlflow_stack.role_settings import ModelSettings
from mlflow_stack.roles import passwords
from mlflow_stack.roles.conda import mlflow_environment, toolchain
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

UMBRELLA = "mlflow-production"
# What opens a model's sandbox (templates/etc/systemd/system/sandbox.inc) to the network, and to the host's devices.
NETWORK = ("PrivateNetwork=no", "RestrictAddressFamilies=AF_INET AF_INET6", "IPAddressDeny=")
DEVICES = ("PrivateDevices=no", "DevicePolicy=auto")


@deploy("Production")
def deploy_production(settings: Settings, survey: HostSurvey) -> None:
    """Ensure that each wanted model is served in its resolved version and predicts; with none, the umbrella runs."""
    wanted = settings.production.models
    umbrella, template = _units(settings, survey)
    configurations = {model: _configuration(settings, model) for model in wanted}
    login = _login(settings)
    surplus = {PASSWORD_FILE, CA_FILE} - {file.path for file in login} - {settings.tracking_server.ca_file}
    files.managed(
        name="Write the units and configuration of mlflow-production",
        files=[umbrella, template, *login, *(file for own in configurations.values() for file in own)],
        absent=[
            *(_exceptions_path(model) for model, entry in wanted.items() if not _exceptions(entry)),
            *sorted(surplus),
        ],
    )
    if settings.tracking_server.ca_file == CA_FILE and not settings.production.tracking_ca_file:
        certificates.trusted(
            name="Trust the tracking server", path=CA_FILE, certificates=settings.tracking_certificates
        )
    service.only_instances(name="Stop models that are not listed", umbrella=UMBRELLA, wanted=tuple(wanted))
    service.ready(name="Run mlflow-production", unit=f"{UMBRELLA}.service", files=[umbrella], check="true", timeout_s=0)
    # host.loop keeps the operations of several hosts with different models in order.
    for model in host.loop(wanted):  # type: ignore[no-untyped-call]  # pyinfra's own
        _deploy_model(settings, model, [template, *configurations[model]])


def _login(settings: Settings) -> list[ManagedFile]:
    """Return what this host needs to be let in at the tracking server, and the authority that a setting names."""
    given_ca, files_found = settings.production.tracking_ca_file, []
    if settings.tracking_server.user:
        files_found.append(ManagedFile(PASSWORD_FILE, _password(settings) + "\n", mode="600", is_secret=True))
    if given_ca:
        files_found.append(ManagedFile(CA_FILE, Path(given_ca).expanduser().read_text()))
    return files_found


def _password(settings: Settings) -> str:
    stack = settings.inventory.stack
    if settings.production.tracking_uri:
        return secret_store.resolve(settings.production.tracking_password, "production_tracking_password")
    if settings.has_permissions:  # past the proxy, to MLflow itself
        return password_of(passwords.shared_by(settings.stack_hosts["tracking"], *KEY, stack=stack), MODELS_USER)
    return passwords.set_by(settings.stack_hosts["tracking"], *MODELS_PASSWORD, stack=stack)


def _deploy_model(settings: Settings, model: str, configuration: list[ManagedFile]) -> None:
    wanted, home = settings.production.models[model], f"{layout.MODELS_DIR}/{model}"
    release = models.release(
        name=f"Release model {model}",
        model=model,
        uris={name: each.uri for name, each in settings.production.models.items()},
        required=wanted.required,
        registry=settings.registry,
        server=settings.tracking_server,
        client_environment=mlflow_environment(settings).path,
        channels=tuple(settings.conda.channels),
        toolchain=toolchain(settings),
        keep=settings.production.keep_releases,
    )
    # As the model's user: what a model brings may have put code of its own into its environment.
    as_user = f"runuser -u {layout.PRODUCTION_USER} -- env -C /"
    ready = f"{as_user} {home}/current/env/bin/python -I {layout.LIBEXEC_DIR}/ready.py model"
    service.ready(
        name=f"Run mlflow-production@{model} and see it predict",
        unit=f"{UMBRELLA}@{model}.service",
        socket=f"{UMBRELLA}@{model}.socket",
        files=configuration,
        watched=[f"{home}/current", layout.SUPERVISOR],
        check=f"{ready} {settings.model_url(model)} {home}/current/model/serving_input_example.json",
        timeout_s=settings.production.ready_timeout_s,
        only_if=f"{home}/current",
        after=[release],
    )


def _units(settings: Settings, survey: HostSurvey) -> tuple[ManagedFile, ManagedFile]:
    """Return the umbrella unit and the template of the models' units."""
    umbrella, template = f"{layout.UNIT_DIR}/{UMBRELLA}.service", f"{layout.UNIT_DIR}/{UMBRELLA}@.service"
    # A template can't be verified by itself: its instance's files need not exist yet.
    check = survey.platform.verify_unit
    return ManagedFile(umbrella, render(umbrella), check=check), ManagedFile(
        template, render(template, settings=settings)
    )


def _configuration(settings: Settings, model: str) -> list[ManagedFile]:
    """Return what is a model's own: its variables, its socket, and what its service may do that others may not."""
    wanted = settings.production.models[model]
    variables = {
        "MLFLOW_HOST": settings.production_address,
        "MLFLOW_PORT": str(wanted.port),
        "MLFLOW_MODELS_WORKERS": str(wanted.workers),
        "SERVER_URL": settings.model_url(model),
    }
    group = settings.socket_group(layout.PRODUCTION_USER)
    socket = render(
        f"{layout.UNIT_DIR}/{UMBRELLA}@.socket", stream=settings.model_stream(model), model=model, group=group
    )
    own = [
        ManagedFile(f"{layout.CONFIG_DIR}/production/{model}.env", environment_file(variables)),
        ManagedFile(f"{layout.UNIT_DIR}/{UMBRELLA}@{model}.socket", socket),
    ]
    if exceptions := _exceptions(wanted):
        own.append(ManagedFile(_exceptions_path(model), exceptions, own_directory=True))
    return own


def _exceptions_path(model: str) -> str:
    return f"{layout.UNIT_DIR}/{UMBRELLA}@{model}.service.d/50-mlflow-stack.conf"


def _exceptions(wanted: ModelSettings) -> str:
    """Return the drop-in that opens the sandbox of one model; "" where it stays closed."""
    lines = [*(NETWORK if wanted.network else ()), *(DEVICES if wanted.gpu else ())]
    title = "# Managed by MLflow Stack (mlflow_stack/roles/production.py); changes are overwritten."
    return "\n".join([title, "[Service]", *lines, ""]) if lines else ""
