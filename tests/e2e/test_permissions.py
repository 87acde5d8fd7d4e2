"""MLflow's permissions behind the proxy: who may do what, as clients see it from another host, and what a run changes.

One host is told as a story: it has a proxy, permissions are switched on under load, users come and go, secrets are
changed, and in the end they are switched off and on again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlflow_stack.domain.permissions import KEY_FILE, password_of
from tests.e2e import web
from tests.e2e.conform import conform
from tests.e2e.conftest import NAME as HOST
from tests.e2e.load import Load
from tests.e2e.proxied import ADMIN, SHOP, Proxied
from tests.e2e.stack import REPOSITORY, Run, Stack

PASSWORDS = {"admin": ADMIN[1], "anna": "anna's own", "bert": "bert's own"}
ANNA, BERT = ("anna", PASSWORDS["anna"]), ("bert", PASSWORDS["bert"])
LONG_ENOUGH = "twelve letters and more"
KEY = REPOSITORY / ".secrets/permissions/tracking-permissions"
SOCKET = "/run/mlflow/tracking.sock"
API, ARTIFACTS = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
ACCOUNTS = "Tracking | Give users their accounts and permissions"
LOGINS = ["Proxy | Write the logins", "Proxy | Run mlflow-proxy-login and see it refuse"]
ON: dict[str, Any] = {
    "tracking_permissions": True,
    "tracking_experiment_permissions": {"diabetes": {"anna": "EDIT", "bert": "READ"}, "later": {"bert": "READ"}},
    "tracking_model_permissions": {"diabetes": {"anna": "READ"}},
}
OFF: dict[str, Any] = {
    "tracking_permissions": False,
    "tracking_experiment_permissions": {},
    "tracking_model_permissions": {},
}


@dataclass(frozen=True)
class Story:
    """How permissions were switched on: that run, the one after it, and a client that asked all the time."""

    first: Run
    second: Run
    load: Load


def users(*names: str) -> dict[str, str]:
    return {name: f"env:{name.upper()}_PASSWORD" for name in names}


@pytest.fixture(scope="module")
def stack(served: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A served stack behind its proxy, as yet without permissions."""
    served.recovers()
    KEY.unlink(missing_ok=True)
    stack = Proxied.of(served)
    stack.settings |= {"inventory_stack": "permissions", "proxy_users": users(*PASSWORDS)}
    with pytest.MonkeyPatch.context() as patch:
        for name, password in {**PASSWORDS, "shop": SHOP[1]}.items():
            patch.setenv(f"{name.upper()}_PASSWORD", password)
        stack.converge()
        stack.ca = tmp_path_factory.mktemp("ca") / "ca.crt"
        stack.ca.write_text(web.get(f"http://{stack.host.address}/ca.crt").body)
        yield stack


@pytest.fixture(scope="module", autouse=True)
def switched_on(stack: Proxied) -> Story:
    """Switch permissions on while a user works."""

    def ask(_patience_s: float) -> web.Answer:
        try:
            answer = stack.search(ANNA)
        except requests.RequestException as error:
            return web.Answer(0, str(error))
        return web.Answer(answer.status_code, answer.text)

    with Load(ask) as load:
        time.sleep(1)
        first = stack.converge(**ON)
        time.sleep(1)
    stack.settings |= ON
    return Story(first, stack.converge(), load)


@contextmanager
def client(stack: Proxied, user: str, password: str = "") -> Iterator[MlflowClient]:
    """Be a user of MLflow's own client."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("MLFLOW_TRACKING_URI", stack.url)
        patch.setenv("MLFLOW_TRACKING_USERNAME", user)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", password or PASSWORDS[user])
        patch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(stack.ca))
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield MlflowClient()


def is_refused(act: Callable[[], object]) -> bool:
    """Return whether MLflow says that this is not permitted; any other failure is raised."""
    try:
        act()
    except (MlflowException, requests.HTTPError) as error:
        if "403" in str(error):
            return True
        raise
    return False


def experiments(stack: Proxied, user: str) -> list[str]:
    with client(stack, user) as mlflow:
        return sorted(experiment.name for experiment in mlflow.search_experiments())


def made_by_anna(stack: Proxied, name: str) -> tuple[str, str]:
    """Return an experiment of anna's and a run in it, with a metric and an artifact; made when it is not there."""
    with client(stack, "anna") as mlflow:
        if found := mlflow.get_experiment_by_name(name):
            return found.experiment_id, mlflow.search_runs([found.experiment_id])[0].info.run_id
        experiment = mlflow.create_experiment(name)
        run = mlflow.create_run(experiment).info.run_id
        mlflow.log_metric(run, "rmse", 0.5)
        mlflow.log_text(run, "anna's own", "notes.txt")
        return experiment, run


def at_socket(stack: Stack, login: str, path: str = f"{API}/users/current") -> str:
    """Return the status that MLflow itself answers with, past the proxy, as only root can ask it."""
    user = f"-u {quote(login)} " if login else ""
    command = f"curl -s -o /dev/null -w '%{{http_code}}' {user}--unix-socket {SOCKET} http://localhost{path}"
    return stack.host.run(command).stdout


# --- switching on ------------------------------------------------------------------------------------------------


def test_switching_on_refuses_nobody_and_loses_no_request(switched_on: Story) -> None:
    load = switched_on.load
    print(f"| switch permissions on | {len(load.answers)} | {len(load.failed)} | {load.longest_s:.1f} |")
    assert load.failed == []
    assert len(load.answers) > 20
    assert switched_on.first.changed[:3] == [
        "Proxy | Write the unit of mlflow-proxy-login",
        "Proxy | Run mlflow-proxy-login and see it refuse",
        ACCOUNTS,
    ]


def test_second_run_changes_nothing(switched_on: Story) -> None:
    assert switched_on.second.changed == []


def test_everything_goes_on_working(stack: Proxied) -> None:
    health = stack.ask("GET", "/health", None)

    assert stack.fault() == ""
    assert (health.status_code, health.text) == (200, "{}")


def test_stack_keeps_its_promises(stack: Proxied) -> None:
    found = conform(stack)

    assert found.is_kept, found.output
    # The server answers with our login, refuses other sites with it, and the key is nowhere where it should not be.
    assert found.held >= {f"{HOST} {number}" for number in ("5.1", "5.3", "5.4", "5.5", "6.2", "6.5", "8.7")}


# --- who may do what ---------------------------------------------------------------------------------------------


def test_user_who_is_granted_edit_logs_runs_and_artifacts_and_deletes_nothing_of_others(stack: Proxied) -> None:
    with client(stack, "anna") as mlflow:
        experiment = mlflow.get_experiment_by_name("diabetes").experiment_id
        run = mlflow.create_run(experiment).info.run_id
        mlflow.log_metric(run, "rmse", 0.5)
        mlflow.log_text(run, "text", "notes.txt")

        assert [file.path for file in mlflow.list_artifacts(run)] == ["notes.txt"]
        assert mlflow.get_registered_model("diabetes").name == "diabetes"
        assert is_refused(lambda: mlflow.delete_experiment(experiment))
        assert is_refused(lambda: mlflow.set_registered_model_alias("diabetes", "champion", "1"))
        assert is_refused(lambda: mlflow.delete_run(run))


def test_user_who_is_granted_read_reads(stack: Proxied, tmp_path: Path) -> None:
    with client(stack, "bert") as mlflow:
        experiment = mlflow.get_experiment_by_name("diabetes").experiment_id
        run = mlflow.search_runs([experiment])[0].info.run_id

        assert mlflow.get_run(run).data.metrics
        assert is_refused(lambda: mlflow.create_run(experiment))
        assert is_refused(lambda: mlflow.log_metric(run, "rmse", 0.0))
        assert is_refused(lambda: mlflow.log_text(run, "text", "notes.txt"))
        assert is_refused(lambda: mlflow.set_experiment_tag(experiment, "a", "b"))
        assert is_refused(lambda: mlflow.get_registered_model("diabetes"))


def test_what_a_user_makes_is_theirs_and_nobody_else_sees_it(stack: Proxied) -> None:
    experiment, run = made_by_anna(stack, "anna's own")

    assert experiments(stack, "anna") == ["anna's own", "diabetes"]
    assert experiments(stack, "bert") == ["diabetes"]
    with client(stack, "bert") as mlflow:
        assert is_refused(lambda: mlflow.get_experiment(experiment))
        assert is_refused(lambda: mlflow.get_run(run))
        assert is_refused(lambda: mlflow.restore_run(run))
        assert list(mlflow.search_runs([experiment])) == []


def test_administrator_sees_and_may_do_everything(stack: Proxied) -> None:
    _, run = made_by_anna(stack, "anna's own")

    assert {"anna's own", "diabetes", "Default"} <= set(experiments(stack, "admin"))
    with client(stack, "admin") as mlflow:
        mlflow.set_tag(run, "seen", "by the administrator")


def test_owner_gives_another_user_a_permission_which_a_run_leaves_alone(stack: Proxied) -> None:
    experiment, run = made_by_anna(stack, "shared by anna")
    grant = {"username": "bert", "resource_type": "experiment", "resource_id": experiment, "permission": "READ"}

    given = stack.ask("POST", "/api/3.0/mlflow/users/permissions/grant", ANNA, json=grant)

    assert given.status_code == 200, given.text
    assert stack.converge().changed == []
    with client(stack, "bert") as mlflow:
        assert mlflow.get_run(run).data.metrics == {"rmse": 0.5}


def test_experiment_that_comes_later_gets_its_permissions_from_the_next_run(stack: Proxied) -> None:
    made_by_anna(stack, "later")
    assert "later" not in experiments(stack, "bert")

    run = stack.converge()

    assert run.changed == [ACCOUNTS]
    assert "later" in experiments(stack, "bert")


# --- who is refused ----------------------------------------------------------------------------------------------


def test_way_around_the_api_ends_at_the_same_permission(stack: Proxied) -> None:
    experiment, run = made_by_anna(stack, "anna's own")
    model = stack.ask("GET", f"{API}/model-versions/get?name=diabetes&version=1").json()["model_version"]
    logged = model["source"].removeprefix("models:/")
    ways = [
        ("GET", f"{ARTIFACTS}/{experiment}/{run}/artifacts/notes.txt"),
        ("GET", f"{ARTIFACTS}?path={experiment}/{run}/artifacts"),
        ("GET", f"{ARTIFACTS}/1/../{experiment}/{run}/artifacts/notes.txt"),
        ("GET", f"{ARTIFACTS}/%2e%2e/{experiment}/{run}/artifacts/notes.txt"),
        ("PUT", f"{ARTIFACTS}/{experiment}/{run}/artifacts/notes.txt"),
        ("DELETE", f"{ARTIFACTS}/{experiment}/{run}/artifacts/notes.txt"),
        ("GET", f"/get-artifact?run_id={run}&path=notes.txt"),
        ("GET", f"/ajax-api/2.0/mlflow/artifacts/list?run_id={run}"),
        ("GET", f"/ajax-api/2.0/mlflow/runs/get?run_id={run}"),
        ("GET", f"{API}/runs/get?run_uuid={run}"),
        ("GET", f"{API}/metrics/get-history?run_id={run}&metric_key=rmse"),
        ("GET", f"/ajax-api/2.0/mlflow/metrics/get-history-bulk?run_id={run}&metric_key=rmse"),
        ("GET", "/model-versions/get-artifact?name=diabetes&version=1&path=MLmodel"),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=notes.txt"),
        ("GET", f"{API}/registered-models/alias?name=diabetes&alias=champion"),
        ("POST", f"{API}/experiments/delete"),
    ]

    statuses = {
        f"{method} {path}": stack.ask(
            method, path, BERT, json={"experiment_id": experiment} if method == "POST" else None
        )
        for method, path in ways
    }

    assert {
        way: answer.status_code for way, answer in statuses.items() if answer.status_code not in (400, 403, 404)
    } == {}
    assert not any("anna's own" in answer.text for answer in statuses.values())
    assert stack.ask("GET", f"{API}/logged-models/{logged}", BERT).status_code == 200, (
        "it is in an experiment he may read"
    )
    assert stack.ask("GET", f"{ARTIFACTS}/{experiment}/{run}/artifacts/notes.txt", ANNA).text == "anna's own"


def test_graphql_gives_nothing_that_the_api_would_not(stack: Proxied) -> None:
    _, run = made_by_anna(stack, "anna's own")
    wanted = "{ run { info { runId } data { metrics { key } } } }"
    query = f'query {{ mlflowGetRun(input: {{runId: "{run}"}}) {wanted} }}'

    refused, shown = (stack.ask("POST", "/graphql", user, json={"query": query}) for user in (BERT, ANNA))

    assert run in shown.text
    assert "rmse" not in refused.text


def test_user_can_not_make_users_or_administrators_or_take_permissions(stack: Proxied) -> None:
    experiment, _ = made_by_anna(stack, "anna's own")
    grant = {"username": "bert", "resource_type": "experiment", "resource_id": experiment, "permission": "MANAGE"}
    tries = [
        ("POST", f"{API}/users/create", {"username": "eve", "password": LONG_ENOUGH}),
        ("PATCH", f"{API}/users/update-admin", {"username": "bert", "is_admin": True}),
        ("PATCH", f"{API}/users/update-password", {"username": "anna", "password": LONG_ENOUGH}),
        ("DELETE", f"{API}/users/delete", {"username": "anna"}),
        ("POST", "/api/3.0/mlflow/users/permissions/grant", grant),
        ("POST", "/api/3.0/mlflow/roles/create", {"workspace": "default", "name": "mlflow-stack:bert"}),
    ]

    assert {path: stack.ask(method, path, BERT, json=body).status_code for method, path, body in tries} == {
        path: 403 for _, path, _ in tries
    }


def test_client_can_not_say_who_it_is_to_mlflow(stack: Proxied) -> None:
    key = stack.host.run(f"cat {KEY_FILE}").stdout.strip()
    forged = {"X-Mlflow-Login": requests.auth._basic_auth_str("admin", password_of(key, "admin"))}

    told = stack.ask("GET", f"{API}/users/current", BERT, headers=forged)

    assert told.json()["user"]["username"] == "bert"
    assert stack.ask("GET", f"{API}/users/current", None, headers=forged).status_code == 401
    for own in ("mlflow-stack", "mlflow-health", "admin"):
        assert stack.search((own, password_of(key, own))).status_code == 401, own
    stack.host.run("systemctl restart mlflow-proxy-login")  # which forgets the wrong logins


def test_mlflow_itself_knows_no_login_but_ours(stack: Proxied) -> None:
    key = stack.host.run(f"cat {KEY_FILE}").stdout.strip()
    wrong = ["", "admin:password1234", "admin:password", f"admin:{ADMIN[1]}", "mlflow-stack:password1234"]

    assert {login: at_socket(stack, login) for login in wrong} == dict.fromkeys(wrong, "401")
    assert at_socket(stack, f"mlflow-stack:{password_of(key, 'mlflow-stack')}") == "200"
    for path in ("/", "/version", "/graphql", "/signup", "/v1/traces", "/gateway/x"):
        assert at_socket(stack, "", path) == "401", path


# --- where the secret is -----------------------------------------------------------------------------------------


def test_key_is_root_s_and_nobody_else_is_shown_it_or_what_follows_from_it(stack: Proxied) -> None:
    key = stack.host.run(f"cat {KEY_FILE}").stdout.strip()
    secrets = [key, *(password_of(key, user) for user in ("mlflow-stack", "mlflow-production", "flask secret key"))]
    stack.host.put("/root/secrets", "\n".join([*secrets, ""]))

    files = stack.host.run(
        "grep -rlFf /root/secrets /etc /run /var/lib /var/log /tmp /opt/mlflow/libexec || true"
    ).stdout
    journal = stack.host.run("journalctl --all -o json | grep -cFf /root/secrets || true").stdout
    shown = stack.host.run(
        "for each in 'systemctl show *' 'systemctl cat mlflow-*' 'ps -eww -o args'; do "
        "runuser -u nobody -- $each; done | grep -cFf /root/secrets || true"
    ).stdout

    assert key == KEY.read_text().strip()
    assert KEY.stat().st_mode & 0o777 == 0o600
    assert sorted(set(files.split())) == sorted(
        {
            KEY_FILE,
            "/etc/mlflow/credentials/tracking-password",
            "/run/credentials/mlflow-proxy-login.service/permissions-key",
            "/run/credentials/mlflow-tracking.service/permissions-key",
        }
    )
    assert (journal, shown) == ("0\n", "0\n")
    assert stack.host.run(f"stat -c '%a %U %G' {KEY_FILE}").stdout == "600 root root\n"
    stack.host.run("rm /root/secrets")


# --- what comes and goes -----------------------------------------------------------------------------------------


def test_model_that_is_not_there_yet_is_skipped_and_a_new_version_released(stack: Proxied) -> None:
    wanted = {
        **stack.settings["production_models"],
        **{
            name: {"uri": uri, "required": False}
            for name, uri in [("a", "models:/none@champion"), ("b", "models:/none/1")]
        },
        "c": {"uri": f"runs:/{'0' * 32}/model", "required": False},
    }
    with client(stack, "admin") as mlflow:
        first = mlflow.get_model_version("diabetes", "1")
        logged = first.source.removeprefix("models:/")
        second = mlflow.create_model_version("diabetes", first.source, first.run_id, model_id=logged)
        mlflow.set_registered_model_alias("diabetes", "champion", second.version)

    run = stack.converge(production_models=wanted)

    production = [name.removeprefix("Production | ") for name in run.changed if name.startswith("Production | ")]
    assert production == [
        "Write the units and configuration of mlflow-production",
        "Release model diabetes",
        "Run mlflow-production@diabetes and see it predict",
    ]
    assert stack.predict().status_code == 200
    stack.converge()


def test_rotated_password_works_for_mlflow_too_and_the_old_one_is_refused(
    stack: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANNA_PASSWORD", "anna's new one")

    run = stack.converge()

    assert run.changed == LOGINS
    with client(stack, "anna", "anna's new one") as mlflow:
        assert mlflow.get_experiment_by_name("diabetes")
    assert stack.search(ANNA).status_code == 401
    monkeypatch.setenv("ANNA_PASSWORD", PASSWORDS["anna"])
    assert stack.converge().changed == LOGINS


def test_another_key_takes_the_place_of_the_old_one(stack: Proxied) -> None:
    old = KEY.read_text().strip()
    KEY.unlink()

    run = stack.converge()

    new = KEY.read_text().strip()
    assert ACCOUNTS in run.changed
    assert new != old
    assert at_socket(stack, f"mlflow-stack:{password_of(old, 'mlflow-stack')}") == "401"
    assert at_socket(stack, f"mlflow-stack:{password_of(new, 'mlflow-stack')}") == "200"
    assert stack.fault() == ""
    assert stack.converge().changed == []


def test_what_somebody_changed_in_mlflow_is_put_right(stack: Proxied) -> None:
    for path, body in {
        "update-admin": {"username": "bert", "is_admin": True},
        "update-password": {"username": "anna", "password": LONG_ENOUGH},
    }.items():
        assert stack.ask("PATCH", f"{API}/users/{path}", json=body).status_code == 200
    assert stack.search(ANNA).status_code == 401, "the proxy knows her, and MLflow does not any more"

    run = stack.converge()

    assert run.changed == [ACCOUNTS]
    assert stack.search(ANNA).status_code == 200
    assert (
        stack.ask("PATCH", f"{API}/users/update-admin", BERT, json={"username": "bert", "is_admin": True}).status_code
        == 403
    )


def test_user_who_leaves_is_refused_and_finds_everything_again_when_they_come_back(stack: Proxied) -> None:
    made_by_anna(stack, "anna's own")
    without = {**ON, "tracking_experiment_permissions": {}, "tracking_model_permissions": {}}

    gone = stack.converge(**without, proxy_users=users("admin", "bert"))

    assert gone.changed == [*LOGINS, ACCOUNTS]
    assert stack.search(ANNA).status_code == 401
    names = stack.ask("GET", f"{API}/users/list").json()["users"]
    assert "anna" in [user["username"] for user in names]
    stack.converge()
    assert "anna's own" in experiments(stack, "anna")


def test_user_who_comes_is_known_to_mlflow(stack: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARL_PASSWORD", "carl's own")

    run = stack.converge(proxy_users=users(*PASSWORDS, "carl"))

    assert run.changed == [*LOGINS, ACCOUNTS]
    assert stack.ask("GET", f"{API}/users/current", ("carl", "carl's own")).json()["user"]["username"] == "carl"
    stack.converge()


def test_everything_works_after_a_reboot(stack: Proxied) -> None:
    stack.host.reboot()

    print(f"everything works {stack.recovers():.1f} s after SSH")
    assert stack.converge().changed == []


def test_switched_off_everybody_may_do_everything_and_switched_on_again_nothing_was_lost(stack: Proxied) -> None:
    _, run = made_by_anna(stack, "anna's own")

    stack.converge(**OFF)

    with client(stack, "bert") as mlflow:
        assert mlflow.get_run(run).data.metrics == {"rmse": 0.5}
    left = stack.host.run(f"ls {KEY_FILE} /etc/mlflow/basic_auth.ini 2>/dev/null || true").stdout
    assert left == ""
    assert stack.fault() == ""
    assert stack.converge(**OFF).changed == []
    stack.converge()
    with client(stack, "bert") as mlflow:
        assert is_refused(lambda: mlflow.get_run(run))
    with client(stack, "anna") as mlflow:
        assert mlflow.get_run(run).data.metrics == {"rmse": 0.5}
    assert stack.converge().changed == []


def test_tables_of_another_revision_are_refused_and_upgraded_after_a_dump_when_that_is_allowed(stack: Proxied) -> None:
    psql = "runuser -u postgres -- psql -XAtq mlflow_db -c"
    current = stack.host.run(f"{psql} 'SELECT version_num FROM alembic_version_auth'").stdout.strip()
    earlier = "e5f6a7b8c9d0"  # the one before: its only difference is in rows about prompts, of which there are none
    stack.host.run(f"{psql} \"UPDATE alembic_version_auth SET version_num = '{earlier}'\"")

    refused = stack.deploy()

    assert refused.status == 1
    assert f"MLflow's tables for accounts and permissions have schema revision {earlier}" in refused.output
    assert stack.fault() == "", "the server was left as it is"
    stack.converge(tracking_upgrade_database=True)
    assert stack.host.run(f"{psql} 'SELECT version_num FROM alembic_version_auth'").stdout.strip() == current
    dumps = stack.host.run("ls /var/backups/mlflow").stdout.split()
    assert [name.split("-2")[0] for name in dumps if "auth" in name] == [f"before-upgrade-from-auth-{earlier}"]
    assert json.loads(stack.search(ANNA).text)
    assert stack.fault() == ""
    assert stack.converge().changed == []
