"""What the hosts say: in the pyinfra that `conform` starts, each is asked once, and its answers become a file.

pyinfra reads the inventory, connects, and knows sudo; nothing is declared, so it has nothing to change.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.context import ctx_host

from mlflow_stack.conform.calling import THIS_COMPUTERS
from mlflow_stack.conform.checks import SECONDS, Subject
from mlflow_stack.conform.promises import CHECKS
from mlflow_stack.conform.waivers import unknown_hosts
from mlflow_stack.domain import layout
from mlflow_stack.domain.survey import SURVEY_SCRIPT, parse_survey
from mlflow_stack.facts.batch import Batch, Question
from mlflow_stack.facts.probe import Probe
from mlflow_stack.inventory_check import load
from mlflow_stack.settings import Settings

# For the pyinfra that is started: the directory for the answers, and the hosts that waivers name.
DIRECTORY_VARIABLE = "MLFLOW_STACK_ANSWERS"
WAIVED_VARIABLE = "MLFLOW_STACK_WAIVED"
HOSTS_FILE = "hosts.json"
# The scripts have their own limit; this is for a host that goes silent.
TIMEOUT_S = 3 * SECONDS
SURVEY, AUTHORITY = "survey", "authority"


def gather() -> None:
    """Ask the host that pyinfra is at, and write what it says; raise DeployError when the waivers name no such host."""
    host: Host = ctx_host.get()  # type: ignore[no-untyped-call]  # pyinfra's own
    settings, directory = load(host), Path(os.environ[DIRECTORY_VARIABLE])
    names = [each.name for each in host.state.inventory]
    if problems := unknown_hosts(json.loads(os.environ[WAIVED_VARIABLE]), names):
        lines = ["the waivers can't be used; no host was asked", *(f"  {problem}" for problem in problems)]
        raise DeployError("\n".join(lines))
    limited = [each.name for each in host.state.inventory if host.state.is_host_in_limit(each)]
    (directory / HOSTS_FILE).write_text(json.dumps(limited))
    scripts = _scripts(settings, int(host.data.get("ssh_port") or 22))
    questions = [Question(Probe, {"script": script, "seconds": SECONDS}) for script in scripts.values()]
    answers = host.get_fact(Batch, questions=questions, _timeout=TIMEOUT_S)
    if len(answers) == len(questions):
        said = dict(zip(scripts, answers, strict=True))
        document = {"settings": settings.model_dump(mode="json", exclude_unset=True), "answers": said}
        (directory / f"{limited.index(host.name)}.json").write_text(json.dumps(document))


def _scripts(settings: Settings, ssh_port: int) -> dict[str, str]:
    own: dict[str, str] = {
        check.number: check.script(settings) for check in CHECKS if check.script and check.hosts.include(settings)
    }
    return {
        SURVEY: f"ssh_port={ssh_port}\n{SURVEY_SCRIPT}",
        AUTHORITY: f"cat {layout.PROXY_AUTHORITY}" if _has_own_authority(settings) else "true",
        **own,
    }


def _has_own_authority(settings: Settings) -> bool:
    return settings.has_proxy and settings.proxy.tls == "self-signed"


def subjects(directory: Path) -> tuple[list[Subject], list[str]]:
    """Return the hosts that have answered, and the names of those that have not."""
    file = directory / HOSTS_FILE
    names: list[str] = json.loads(file.read_text()) if file.exists() else []
    found, missing = [], []
    for place, name in enumerate(names):
        answer = directory / f"{place}.json"
        if answer.exists():
            found.append(_subject(json.loads(answer.read_text())))
        else:
            missing.append(name)
    return found, missing


def _subject(document: dict[str, Any]) -> Subject:
    settings = Settings.model_validate_json(json.dumps(document["settings"]))
    answers: dict[str, list[str]] = document["answers"]
    survey = parse_survey([line for line in answers.pop(SURVEY) if line])
    authority = "\n".join(line for line in answers.pop(AUTHORITY) if not line.startswith("status "))
    return Subject(settings, survey, _trusted(settings, authority).strip(), answers)


def _trusted(settings: Settings, authority: str) -> str:
    """Return by which certificates the proxy of a host is known: by `authority`, if it has one of its own."""
    if settings.has_proxy and settings.proxy.tls == "files":
        return Path(settings.proxy.tls_certificate).expanduser().read_text()
    return THIS_COMPUTERS if settings.uses_acme else authority


def unfit(subject: Subject) -> str:
    """Return why nothing can be asked of a host; "" for one that was deployed and says all to us."""
    survey, name = subject.survey, subject.settings.host_name
    if survey.user != "root":
        return f'pyinfra is user {survey.user!r} there and not root; add "_sudo": True to the host in the inventory'
    if not survey.is_deployed or not survey.name:
        return "nothing of MLflow Stack is there; run the deploy first"
    if survey.name != name:
        return f"this machine was deployed under the name {survey.name}; check its address in the inventory"
    return ""
