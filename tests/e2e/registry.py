"""The models of the training example, as a client of the tracking server sees them."""

from __future__ import annotations

from mlflow import MlflowClient
from mlflow.entities import LoggedModel

from tests.e2e.stack import Stack

NAME, ALIAS = "diabetes", "champion"


def logged(stack: Stack) -> list[LoggedModel]:
    """Return the models that were logged, the oldest first."""
    client = MlflowClient(stack.url)
    found = client.search_logged_models([client.get_experiment_by_name(NAME).experiment_id])
    return sorted(found, key=lambda model: model.creation_timestamp)


def registered(stack: Stack, version: str = "1") -> LoggedModel:
    """Return the logged model that a version of the registered model is made of."""
    client = MlflowClient(stack.url)
    return client.get_logged_model(client.get_model_version(NAME, version).source.removeprefix("models:/"))


def others(stack: Stack) -> list[LoggedModel]:
    """Return the logged models that are not version 1, the oldest first."""
    return [model for model in logged(stack) if model.model_id != registered(stack).model_id]


def promote(stack: Stack, model: LoggedModel) -> None:
    """Register a logged model as the next version and point the alias to it."""
    client = MlflowClient(stack.url)
    source = f"models:/{model.model_id}"
    version = client.create_model_version(NAME, source, model.source_run_id, model_id=model.model_id)
    client.set_registered_model_alias(NAME, ALIAS, version.version)
