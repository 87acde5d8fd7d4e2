"""The served models: mlflow-production@<model> under mlflow-production."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.domain.tracking import environment_file
from mlflow_stack.operations import files, models, service
from mlflow_stack.roles.conda import mlflow_environment, toolchain
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

UMBRELLA = "mlflow-production"


@deploy("Production")
def deploy_production(settings: Settings, survey: HostSurvey) -> None:
    """Ensure that each wanted model is served in its resolved version and predicts; with none, the umbrella runs."""
    wanted = settings.production.models
    umbrella, template = _units(survey)
    configurations = {model: _configuration(settings, model) for model in wanted}
    files.managed(
        name="Write the units and configuration of mlflow-production",
        files=[umbrella, template, *configurations.values()],
    )
    service.only_instances(name="Stop models that are not listed", umbrella=UMBRELLA, wanted=tuple(wanted))
    service.ready(name="Run mlflow-production", unit=f"{UMBRELLA}.service", files=[umbrella], check="true", timeout_s=0)
    # host.loop keeps the operations of several hosts with different models in order.
    for model in host.loop(wanted):  # type: ignore[no-untyped-call]  # pyinfra's own
        _deploy_model(settings, model, [template, configurations[model]])


def _deploy_model(settings: Settings, model: str, configuration: list[ManagedFile]) -> None:
    wanted, home = settings.production.models[model], f"{layout.MODELS_DIR}/{model}"
    release = models.release(
        name=f"Release model {model}",
        model=model,
        uris={name: each.uri for name, each in settings.production.models.items()},
        required=wanted.required,
        registry=settings.registry,
        tracking_uri=settings.tracking_uri,
        client_environment=mlflow_environment(settings).path,
        channels=tuple(settings.conda.channels),
        toolchain=toolchain(settings),
        keep=settings.production.keep_releases,
    )
    ready = f"{home}/current/env/bin/python -I {layout.LIBEXEC_DIR}/ready.py model"
    url = f"http://{settings.production_address}:{wanted.port}"
    service.ready(
        name=f"Run mlflow-production@{model} and see it predict",
        unit=f"{UMBRELLA}@{model}.service",
        files=configuration,
        watched=[f"{home}/current"],
        check=f"{ready} {url} {home}/current/model/serving_input_example.json",
        timeout_s=settings.production.ready_timeout_s,
        only_if=f"{home}/current",
        after=[release],
    )


def _units(survey: HostSurvey) -> tuple[ManagedFile, ManagedFile]:
    """Return the umbrella unit and the template of the models' units."""
    umbrella, template = f"{layout.UNIT_DIR}/{UMBRELLA}.service", f"{layout.UNIT_DIR}/{UMBRELLA}@.service"
    # A template can't be verified by itself: its instance's files need not exist yet.
    check = survey.platform.verify_unit
    return ManagedFile(umbrella, render(umbrella), check=check), ManagedFile(template, render(template))


def _configuration(settings: Settings, model: str) -> ManagedFile:
    wanted = settings.production.models[model]
    variables = {
        "MLFLOW_HOST": settings.production.bind,
        "MLFLOW_PORT": str(wanted.port),
        "MLFLOW_MODELS_WORKERS": str(wanted.workers),
    }
    return ManagedFile(f"{layout.CONFIG_DIR}/production/{model}.env", environment_file(variables))
