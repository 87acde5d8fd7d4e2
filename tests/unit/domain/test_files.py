"""The commands for files, run for real in a directory of the test's own."""

import hashlib
import os
import pwd
import subprocess
from pathlib import Path

import pytest

from mlflow_stack.domain.files import FileState, ManagedFile, parse_states, read_states_command, write_command

ME = pwd.getpwuid(os.getuid()).pw_name
AWKWARD = 'it\'s a "quoted" $HOME `id` \\n %s\nÄÖü 数据\n\nno newline at the end'


def managed(path: Path, content: str = "new\n", mode: str = "640", check: str = "") -> ManagedFile:
    return ManagedFile(str(path), content, mode=mode, owner=ME, group=ME, check=check)


def write(file: ManagedFile) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a host's shell does, the content on standard input."""
    return subprocess.run(
        ["sh", "-c", write_command(file)], input=file.content.encode(), capture_output=True, check=False, timeout=20
    )


def read(*paths: Path) -> dict[str, FileState]:
    command = read_states_command(tuple(map(str, paths)))
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=20).stdout
    return parse_states(output.splitlines())


@pytest.mark.parametrize("content", ["new\n", "", AWKWARD, "x" * 200_000])
def test_file_is_written_exactly_with_its_mode_and_owner(tmp_path: Path, content: str) -> None:
    file = managed(tmp_path / "a file's name", content, mode="604")

    done = write(file)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert Path(file.path).read_bytes() == content.encode()
    assert read(Path(file.path)) == {file.path: file.state()}
    assert os.listdir(tmp_path) == ["a file's name"]


def test_file_is_replaced_and_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")
    (tmp_path / "other-name").hardlink_to(path)

    write(managed(path))

    assert (path.read_text(), (tmp_path / "other-name").read_text()) == ("new\n", "old\n")


def test_write_does_not_follow_a_symbolic_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious\n")
    (tmp_path / "file").symlink_to(target)

    write(managed(tmp_path / "file"))

    assert target.read_text() == "precious\n"
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_text() == "new\n"


def test_write_onto_a_directory_fails_and_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()

    done = write(managed(tmp_path / "file"))

    assert done.returncode != 0
    assert os.listdir(tmp_path) == ["file"]
    assert os.listdir(tmp_path / "file") == []


def test_failing_check_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")

    done = write(managed(path, check="echo 'line 3 is wrong' >&2; false"))

    assert (done.returncode, done.stderr) == (1, b"line 3 is wrong\n")
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["file"]


def test_check_sees_the_new_content_under_the_name_of_the_file(tmp_path: Path) -> None:
    seen = tmp_path / "seen"

    write(
        managed(
            tmp_path / "my.service",
            check=f'basename "$new" > {seen}; cat "$new" >> {seen}; stat -c %a "$new" >> {seen}',
        )
    )

    assert seen.read_text() == "my.service\nnew\n640\n"


def test_temporary_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".mlflow-stack-new.abcdef").mkdir()
    (tmp_path / ".mlflow-stack-new.abcdef/file").write_text("half")

    write(managed(tmp_path / "file"))

    assert os.listdir(tmp_path) == ["file"]


def test_new_content_is_never_readable_by_others_while_it_is_written(tmp_path: Path) -> None:
    check = f'stat -c %a "$(dirname "$new")" > {tmp_path}/directory-mode'

    write(managed(tmp_path / "secret", mode="600", check=check))

    assert (tmp_path / "directory-mode").read_text() == "700\n"


def test_write_into_a_directory_that_is_missing_fails(tmp_path: Path) -> None:
    done = write(managed(tmp_path / "missing/file"))

    assert done.returncode != 0
    assert os.listdir(tmp_path) == []


def test_state_of_a_file_is_its_mode_owner_and_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a file"
    path.write_text("content\n")
    path.chmod(0o640)

    assert read(path) == {str(path): FileState("640", ME, ME, hashlib.sha256(b"content\n").hexdigest())}


def test_state_of_what_is_no_regular_file_is_absent(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "file")

    assert read(tmp_path / "directory", tmp_path / "link", tmp_path / "missing") == {}


def test_content_of_a_file_is_not_in_its_representation() -> None:
    assert "hunter2" not in repr(ManagedFile("/etc/mlflow/pgpass", "hunter2"))
