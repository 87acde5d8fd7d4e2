"""python -m mlflow_stack aws plan|apply|destroy|outputs: MLflow on AWS, by CloudFormation

What there is to be is said in group_data/aws.py, over group_data/all.py (docs/how-to/aws.md). `plan` changes nothing;
`apply` can be run again at any time.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mlflow_stack import cloud_settings
from mlflow_stack.aws import preflight, values
from mlflow_stack.aws.api import Aws, Failed, Refused
from mlflow_stack.aws.deployment import Deployment, outputs
from mlflow_stack.aws.destroy import destroy
from mlflow_stack.aws.values import CloudSettings
from mlflow_stack.cloud_settings import SettingsRefused
from mlflow_stack.domain import stack_plan
from mlflow_stack.domain.stack_plan import StackChange
from mlflow_stack.setting_types import REPOSITORY

SETTINGS = REPOSITORY / "group_data" / "aws.py"
NOTHING, ERROR, PENDING = 0, 1, 2
COMMANDS = {
    "plan": "what an apply would do; exit status 0: nothing, 2: changes, 1: it can't be said",
    "apply": "make it so, and show each step before it is done",
    "destroy": "remove the service; database, bucket, images, secrets and machines stay",
    "outputs": "print addresses and names that follow from what was made",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the commands below `aws`."""
    commands = parser.add_subparsers(dest="action", required=True)
    for name, words in COMMANDS.items():
        command = commands.add_parser(name, help=words, description=words, allow_abbrev=False)
        command.add_argument(
            "--settings", type=Path, metavar="FILE", help="a file of settings in the place of group_data/aws.py"
        )
        if name in ("plan", "outputs"):
            command.add_argument("--json", action="store_true", help="print it as JSON, for programs")
        if name == "destroy":
            command.add_argument(
                "--delete-data", default="", metavar="NAME", help="remove all data of the stack NAME too"
            )


def aws(options: argparse.Namespace) -> int:
    """Run one of the commands; return the exit status."""
    try:
        settings = load(options.settings)
        client = Aws(settings.aws.region)
        if options.action == "destroy":
            destroy(client, settings, options.delete_data, _say)
            return NOTHING
        if options.action == "outputs":
            _outputs(client, settings, options.json)
            return NOTHING
        deployment = Deployment(client, settings)
        return _plan(deployment, options.json) if options.action == "plan" else _apply(deployment)
    except (SettingsRefused, Refused, Failed) as error:
        print(error, file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted; AWS ends what it has begun, and the same command goes on from there", file=sys.stderr)
        return ERROR


def load(path: Path | None = None) -> CloudSettings:
    """Return the settings of a stack on AWS: group_data/all.py, and over it a file, group_data/aws.py if none is given.

    Raises SettingsRefused with all problems.
    """
    overlay = path or (SETTINGS if SETTINGS.exists() else None)
    sections = tuple(CloudSettings.__dataclass_fields__)
    return CloudSettings(**cloud_settings.load(sections, overlay))  # type: ignore[arg-type]  # each is of its section


def _plan(deployment: Deployment, as_json: bool) -> int:
    changes = deployment.plan()
    if as_json:
        print(json.dumps(stack_plan.to_document(changes), indent=1))
    else:
        for change in changes:
            _show(change)
        print(stack_plan.summary(changes))
    return PENDING if any(change.is_pending for change in changes) else NOTHING


def _apply(deployment: Deployment) -> int:
    shown: list[StackChange] = []

    def show(change: StackChange) -> None:
        shown.append(change)
        _show(change)

    deployment.apply(show)
    print(f"done: {stack_plan.summary(shown)}")
    if deployment.settings.aws.service:
        print(_where(deployment))
    return NOTHING


def _where(deployment: Deployment) -> str:
    balancer = deployment.stacks["service"].outputs["LoadBalancerName"]
    leads = "" if deployment.settings.aws.hosted_zone_id else f"; the name has to lead to {balancer}"
    return f"{values.public_url(deployment.settings)} answers{leads}"


def _outputs(client: Aws, settings: CloudSettings, as_json: bool) -> None:
    preflight.check_account(client, settings)
    found = outputs(client, settings)
    lines = [f"{name} = {found[name]}" for name in found] or ["nothing of this stack is there"]
    print(json.dumps(found, indent=1) if as_json else "\n".join(lines))


def _show(change: StackChange) -> None:
    for line in stack_plan.to_text(change):
        _say(line)


def _say(line: str) -> None:
    print(line, flush=True)
