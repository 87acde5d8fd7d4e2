"""The one look at a project, before anything is changed: what there is of the stack, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mlflow_stack.gcp.gcloud import Gcloud, GcloudFailed
from mlflow_stack.gcp_settings import GcpSettings

AT_ONCE = 4  # each call of gcloud keeps a processor busy for half a second


class Refused(Exception):
    """What can't be done as it is declared, a sentence each; nothing was changed."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{count}; nothing was changed", *(f"  {each}" for each in self.problems)]))


@dataclass(frozen=True)
class Question:
    """One question to gcloud: how its answer is called, what it is about in words, and what says that it is absent.

    `api` must be enabled in the project: without it nothing of the kind can be there, and nothing is asked. `hint` is
    what an operator may do who is refused the answer.
    """

    name: str
    words: str
    api: str
    arguments: tuple[str, ...]
    absent: str = ""
    hint: str = ""

    @property
    def is_machine(self) -> bool:
        return self.name.startswith("machine ")


@dataclass(frozen=True)
class Found:
    """What there is, as the APIs answer it: a thing that is not there is None. `problems` is what was not answered."""

    project_number: str
    apis: frozenset[str]
    answers: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def thing(self, kind: str, name: str) -> Any:
        """Return the thing of this name out of a list; None where it is not there."""
        return next((each for each in self.list(kind) if name_of(each) == name), None)

    def list(self, kind: str) -> list[Any]:
        return self.answers.get(kind) or []

    def machine(self, name: str) -> Any:
        """Return a machine; None where it is not there."""
        return self.answers.get(f"machine {name}")

    def policy(self, name: str) -> Any:
        """Return who has which rights on a resource; empty where nobody has."""
        return self.answers.get(f"{name} policy") or {}


def name_of(thing: Any) -> str:
    """Return the short name that a thing has in its API."""
    name = thing.get("email") or thing.get("metadata", {}).get("name") or thing.get("name", "")
    return str(name).rpartition("/")[2]


def is_stopped(settings: GcpSettings, found: Found) -> bool:
    """Return whether the Cloud SQL instance is there and stopped, as `destroy` leaves it."""
    instance = found.thing("instances", settings.name) or {}
    return bool(instance.get("settings", {}).get("activationPolicy") == "NEVER")


def look(gcloud: Gcloud, settings: GcpSettings, only: Collection[str] = ()) -> Found:
    """Return what there is of the stack; with `only`, of the questions of these names and of the machines.

    Raises Refused where the project itself can't be looked at.
    """
    with ThreadPoolExecutor(AT_ONCE) as executor:
        try:
            project, services = executor.map(lambda arguments: gcloud.ask(*arguments), _of_project(settings))
        except GcloudFailed as failed:
            raise Refused([_no_project(failed, settings)]) from None
        apis = frozenset(str(service["config"]["name"]) for service in services)
        found = Found(str(project["projectNumber"]), apis)
        # What is inside of a thing can only be asked where there is one.
        for questions in (_of_things, _of_insides):
            asked = [
                each
                for each in questions(settings, found)
                if f"{each.api}.googleapis.com" in apis and (not only or each.name in only or each.is_machine)
            ]
            answers, problems = _answers(gcloud, executor, asked)
            found = Found(found.project_number, apis, {**found.answers, **answers}, (*found.problems, *problems))
    return found


def _of_project(settings: GcpSettings) -> Iterator[tuple[str, ...]]:
    yield "projects", "describe", settings.project
    yield "services", "list", "--enabled"


def _no_project(failed: GcloudFailed, settings: GcpSettings) -> str:
    if failed.is_login:
        return (
            f"gcloud is not logged in, or its login has expired ({failed}); run `gcloud auth login`, or in a pipeline "
            "`gcloud auth login --cred-file=…`"
        )
    if "gcloud is not installed" in str(failed):
        return str(failed)
    return f"gcp_project: {settings.project} is not there, or not yours ({failed}); `gcloud projects list` lists yours"


def _answers(
    gcloud: Gcloud, executor: ThreadPoolExecutor, questions: list[Question]
) -> tuple[dict[str, Any], list[str]]:
    answers, problems = {}, []
    for question, answer in zip(questions, executor.map(lambda each: _answer(gcloud, each), questions), strict=True):
        if isinstance(answer, GcloudFailed):
            problems.append(f"{question.words}: can't be looked at ({answer}){question.hint}")
        else:
            answers[question.name] = answer
    return answers, problems


def _answer(gcloud: Gcloud, question: Question) -> Any:
    try:
        return gcloud.ask(*question.arguments)
    except GcloudFailed as failed:
        return None if question.absent and re.search(question.absent, str(failed)) else failed


def _of_things(settings: GcpSettings, _found: Found) -> Iterator[Question]:
    region, bucket = f"--region={settings.region}", f"gs://{settings.bucket_name}"
    yield Question("accounts", "service accounts", "iam", ("iam", "service-accounts", "list"))
    # By its name alone: a bucket may be another customer's, and is in nobody's list then.
    hint = "; names of buckets are shared by all customers, so it may be somebody else's: choose another gcp_bucket"
    command = ("storage", "buckets", "describe", bucket, "--raw")
    yield Question("bucket", f"bucket {bucket}", "storage", command, r"not found: 404", hint)
    yield Question(
        "project policy",
        f"rights in project {settings.project}",
        "cloudresourcemanager",
        ("projects", "get-iam-policy", settings.project),
    )
    yield Question("instances", "Cloud SQL instances", "sqladmin", ("sql", "instances", "list"))
    yield Question("secrets", "secrets", "secretmanager", ("secrets", "list"))
    if settings.cloud_run:
        repositories = ("artifacts", "repositories", "list", f"--location={settings.region}")
        yield Question("repositories", "registries", "artifactregistry", repositories)
        yield Question("services", "Cloud Run services", "run", ("run", "services", "list", region))
        yield Question("jobs", "Cloud Run jobs", "run", ("run", "jobs", "list", region))
    if settings.machines:
        yield from _of_machines(settings)


def _of_machines(settings: GcpSettings) -> Iterator[Question]:
    for name, machine in settings.machines.items():
        command = ("compute", "instances", "describe", name, f"--zone={machine.zone}")
        yield Question(f"machine {name}", f"machine {name}", "compute", command, r"was not found")
    yield Question("firewall rules", "firewall rules", "compute", ("compute", "firewall-rules", "list"))
    yield Question("ranges", "address ranges", "compute", ("compute", "addresses", "list", "--global"))
    yield Question(
        "peerings",
        f"peerings of network {settings.network}",
        "servicenetworking",
        ("services", "vpc-peerings", "list", f"--network={settings.network}"),
    )


def _of_insides(settings: GcpSettings, found: Found) -> Iterator[Question]:
    name, bucket, region = settings.name, f"gs://{settings.bucket_name}", f"--region={settings.region}"
    if found.answers.get("bucket"):
        policy = ("storage", "buckets", "get-iam-policy", bucket)
        yield Question("bucket policy", f"rights on bucket {bucket}", "storage", policy)
    if found.thing("instances", name) and not is_stopped(settings, found):
        for kind in ("databases", "users"):
            inside = ("sql", kind, "list", f"--instance={name}")
            yield Question(kind, f"{kind} of Cloud SQL instance {name}", "sqladmin", inside)
    for secret in (settings.password_secret, settings.logins_secret):
        if found.thing("secrets", secret):
            yield from _of_secret(secret)
    if settings.cloud_run and found.thing("repositories", name):
        images = ("artifacts", "docker", "images", "list", settings.repository, "--include-tags")
        yield Question("images", f"images in {settings.repository}", "artifactregistry", images)
    if settings.cloud_run and found.thing("services", name):
        callers = ("run", "services", "get-iam-policy", name, region)
        yield Question("service policy", f"rights on Cloud Run service {name}", "run", callers)


def _of_secret(secret: str) -> Iterator[Question]:
    policy = ("secrets", "get-iam-policy", secret)
    yield Question(f"{secret} policy", f"rights on secret {secret}", "secretmanager", policy)
    # One that was made, and got no value since the run was interrupted, has no version.
    value = ("secrets", "versions", "access", "latest", f"--secret={secret}")
    absent, hint = r"NOT_FOUND|has no versions", "; enable its latest version, or add one that holds its value"
    yield Question(f"{secret} value", f"value of secret {secret}", "secretmanager", value, absent, hint)
