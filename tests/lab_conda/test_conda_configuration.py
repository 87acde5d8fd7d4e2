"""Where settings come from, and `conda config`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from conda_contract import Conda, Site


def test_the_users_channels_come_before_the_systems(conda: Conda) -> None:
    conda.configure("channels: [ours]\n")

    assert conda.json("config", "--show", "channels") == {"channels": ["ours", "conda-forge"]}


def test_variables_win_over_files(conda: Conda, site: Site) -> None:
    shown = conda("config", "--show", "channel_alias", "offline", CONDA_OFFLINE="true").stdout

    assert yaml.safe_load(shown) == {"channel_alias": site.url, "offline": True}


def test_config_edits_the_users_file(conda: Conda) -> None:
    conda("config", "--set", "always_yes", "true", "--append", "channels", "one", "--add", "channels", "zero")
    conda("config", "--set", "plugins.auto_accept_tos", "true", "--set", "offline", "true", "--remove-key", "offline")
    conda("config", "--remove", "channels", "one")

    assert yaml.safe_load((conda.home / ".condarc").read_text()) == {
        "always_yes": True, "channels": ["zero"], "plugins": {"auto_accept_tos": True},
    }  # fmt: skip


def test_showing_an_unknown_setting_fails(conda: Conda) -> None:
    done = conda("config", "--show", "no_such_key")

    assert (done.returncode, done.stderr) == (1, "\nArgumentError: Invalid configuration parameters: no_such_key\n\n")


def test_removing_what_is_not_there_fails(conda: Conda) -> None:
    done = conda("config", "--remove", "channels", "defaults")

    assert (done.returncode, done.stderr) == (
        1, "\nCondaKeyError: 'channels': value 'defaults' not present in config\n\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name"),
    [("channels: [\n", "ConfigurationLoadError"), ("channels: conda-forge\n", "InvalidTypeError")],
)
def test_a_broken_condarc_fails_every_command(conda: Conda, text: str, name: str) -> None:
    conda.configure(text)

    assert conda.json("info")["exception_name"] == name


def test_info_tells_where_things_are(conda: Conda, site: Site, miniconda: Path) -> None:
    info = conda.json("info")

    assert conda("info", "--base").stdout == f"{miniconda}\n"
    assert (info["conda_version"], info["root_prefix"]) == ("26.5.3", str(miniconda))
    assert info["channels"] == [f"{site.url}/conda-forge/linux-64", f"{site.url}/conda-forge/noarch"]
    assert (info["pkgs_dirs"], info["envs_dirs"]) == ([f"{miniconda}/pkgs"], [f"{miniconda}/envs"])


def test_activation_puts_an_environment_first_and_deactivation_takes_it_away(
    conda: Conda, env: Path, miniconda: Path
) -> None:
    script = f'conda activate {env} && command -v python && conda deactivate && echo "${{CONDA_PREFIX-none}} $PATH"'

    lines = bash(conda, f"source {miniconda}/etc/profile.d/conda.sh && {script}")

    assert lines == [f"{env}/bin/python", f"none {conda.environment['PATH']}"]


def test_activating_what_does_not_exist_fails(conda: Conda, miniconda: Path) -> None:
    assert bash(conda, f"source {miniconda}/etc/profile.d/conda.sh && conda activate none || echo failed") == ["failed"]


def test_sourcing_bin_activate_activates(conda: Conda, env: Path, miniconda: Path) -> None:
    assert bash(conda, f'source {miniconda}/bin/activate {env} && echo "$CONDA_PREFIX"') == [str(env)]


def bash(conda: Conda, script: str) -> list[str]:
    done = subprocess.run(["bash", "-c", script], env=conda.environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
