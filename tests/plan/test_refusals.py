"""What stops a run before any host is changed: bad settings before any command, obstacles after the survey alone."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.plan.conftest import FRESH, REPOSITORY, Plan, Planner, host
from tests.unit.recorded import lines

REQUIRED = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}}


def everywhere(*hosts: Any) -> dict[str, list[Any]]:
    return {"postgresql": list(hosts), "tracking": list(hosts), "production": list(hosts)}


def message(found: Plan) -> str:
    """Return the sentences of a refusal, however pyinfra and a terminal's width wrap and indent them."""
    return " ".join(found.output.split())


def assert_refused_before_any_command(found: Plan, *problems: str) -> None:
    assert found.status == 1, found.output
    assert found.commands == {}
    assert found.operations == []
    for problem in problems:
        assert problem in message(found)
    assert "no host was changed" in message(found)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        pytest.param(
            {"tracking_prot": 5000},
            "@fake/a: tracking_prot: unknown setting; did you mean tracking_port?",
            id="unknown",
        ),
        pytest.param(
            {"tracking_port": "5000"},
            "@fake/a: tracking_port: input should be a valid integer; found '5000'",
            id="wrong-type",
        ),
        pytest.param(
            {"tracking_port": 80},
            "@fake/a: tracking_port: input should be greater than or equal to 1024; found 80",
            id="out-of-range",
        ),
        pytest.param(
            {"tracking_port": 5432},
            "@fake/a: port 5432 is claimed twice, by postgresql_port and tracking_port; give each its own",
            id="contradiction",
        ),
        pytest.param(
            {"conda_channels": ["defaults"]},
            "@fake/a: conda_channels: 'defaults' is under Anaconda's Terms of Service; use conda-forge, or set "
            "conda_accept_anaconda_tos = True when you have accepted them",
            id="terms",
        ),
        pytest.param(
            {"production_models": {"diabetes": {"uri": "models:/diabetes", "port": 5001}}},
            "@fake/a: production_models['diabetes']['uri']: 'models:/diabetes' is not a model URI; expected "
            "models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID or runs:/RUN_ID/NAME",
            id="model",
        ),
    ],
)
def test_bad_setting_stops_the_run_before_any_command(plan: Planner, data: dict[str, Any], problem: str) -> None:
    found = plan(**everywhere(host("a", **data), host("b")))

    assert_refused_before_any_command(
        found, "1 problem in the inventory and its settings; no host was changed", problem
    )


def test_problems_of_several_hosts_are_in_one_message(plan: Planner) -> None:
    found = plan(**everywhere(host("a", tracking_port=80), host("b", tracking_port=80, conda_python="2.7")))

    assert_refused_before_any_command(
        found,
        "2 problems in the inventory and its settings; no host was changed "
        "all hosts: tracking_port: input should be greater than or equal to 1024; found 80 "
        "@fake/b: conda_python: no lock file for it; expected one of 3.10, 3.11, 3.12, 3.13, or run `make lock` for a "
        "new one; found '2.7'",
    )


@pytest.mark.parametrize("uri", ["postgresql+psycopg2://u:hunter2@db/d", "postgresql://u:hunter2@db/d"])
def test_password_in_a_uri_stops_the_run_and_is_not_shown(plan: Planner, uri: str) -> None:
    found = plan(**everywhere(host("a", tracking_database_uri=uri)))

    assert_refused_before_any_command(found, "tracking_database_uri: ")
    assert "hunter2" not in found.output


def test_literal_password_stops_the_run_and_is_not_shown(plan: Planner) -> None:
    found = plan(**everywhere(host("a", postgresql_password="hunter2")))

    assert_refused_before_any_command(
        found,
        '@fake/a: postgresql_password: expected a reference: "generated", "env:NAME", "file:PATH" or "cmd:COMMAND"',
    )
    assert "hunter2" not in found.output


def test_group_without_hosts_stops_the_run(plan: Planner) -> None:
    everything = [host("a")]

    found = plan(postgresql=everything, tracking=everything, production=[])

    assert_refused_before_any_command(
        found, "group 'production' has no hosts; list them in the inventory, or remove the group"
    )


def test_host_without_a_role_stops_the_run(plan: Planner) -> None:
    found = plan(**everywhere(host("a")), spare=[host("b")])

    assert_refused_before_any_command(
        found,
        "@fake/b: in no group of a role; put it into one of postgresql, tracking, production, proxy in the inventory",
    )


def test_run_from_another_directory_is_told_where_to_run(plan: Planner, tmp_path: Path) -> None:
    found = plan(_directory=tmp_path, **everywhere(host("a")))

    assert_refused_before_any_command(
        found, "required, but not set; run pyinfra in the directory that holds group_data/all.py"
    )


def test_run_that_did_not_read_config_py_is_told_where_to_run(plan: Planner, tmp_path: Path) -> None:
    data = (REPOSITORY / "group_data" / "all.py").read_text()

    found = plan(_directory=tmp_path, _group_data={"all.py": data}, **everywhere(host("a")))

    assert_refused_before_any_command(
        found,
        "config.py was not read, so this run knows none of its options; run pyinfra in the directory of deploy.py and "
        "config.py, without --config; no host was changed",
    )


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (
            "--serial",
            "it deploys one host after the other, and hosts need what others do in the same run; leave it out, or "
            "deploy some hosts only with --limit",
        ),
        ("--no-wait", "hosts need what others do in the same run, and have to wait for them; leave it out"),
    ],
)
def test_option_that_lets_hosts_run_out_of_step_is_refused(plan: Planner, option: str, reason: str) -> None:
    found = plan(_run=True, _options=[option], **everywhere(host("a"), host("b")))

    assert_refused_before_any_command(found, f"{option}: {reason}; no host was changed")


def surveyed_only(found: Plan) -> bool:
    """Return whether every host was asked for nothing but its survey."""
    return all(len(commands) == 1 for commands in found.commands.values())


def test_obstacle_on_one_host_stops_the_run_on_all(plan: Planner) -> None:
    fedora = [
        line.replace("os=debian", "os=fedora").replace("Debian GNU/Linux 12 (bookworm)", "Fedora Linux 43")
        for line in FRESH
    ]

    found = plan(**everywhere(host("a"), host("b", survey=fedora)))

    assert found.status == 1, found.output
    assert found.operations == []
    assert (
        "1 obstacle on the hosts; no host was changed @fake/b: Fedora Linux 43 is not supported; expected Debian 11"
        in message(found)
    )
    assert sorted(found.commands) == ["@fake/a", "@fake/b"]
    assert surveyed_only(found)


def test_obstacles_of_several_hosts_are_in_one_message(plan: Planner) -> None:
    without_systemd = [line for line in FRESH if line != "systemd=yes"]
    foreign = [*FRESH, "foreign_unit=/etc/systemd/system/mlflow.service"]

    found = plan(**everywhere(host("a", survey=without_systemd), host("b", survey=foreign)))

    assert found.status == 1
    assert (
        "2 obstacles on the hosts; no host was changed "
        "@fake/a: systemd is not running; MLflow Stack needs a host that is booted with it, not a container "
        "@fake/b: /etc/systemd/system/mlflow.service was not written by MLflow Stack; stop it, move it away and keep "
        "its data" in message(found)
    )
    assert surveyed_only(found)


def test_refusals_of_operations_on_several_hosts_are_in_one_message(plan: Planner) -> None:
    answer = ['{"diabetes": {"current": null, "error": "no model \'diabetes\' is registered", "missing": true}}']
    foreign = [line.replace('"owner" : "mlflow_user"', '"owner" : "ada"') for line in lines("deployed", "Postgresql")]

    found = plan(
        **everywhere(
            host("a", answers={"Models": answer}, production_models=REQUIRED),
            host("b", answers={"Postgresql": foreign}),
        )
    )

    assert found.status == 1
    assert (
        "2 obstacles on the hosts; no host was changed "
        "@fake/a: Production | Release model diabetes: production_models['diabetes']: models:/diabetes@champion: "
        "no model 'diabetes' is registered "
        "@fake/b: PostgreSQL | Create role mlflow_user and database mlflow_db: database mlflow_db belongs to role "
        "'ada', expected 'mlflow_user'; set postgresql_database to another name, or hand it over with ALTER DATABASE "
        "… OWNER TO" in message(found)
    )
    assert (found.operations, found.text) == ([], "")


class Code(list[Any]):
    """Python for an inventory, in place of a list of hosts."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def test_inventory_of_a_cloud_says_all_that_is_wrong_in_its_own_words(plan: Planner) -> None:
    cloud = "__import__('mlflow_stack.cloud_settings').cloud_settings.values(__import__('pathlib').Path('/no/aws.py'))"

    found = plan(tracking=[], postgresql=Code(cloud))

    assert found.status == 1
    assert re.search(
        r"inventory\.py, line 2: 1 problem in the settings; nothing was changed /no/aws\.py: can't be read "
        r"\(No such file or directory\)$",
        message(found),
    )


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("[1 / 0]", "ZeroDivisionError: division by zero"),
        ("[", "SyntaxError: '[' was never closed"),
        ("__import__('nothing')", "ModuleNotFoundError: No module named 'nothing'"),
    ],
)
def test_inventory_that_raises_stops_the_run_with_file_line_and_error(plan: Planner, code: str, error: str) -> None:
    found = plan(tracking=[], postgresql=Code(code))

    assert found.status == 1
    assert re.search(rf"inventory\.py, line 2: {re.escape(error)}; put that right; no host was changed", message(found))
    assert "Traceback" not in found.output
    assert found.commands == {}


def test_inventory_without_hosts_is_no_success(plan: Planner) -> None:
    found = plan(_limit="nobody", **everywhere(host("a"), host("b")))

    assert found.status == 1
    assert "no host to deploy to; check the inventory and --limit; its hosts: @fake/a, @fake/b" in message(found)
    assert found.commands == {}


def test_host_that_another_run_works_on_stops_a_plan(plan: Planner) -> None:
    found = plan(**everywhere(host("a", survey=[*FRESH, "lock=ada@laptop:41 125"]), host("b")))

    assert found.status == 1
    assert (
        "1 obstacle on the hosts; no host was changed @fake/a: another run (ada@laptop:41) has been at work here for "
        "2 min 5 s; wait until it has ended, or end it there" in message(found)
    )
    assert surveyed_only(found)


def deployed_as(name: str) -> list[str]:
    """Return the survey of a host that another inventory, or this one, called so."""
    return [f"name={name}" if line == "name=" else line for line in FRESH]


def test_hosts_that_swapped_addresses_stop_the_run(plan: Planner) -> None:
    found = plan(**everywhere(host("a", survey=deployed_as("@fake/b")), host("b", survey=deployed_as("@fake/a"))))

    assert found.status == 1
    assert (
        "2 obstacles on the hosts; no host was changed "
        "@fake/a: this machine was deployed as '@fake/b', and the inventory calls it '@fake/a'; correct the address if "
        "it is another machine's, or set preflight_former_name = '@fake/b' for this host if it was renamed "
        "@fake/b: this machine was deployed as '@fake/a', and the inventory calls it '@fake/b'; correct the address if "
        "it is another machine's, or set preflight_former_name = '@fake/a' for this host if it was renamed"
        in message(found)
    )
    assert surveyed_only(found)


def test_host_that_was_renamed_is_taken_under_its_new_name(plan: Planner) -> None:
    found = plan(**everywhere(host("b", survey=deployed_as("a"), preflight_former_name="a")))

    assert found.status == 0, found.output


def test_one_machine_under_two_names_stops_the_run(plan: Planner) -> None:
    machine = [*[line for line in FRESH if not line.startswith("machine_id=")], "machine_id=1f"]

    found = plan(**everywhere(host("a", survey=machine), host("b", survey=machine)))

    assert found.status == 1
    assert (
        "1 obstacle on the hosts; no host was changed @fake/a and @fake/b: one machine, by its /etc/machine-id 1f; "
        "list it once, or, if one is a copy of the other, give it an id of its own" in message(found)
    )
    assert surveyed_only(found)
