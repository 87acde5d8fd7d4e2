"""What gcloud is asked, and what becomes of its answers; a gcloud of this test answers, from a dictionary."""

from __future__ import annotations

from typing import Any

import pytest

from mlflow_stack.gcp.gcloud import Gcloud, GcloudFailed
from mlflow_stack.gcp.survey import Refused, look
from tests.unit.gcp.found import APIS, NUMBER, PROJECT, bucket, instance, settings


class Answering(Gcloud):
    """gcloud with these answers, by the words of the question; to any other it answers that there is nothing."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(PROJECT)
        self.asked: list[str] = []
        services = [{"config": {"name": name}} for name in sorted(APIS)]
        self.answers = {"projects describe": {"projectNumber": NUMBER}, "services list": services, **answers}

    def ask(self, *arguments: str) -> Any:
        question = " ".join(arguments)
        self.asked.append(question)
        answer = next((answer for words, answer in self.answers.items() if question.startswith(words)), [])
        if isinstance(answer, GcloudFailed):
            raise answer
        return answer


def test_project_without_apis_is_asked_nothing_more_than_what_it_can_answer() -> None:
    gcloud = Answering(**{"services list": [{"config": {"name": "storage.googleapis.com"}}]})

    look(gcloud, settings().gcp)

    assert sorted(gcloud.asked) == [
        "projects describe my-project-1",
        "services list --enabled",
        "storage buckets describe gs://my-project-1-mlflow --raw",
    ]


def test_inside_of_things_is_asked_only_where_they_are() -> None:
    secret = {"name": "projects/1/secrets/mlflow-database-password"}
    there = {"sql instances list": [instance()], "storage buckets describe": bucket(), "secrets list": [secret]}

    gcloud = Answering(**there)
    look(gcloud, settings().gcp)

    assert sorted(gcloud.asked)[-7:] == [
        "secrets versions access latest --secret=mlflow-database-password",
        "services list --enabled",
        "sql databases list --instance=mlflow",
        "sql instances list",
        "sql users list --instance=mlflow",
        "storage buckets describe gs://my-project-1-mlflow --raw",
        "storage buckets get-iam-policy gs://my-project-1-mlflow",
    ]


def test_instance_that_is_stopped_is_not_asked_what_is_in_it() -> None:
    gcloud = Answering(**{"sql instances list": [instance(activationPolicy="NEVER")]})

    look(gcloud, settings().gcp)

    assert [question for question in gcloud.asked if question.startswith("sql")] == ["sql instances list"]


def test_bucket_that_is_not_there_is_no_problem_and_one_of_somebody_else_is() -> None:
    absent = look(Answering(**{"storage buckets": GcloudFailed("gs://x not found: 404")}), settings().gcp)
    foreign = look(Answering(**{"storage buckets": GcloudFailed("HTTPError 403: no access")}), settings().gcp)

    assert (absent.answers["bucket"], absent.problems) == (None, ())
    assert foreign.problems == (
        "bucket gs://my-project-1-mlflow: can't be looked at (HTTPError 403: no access); names of buckets are shared "
        "by all customers, so it may be somebody else's: choose another gcp_bucket",
    )


def test_secret_whose_latest_version_is_disabled_is_a_problem_that_says_what_to_do() -> None:
    disabled = GcloudFailed("Secret Version [projects/1/secrets/x/versions/2] is in DISABLED state")
    secret = {"name": "projects/1/secrets/mlflow-database-password"}

    found = look(Answering(**{"secrets list": [secret], "secrets versions": disabled}), settings().gcp)

    assert found.problems == (
        "value of secret mlflow-database-password: can't be looked at (Secret Version "
        "[projects/1/secrets/x/versions/2] is in DISABLED state); enable its latest version, or add one that holds its "
        "value",
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            "The caller does not have permission",
            "gcp_project: my-project-1 is not there, or not yours (The caller does not have permission); "
            "`gcloud projects list` lists yours",
        ),
        (
            "You do not currently have an active account selected",
            "gcloud is not logged in, or its login has expired (You do not currently have an active account selected); "
            "run `gcloud auth login`, or in a pipeline `gcloud auth login --cred-file=…`",
        ),
        (
            "gcloud is not installed; https://cloud.google.com/sdk/docs/install says how",
            "gcloud is not installed; https://cloud.google.com/sdk/docs/install says how",
        ),
    ],
)
def test_project_that_can_not_be_looked_at_is_refused(said: str, problem: str) -> None:
    with pytest.raises(Refused) as refused:
        look(Answering(**{"projects describe": GcloudFailed(said)}), settings().gcp)

    assert str(refused.value) == f"1 problem; nothing was changed\n  {problem}"


def test_outputs_ask_for_nothing_that_they_do_not_tell() -> None:
    gcloud = Answering()

    look(gcloud, settings().gcp, ("bucket", "instances", "services"))

    assert sorted(gcloud.asked) == [
        "projects describe my-project-1",
        "run services list --region=europe-west1",
        "services list --enabled",
        "sql instances list",
        "storage buckets describe gs://my-project-1-mlflow --raw",
    ]
