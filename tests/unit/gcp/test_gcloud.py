"""How gcloud is called, with a script of this test in its place: what it gets, and what of its errors is passed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlflow_stack.gcp.gcloud import ATTEMPTS, PAUSE_S, Command, Gcloud, GcloudFailed


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the script that is gcloud, with a directory of its own first on PATH."""
    script = tmp_path / "gcloud"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return script


def write(script: Path, text: str) -> None:
    script.write_text(f"#!/bin/sh\ncd {script.parent}\n{text}\n")
    script.chmod(0o755)


def test_question_is_for_the_project_and_is_answered_by_its_json(program: Path) -> None:
    write(program, """printf '%s\\n' "$@" > arguments; printf '{"name": "mlflow"}'""")

    answer = Gcloud("my-project-1").ask("sql", "instances", "list")

    arguments = (program.parent / "arguments").read_text().split()
    assert answer == {"name": "mlflow"}
    assert arguments == ["sql", "instances", "list", "--format=json", "--project=my-project-1", "--quiet"]


def test_secret_comes_by_standard_input_and_nothing_of_it_is_kept_by_gcloud(program: Path) -> None:
    write(program, """cat > given; printf '%s' "$*" > arguments; echo $CLOUDSDK_CORE_DISABLE_FILE_LOGGING > logging""")

    Gcloud("my-project-1").run(Command(("secrets", "versions", "add", "x", "--data-file=-"), "s3cret", is_secret=True))

    assert (program.parent / "given").read_text() == "s3cret"
    assert "s3cret" not in (program.parent / "arguments").read_text()
    assert (program.parent / "logging").read_text() == "true\n"


def test_other_input_can_be_opened_by_its_name_too(program: Path) -> None:
    write(program, 'cat "$(readlink -f /dev/stdin)" > given')

    Gcloud("my-project-1").run(Command(("storage", "buckets", "update"), json.dumps({"rule": []})))

    assert (program.parent / "given").read_text() == '{"rule": []}'


def test_error_is_passed_on_in_one_line_without_what_helps_nobody(program: Path) -> None:
    write(
        program,
        'echo "WARNING: old" >&2; echo "ERROR: (gcloud.sql.instances.list) [ada@example.com] does not have" >&2; '
        'echo "permission to access projects instance [x]. This command is authenticated as ada" >&2; exit 1',
    )

    with pytest.raises(GcloudFailed) as failed:
        Gcloud("x").ask("sql", "instances", "list")

    assert str(failed.value) == "[ada@example.com] does not have permission to access projects instance [x]"
    assert not failed.value.is_login


@pytest.mark.parametrize(
    "message",
    [
        "You do not currently have an active account selected.",
        "There was a problem refreshing your current auth tokens: Reauthentication required.",
        "HTTPError 401: Request had invalid authentication credentials. Expected OAuth 2 access token",
        "invalid_grant: Token has been expired or revoked.",
    ],
)
def test_login_that_is_missing_or_has_expired_is_known_as_that(program: Path, message: str) -> None:
    write(program, f'echo "ERROR: (gcloud.x) {message}" >&2; exit 1')

    with pytest.raises(GcloudFailed) as failed:
        Gcloud("x").ask("projects", "describe", "x")

    assert failed.value.is_login


def test_change_waits_for_what_was_made_shortly_before(program: Path) -> None:
    write(
        program,
        "n=$(cat count 2>/dev/null || echo 0); echo $((n + 1)) > count; "
        '[ $n -ge 2 ] || { echo "ERROR: (gcloud.x) Service account a@b does not exist." >&2; exit 1; }',
    )
    waited: list[float] = []

    Gcloud("x", waited.append).run(Command(("projects", "add-iam-policy-binding")))

    assert waited == [PAUSE_S, PAUSE_S]
    assert (program.parent / "count").read_text() == "3\n"


def test_change_does_not_wait_for_ever_and_never_for_another_error(program: Path) -> None:
    waited: list[float] = []
    for message, times in (("API has not been used in project 1", ATTEMPTS - 1), ("quota exceeded", 0)):
        write(program, f'echo "ERROR: (gcloud.x) {message}" >&2; exit 1')
        waited.clear()

        with pytest.raises(GcloudFailed, match=message):
            Gcloud("x", waited.append).run(Command(("services", "enable")))

        assert len(waited) == times


def test_gcloud_that_is_not_installed_is_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(GcloudFailed) as failed:
        Gcloud("x").ask("projects", "describe", "x")

    assert str(failed.value) == "gcloud is not installed; https://cloud.google.com/sdk/docs/install says how"
