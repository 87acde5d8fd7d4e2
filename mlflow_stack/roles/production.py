"""The served models: mlflow-production@<model> under mlflow-production."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import OperationMeta
from pyinfra.context import host

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.tracking import environment_file
from mlflow_stack.operations import files, models, service
from mlflow_stack.roles.conda import mlflow_environment, toolchain
from mlflow_stack.roles.tracking import VERIFY_UNIT
from mlflow_stack.settings import ModelSettings, Settings
from mlflow_stack.templates import render

UMBRELLA = "mlflow-production"


@deploy("Production")
def deploy_production(settings: Settings) -> None:
    """Ensure that each wanted model is served in its resolved version and predicts; with none, the umbrella runs."""
    wanted_models = settings.production.models
    configuration = files.managed(name="Write the units and configuration of mlflow-production", files=_files(settings))
    service.only_instances(name="Stop models that are not listed", umbrella=UMBRELLA, wanted=tuple(wanted_models))
    service.ready(
        name="Run mlflow-production",
        unit=f"{UMBRELLA}.service",
        watched=[],
        check="true",
        timeout_s=0,
        after=[configuration],
    )
    # host.loop keeps the operations of several hosts with different models in order.
    for model, wanted in host.loop(wanted_models.items()):  # type: ignore[no-untyped-call]  # pyinfra's own
        _deploy_model(settings, model, wanted, configuration)


def _deploy_model(settings: Settings, model: str, wanted: ModelSettings, configuration: OperationMeta) -> None:
    home = f"{layout.MODELS_DIR}/{model}"
    release = models.release(
        name=f"Release model {model}",
        model=model,
        uri=wanted.uri,
        required=wanted.required,
        tracking_uri=settings.tracking_uri,
        client_environment=mlflow_environment(settings).path,
        channels=tuple(settings.conda.channels),
        toolchain=toolchain(settings),
        keep=settings.production.keep_releases,
    )
    url = f"http://{settings.production_address}:{wanted.port}"
    example = f"{home}/current/model/serving_input_example.json"
    service.ready(
        name=f"Run mlflow-production@{model} and see it predict",
        unit=f"{UMBRELLA}@{model}.service",
        watched=[_environment_path(model), f"{home}/current"],
        check=f"{settings.conda.prefix}/bin/python -I {layout.LIBEXEC_DIR}/ready.py model {url} {example}",
        timeout_s=settings.production.ready_timeout_s,
        only_if=f"{home}/current",
        after=[configuration, release],
    )


def _environment_path(model: str) -> str:
    return f"{layout.CONFIG_DIR}/production/{model}.env"


def _files(settings: Settings) -> list[ManagedFile]:
    units = [
        ManagedFile(f"{layout.UNIT_DIR}/{unit}", render(f"{layout.UNIT_DIR}/{unit}"), check=check)
        # A template can't be verified by itself: its instance's files need not exist yet.
        for unit, check in ((f"{UMBRELLA}.service", VERIFY_UNIT), (f"{UMBRELLA}@.service", ""))
    ]
    environments = [
        ManagedFile(
            _environment_path(model),
            environment_file(
                {
                    "MLFLOW_HOST": settings.production.bind,
                    "MLFLOW_PORT": str(wanted.port),
                    "MLFLOW_MODELS_WORKERS": str(wanted.workers),
                }
            ),
        )
        for model, wanted in settings.production.models.items()
    ]
    return units + environments
