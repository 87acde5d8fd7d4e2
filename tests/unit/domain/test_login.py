"""The file of logins, and what is read back of it."""

import hashlib
import subprocess
from pathlib import Path

from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.login import TRACKING_AREA, logins_text, model_area, parse_logins, read_logins_command
from mlflow_stack.on_host import login

ALICE, SHOP = (TRACKING_AREA, "alice"), (model_area("diabetes"), "shop")
SALTS = {ALICE: bytes(range(16)), SHOP: bytes(16)}
PASSWORDS = {SHOP: "cart", ALICE: "wonder land"}


def test_file_has_a_salted_hash_of_each_login() -> None:
    hash_ = hashlib.scrypt(b"wonder land", salt=SALTS[ALICE], n=2**14, r=8, p=1, dklen=32).hex()

    lines = logins_text(PASSWORDS, SALTS).splitlines()

    assert lines[0].startswith("# Managed by MLflow Stack")
    assert [line.rsplit(" ", 1)[0] for line in lines[1:]] == [
        f"models/diabetes shop {'00' * 16}",
        "tracking alice 000102030405060708090a0b0c0d0e0f",
    ]
    assert lines[2].split(" ")[3] == hash_


def test_file_is_the_same_for_the_same_passwords_and_salts() -> None:
    assert logins_text(PASSWORDS, SALTS) == logins_text(dict(reversed(PASSWORDS.items())), SALTS)
    assert logins_text(PASSWORDS, SALTS) != logins_text({**PASSWORDS, ALICE: "wonderland"}, SALTS)


def test_program_on_the_host_reads_it() -> None:
    users = login.read_users(logins_text(PASSWORDS, SALTS))

    assert {each: salt for each, (salt, _) in users.items()} == SALTS


def test_salts_are_read_back_and_no_hash_is(tmp_path: Path) -> None:
    path, text = tmp_path / "logins", logins_text(PASSWORDS, SALTS)
    path.write_text(text)
    path.chmod(0o600)

    output = subprocess.run(
        ["sh", "-c", read_logins_command(str(path))], capture_output=True, text=True, check=True, timeout=10
    ).stdout

    state, salts = parse_logins(output.splitlines())
    assert salts == SALTS
    assert state == ManagedFile(str(path), text, mode="600").state()
    assert not any(line.split(" ")[3] in output for line in text.splitlines()[1:])


def test_file_that_is_not_there_has_no_state_and_no_salts(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", read_logins_command(str(tmp_path / "logins"))],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )

    assert parse_logins(done.stdout.splitlines()) == (None, {})
