"""Checks of hidden.py, that nobody else sees a secret: their scripts, run on this machine, and what is judged by."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mlflow_stack.conform import confined, hidden
from mlflow_stack.conform.checks import Check, NotAsked, Unknown
from mlflow_stack.domain import layout
from mlflow_stack.domain.database import mysql_options
from tests.unit.conform.judging import found, judged, run
from tests.unit.defaults import settings

HASH = "0123456789abcdef" * 2
SPOKEN = "correct: horse\\battery"
KEY = "MHcCAQEEIOsecretsecretsecretsecretsecret"


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A host's secrets, and the places where they are looked for."""
    keys, etc = tmp_path / "credentials", tmp_path / "etc"
    (keys / "proxy").mkdir(parents=True)
    etc.mkdir()
    escaped = SPOKEN.replace("\\", "\\\\").replace(":", "\\:")
    (keys / "pgpass").write_text(f"*:*:*:*:{escaped}\n")
    (keys / "logins").write_text(f"# Managed by MLflow Stack: …\ntracking admin 5a17 {HASH}\n")
    kind = "EC PRIVATE KEY"
    pem = f"-----BEGIN {kind}-----\n{KEY}\npublicpublic\n-----END {kind}-----\n"
    (keys / "proxy/server.pem").write_text(f"{pem}-----BEGIN CERTIFICATE-----\npublicpublic\n")
    searched = "/etc /run /tmp /var/tmp /dev/shm /var/log /opt/mlflow/libexec"
    return {searched: str(etc), "/home -maxdepth 3": f"{tmp_path}/home", layout.CREDENTIALS_DIR: str(keys)}


@pytest.mark.parametrize("secret", [SPOKEN, HASH, KEY])
def test_secret_in_a_file_that_others_read_is_found_without_being_shown(places: dict[str, str], secret: str) -> None:
    etc = Path(next(iter(places.values())))
    (etc / "with a space").write_text(f"x={secret};")
    (etc / "public").write_text("publicpublic, admin, 5a17, tracking")

    answer = run(hidden.readable, settings(), places)

    assert answer == ["secrets 3", f"{etc}/with a space", "status 0"]
    assert judged(hidden.readable, answer) == [
        f"a secret of the host is in {etc}/with a space, which everybody can read"
    ]


def test_password_of_mysql_is_looked_for_as_it_is(places: dict[str, str]) -> None:
    (Path(places[layout.CREDENTIALS_DIR]) / "mysql.cnf").write_text(mysql_options('p#w"with\\n'))
    etc = Path(next(iter(places.values())))
    (etc / "leak").write_text('p#w"with\\n')

    assert f"{etc}/leak" in run(hidden.readable, settings(), places)


def test_many_files_are_looked_at_with_all_secrets(places: dict[str, str]) -> None:
    """More than one call of grep is needed for them, and each has to have the secrets."""
    etc = Path(next(iter(places.values())))
    for number in range(2100):
        (etc / f"{number:04}").write_text(HASH if number in (3, 1500, 2099) else "nothing")

    answer = run(hidden.readable, settings(), places)

    assert sorted(answer[1:-1]) == [f"{etc}/{number:04}" for number in (3, 1500, 2099)]


def test_host_without_a_secret_is_not_asked(places: dict[str, str], tmp_path: Path) -> None:
    empty = {**places, layout.CREDENTIALS_DIR: str(tmp_path / "none")}
    (Path(next(iter(places.values()))) / "a file").touch()

    answer = run(hidden.readable, settings(), empty)

    assert answer == ["secrets 0", "status 0"]
    with pytest.raises(NotAsked, match="this host keeps no secret"):
        judged(hidden.readable, answer)


@pytest.mark.parametrize(
    ("check", "instead"),
    [
        (hidden.readable, {"-print0": "-false"}),
        (hidden.journal, {"journalctl": "true"}),
        (hidden.arguments, {"systemctl": "true"}),
        (confined.writable, {layout.LIBEXEC_DIR: "/nowhere"}),
    ],
    ids=lambda each: getattr(each, "number", ""),
)
def test_script_that_has_nothing_to_look_into_is_no_success(
    places: dict[str, str], check: Check, instead: dict[str, str]
) -> None:
    answer = run(check, settings(), {**places, **instead})

    with pytest.raises(Unknown, match="its command ended with status 1"):
        judged(check, answer)


def test_secret_in_the_arguments_of_a_process_is_found(places: dict[str, str]) -> None:
    leaking = subprocess.Popen(["cat", "-", HASH], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        own = {"/proc/[0-9]*/cmdline": f"/proc/{leaking.pid}/cmdline", "systemctl": "echo"}
        answer = run(hidden.arguments, settings(), {**places, **own})
    finally:
        leaking.kill()
        leaking.communicate()

    assert answer == ["secrets 3", "process cat", "status 0"]
    assert judged(hidden.arguments, answer) == ["a secret of the host is in the arguments of cat"]


def test_secret_in_a_unit_is_found_by_its_name(places: dict[str, str], tmp_path: Path) -> None:
    """Another program plays systemctl: it knows two units, and one of them says too much."""
    program = tmp_path / "units"
    program.write_text(
        f"#!/bin/sh\ncase $* in *list-units*) printf 'a.service x\\nb.service x\\n' ;; *a.service*) echo A=b ;; "
        f"*) echo 'Environment=X={HASH}' ;; esac\n"
    )
    program.chmod(0o755)

    answer = run(
        hidden.arguments, settings(), {**places, "systemctl": str(program), "/proc/[0-9]*/cmdline": "/dev/null"}
    )

    assert judged(hidden.arguments, answer) == ["a secret of the host is in what systemctl shows of b.service"]


def test_secret_in_the_journal_is_found_with_the_program_that_wrote_it(places: dict[str, str], tmp_path: Path) -> None:
    journal = tmp_path / "journalctl"
    text = f"Nov 27 01:02:03 host sudo[12]: X={HASH}\nNov 27 01:02:04 host sudo[13]: {HASH}\nNov 27 a b {HASH}\n"
    journal.write_text(f"#!/bin/sh\ncat <<'END'\n{text}Nov 27 01:02:04 host other[14]: nothing\nEND\n")
    journal.chmod(0o755)

    answer = run(hidden.journal, settings(), {**places, "journalctl": str(journal)})

    assert HASH not in "".join(answer)
    assert sorted(judged(hidden.journal, answer)) == [
        "a secret of the host is in 1 lines of a program that writes several lines",
        "a secret of the host is in 2 lines of sudo",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="root's files are judged")
def test_mode_of_a_key_and_of_its_directory_is_judged(tmp_path: Path) -> None:
    keys = tmp_path / "credentials"
    keys.mkdir(mode=0o700)
    (keys / "logins").touch(mode=0o600)
    place = {layout.CREDENTIALS_DIR: str(keys)}

    def faults() -> list[str]:
        answer = run(hidden.keys, settings(), place)
        return judged(hidden.keys, [line.replace(str(keys), layout.CREDENTIALS_DIR) for line in answer])

    assert faults() == []
    (keys / "logins").chmod(0o640)
    (keys / "link").symlink_to("/etc/passwd")
    keys.chmod(0o755)
    assert sorted(faults()) == [
        f"{layout.CREDENTIALS_DIR} is 755 root root",
        f"{layout.CREDENTIALS_DIR}/link is neither file nor directory",
        f"{layout.CREDENTIALS_DIR}/logins is 640 root root",
    ]


def test_keys_of_a_database_s_server_are_its_user_s() -> None:
    own = settings(postgresql_client_networks=["10.0.0.0/24"])
    tls = layout.DATABASE_TLS_DIR
    good = [f"d 700 root root {layout.CREDENTIALS_DIR}", f"d 700 postgres postgres {tls}"]
    good += [f"f 600 postgres postgres {tls}/server.pem", f"f 644 postgres postgres {tls}/ca.crt"]

    assert found(hidden.keys, good, own) == []
    assert found(hidden.keys, [*good, f"f 600 root root {tls}/ca.key"], own) == [f"{tls}/ca.key is 600 root root"]
    assert found(hidden.keys, []) == [f"there is no {layout.CREDENTIALS_DIR}"]


def test_directory_that_others_see_is_found() -> None:
    own = [layout.CONFIG_DIR, layout.STATE_DIR, layout.STAMPS_DIR, layout.BACKUP_DIR, "/var/lib/mlflow/artifacts"]
    closed = [f"750 {path}" for path in own]

    assert found(hidden.closed, closed) == []
    assert found(hidden.closed, ["755 /etc/mlflow", *closed[1:-1]]) == [
        "/etc/mlflow is 755",
        "there is no /var/lib/mlflow/artifacts",
    ]
