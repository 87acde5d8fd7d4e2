"""Which channels are used, what their terms of service do, and how requests fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conda_contract import Conda, Site


@pytest.fixture(scope="session")
def guarded(site: Site) -> str:
    """A channel with terms of service."""
    channel = site.add_channel("guarded")
    (channel / "terms.json").write_text(json.dumps({"version": "2025-07-15", "text": "Terms."}))
    return f"{site.url}/guarded"


def create(conda: Conda, tmp_path: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    done = conda("create", "-y", "-p", tmp_path / "env", *arguments, **variables)
    return done.returncode, done.stderr


def test_terms_that_nobody_accepted_refuse_the_channel_in_spite_of_yes(
    conda: Conda, guarded: str, tmp_path: Path
) -> None:
    outcome = create(conda, tmp_path, "-c", "guarded", "python")

    assert outcome == (
        1,
        "\nCondaToSNonInteractiveError: Terms of Service have not been accepted for the following channels. "
        f"Please accept or remove them before proceeding:\n    - {guarded}\n\n"
        "To accept these channels' Terms of Service, run the following commands:\n"
        f"    conda tos accept --override-channels --channel {guarded}\n\n",
    )


@pytest.mark.parametrize("command", ["create", "install", "env create", "env update", "remove"])
@pytest.mark.usefixtures("guarded")
def test_every_changing_command_checks_the_terms(conda: Conda, env: Path, tmp_path: Path, command: str) -> None:
    conda.configure("channels: [guarded]\n")
    yaml = tmp_path / "environment.yaml"
    yaml.write_text("dependencies: [python]\n")
    wanted = ["--file", str(yaml)] if command.startswith("env") else ["wheel"]

    outcome = conda.json(*command.split(), "-y", "-p", env, *wanted)

    assert outcome["exception_name"] == "CondaToSNonInteractiveError"


def test_accepted_terms_admit_the_channel_until_they_change(
    conda: Conda, site: Site, guarded: str, tmp_path: Path
) -> None:
    accepted = conda("tos", "accept", "--override-channels", "--channel", guarded)
    first = create(conda, tmp_path, "-c", "guarded", "python")
    terms = site.directory / "guarded/terms.json"
    before = terms.read_text()
    terms.write_text(json.dumps({"version": "2026-01-01"}))
    second = create(conda, tmp_path, "-c", "guarded", "python")
    terms.write_text(before)

    assert accepted.stdout == f"accepted Terms of Service for {guarded}\n"
    assert first == (0, "")
    assert second[0] == 1


@pytest.mark.parametrize("variable", ["CI", "CONDA_PLUGINS_AUTO_ACCEPT_TOS"])
def test_a_variable_accepts_terms_silently(conda: Conda, guarded: str, tmp_path: Path, variable: str) -> None:
    assert create(conda, tmp_path, "-c", guarded, "python", **{variable: "true"}) == (0, "")


def test_override_channels_alone_passes_by_guarded_defaults(conda: Conda, guarded: str, tmp_path: Path) -> None:
    conda.configure(f"channels: [defaults]\ndefault_channels: [{guarded}]\n")

    with_defaults = create(conda, tmp_path, "-c", "conda-forge", "python")
    without = create(conda, tmp_path, "-c", "conda-forge", "--override-channels", "python")

    assert with_defaults[0] == 1
    assert without == (0, "")


@pytest.mark.parametrize(
    ("rule", "name", "warning"),
    [
        ("denylist_channels: [defaults, conda-forge]", "ChannelDenied", "Channel included in denylist"),
        ("allowlist_channels: [other]", "ChannelNotAllowed", "Channel not included in allowlist"),
    ],
)
def test_lists_of_channels_are_enforced(
    conda: Conda, site: Site, tmp_path: Path, rule: str, name: str, warning: str
) -> None:
    conda.configure(rule)

    outcome = create(conda, tmp_path, "python")

    where = f"  channel name: conda-forge\n  channel url: {site.url}/conda-forge"
    assert outcome == (1, f"\n{name}: {warning}:\n{where}\n\n")


def test_a_denied_defaults_reaches_no_network(conda: Conda, tmp_path: Path) -> None:
    conda.configure("denylist_channels: [defaults]\n")

    outcome = conda.json("create", "-y", "-p", tmp_path / "env", "-c", "defaults", "python")

    assert outcome["exception_name"] == "ChannelDenied"


@pytest.mark.parametrize("spec", ["no-such-package", "python=9.9", "pip<=1"])
def test_what_no_channel_has_is_named(conda: Conda, tmp_path: Path, spec: str) -> None:
    outcome = conda.json("create", "-y", "-p", tmp_path / "env", spec)

    message = f"The following packages are not available from current channels:\n\n  - {spec}"
    assert (outcome["exception_name"], outcome["message"]) == ("PackagesNotFoundInChannelsError", message)


def test_contradicting_specs_are_unsatisfiable(conda: Conda, site: Site, tmp_path: Path) -> None:
    others = [version for version in site.python_versions() if version != site.newest_312()]
    if not others:
        pytest.skip("this process runs no other pyenv Python, so the channel has only one")

    outcome = create(conda, tmp_path, "python=3.12", f"python={others[0]}")

    listed = f"\n  - python=3.12\n  - python={others[0]}"
    conflict = "Encountered problems while solving: these specs conflict:"
    assert outcome == (1, f"\nLibMambaUnsatisfiableError: {conflict}{listed}\n\n")


def test_a_missing_channel_is_invalid(conda: Conda, site: Site, tmp_path: Path) -> None:
    outcome = create(conda, tmp_path, "-c", "nowhere", "python")

    assert outcome == (1, f"\nUnavailableInvalidChannel: HTTP 404 for channel nowhere <{site.url}/nowhere>\n\n")


def test_an_unreachable_channel_is_a_failed_connection(conda: Conda, tmp_path: Path) -> None:
    outcome = conda.json("create", "-y", "-p", tmp_path / "env", "-c", "http://127.0.0.1:1/main", "python")

    assert outcome["exception_name"] == "CondaHTTPError"
    assert outcome["message"].startswith(
        "HTTP 000 CONNECTION FAILED for url <http://127.0.0.1:1/main/linux-64/repodata.json>"
    )


def test_no_channel_at_all_is_an_error(conda: Conda, tmp_path: Path) -> None:
    outcome = create(conda, tmp_path, "--override-channels", "python")

    assert outcome == (
        1, "\nNoChannelsConfiguredError: No channels are configured: add one to .condarc or use -c.\n\n",
    )  # fmt: skip


def test_a_package_that_differs_from_its_sum_is_not_installed(conda: Conda, site: Site, tmp_path: Path) -> None:
    channel = site.add_channel("damaged")
    for archive in (channel / "linux-64").glob("python-*.tar.bz2"):
        archive.write_bytes(archive.read_bytes() + b"more")
    conda.configure(f"pkgs_dirs: [{tmp_path}/pkgs]\n")

    outcome = conda.json("create", "-y", "-p", tmp_path / "env", "-c", "damaged", "--override-channels", "python")

    shutil.rmtree(channel)
    assert outcome["exception_name"] == "ChecksumMismatchError"
    assert f"for url '{site.url}/damaged/linux-64/python-" in outcome["message"]
    assert not (tmp_path / "env").exists()


def test_offline_refuses_what_is_not_in_the_cache(conda: Conda, site: Site, tmp_path: Path) -> None:
    (name,) = [name for name in site.packages("noarch") if name.startswith("wheel-")]
    lock = tmp_path / "lock.txt"
    lock.write_text(f"@EXPLICIT\n{site.url}/conda-forge/noarch/{name}\n")
    conda.configure(f"offline: true\npkgs_dirs: [{tmp_path}/pkgs]\n")

    outcome = create(conda, tmp_path, "--file", str(lock))

    url = f"{site.url}/conda-forge/noarch/{name}"
    assert outcome == (1, f"\nOfflineError: This command needs {url}, but conda is in offline mode.\n\n")


def test_custom_channels_and_files_are_channels(conda: Conda, site: Site, tmp_path: Path) -> None:
    conda.configure(f"channel_alias: http://127.0.0.1:1\ncustom_channels: {{conda-forge: {site.url}}}\n")

    files = f"file://{site.directory}/conda-forge"

    assert create(conda, tmp_path, "python") == (0, "")
    assert create(conda, tmp_path, "-c", files, "--override-channels", "python") == (0, "")
