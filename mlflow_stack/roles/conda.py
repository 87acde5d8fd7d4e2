"""Miniconda, and the MLflow environment from its lock file."""

from __future__ import annotations

from pyinfra.api.deploy import deploy
from pyinfra.api.operation import OperationMeta

from mlflow_stack.domain.conda import condarc
from mlflow_stack.domain.environment import EnvironmentSpec, Toolchain
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.operations import conda
from mlflow_stack.setting_types import REPOSITORY
from mlflow_stack.settings import Settings


def mlflow_environment(settings: Settings) -> EnvironmentSpec:
    """Return the environment of the tracking server, which is also the client that downloads models."""
    return EnvironmentSpec(
        name="mlflow",
        conda_packages=(f"python={settings.conda.python}", "pip"),
        channels=tuple(settings.conda.channels),
        requirements=settings.conda.locked(settings.addons),
    )


def toolchain(settings: Settings) -> Toolchain:
    """Return what builds the environments of a host."""
    return Toolchain(
        conda_prefix=settings.conda.prefix,
        program=settings.conda.package_installer,
        uv_lock=(REPOSITORY / "locks" / "uv.txt").read_text(),
        index_url=settings.conda.package_index_url,
    )


@deploy("Conda")
def deploy_conda(settings: Settings, survey: HostSurvey) -> OperationMeta:
    """Ensure Miniconda, its configuration and the MLflow environment; return the operation that builds the latter."""
    url, sha256 = settings.conda.installer_for(survey.machine)
    conda.miniconda(
        name="Install Miniconda",
        prefix=settings.conda.prefix,
        version=settings.conda.installer_version,
        architecture=survey.machine,
        url=url,
        sha256=sha256,
        condarc=condarc(settings.conda.channels, settings.conda.channel_alias, settings.conda.accept_anaconda_tos),
    )
    return conda.environment(
        name="Build the MLflow environment",
        spec=mlflow_environment(settings),
        toolchain=toolchain(settings),
    )


@deploy("Conda")
def deploy_conda_cleanup(settings: Settings) -> None:
    """Ensure that only so many unused environments are kept; last, when every service is proved on its own."""
    conda.pruned(
        name="Remove old environments", keep=settings.conda.keep_envs, used=(mlflow_environment(settings).path,)
    )
