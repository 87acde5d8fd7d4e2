"""Conda's configuration."""

import json

from mlflow_stack.domain.conda import condarc, installation_marker, installer_path


def test_condarc_denies_the_channels_whose_terms_nobody_accepted() -> None:
    assert condarc(["conda-forge"], "https://conda.anaconda.org", accept_anaconda_tos=False) == (
        "# Managed by MLflow Stack (mlflow_stack/domain/conda.py); changes are overwritten.\n"
        "channels:\n"
        "- conda-forge\n"
        "channel_alias: https://conda.anaconda.org\n"
        "auto_update_conda: false\n"
        "notify_outdated_conda: false\n"
        "always_yes: true\n"
        "denylist_channels:\n"
        "- defaults\n"
        "- https://repo.anaconda.com/pkgs/main\n"
        "- https://repo.anaconda.com/pkgs/r\n"
        "- https://repo.anaconda.com/pkgs/msys2\n"
    )


def test_condarc_denies_nothing_when_the_terms_are_accepted() -> None:
    assert condarc(["conda-forge", "defaults"], "https://mirror.example.com", accept_anaconda_tos=True) == (
        "# Managed by MLflow Stack (mlflow_stack/domain/conda.py); changes are overwritten.\n"
        "channels:\n"
        "- conda-forge\n"
        "- defaults\n"
        "channel_alias: https://mirror.example.com\n"
        "auto_update_conda: false\n"
        "notify_outdated_conda: false\n"
        "always_yes: true\n"
    )


def test_installer_keeps_the_suffix_without_which_it_refuses_to_run() -> None:
    assert installer_path("py312_26.5.3-1", "aarch64") == "/opt/mlflow/cache/Miniconda3-py312_26.5.3-1-Linux-aarch64.sh"


def test_installation_marker_is_one_line_of_json() -> None:
    marker = installation_marker("py312_26.5.3-1", "a" * 64)

    assert marker.count("\n") == 1
    assert json.loads(marker) == {"installer_version": "py312_26.5.3-1", "sha256": "a" * 64}
