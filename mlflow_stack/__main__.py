"""A deploy for scripts, timers and reviews: python -m mlflow_stack plan|apply|drift|conform INVENTORY; and the cloud.

    plan INVENTORY [--json]   what a run would do on each host; exit status 0: nothing, 2: changes, 1: it can't be said
    apply INVENTORY PLAN      make a plan so that `plan --json` printed, if it still is what a run would do
    drift INVENTORY           as plan, and silent when every host is as declared
    conform INVENTORY         ask a live stack whether it keeps the promises of docs/promises.md; exit status 0: it
                              does, 2: not all of them, 1: it can't be said
    image build|base|push|logins     container images, for platforms that run those (docs/how-to/container-image.md)
    aws plan|apply|destroy|outputs   MLflow on AWS, without hosts (docs/how-to/aws.md)
    gcp plan|apply|destroy|outputs   MLflow on Google Cloud, without hosts (docs/how-to/gcp.md)

Other options come after these, and are given to pyinfra as they are: --limit, --data, --ssh-user and so on (pyinfra
--help).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from mlflow_stack.conform.command import conform
from mlflow_stack.domain import plan as plans
from mlflow_stack.domain.plan import HostPlan
from mlflow_stack.review import PLAN_VARIABLE, REVIEWED_VARIABLE

DEPLOY = Path(__file__).resolve().parent.parent / "deploy.py"
NOTHING, ERROR, PENDING = 0, 1, 2
# Each has a module of its own name, with a function of that name.
WITHOUT_HOSTS = ("image", "aws", "gcp")


def main(arguments: list[str]) -> int:
    """Run one of the commands; return the exit status."""
    if arguments and arguments[0] in WITHOUT_HOSTS:
        return _without_hosts(*arguments)
    options, for_pyinfra = _parser().parse_known_args(arguments)
    if problem := _misplaced(arguments) or _no_inventory(options.inventory):
        print(f"{problem}; no host was touched", file=sys.stderr)
        return ERROR
    if options.command == "apply":
        return apply(options.inventory, options.plan, for_pyinfra)
    if options.command == "conform":
        ask = partial(_pyinfra, capture_output=True)
        return conform(options.inventory, for_pyinfra, ask, waivers=options.waivers, junit=options.junit)
    found = make_plan(options.inventory, for_pyinfra)
    if found is None:
        return ERROR
    host_plans = list(plans.from_document(found).values())
    status = _status(host_plans, found["unreached"])
    if options.command == "plan" and options.json:
        print(json.dumps(found, indent=1))
    elif options.command == "plan" or status != NOTHING:
        _print(host_plans)
    for name in found["unreached"]:
        print(f"{name}: not reached, so nothing is known about it", file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ERROR, f"{self.prog}: error: {message}\n")  # argparse's own 2 would say that there are changes


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("python -m mlflow_stack", description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("plan", "apply", "drift", "conform"):
        command = commands.add_parser(name, allow_abbrev=False)
        command.add_argument("inventory")
        if name == "plan":
            command.add_argument("--json", action="store_true", help="print the plan as JSON, for apply and programs")
        if name == "apply":
            command.add_argument("plan", type=Path, help="a file with what `plan --json` printed")
        if name == "conform":
            command.add_argument("--waivers", type=Path, help="a YAML file of what is known not to hold")
            command.add_argument("--junit", type=Path, help="a file to write the results to, as JUnit's XML")
    for name in WITHOUT_HOSTS:
        commands.add_parser(name)
    return parser


def _without_hosts(name: str, *arguments: str) -> int:
    """Run a command that has no inventory; its module brings much that the others can do without."""
    module = import_module(f"mlflow_stack.{name}.command")
    parser = _Parser(f"python -m mlflow_stack {name}", description=module.__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    module.add_arguments(parser)
    status: int = getattr(module, name)(parser.parse_args(arguments))
    return status


def _misplaced(arguments: list[str]) -> str:
    """Return what is wrong when an option of pyinfra's comes first: its value would be taken for the inventory."""
    first = next((argument for argument in arguments[1:] if argument != "--json"), "")
    expected = f"expected the inventory right after {arguments[0]}, and options of pyinfra after that"
    return f"{first}: {expected}" if first.startswith("-") else ""


def _no_inventory(inventory: str) -> str:
    """Return what is wrong with an inventory that pyinfra would take for the name of a host, or of a module."""
    if Path(inventory).is_file() or inventory.startswith("@") or "," in inventory:
        return ""
    return f"{inventory}: no such file; expected an inventory (docs/how-to/use-your-own-servers.md)"


def make_plan(inventory: str, for_pyinfra: list[str]) -> dict[str, Any] | None:
    """Return the plan document of a dry run (domain/plan.py); None, after its messages, when it could not be made."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "plan.json"
        done = _pyinfra(
            [inventory, str(DEPLOY), "--dry", *for_pyinfra], {PLAN_VARIABLE: str(path)}, capture_output=True
        )
        document: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    if done.returncode or document is None or document["unreached"]:
        print(done.stdout + done.stderr, file=sys.stderr, end="")
    return document if done.returncode == 0 or (document and document["unreached"]) else None


def apply(inventory: str, path: Path, for_pyinfra: list[str]) -> int:
    """Run the deploy; review.py stops it before any change when it would do something else than the plan says."""
    try:
        plans.from_document(json.loads(path.read_text()))
    except OSError as error:
        print(f"{path}: can't be read ({error.strerror}); expected what `plan --json` printed", file=sys.stderr)
        return ERROR
    except ValueError as error:
        reason = "it is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        print(f"{path}: {reason}; expected what `plan --json` printed", file=sys.stderr)
        return ERROR
    return _pyinfra([inventory, str(DEPLOY), "-y", *for_pyinfra], {REVIEWED_VARIABLE: str(path)}).returncode


def _pyinfra(arguments: list[str], variables: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "pyinfra", *arguments]
    return subprocess.run(command, env=environment, text=True, check=False, **options)


def _status(host_plans: list[HostPlan], unreached: list[str]) -> int:
    if unreached:
        return ERROR
    return PENDING if any(plan.operations for plan in host_plans) else NOTHING


def _print(host_plans: list[HostPlan]) -> None:
    for plan in host_plans:
        print("\n".join(plans.to_text(plan)))
    for plan in host_plans:
        print(plans.summary(plan))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
