"""Where the tracking server keeps artifacts: what is seen of that before the server is told, and what lets it in."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pyinfra.api.exceptions import DeployError

from mlflow_stack import secret_store
from mlflow_stack.domain.environment import EnvironmentSpec
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.object_store import CA_FILE, CREDENTIALS_FILE, PLUGIN, plugin_files
from mlflow_stack.operations import artifacts, files
from mlflow_stack.settings import Settings


def place(settings: Settings, environment: EnvironmentSpec, configuration: ManagedFile) -> None:
    """Ensure that the server can keep artifacts where it is to, before anything of it is changed.

    `configuration` is the server's environment file, by which it is told.
    """
    wanted, store = settings.tracking_artifacts, settings.object_store
    artifacts.kept(
        name="Leave no artifacts behind",
        configuration=configuration.path,
        destination=wanted.destination,
        moved_from=wanted.moved_from,
    )
    if store:
        artifacts.usable(
            name="See that the object store works",
            store=store,
            environment=environment.path,
            configuration=configuration,
            access=access(settings),
        )
        files.managed(name="Write what lets mlflow-tracking into the object store", files=access(settings))
    elif wanted.shared:
        directory, first = wanted.destination, settings.stack_hosts["tracking"][0]
        artifacts.marked(name="Mark the shared artifact directory", directory=directory, first=first)
        artifacts.same_store(
            name="Compare the artifact directory with the first host's", directory=directory, first=first
        )


def access(settings: Settings) -> list[ManagedFile]:
    """Return the files that let the server into its object store: authorities, then credentials, where there are any.

    Raises DeployError when what a setting refers to is not there, or can't be that.
    """
    wanted, store, found = settings.tracking_artifacts, settings.object_store, []
    if wanted.ca_file:
        found.append(ManagedFile(CA_FILE, _authorities(wanted.ca_file)))
    if store and store.has_credentials:
        setting = "tracking_artifacts_credentials"
        secret = secret_store.resolve(wanted.credentials, setting)
        try:
            text = store.credentials_text(secret)
        except ValueError as error:
            raise DeployError(f"{setting}: {error}; correct what {wanted.credentials!r} refers to") from None
        found.append(ManagedFile(CREDENTIALS_FILE, text, mode="600", is_secret=True))
    return found


def plugin(settings: Settings) -> list[ManagedFile]:
    """Return the server's plugin for its object store, if it has one."""
    text = resources.files("mlflow_stack.on_host").joinpath(f"{PLUGIN}.py").read_text()
    return plugin_files(text) if settings.object_store else []


def surplus(settings: Settings) -> list[str]:
    """Return what a store that the server had before has left on the host."""
    return sorted({CA_FILE, CREDENTIALS_FILE} - {file.path for file in access(settings)})


def _authorities(path: str) -> str:
    try:
        return Path(path).expanduser().read_text()
    except OSError as error:
        raise DeployError(f"tracking_artifacts_ca_file: {path} can't be read ({error.strerror})") from None
