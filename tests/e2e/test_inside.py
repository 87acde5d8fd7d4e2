"""The stack as its administrator sees it on the host: rows, rights, processes, units, and nothing left lying about."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.desired import desired
from bench.end_state import end_state
from lab.errors import CommandFailed
from tests.e2e.stack import Stack

TRACKING, UMBRELLA, MODEL = "mlflow-tracking.service", "mlflow-production.service", "mlflow-production@diabetes.service"


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack that has answered; the tests of this module leave it working."""
    served.recovers()
    return served


def query(stack: Stack, sql: str) -> Any:
    """Return the rows of a query, as the database's administrator gets them from psql, decoded from JSON."""
    inner = f"SELECT coalesce(json_agg(row_to_json(rows)), '[]') FROM ({sql}) AS rows"
    return json.loads(stack.host.run(f'cd / && runuser -u postgres -- psql -XAtq -d mlflow_db -c "{inner}"').stdout)


# --- the database -------------------------------------------------------------------------------------------------


def test_training_is_in_the_database(stack: Stack) -> None:
    runs = query(
        stack,
        "SELECT runs.name, runs.status, (SELECT json_object_agg(key, value) FROM params WHERE run_uuid = runs.run_uuid)"
        " AS params, (SELECT json_agg(DISTINCT key) FROM metrics WHERE run_uuid = runs.run_uuid) AS metrics"
        " FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'diabetes' ORDER BY runs.name",
    )
    registered = query(
        stack,
        "SELECT name, alias, version, current_stage, status, run_id IN (SELECT run_uuid FROM runs) AS of_a_run"
        " FROM registered_models JOIN registered_model_aliases USING (name) JOIN model_versions USING (name, version)",
    )

    assert runs == [
        {
            "name": f"alpha=0.01 l1_ratio={l1_ratio}",
            "status": "FINISHED",
            "params": {"alpha": "0.01", "l1_ratio": l1_ratio},
            "metrics": ["mae", "r2", "rmse"],
        }
        for l1_ratio in ("0.01", "0.75", "1.0")
    ]
    assert registered == [
        {
            "name": "diabetes",
            "alias": "champion",
            "version": 1,
            "current_stage": "None",
            "status": "READY",
            "of_a_run": True,
        }
    ]


def test_database_and_tables_belong_to_a_role_with_no_other_rights_and_no_password(stack: Stack) -> None:
    owners = query(
        stack,
        "SELECT pg_get_userbyid(datdba) AS owner FROM pg_database WHERE datname = 'mlflow_db'"
        " UNION SELECT tableowner FROM pg_tables WHERE schemaname = 'public'",
    )
    roles = query(
        stack,
        "SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls AS has_rights,"
        " rolpassword FROM pg_authid WHERE rolcanlogin AND rolname <> 'postgres' ORDER BY 1",
    )

    assert owners == [{"owner": "mlflow_user"}]
    names = ("mlflow_dump", "mlflow_user")
    assert roles == [{"rolname": name, "has_rights": False, "rolpassword": None} for name in names]


def test_database_confirms_only_what_is_on_the_disk(stack: Stack) -> None:
    """The lab's power cut can't show it: there, written files are kept whether they were synced or not."""
    settings = ("fsync", "synchronous_commit", "full_page_writes")

    found = query(stack, f"SELECT name, setting FROM pg_settings WHERE name IN {settings} ORDER BY name")

    assert {row["name"]: row["setting"] for row in found} == dict.fromkeys(settings, "on")


@pytest.mark.parametrize("user", ["root", "mlflow-model", "nobody"])
def test_database_admits_no_other_user_of_the_host(stack: Stack, user: str) -> None:
    connect = f"cd / && runuser -u {user} -- psql -wXq -d mlflow_db -U mlflow_user -c 'SELECT 1'"

    with pytest.raises(CommandFailed, match='Peer authentication failed for user "mlflow_user"'):
        stack.host.run(connect)
    with pytest.raises(CommandFailed, match="no password supplied"):
        stack.host.run(f"{connect} -h 127.0.0.1")


# --- the processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "user"), [(TRACKING, "mlflow"), (MODEL, "mlflow-model")])
def test_service_runs_as_its_own_user_without_any_right_of_root(stack: Stack, unit: str, user: str) -> None:
    pids = stack.processes(unit)
    lines = stack.host.run(
        f"for pid in {' '.join(map(str, pids))}; do "
        "echo $(stat -c '%U %G' /proc/$pid) $(grep -hE '^(CapEff|CapBnd|NoNewPrivs)' /proc/$pid/status); done"
    ).stdout.splitlines()

    assert len(lines) == 3  # the supervisor, MLflow's command line, and the server that it starts
    assert set(lines) == {f"{user} {user} CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1"}


def test_arguments_of_processes_show_nothing_of_the_configuration_but_addresses_and_paths(stack: Stack) -> None:
    commands = stack.host.run("ps -ww -u mlflow,mlflow-model -o args=").stdout.splitlines()

    assert len(commands) == 6
    for command in commands:
        options = r"--(host|port|workers|fd|timeout-\S+) \S+|http://127\.0\.0\.1:\d+"
        shown = re.sub(rf"{options}|/(opt/mlflow|var/lib/mlflow-models)/\S+", "", command).split()
        assert set(shown) <= {
            *("-I", "tracking", "model", "--"),
            *("server", "-m", "uvicorn", "--log-config", "mlflow.server.fastapi_app:app"),
            *("models", "serve", "--model-uri", "--env-manager", "local", "mlflow.pyfunc.scoring_server.app:app"),
        }


@pytest.mark.parametrize("path", ["/etc/mlflow/credentials", "/var/lib/mlflow", "/var/backups/mlflow"])
def test_model_can_not_read_what_belongs_to_the_tracking_server(stack: Stack, path: str) -> None:
    with pytest.raises(CommandFailed, match="Permission denied"):
        stack.host.run(f"runuser -u mlflow-model -- ls {path}")


def test_model_can_not_read_the_configuration_of_the_tracking_server(stack: Stack) -> None:
    with pytest.raises(CommandFailed, match="Permission denied"):
        stack.host.run("runuser -u mlflow-model -- cat /etc/mlflow/tracking.env")


def test_users_of_the_services_can_not_log_in(stack: Stack) -> None:
    accounts = stack.host.run(
        "getent passwd mlflow mlflow-model | cut -d: -f1,7; passwd -S mlflow; passwd -S mlflow-model"
    )

    shells, states = accounts.stdout.split("\n")[:2], accounts.stdout.split("\n")[2:4]
    assert shells == ["mlflow:/usr/sbin/nologin", "mlflow-model:/usr/sbin/nologin"]
    assert [state.split()[:2] for state in states] == [["mlflow", "L"], ["mlflow-model", "L"]]


# --- the units ----------------------------------------------------------------------------------------------------


def test_units_start_with_the_host(stack: Stack) -> None:
    states = stack.host.run(f"systemctl is-enabled {TRACKING} {UMBRELLA} {MODEL} postgresql.service").stdout

    assert states.split() == ["enabled"] * 4


def test_umbrella_stops_starts_and_restarts_the_model(stack: Stack) -> None:
    def pid_when(state: str) -> str:
        # systemctl waits for the umbrella's own job, not for those that it passes on to the models.
        stack.wait_for(f"[ $(systemctl show -P ActiveState {MODEL}) = {state} ]")
        return stack.host.run(f"systemctl show -P MainPID {MODEL}").stdout.strip()

    pids = [pid_when("active")]
    for verb, state in (("restart", "active"), ("stop", "inactive"), ("start", "active")):
        stack.host.run(f"systemctl {verb} mlflow-production")
        stack.wait_for(f"[ $(systemctl show -P MainPID {MODEL}) != {pids[-1]} ]")
        pids.append(pid_when(state))
    stack.recovers()

    assert pids[2] == "0"
    assert len(set(pids)) == 4


def test_no_unit_has_failed(stack: Stack) -> None:
    assert stack.host.run("systemctl --failed --no-legend --plain").stdout == ""


# --- what lies about ----------------------------------------------------------------------------------------------


def test_nothing_unfinished_is_left_on_the_host(stack: Stack) -> None:
    found = stack.host.run(
        "find / -xdev '(' -path /proc -o -path /sys ')' -prune "
        "-o '(' -name '*.part' -o -name '.mlflow-stack*' ! -name .mlflow-stack.json ')' -print; "
        "ls -A /var/lib/mlflow-models/.staging"
    ).stdout

    assert found == ""


def test_nobody_can_write_a_file_of_ours(stack: Stack) -> None:
    found = stack.host.run(
        "runuser -u nobody -- find /opt/mlflow /etc/mlflow /etc/systemd /etc/postgresql /var/lib/mlflow "
        "/var/lib/mlflow-models /var/lib/mlflow-stack /var/backups/mlflow -writable ! -type l 2>/dev/null || true"
    ).stdout

    assert found == ""


def test_deploy_that_builds_an_environment_leaves_no_temporary_file(stack: Stack) -> None:
    stack.host.run("rm -r /opt/mlflow/envs/model-diabetes-*")

    run = stack.converge()

    found = stack.host.run("find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -name 'systemd-private-*' ! -name '.*-unix'")
    assert run.changed == [
        "Production | Release model diabetes",
        "Production | Run mlflow-production@diabetes and see it predict",
    ]
    assert found.stdout == ""


# --- what the benchmarks compare ------------------------------------------------------------------------------------


def test_benchmark_finds_on_a_host_all_that_the_other_tools_are_to_make(stack: Stack, tmp_path: Path) -> None:
    """bench/compare.py takes an hour; that it still knows our files and units is seen here."""
    wanted = desired(stack.host, tmp_path)

    assert end_state(stack.host, wanted)[-1] == "HTTP 200"
