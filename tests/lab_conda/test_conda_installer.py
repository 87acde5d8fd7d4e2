"""The installer's contract: flags, messages and exit statuses of constructor's header.sh."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conda_contract import Conda, Site, environment, kill_at, run_installer


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "miniconda3"


def test_batch_mode_installs_a_conda_that_lists_itself(site: Site, prefix: Path, home: Path) -> None:
    done = run_installer(site.installer, "-b", "-p", prefix, home=home)

    conda = Conda(prefix, home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"PREFIX={prefix}\nUnpacking payload...\n")
    assert done.stdout.endswith("installation finished.\n")
    assert conda("--version").stdout == "conda 26.5.3\n"
    assert [row["name"] for row in conda.json("list", "-n", "base")] == ["conda", "python"]
    recorded = [json.loads(path.read_text())["files"] for path in (prefix / "conda-meta").glob("*.json")]
    assert [name for names in recorded for name in names if not (prefix / name).exists()] == []


def test_the_installed_condarc_names_defaults_as_minicondas_does(site: Site, prefix: Path, home: Path) -> None:
    run_installer(site.installer, "-b", "-p", prefix, home=home)

    assert (prefix / ".condarc").read_text() == "channels:\n  - defaults\n"


def test_an_existing_prefix_is_refused(site: Site, prefix: Path, home: Path) -> None:
    prefix.mkdir()

    done = run_installer(site.installer, "-b", "-p", prefix, home=home)

    assert done.returncode == 1
    assert done.stderr == (
        f"ERROR: File or directory already exists: '{prefix}'\n"
        "If you want to update an existing installation, use the -u option.\n"
    )


@pytest.mark.parametrize("flag", ["-u", "-f"])
def test_an_update_keeps_environments_and_resets_condarc(site: Site, prefix: Path, home: Path, flag: str) -> None:
    run_installer(site.installer, "-b", "-p", prefix, home=home)
    (prefix / "envs/ours").mkdir()
    (prefix / ".condarc").write_text("channels: [conda-forge]\n")

    done = run_installer(site.installer, "-b", flag, "-p", prefix, home=home)

    assert done.returncode == 0
    assert (prefix / "envs/ours").is_dir()
    assert (prefix / ".condarc").read_text() == "channels:\n  - defaults\n"


@pytest.mark.parametrize("step", ["unpack", "link"])
def test_a_killed_run_blocks_the_next_until_it_updates(site: Site, prefix: Path, home: Path, step: str) -> None:
    kill_at(step, ["sh", str(site.installer), "-b", "-p", str(prefix)], environment(home))

    again = run_installer(site.installer, "-b", "-p", prefix, home=home)

    assert again.returncode == 1
    assert (prefix / "conda-meta/history").exists()
    assert not (prefix / "bin/conda").exists()
    assert run_installer(site.installer, "-b", "-u", "-p", prefix, home=home).returncode == 0
    assert Conda(prefix, home)("--version").returncode == 0


@pytest.mark.parametrize("step", ["unpack", "link"])
def test_a_run_told_to_fail_exits_1_and_leaves_the_half(site: Site, prefix: Path, home: Path, step: str) -> None:
    done = run_installer(site.installer, "-b", "-p", prefix, home=home, LAB_CONDA_FAIL_AT=step)

    assert (done.returncode, done.stderr) == (1, f"lab: failing at {step}\n")
    assert prefix.is_dir()
    assert not (prefix / "bin/conda").exists()


def test_a_truncated_file_warns_of_its_sum_and_fails_to_unpack(site: Site, prefix: Path, home: Path) -> None:
    truncated = home / "Miniconda3.sh"
    truncated.write_bytes(site.installer.read_bytes()[:-1_000_000])

    done = run_installer(truncated, "-b", "-p", prefix, home=home)

    assert done.returncode == 1
    assert done.stderr.startswith("WARNING: md5sum mismatch of tar archive\nexpected: ")
    assert done.stderr.endswith("ERROR: could not extract the conda packages\n")


def test_a_file_not_named_sh_is_refused(site: Site, prefix: Path, home: Path) -> None:
    renamed = home / "Miniconda3.tmp"
    shutil.copy(site.installer, renamed)

    done = run_installer(renamed, "-b", "-p", prefix, home=home)

    assert done.returncode == 1
    assert done.stderr == 'Please run using "bash"/"dash"/"sh"/"zsh", but not "." or "source".\n'


def test_a_prefix_with_a_space_is_refused(site: Site, tmp_path: Path, home: Path) -> None:
    done = run_installer(site.installer, "-b", "-p", tmp_path / "mini conda", home=home)

    assert (done.returncode, done.stderr) == (1, "ERROR: Cannot install into directories with spaces\n")


@pytest.mark.parametrize(
    ("option", "stdin", "status", "last_line"),
    [
        ("-x", "", 1, "ERROR: did not recognize option '?', please try -h"),
        ("-h", "", 2, "-u           update an existing installation"),
        ("-s", "no\n", 2, ">>> The license agreement wasn't approved, aborting installation."),
    ],
)
def test_other_refusals_have_the_real_statuses(
    site: Site, prefix: Path, home: Path, option: str, stdin: str, status: int, last_line: str
) -> None:
    done = run_installer(site.installer, option, "-p", prefix, home=home, stdin=stdin)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (status, last_line)
    assert not prefix.exists()
