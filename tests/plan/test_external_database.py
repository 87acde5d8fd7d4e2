"""A database that somebody else manages, in a plan; how it is asked before is in tests/servers."""

import pytest

from tests.plan.conftest import Plan, Planner, host
from tests.plan.test_refusals import message

MYSQL = {
    "tracking_database_uri": "mysql+pymysql://mlflow_user@db.example.com:3306/mlflow_db",
    "tracking_database_password": "env:DB_PASSWORD",
}


@pytest.fixture(scope="module")
def planned(plan: Planner) -> Plan:
    """The plan of a fresh host on MySQL."""
    return plan(tracking=[host("web", tracking_bind="0.0.0.0", **MYSQL)])


def test_plan_says_that_nobody_could_look_from_here(planned: Plan) -> None:
    assert planned.status == 0, planned.output
    assert (
        "[@fake/web] the database can't be asked from here, as there is no SSH connection with the host; it is looked "
        "at on the host, before the schema is touched" in message(planned)
    )


def test_host_gets_the_programs_and_the_driver_of_mysql(planned: Plan) -> None:
    packages, environment = (
        planned.of("web", "Base | Install packages"),
        planned.of("web", "Conda | Build the MLflow environment"),
    )

    assert "mariadb-client" in packages
    assert "postgresql" not in packages
    assert "+pymysql==1.2.4 \\" in environment
    assert "+mlflow==3.17.2 \\" in environment


def test_password_is_in_its_file_alone(planned: Plan) -> None:
    assert planned.of("web", "Tracking | Write the database password for mlflow-tracking").splitlines() == [
        "    /etc/mlflow/credentials/mysql.cnf (new, 600 root:root)",
        "        the content is secret and not shown",
    ]
    assert "hunter2" not in planned.output


def test_server_and_schema_program_find_it_each_in_its_own_place(planned: Plan) -> None:
    configuration = planned.of("web", "Tracking | Write the unit and configuration of mlflow-tracking")
    schema = planned.of("web", "Tracking | Bring the database schema up to date")
    uri = (
        "mysql+pymysql://mlflow_user@db.example.com:3306/mlflow_db?ssl_check_hostname=false"
        "&read_default_file=/run/mlflow-tracking/mysql.cnf&read_default_group=pymysql"
    )

    assert f'+MLFLOW_BACKEND_STORE_URI="{uri}"' in configuration
    assert "MLFLOW_DATABASE_OPTION_FILE=$RUNTIME_DIRECTORY/mysql.cnf exec " in schema
    assert uri in schema
    assert "systemctl disable --quiet mlflow-tracking.service" in schema


def test_password_that_mysql_can_not_be_sent_stops_the_plan(plan: Planner) -> None:
    found = plan(tracking=[host("web", **{**MYSQL, "tracking_database_password": "cmd:echo ü"})])

    assert found.status == 1
    assert (
        "tracking_database_password holds a character that PyMySQL can't send; expected printable ones of ASCII for "
        "MySQL" in message(found)
    )
