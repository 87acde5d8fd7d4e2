"""python -m mlflow_stack gcp plan|apply|destroy|outputs [--settings FILE]: MLflow on Google Cloud, through gcloud

    plan       what apply would do, field by field, with its commands; exit status 0: nothing, 2: changes, 1: it can't
    apply      do it
    destroy    remove or stop what runs, and keep the data; with --delete-data NAME, the stack's name, remove those too
    outputs    addresses and names of what there is, as JSON

What there is to be is said in group_data/gcp.py, over group_data/all.py (docs/how-to/gcp.md). `plan` changes nothing;
`apply` can be run again at any time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from pyinfra.api.exceptions import DeployError

from mlflow_stack import secret_store
from mlflow_stack.cloud_settings import SettingsRefused
from mlflow_stack.gcp import secret
from mlflow_stack.gcp.declared import Declared, load, missing
from mlflow_stack.gcp.gcloud import Gcloud, GcloudFailed
from mlflow_stack.gcp.plan import Plan, Step
from mlflow_stack.gcp.stack import OUTPUTS, make_end, make_plan, outputs
from mlflow_stack.gcp.survey import Found, Refused, look

NOTHING, ERROR, PENDING = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may stand behind `gcp`."""
    parser.add_argument("verb", choices=["plan", "apply", "destroy", "outputs"])
    parser.add_argument("--settings", type=Path, metavar="FILE", help="in the place of group_data/gcp.py")
    parser.add_argument("--delete-data", metavar="NAME", help="with destroy: remove all data of the stack NAME too")


def gcp(options: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status."""
    verb, delete_data = options.verb, options.delete_data
    try:
        declared = load(options.settings)
        _check(declared, verb, delete_data)
        gcloud = Gcloud(declared.gcp.project)
        found = look(gcloud, declared.gcp, _asked(verb, delete_data))
        if verb in ("destroy", "outputs") and found.problems:
            raise Refused(found.problems)
        return _VERBS[verb](declared, gcloud, found, delete_data is not None)
    except (SettingsRefused, Refused, DeployError) as refused:
        print(refused, file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted; Google ends what it has begun, and the same command goes on from there", file=sys.stderr)
        return ERROR


def _asked(verb: str, delete_data: str | None) -> tuple[str, ...]:
    """Return the names of the questions that a command has; () for all of them."""
    if verb == "outputs":
        return OUTPUTS
    return () if verb != "destroy" or delete_data else ("services", "jobs", "instances", "firewall rules")


def _check(declared: Declared, verb: str, delete_data: str | None) -> None:
    """Raise Refused with what is missing, or contradicts the command."""
    wanted = declared.gcp
    problems = missing(wanted, "project", "region", *(["image"] if wanted.cloud_run else []))
    if not (wanted.cloud_run or wanted.machines):
        problems.append("gcp_cloud_run is False and gcp_machines is empty, so nothing would serve; set one of them")
    lacking = declared.image.lacking("gcs", *(["mysql"] if wanted.is_mysql else []))
    if wanted.cloud_run and lacking:
        problems.append(lacking)
    if wanted.public and not declared.proxy.users:
        problems.append("gcp_public has the server ask for a login, and proxy_users is empty; name somebody there")
    if delete_data is not None and (verb != "destroy" or delete_data != wanted.name):
        problems.append(
            f"--delete-data {delete_data}: expected the name of the stack, which is {wanted.name}, with destroy"
        )
    if problems:
        raise Refused(problems)


def _passwords(declared: Declared, found: Found) -> dict[str, str]:
    """Return the passwords of those who log in, where the server itself asks for a login.

    Raises Refused where one would be made that somebody else's checkout has made already.
    """
    stack, users = declared.gcp.name, declared.proxy.users if declared.gcp.cloud_run and declared.gcp.public else {}
    names = {user: f"proxy_users.{user}" for user in users}
    if lost := [
        f"proxy_users: the server has a password for {user}, and .secrets/{stack}/{names[user]} is not here; bring "
        "that file of the checkout that has it"
        for user in secret.users_there(declared.gcp, found) & set(users)
        if not secret_store.is_at_hand(users[user], names[user], stack=stack)
    ]:
        raise Refused(sorted(lost))
    return {user: secret_store.resolve(users[user], names[user], stack=stack) for user in users}


def _plan(declared: Declared, _gcloud: Gcloud, found: Found, _with_data: bool) -> int:
    plan = make_plan(declared, found, _passwords(declared, found))
    print("\n".join(plan.lines()))
    return PENDING if plan.steps else NOTHING


def _apply(declared: Declared, gcloud: Gcloud, found: Found, _with_data: bool) -> int:
    passwords = _passwords(declared, found)
    plan = make_plan(declared, found, passwords)
    for password in passwords.values():
        secret_store.keep(password)
    return _take(plan, gcloud)


def _destroy(declared: Declared, gcloud: Gcloud, found: Found, with_data: bool) -> int:
    return _take(make_end(declared.gcp, found, with_data=with_data), gcloud)


def _outputs(declared: Declared, _gcloud: Gcloud, found: Found, _with_data: bool) -> int:
    print(json.dumps(outputs(declared, found), indent=1))
    return NOTHING


def _take(plan: Plan, gcloud: Gcloud) -> int:
    """Take the steps in order; where one fails, say what was done before it."""
    done: list[str] = []
    for step in plan.steps:
        print(step, flush=True)
        for number, command in enumerate(step.commands, 1):
            try:
                gcloud.run(command)
            except GcloudFailed as failed:
                print(_stopped(step, number, failed, done), file=sys.stderr)
                return ERROR
        done.append(str(step))
    for note in plan.notes:
        print(f"note: {note}")
    print(f"{len(done)} steps taken" if done else plan.summary())
    return NOTHING


def _stopped(step: Step, number: int, failed: GcloudFailed, done: list[str]) -> str:
    """Return what to say of a run that stopped at a step, in its command of this number."""
    where = f" in command {number} of {len(step.commands)}" if len(step.commands) > 1 else ""
    before = "".join(f"\n  done: {each}" for each in done) or "\n  nothing was done before it"
    return f"{step}: failed{where} ({failed}){before}\nthe same command goes on from here"


_VERBS: dict[str, Callable[[Declared, Gcloud, Found, bool], int]] = {
    "plan": _plan,
    "apply": _apply,
    "destroy": _destroy,
    "outputs": _outputs,
}
