"""The commands for files, run for real in a directory of the test's own."""

import hashlib
import os
import pwd
import subprocess
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from mlflow_stack.domain.files import (
    FileState,
    ManagedBlock,
    ManagedFile,
    block_command,
    parse_states,
    read_states_command,
    write_command,
)

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


@pytest.mark.parametrize("arrived", [b"", b"ne"])
def test_content_that_did_not_arrive_whole_leaves_the_old_file_and_nothing_else(tmp_path: Path, arrived: bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")

    done = subprocess.run(
        ["sh", "-c", write_command(managed(path))], input=arrived, capture_output=True, check=False, timeout=20
    )

    sentence = f"{path}: its content did not arrive whole and the file was left as it was; run the deploy again\n"
    assert (done.returncode, done.stderr.decode()) == (1, sentence)
    assert path.read_text() == "old\n"
    assert os.listdir(tmp_path) == ["file"]


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


def test_directory_of_a_drop_in_is_made_with_it_and_kept_as_it_is_afterwards(tmp_path: Path) -> None:
    file = replace(managed(tmp_path / "unit.service.d" / "own.conf"), own_directory=True)

    first = write(file)
    (tmp_path / "unit.service.d").chmod(0o750)
    second = write(replace(file, content="newer\n"))

    assert (first.returncode, second.returncode) == (0, 0)
    assert Path(file.path).read_text() == "newer\n"
    assert (tmp_path / "unit.service.d").stat().st_mode & 0o777 == 0o750


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


BEGIN, END = "# BEGIN it's ours, [a-z]* $HOME", "# END of ours"
BLOCK = f"{BEGIN}\none\ntwo $x 'y'\n{END}\n"
OTHERS = "# a comment\nlocal all all peer\n\n\tindented  \nhost all all 127.0.0.1/32 scram-sha-256\n"


def block(path: Path, *lines: str, mode: str = "640") -> ManagedBlock:
    return ManagedBlock(str(path), lines or ("one", "two $x 'y'"), BEGIN, END, mode=mode, owner=ME, group=ME)


def put(wanted: ManagedBlock) -> subprocess.CompletedProcess[bytes]:
    """Run the block's command as a host's shell does, the block on standard input."""
    return subprocess.run(
        ["sh", "-c", block_command(wanted)], input=wanted.content.encode(), capture_output=True, check=False, timeout=20
    )


def test_block_of_a_file_that_is_absent_makes_it_with_its_mode_and_owner(tmp_path: Path) -> None:
    wanted = block(tmp_path / "a file's name", mode="604")

    done = put(wanted)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert Path(wanted.path).read_text() == BLOCK
    assert read(Path(wanted.path)) == {
        wanted.path: FileState("604", ME, ME, hashlib.sha256(BLOCK.encode()).hexdigest())
    }
    assert os.listdir(tmp_path) == ["a file's name"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", BLOCK, id="empty"),
        pytest.param(OTHERS, BLOCK + OTHERS, id="without"),
        pytest.param(BLOCK + OTHERS, BLOCK + OTHERS, id="as-it-should-be"),
        pytest.param(f"{BEGIN}\nold\nolder\n{END}\n{OTHERS}", BLOCK + OTHERS, id="older"),
        pytest.param(f"{BEGIN}\n{END}\n{OTHERS}", BLOCK + OTHERS, id="emptied"),
        pytest.param(f"first\n{BLOCK}last\n", f"{BLOCK}first\nlast\n", id="moved"),
        pytest.param(f"{BLOCK}a\n{BLOCK}b\n", f"{BLOCK}a\nb\n", id="twice"),
        pytest.param(f"{BEGIN}\none\nlast\n", f"{BLOCK}{BEGIN}\none\nlast\n", id="end-removed"),
        pytest.param(f"{END}\n{BEGIN}\none\n", f"{BLOCK}{END}\n{BEGIN}\none\n", id="end-before-begin"),
        pytest.param(f"one\n{END}\nlast\n", f"{BLOCK}one\n{END}\nlast\n", id="begin-removed"),
        pytest.param(f"{BLOCK}a\n{BEGIN}\nb\n", f"{BLOCK}a\n{BEGIN}\nb\n", id="second-end-removed"),
        pytest.param(f"{BLOCK}{END}\nlast\n", f"{BLOCK}{END}\nlast\n", id="end-twice"),
        pytest.param(f"{BEGIN}\na\n{BLOCK}last\n", f"{BLOCK}last\n", id="begin-twice"),
        pytest.param(f" {BEGIN}\n{END} \nlast\n", f"{BLOCK} {BEGIN}\n{END} \nlast\n", id="only-alike"),
        pytest.param("last", f"{BLOCK}last\n", id="no-newline-at-the-end"),
        pytest.param(f"first\n{BEGIN}\nold\n{END}", f"{BLOCK}first\n", id="no-newline-after-the-block"),
        pytest.param("a\r\nb\\n %s\\\n数据\n", f"{BLOCK}a\r\nb\\n %s\\\n数据\n", id="odd-bytes"),
    ],
)
def test_block_command_and_text_put_the_block_in_front_and_keep_other_lines(
    tmp_path: Path, before: str, after: str
) -> None:
    wanted, path = block(tmp_path / "file"), tmp_path / "file"
    path.write_bytes(before.encode())

    done = put(wanted)

    assert (done.returncode, done.stderr) == (0, b"")
    assert path.read_bytes().decode() == after
    assert wanted.text(before) == after
    assert wanted.text(after) == after


def test_block_command_and_text_agree_on_every_mixture_of_lines(tmp_path: Path) -> None:
    wanted, path = block(tmp_path / "file"), tmp_path / "file"
    for length in range(3):
        for mixture in product([BEGIN, END, "other"], repeat=length):
            before = "".join(f"{line}\n" for line in mixture)
            path.write_text(before)

            put(wanted)

            assert wanted.text(before) == path.read_text(), before


def test_block_that_is_put_twice_changes_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(f"first\n{BEGIN}\nold\n{END}\nlast\n")

    put(block(path))
    once = path.read_bytes()
    put(block(path))

    assert path.read_bytes() == once


def test_bytes_of_others_that_are_no_utf_8_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"# M\xfcller\n")

    put(block(path))

    assert path.read_bytes() == BLOCK.encode() + b"# M\xfcller\n"


def test_block_takes_the_lines_that_are_there_when_it_is_put(tmp_path: Path) -> None:
    """A plan may come before the package that brings the file."""
    path = tmp_path / "file"
    command = block_command(block(path))
    path.write_text("of the package\n")

    subprocess.run(["sh", "-c", command], input=BLOCK.encode(), check=True, timeout=20)

    assert path.read_text() == f"{BLOCK}of the package\n"


def test_block_that_can_not_be_put_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious\n")

    done = put(replace(block(path), owner="nobody-of-that-name"))

    assert done.returncode != 0
    assert path.read_text() == "precious\n"
    assert os.listdir(tmp_path) == ["file"]


def test_content_of_a_file_is_the_text_afterwards_whatever_was_there(tmp_path: Path) -> None:
    assert managed(tmp_path / "file").text("old\n") == "new\n"
