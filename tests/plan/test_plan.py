"""What a plan shows: which operations, in which order, on which hosts, with which commands and differences."""

import base64
import re
from typing import Any

import pytest

from mlflow_stack.domain import plan as plans
from mlflow_stack.domain.bounds import within
from mlflow_stack.domain.database import PASSFILE
from mlflow_stack.facts.batch import TITLE
from tests.plan.conftest import Answers, Plan, Planner, answers_when_done, host
from tests.unit.recorded import lines

MODELS = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}}

BASE = ["Base | Install packages", "Base | Create users and directories", "Base | Install the programs of MLflow Stack"]
FIREWALL = [
    "Firewall | Write the rules and the unit of mlflow-firewall",
    "Firewall | Load the rules of mlflow-firewall and see them in force",
]
POSTGRESQL = [
    "PostgreSQL | Configure the server",
    "PostgreSQL | Create role mlflow_user and database mlflow_db",
    "PostgreSQL | Let role mlflow_dump read database mlflow_db",
]
# With tracking servers on other hosts.
CERTIFICATE = "PostgreSQL | Make the certificate of the server"
RENEWAL = [
    "PostgreSQL | Write the renewal of the server's certificate",
    "PostgreSQL | Run the timer of the server's certificate",
]
CONDA = ["Conda | Install Miniconda", "Conda | Build the MLflow environment"]
KEPT = "Tracking | Leave no artifacts behind"
TRACKING = [
    "Tracking | Write the database password for mlflow-tracking",
    "Tracking | Bring the database schema up to date",
    "Tracking | Write the unit and configuration of mlflow-tracking",
    "Tracking | Run mlflow-tracking and see it work",
]
PRODUCTION = [
    "Production | Write the units and configuration of mlflow-production",
    "Production | Stop models that are not listed",
    "Production | Run mlflow-production",
]
DIABETES = [
    "Production | Release model diabetes",
    "Production | Run mlflow-production@diabetes and see it predict",
]
CLEANUP = ["Conda | Remove old environments"]

# On a fresh host there is nothing to take away, and no registry that could say which model to serve.
NO_CHANGE = [
    KEPT,
    "Tracking | Write the database password for mlflow-tracking",
    "Production | Stop models that are not listed",
    *DIABETES,
    *CLEANUP,
]
# Of a model's unit, the fourth that is asked for.
NOTHING_TO_SERVE = {"Service": [*[lines("fresh", "Service")] * 3, ["skipped=yes"]]}
TRACKING_ENV = "/etc/mlflow/tracking.env"


def everywhere(answers: Answers) -> dict[str, list[Any]]:
    everything = [host("mlflow1", answers=answers, production_models=MODELS)]
    return {"postgresql": everything, "tracking": everything, "production": everything}


@pytest.fixture(scope="module")
def fresh(plan: Planner) -> Plan:
    """The plan of one fresh host with every role."""
    return plan(**everywhere(NOTHING_TO_SERVE))


@pytest.fixture(scope="module")
def document(plan: Planner) -> dict[str, Any]:
    """The same as JSON."""
    found = plan(_json=True, **everywhere(NOTHING_TO_SERVE))
    assert (found.status, found.text) == (0, ""), found.output
    return found.document


@pytest.fixture(scope="module")
def deployed(document: dict[str, Any]) -> dict[str, list[Any]]:
    """What that host answers when all of that is done and the model is served."""
    return answers_when_done(document)


@pytest.fixture(scope="module")
def apart(plan: Planner) -> Plan:
    """The plan of three fresh hosts, each of which has one role."""
    shared: dict[str, Any] = {
        "postgresql_client_networks": ["10.0.0.0/24"],
        "postgresql_address": "10.0.0.5",
        "postgresql_password": "env:DB_PASSWORD",
        "tracking_bind": "0.0.0.0",
        "tracking_public_name": "10.0.0.6",
    }
    return plan(
        postgresql=[host("db", **shared)],
        tracking=[host("web", **shared)],
        production=[
            host(
                "gpu",
                answers={"Service": [*[lines("fresh", "Service")] * 2, ["skipped=yes"]]},
                production_models=MODELS,
                **shared,
            )
        ],
    )


def test_plan_of_a_fresh_host_has_every_role_in_order(fresh: Plan) -> None:
    assert fresh.status == 0, fresh.output
    tracking, production = [KEPT, *TRACKING], [*PRODUCTION, *DIABETES]
    assert fresh.operations == [*BASE, *FIREWALL, *POSTGRESQL, *CONDA, *tracking, *production, *CLEANUP]
    assert [name for name, hosts in fresh.changes.items() if not hosts] == NO_CHANGE


def test_plan_for_people_names_what_changes_and_what_is_decided_later(fresh: Plan) -> None:
    named = re.findall(r"^@fake/mlflow1: (.* \| .*)$", fresh.text, re.MULTILINE)

    assert named == [name for name, hosts in fresh.changes.items() if hosts or name in DIABETES]


def test_plan_shows_commands_with_what_they_read(fresh: Plan) -> None:
    apt = "env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300"
    missing = "nftables postgresql-15 postgresql-client-15"

    assert fresh.of("mlflow1", BASE[0]).splitlines() == [
        f"    $ {within(600, f'{apt} update')}",
        f"    $ {within(1800, f'{apt} install -y --no-install-recommends {missing}')}",
    ]
    assert fresh.of("mlflow1", POSTGRESQL[1]).splitlines()[:2] == [
        "    $ runuser -u postgres -- psql -X -A -t -q -v ON_ERROR_STOP=1 -d postgres -p 5432",
        "        SET log_min_error_statement = 'panic';",
    ]


def test_plan_shows_files_by_their_differences_and_not_by_commands(fresh: Plan) -> None:
    found = fresh.of("mlflow1", TRACKING[2]).splitlines()

    assert found[:5] == [
        f"    {TRACKING_ENV} (new, 640 root:mlflow)",
        "        --- /dev/null",
        f"        +++ {TRACKING_ENV}",
        "        @@ -0,0 +1,13 @@",
        "        +# Managed by MLflow Stack (mlflow_stack/roles); changes are overwritten.",
    ]
    assert "    /etc/systemd/system/mlflow-tracking.service (new, 644 root:root)" in found
    assert "mktemp" not in fresh.text


def test_plan_says_what_can_not_be_known_yet_and_why(fresh: Plan) -> None:
    assert fresh.of("mlflow1", DIABETES[0]) == (
        "    later: models:/diabetes@champion is looked up when http://127.0.0.1:5000 answers "
        "(http://127.0.0.1:5000: [Errno 111] Connection refused)"
    )


def test_plan_ends_with_a_line_for_each_host(fresh: Plan, apart: Plan) -> None:
    assert fresh.text.splitlines()[-1] == (
        "@fake/mlflow1: 15 operations to run, with 61 commands, 33 of them for files; "
        "2 operations to be decided later; 4 as declared"
    )
    assert [line.split(",")[0] for line in apart.text.splitlines()[-3:]] == [
        "@fake/db: 11 operations to run",
        "@fake/web: 11 operations to run",
        "@fake/gpu: 9 operations to run",
    ]


def test_plan_asks_a_fresh_host_for_its_survey_and_all_facts_and_files_at_once(fresh: Plan) -> None:
    survey, look, files = fresh.commands["@fake/mlflow1"]

    assert "/etc/os-release" in survey
    assert look.count("echo '----8<---- ") >= 15
    assert re.findall(r"echo '----8<---- (\w+)'", files) == ["FileTexts", "FileStates"]


def test_plan_writes_nothing_on_a_host(fresh: Plan) -> None:
    verbs = (
        r"^(rm|mv|install|chown|useradd|apt-get|systemctl (start|restart|enable|reload|daemon-reload))\b"
        r"|mktemp|\b(CREATE|ALTER) ROLE"
    )
    planned = [line.removeprefix("$ ") for line in re.findall(r"^    (.*)", fresh.text, re.MULTILINE)]
    looks = [line for command in fresh.commands["@fake/mlflow1"] for line in command.splitlines()]

    assert [line for line in looks if re.search(verbs, line)] == []
    assert len([line for line in planned if re.search(verbs, line)]) > 5


def test_plan_as_json_is_the_plan_for_people(fresh: Plan, document: dict[str, Any]) -> None:
    found = plans.from_document(document)["@fake/mlflow1"]

    assert "\n".join([*plans.to_text(found), plans.summary(found), ""]) == fresh.text


def test_plan_of_a_deployed_host_is_one_look_and_nothing_to_do(plan: Planner, deployed: dict[str, list[Any]]) -> None:
    found = plan(**everywhere(deployed))

    assert found.status == 0, found.output
    assert found.text == "@fake/mlflow1: nothing to do; 21 as declared\n"
    assert [name for name, hosts in found.changes.items() if hosts] == []
    assert len(found.commands["@fake/mlflow1"]) == 2


def test_run_on_a_deployed_host_costs_its_survey_and_one_look(plan: Planner, deployed: dict[str, list[Any]]) -> None:
    found = plan(_run=True, **everywhere(deployed))

    assert found.status == 0, found.output
    assert len(found.commands["@fake/mlflow1"]) == 2
    assert looks(found) == found.commands["@fake/mlflow1"]


def test_plan_of_a_drifted_host_shows_changed_lines_and_modes_but_no_secret(
    plan: Planner, deployed: dict[str, list[Any]]
) -> None:
    secret = f"{base64.b64encode(b'*:*:*:*:hunter2').decode()} {PASSFILE}"
    edited = base64.b64encode(b'MLFLOW_WORKERS="9"\n').decode()
    answers = {
        **deployed,
        "FileStates": [
            *(line for line in deployed["FileStates"] if not line.endswith(TRACKING_ENV)),
            f"666 root root 0 {TRACKING_ENV}",
            f"600 root root 0 {PASSFILE}",
        ],
        "FileTexts": [f"{edited} {TRACKING_ENV}", secret],
    }

    found = plan(**everywhere(answers))

    assert found.of("mlflow1", TRACKING[0]).splitlines() == [
        f"    {PASSFILE} (removed)",
        "        the content is secret and not shown",
    ]
    assert found.of("mlflow1", TRACKING[2]).splitlines()[:5] == [
        f"    {TRACKING_ENV} (666 root:root to 640 root:mlflow)",
        f"        --- {TRACKING_ENV}",
        f"        +++ {TRACKING_ENV}",
        "        @@ -1 +1,13 @@",
        '        -MLFLOW_WORKERS="9"',
    ]
    assert "hunter2" not in found.output
    texts, states = found.commands["@fake/mlflow1"][-1].split("part1() {", 1)
    assert PASSFILE not in texts
    assert PASSFILE in states


def test_server_is_restarted_on_an_environment_that_is_built_again_as_it_was(
    plan: Planner, deployed: dict[str, list[Any]]
) -> None:
    found = plan(**everywhere({**deployed, "Environment": ["exists"]}))

    assert "systemctl restart mlflow-tracking.service" in found.of("mlflow1", TRACKING[3])
    assert [name for name, hosts in found.changes.items() if hosts][:2] == [CONDA[1], TRACKING[3]]


def test_run_that_differs_from_its_reviewed_plan_changes_no_host(
    plan: Planner, document: dict[str, Any], deployed: dict[str, list[Any]]
) -> None:
    found = plan(_run=True, _reviewed=document, **everywhere({**deployed, "Environment": []}))

    message = " ".join(found.output.split())
    assert found.status == 1
    assert (
        "reviewed.json is not what this run would do; no host was changed @fake/mlflow1: something else is to be done "
        "now than was reviewed, in: Base | Install packages, " in message
    )
    assert looks(found) == found.commands["@fake/mlflow1"]


def test_run_that_follows_its_reviewed_plan_executes_what_it_lists(plan: Planner) -> None:
    groups = {"postgresql": [host("mlflow1")], "tracking": [host("mlflow1")]}
    document = plan(_json=True, **groups).document
    listed = [
        command["command"]
        for operation in document["hosts"]["@fake/mlflow1"]["operations"]
        for command in operation["commands"]
    ]

    found = plan(_run=True, _reviewed=document, **groups)

    assert found.status == 0, found.output
    assert [command for command in found.commands["@fake/mlflow1"] if command not in looks(found)] == listed
    assert len(listed) > 20


def looks(found: Plan) -> list[str]:
    """Return the commands that only read a host: the survey, and batches of facts."""
    return [each for each in found.commands["@fake/mlflow1"] if each.startswith(("root=\n", TITLE))]


def test_plan_gives_each_host_the_operations_of_its_roles(apart: Plan) -> None:
    assert apart.status == 0, apart.output
    by_host = {
        name: [operation for operation, hosts in apart.changes.items() if f"@fake/{name}" in hosts]
        for name in ("db", "web", "gpu")
    }
    assert by_host == {
        "db": [*BASE, *FIREWALL, CERTIFICATE, *POSTGRESQL, *RENEWAL],
        "web": [*BASE, *FIREWALL, *CONDA, *TRACKING],  # with a password to write, which one host alone has not
        "gpu": [*BASE, *FIREWALL, *CONDA, *(name for name in PRODUCTION if name not in NO_CHANGE)],
    }


def test_plan_shows_no_operation_twice(apart: Plan) -> None:
    assert len(apart.operations) == len(set(apart.operations)) > 0


def test_plan_reaches_the_database_and_the_tracking_server_by_their_addresses(apart: Plan) -> None:
    verified = "sslmode=verify-full&sslrootcert=/etc/mlflow/database-ca.crt"
    uri = f"postgresql+psycopg2://mlflow_user@10.0.0.5:5432/mlflow_db?{verified}"

    assert [command for command in apart.commands["@fake/web"] if uri in command]
    assert [command for command in apart.commands["@fake/gpu"] if "$python -I - http://10.0.0.6:5000 " in command]


def test_plan_never_shows_the_database_password_nor_its_verifier(apart: Plan) -> None:
    assert f"    {PASSFILE} (new, 600 root:root)\n        the content is secret and not shown" in apart.text
    assert "NOBYPASSRLS PASSWORD '***';" in apart.of("db", POSTGRESQL[1])
    assert "hunter2" not in apart.output
    assert "SCRAM-SHA-256$4096" not in apart.output


def test_operation_has_the_name_of_its_own_hosts_model(plan: Planner) -> None:
    shared: dict[str, Any] = {"production_tracking_uri": "http://10.0.0.6:5000"}
    models = {name: {name: {"uri": f"models:/{name}@champion", "port": 5001}} for name in ("alpha", "beta")}

    found = plan(production=[host(name, production_models=model, **shared) for name, model in models.items()])

    assert found.status == 0, found.output
    assert found.of("alpha", "Production | Release model alpha").startswith("    later: models:/alpha@champion")
    assert found.of("beta", "Production | Release model beta").startswith("    later: models:/beta@champion")
