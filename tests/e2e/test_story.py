"""A fresh host becomes a working one: plan, deploy, deploy again, train, deploy the model, nothing left to do."""

from __future__ import annotations

from tests.e2e.conftest import Story

EVERYTHING = [
    "Base | Install packages",
    "Base | Create users and directories",
    "Base | Install the programs of MLflow Stack",
    "Firewall | Write the rules and the unit of mlflow-firewall",
    "Firewall | Load the rules of mlflow-firewall and see them in force",
    "PostgreSQL | Configure the server",
    "PostgreSQL | Create role mlflow_user and database mlflow_db",
    "PostgreSQL | Let role mlflow_dump read database mlflow_db",
    "Conda | Install Miniconda",
    "Conda | Build the MLflow environment",
    "Tracking | Bring the database schema up to date",
    "Tracking | Write the unit and configuration of mlflow-tracking",
    "Tracking | Run mlflow-tracking and see it work",
    "Production | Write the units and configuration of mlflow-production",
    "Production | Run mlflow-production",
]


def test_dry_run_works_on_a_fresh_host_and_names_what_a_run_would_do(story: Story) -> None:
    assert story.plan.status == 0, story.plan.output
    assert story.plan.planned == EVERYTHING


def test_dry_run_changes_nothing_on_a_fresh_host(story: Story) -> None:
    assert story.after_plan == story.before


def test_first_run_does_what_the_dry_run_said(story: Story) -> None:
    assert story.first.changed == EVERYTHING


def test_second_run_changes_nothing(story: Story) -> None:
    assert story.second.changed == []


def test_model_is_released_by_a_run_after_it_was_trained(story: Story) -> None:
    assert story.release.changed == [
        "Production | Release model diabetes",
        "Production | Run mlflow-production@diabetes and see it predict",
    ]


def test_run_and_plan_after_the_release_have_nothing_to_do(story: Story) -> None:
    assert story.last.changed == []
    assert story.last_plan.planned == []
