"""What create, install, remove, list, run and clean do to environments."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from conda_contract import Conda, Site, kill_at

IMPORTS = "import bz2, ctypes, curses, lzma, readline, sqlite3, ssl, sys, uuid, venv, zlib; print(sys.prefix)"


def names(conda: Conda, prefix: Path) -> list[str]:
    return [row["name"] for row in conda.json("list", "-p", prefix)]


def python(prefix: Path, *arguments: str) -> str:
    command = [str(prefix / "bin/python"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_create_brings_pip_with_setuptools_and_wheel(conda: Conda, env: Path) -> None:
    assert names(conda, env) == ["pip", "python", "setuptools", "wheel"]


def test_the_python_of_an_environment_stands_on_its_own(env: Path) -> None:
    lists = "import ssl, sqlite3, ctypes; print(open('/proc/self/maps').read())"

    libraries = {line.split()[-1] for line in python(env, "-c", lists).splitlines() if ".so" in line}

    assert python(env, "-c", IMPORTS) == f"{env}\n"
    assert {Path(path).name.split(".")[0] for path in libraries if not path.startswith(str(env))} <= {
        "ld-linux-x86-64", "libc", "libm", "libdl", "libpthread",
    }  # fmt: skip


def test_the_bytecode_of_the_standard_library_is_there_and_valid(env: Path) -> None:
    source = env / "lib/python3.12/asyncio/__init__.py"
    command = [str(env / "bin/python"), "-B", "-v", "-c", "import asyncio"]

    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stderr

    assert f"{source.parent}/__pycache__/__init__.cpython-312.pyc matches {source}" in told


def test_pip_runs_as_a_module_and_as_a_script(env: Path) -> None:
    script = subprocess.run([env / "bin/pip", "--version"], check=True, capture_output=True, text=True, timeout=60)

    assert python(env, "-m", "pip", "--version") == script.stdout
    assert f"from {env}/lib/python3.12/site-packages/pip (python 3.12)" in script.stdout


def test_create_deletes_an_existing_environment_with_all_that_is_in_it(conda: Conda, env: Path) -> None:
    (env / "mydata.txt").touch()

    done = conda("create", "-y", "-p", env, "python=3.12")

    assert done.returncode == 0
    assert not (env / "mydata.txt").exists()
    assert names(conda, env) == ["python"]


def test_create_without_yes_leaves_an_existing_environment_and_exits_0(conda: Conda, env: Path) -> None:
    done = conda("create", "-p", env, "python=3.12")

    assert done.returncode == 0
    assert done.stdout.endswith("\nCondaSystemExit: Exiting.\n\n")
    assert names(conda, env) == ["pip", "python", "setuptools", "wheel"]


def test_create_keeps_the_files_of_a_directory_that_is_no_environment(conda: Conda, tmp_path: Path) -> None:
    prefix = tmp_path / "env"
    prefix.mkdir()
    (prefix / "mydata.txt").touch()

    done = conda("create", "-y", "-p", prefix, "python=3.12")

    assert done.returncode == 0
    assert (prefix / "mydata.txt").exists()


def test_install_of_what_is_there_does_nothing(conda: Conda, env: Path) -> None:
    before = (env / "conda-meta/history").read_text()

    outcome = conda.json("install", "-y", "-p", env, "python=3.12", "pip")

    assert outcome == {"success": True, "message": "All requested packages already installed."}
    assert (env / "conda-meta/history").read_text() == before


def test_install_into_no_environment_is_refused(conda: Conda, tmp_path: Path) -> None:
    done = conda("install", "-y", "-p", tmp_path / "none", "pip", "--json")

    message = f"Not a conda environment: {tmp_path}/none"
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "location": f"{tmp_path}/none",
        "error": f"EnvironmentLocationNotFound: {message}",
        "exception_name": "EnvironmentLocationNotFound",
        "message": message,
    }


def test_a_dry_run_tells_what_would_be_linked_and_does_nothing(conda: Conda, tmp_path: Path) -> None:
    outcome = conda.json("create", "--dry-run", "-p", tmp_path / "env", "python=3.12", "wheel")

    assert [row["name"] for row in outcome["actions"]["LINK"]] == ["python", "wheel"]
    assert outcome["dry_run"] is True
    assert not (tmp_path / "env").exists()


def test_installing_another_python_moves_the_noarch_packages(conda: Conda, site: Site, env: Path) -> None:
    others = [version for version in site.python_versions() if not version.startswith("3.12.")]
    if not others:
        pytest.skip("this process runs no other pyenv Python, so the channel has only 3.12")
    minor = ".".join(others[0].split(".")[:2])

    done = conda("install", "-y", "-p", env, f"python={others[0]}")

    assert done.returncode == 0, done.stderr
    assert f"from {env}/lib/python{minor}/site-packages/pip" in python(env, "-m", "pip", "--version")
    assert not (env / "lib/python3.12").exists()


def test_list_shows_what_pip_installed(conda: Conda, env: Path) -> None:
    python(env, "-m", "pip", "install", "-q", "six==1.17.0")

    row = next(row for row in conda.json("list", "-p", env) if row["name"] == "six")

    assert (row["channel"], row["version"], row["build_string"]) == ("pypi", "1.17.0", "pypi_0")


@pytest.mark.parametrize("kind", ["--md5", "--sha256"])
def test_an_explicit_list_makes_the_same_environment_offline(
    conda: Conda, env: Path, tmp_path: Path, kind: str
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(conda("list", "-p", env, "--explicit", kind).stdout)

    done = conda("create", "-y", "--offline", "-p", tmp_path / "copy", "--file", lock)

    assert done.returncode == 0, done.stderr
    assert conda("list", "-p", tmp_path / "copy", "--explicit", kind).stdout == lock.read_text()


def test_an_explicit_list_with_a_wrong_sum_is_refused(conda: Conda, env: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    url = conda("list", "-p", env, "--explicit").stdout.split()[-1]
    lock.write_text(f"@EXPLICIT\n{url}#{'0' * 64}\n")

    outcome = conda.json("create", "-y", "-p", tmp_path / "copy", "--file", lock)

    assert outcome["exception_name"] == "ChecksumMismatchError"
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(("always_copy", "links"), [("false", "shared"), ("true", "own")])
def test_files_share_the_caches_inodes_unless_always_copy(
    conda: Conda, tmp_path: Path, always_copy: str, links: str
) -> None:
    conda.configure(f"always_copy: {always_copy}\n")

    conda("create", "-y", "-p", tmp_path / "env", "python=3.12")

    count = (tmp_path / "env/lib/python3.12/abc.py").stat().st_nlink
    assert (count > 1) is (links == "shared")


def test_clean_frees_archives_and_what_no_environment_links_to(conda: Conda, tmp_path: Path) -> None:
    cache = tmp_path / "pkgs"
    conda.configure(f"pkgs_dirs: [{cache}]\n")
    conda("create", "-y", "-p", tmp_path / "env", "python=3.12")
    conda("create", "-y", "--copy", "-p", tmp_path / "copied", "wheel")

    done = conda("clean", "-ay")

    assert done.returncode == 0
    assert [path.name.split("-")[0] for path in cache.iterdir()] == ["python"]


def test_remove_takes_dependents_along(conda: Conda, env: Path) -> None:
    done = conda("remove", "-y", "-p", env, "wheel")

    assert done.returncode == 0
    assert names(conda, env) == ["python", "setuptools"]
    assert not (env / "bin/pip").exists()


def test_run_passes_the_exit_status_through(conda: Conda, env: Path) -> None:
    done = conda("run", "-p", env, "python", "-c", "import sys; print(sys.prefix); sys.exit(7)")

    assert (done.returncode, done.stdout) == (7, f"{env}\n")


@pytest.mark.parametrize("step", ["fetch", "link"])
def test_a_killed_create_leaves_no_environment_and_the_next_makes_it(conda: Conda, tmp_path: Path, step: str) -> None:
    prefix = tmp_path / "env"
    conda.configure(f"pkgs_dirs: [{tmp_path}/pkgs]\n")
    command = [str(conda.prefix / "bin/conda"), "create", "-y", "-p", str(prefix), "python=3.12"]

    kill_at(step, command, conda.environment)

    assert (prefix / "bin/python").exists() is (step == "link")
    assert not (prefix / "conda-meta").exists()
    assert conda("create", "-y", "-p", prefix, "python=3.12").returncode == 0
    assert python(prefix, "-c", IMPORTS) == f"{prefix}\n"


def test_records_name_every_file_that_a_package_brought(conda: Conda, env: Path) -> None:
    records = [json.loads(path.read_text()) for path in (env / "conda-meta").glob("*.json")]

    brought = {name for record in records for name in record["files"]}

    present = {str(path.relative_to(env)) for path in env.rglob("*") if not path.is_dir() or path.is_symlink()}
    assert {name for name in present if not name.startswith("conda-meta/")} == brought
    assert {record["name"]: record["requested_spec"] for record in records} == {
        "python": "python=3.12", "pip": "pip", "setuptools": "", "wheel": "",
    }  # fmt: skip


def test_removing_an_environment_forgets_it(conda: Conda, env: Path) -> None:
    assert str(env) in conda.json("env", "list")["envs"]

    done = conda("env", "remove", "-y", "-p", env)

    assert done.returncode == 0
    assert str(env) not in conda.json("env", "list")["envs"]
    assert not os.path.exists(env)
