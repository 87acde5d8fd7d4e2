"""python -m mlflow_stack gcp: what it refuses before it asks the cloud anything, and how a run ends half-way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from mlflow_stack.__main__ import main
from mlflow_stack.gcp import command, declared
from mlflow_stack.gcp.command import _passwords, _take
from mlflow_stack.gcp.gcloud import Command, Gcloud, GcloudFailed
from mlflow_stack.gcp.plan import Plan, Step
from mlflow_stack.gcp.survey import Refused
from tests.unit.gcp.found import LOGIN, registry, settings, whole


def written(directory: Path, *lines: str) -> str:
    path = directory / "gcp.py"
    path.write_text("\n".join([*lines, ""]))
    return str(path)


def test_settings_that_are_missing_are_named_all_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gcp", "plan", "--settings", written(tmp_path)]) == 1

    assert capsys.readouterr() == (
        "",
        "3 problems; nothing was changed\n"
        "  gcp_project: required, but empty; expected the project's id, in group_data/gcp.py\n"
        "  gcp_region: required, but empty; expected a region, as europe-west1, in group_data/gcp.py\n"
        "  gcp_image: required, but empty; expected NAME:TAG of an image in the registry, in group_data/gcp.py\n",
    )


def test_settings_that_are_wrong_are_refused_in_the_words_of_hosts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "gcp_regoin = 'europe-west1'", "gcp_max_instances = '3'", "tracking_workers = 0")

    assert main(["gcp", "apply", "--settings", path]) == 1

    assert capsys.readouterr().err == (
        "3 problems in the settings; nothing was changed\n"
        "  gcp_regoin: unknown setting; did you mean gcp_region?\n"
        "  gcp_max_instances: input should be a valid integer; found '3'\n"
        "  tracking_workers: input should be greater than or equal to 1; found 0\n"
    )


def test_stack_without_a_server_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "gcp_project = 'my-project-1'", "gcp_region = 'europe-west1'", "gcp_cloud_run = False")

    assert main(["gcp", "plan", "--settings", path]) == 1

    assert capsys.readouterr().err == (
        "1 problem; nothing was changed\n"
        "  gcp_cloud_run is False and gcp_machines is empty, so nothing would serve; set one of them\n"
    )


def test_image_without_a_client_of_the_bucket_or_a_driver_of_the_database_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ("gcp_project = 'my-project-1'", "gcp_region = 'europe-west1'", "gcp_image = 'mlflow:1'")
    lines = (*lines, "gcp_database_version = 'MYSQL_8_4'", "image_addons = ['s3']")

    assert main(["gcp", "plan", "--settings", written(tmp_path, *lines)]) == 1

    assert capsys.readouterr().err == (
        "1 problem; nothing was changed\n"
        "  image_addons lacks 'gcs' and 'mysql', without which the image has no client for the bucket and the "
        "database; add it, and build and push the image anew\n"
    )


def test_login_without_anybody_who_could_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ("gcp_project = 'my-project-1'", "gcp_region = 'europe-west1'", "gcp_image = 'mlflow:1'")

    assert main(["gcp", "plan", "--settings", written(tmp_path, *lines, "gcp_public = True", "proxy_users = {}")]) == 1

    assert capsys.readouterr().err == (
        "1 problem; nothing was changed\n"
        "  gcp_public has the server ask for a login, and proxy_users is empty; name somebody there\n"
    )


@pytest.mark.parametrize(("verb", "name"), [("destroy", "mlflo"), ("apply", "mlflow")])
def test_data_are_removed_only_by_their_stack_s_name_and_only_at_its_end(
    verb: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ("gcp_project = 'my-project-1'", "gcp_region = 'europe-west1'", "gcp_image = 'mlflow:1'")

    assert main(["gcp", verb, "--settings", written(tmp_path, *lines), "--delete-data", name]) == 1

    assert capsys.readouterr().err == (
        "1 problem; nothing was changed\n"
        f"  --delete-data {name}: expected the name of the stack, which is mlflow, with destroy\n"
    )


def test_command_that_is_interrupted_says_what_becomes_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "look", interrupted)
    lines = ("gcp_project = 'my-project-1'", "gcp_region = 'europe-west1'", "gcp_image = 'mlflow:1'")

    assert main(["gcp", "apply", "--settings", written(tmp_path, *lines)]) == 1

    assert capsys.readouterr().err == (
        "interrupted; Google ends what it has begun, and the same command goes on from there\n"
    )


def test_option_that_is_unknown_does_not_end_like_a_plan_with_changes() -> None:
    with pytest.raises(SystemExit) as end:
        main(["gcp", "plan", "--limit", "web"])

    assert end.value.code == 1


def test_settings_of_the_cloud_are_over_those_of_all_and_may_be_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declared, "OVERLAY", tmp_path / "gcp.py")

    without = declared.load()
    written(tmp_path, "gcp_name = 'fraud'")

    assert (without.gcp.name, declared.load().gcp.name) == ("mlflow", "fraud")


def test_file_of_settings_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gcp", "plan", "--settings", f"{tmp_path}/no.py"]) == 1

    assert capsys.readouterr().err == (
        "1 problem in the settings; nothing was changed\n"
        f"  {tmp_path}/no.py: can't be read (No such file or directory)\n"
    )


class Failing(Gcloud):
    """gcloud that refuses one command; the others do nothing."""

    def __init__(self, bad: str) -> None:
        super().__init__("my-project-1")
        self.bad = bad

    def run(self, command: Command) -> None:
        if command.arguments == (self.bad,):
            raise GcloudFailed("quota exceeded")


def steps(names: Iterable[str]) -> Plan:
    return Plan(tuple(Step("create", name, (Command((name,)),)) for name in names))


def test_run_that_stops_half_way_lists_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert _take(steps(["bucket", "account", "database", "service"]), Failing("database")) == 1

    assert capsys.readouterr() == (
        "create bucket\ncreate account\ncreate database\n",
        "create database: failed (quota exceeded)\n"
        "  done: create bucket\n"
        "  done: create account\n"
        "the same command goes on from here\n",
    )


def test_step_that_was_half_done_says_how_far_it_came(capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan((Step("create", "bucket", (Command(("create",)), Command(("close",)))),))

    assert _take(plan, Failing("close")) == 1

    assert capsys.readouterr().err.splitlines()[0] == "create bucket: failed in command 2 of 2 (quota exceeded)"


def test_run_that_stops_at_once_says_that_nothing_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert _take(steps(["bucket"]), Failing("bucket")) == 1

    assert capsys.readouterr().err == (
        "create bucket: failed (quota exceeded)\n  nothing was done before it\nthe same command goes on from here\n"
    )


def test_password_of_another_checkout_is_never_made_anew() -> None:
    wanted = settings(gcp_public=True, proxy_users={"elsewhere": "generated", "new-one": "generated"})

    with pytest.raises(Refused) as refused:
        _passwords(wanted, whole(settings(gcp_public=True), {"elsewhere": LOGIN}))

    assert str(refused.value) == (
        "1 problem; nothing was changed\n"
        "  proxy_users: the server has a password for elsewhere, and .secrets/mlflow/proxy_users.elsewhere is "
        "not here; bring that file of the checkout that has it"
    )


def test_nobody_has_a_password_where_iam_lets_them_in() -> None:
    assert _passwords(settings(), registry()) == {}
