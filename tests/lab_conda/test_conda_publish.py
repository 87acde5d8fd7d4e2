"""What `publish` puts into a directory, and what it says on a machine where it can not."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest
from conda_contract import Site

from lab.conda import publish, reasons
from lab.errors import LabUnavailable


def test_publish_returns_the_settings_that_point_the_product_at_the_server(site: Site) -> None:
    digest = hashlib.sha256(site.installer.read_bytes()).hexdigest()

    assert site.settings == {
        "conda_installer_url": f"{site.url}/miniconda/Miniconda3-{{version}}-Linux-{{arch}}.sh",
        "conda_installer_version": "py312_26.5.3-0",
        "conda_installer_sha256": {"x86_64": digest},
        "conda_channel_alias": site.url,
    }


def test_the_installer_lies_where_its_url_says(site: Site) -> None:
    url = str(site.settings["conda_installer_url"]).format(version="py312_26.5.3-0", arch="x86_64")

    assert url == f"{site.url}/{site.installer.relative_to(site.directory)}"


def test_the_channel_offers_a_python_312_and_the_python_of_this_process_if_it_is_pyenvs(site: Site) -> None:
    own = Path(sys.base_prefix)

    minors = {".".join(version.split(".")[:2]) for version in site.python_versions()}

    assert "3.12" in minors
    assert own.parent.name != "versions" or own.name in site.python_versions()


@pytest.mark.parametrize("subdir", ["linux-64", "noarch"])
def test_repodata_names_every_archive_with_its_size_and_sums(site: Site, subdir: str) -> None:
    archives = {path.name: path.read_bytes() for path in (site.directory / "conda-forge" / subdir).glob("*.tar.bz2")}

    listed = {name: (entry["size"], entry["sha256"]) for name, entry in site.packages(subdir).items()}

    assert listed == {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in archives.items()}


def test_building_again_gives_the_same_bytes(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    settings = publish(tmp_path / "again", site.url)

    again = Site(tmp_path / "again", site.url, settings)
    assert settings == site.settings
    assert again.packages("linux-64") == site.packages("linux-64")
    assert again.packages("noarch") == site.packages("noarch")
    shutil.rmtree(tmp_path)  # 100 MB that pytest would keep


def test_damaging_a_published_file_leaves_later_publications_whole(site: Site, tmp_path: Path) -> None:
    publish(tmp_path / "first", site.url)
    damaged = tmp_path / "first" / site.installer.relative_to(site.directory)
    damaged.write_bytes(b"")

    publish(tmp_path / "second", site.url)

    whole = tmp_path / "second" / site.installer.relative_to(site.directory)
    assert whole.read_bytes() == site.installer.read_bytes()


def test_publishing_over_a_damaged_publication_mends_it(site: Site, tmp_path: Path) -> None:
    publish(tmp_path, site.url)
    damaged = tmp_path / site.installer.relative_to(site.directory)
    damaged.write_bytes(b"")

    publish(tmp_path, site.url)

    assert damaged.read_bytes() == site.installer.read_bytes()


def test_a_machine_without_pyenv_and_binutils_is_told_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))

    told = reasons()

    expected = [
        f"no CPython 3.12 below {tmp_path}/versions: run `pyenv install 3.12`",
        "no `strip` on PATH: install the package binutils",
        "no `ldd` on PATH: install the package libc-bin",
    ]
    assert told == expected
    with pytest.raises(LabUnavailable) as raised:
        publish(tmp_path / "site", "http://127.0.0.1:1")
    assert str(raised.value) == "; ".join(expected)
