"""The whole stack on Google Cloud: its plan, the plan of its end, and what it tells others. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mlflow_stack.gcp import account, bucket, database, machines, project, secret, service
from mlflow_stack.gcp.declared import Declared
from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Plan, Step, at
from mlflow_stack.gcp.secret import Secret
from mlflow_stack.gcp.survey import Found, Refused
from mlflow_stack.gcp_settings import LABEL, GcpSettings

# What has to be looked at for the outputs, beside the machines.
OUTPUTS = ("bucket", "instances", "services")


def make_plan(declared: Declared, found: Found, passwords: Mapping[str, str]) -> Plan:
    """Return what makes the stack as it is declared; `passwords` are those of the users who log in, by user.

    Raises Refused with everything that is in its way. The registry comes first and alone: what runs in the stack is
    an image in it, and nothing else is made before there is one.
    """
    gcp = declared.gcp
    if problems := [*found.problems, *_problems(gcp, found)]:
        raise Refused(problems)
    enabled = tuple(project.apis(gcp, found))
    if gcp.cloud_run and not found.thing("repositories", gcp.name):
        note = f"everything else comes when the image is there: push {gcp.repository}/{gcp.image}, and apply again"
        return Plan((*enabled, *project.registry(gcp, found)), (note,))
    return Plan((*enabled, *_steps(declared, found, passwords)))


def _problems(gcp: GcpSettings, found: Found) -> Iterator[str]:
    yield from project.no_image(gcp, found)
    for part in (bucket, database, machines):
        yield from part.problems(gcp, found)


def _steps(declared: Declared, found: Found, passwords: Mapping[str, str]) -> Iterator[Step]:
    gcp, secrets = declared.gcp, _secrets(declared.gcp, found, passwords)
    password = secrets[0]
    yield from account.account(gcp, found)
    yield from bucket.bucket(gcp, found)
    instance = [*machines.private_network(gcp, found), *database.instance(gcp, found)]
    # Somebody who adds a version to the secret gives the user another password. It is set before the secret has one
    # that is new: interrupted in between, the next run takes another one for both.
    is_another = password.is_new or service.pinned_version(declared, found) not in (0, password.version)
    if database.has_user(gcp, found):
        yield from instance
        yield from [database.changed_user(gcp, password.value)] if is_another else []
    for each in secrets:
        yield from secret.steps(each, gcp, found)
    # Rights are known everywhere only after some time, which the database takes to be made.
    yield from account.rights(gcp, found, tuple(each.name for each in secrets))
    if not database.has_user(gcp, found):
        yield from instance
        yield database.new_user(gcp, password.value)
    if gcp.cloud_run:
        yield from service.server(declared, found, secrets)
    yield from machines.machines(gcp, found)


def _secrets(gcp: GcpSettings, found: Found, passwords: Mapping[str, str]) -> tuple[Secret, ...]:
    password = secret.password(gcp, found)
    return (password, secret.logins(gcp, found, passwords)) if passwords else (password,)


def make_end(gcp: GcpSettings, found: Found, *, with_data: bool) -> Plan:
    """Return what ends the stack: what runs is removed or stopped, and what holds data stays, unless `with_data`."""
    steps = list(_ended(gcp, found, with_data=with_data))
    if not with_data:
        return Plan(
            tuple(steps),
            (
                f"data stays: bucket gs://{gcp.bucket_name}, Cloud SQL instance {gcp.name} (stopped),"
                " secrets, registry, machines (stopped)",
            ),
        )
    gone, kept = _data(gcp, found)
    return Plan(
        (*steps, *gone),
        tuple(f"{each} stays: it was not made by this stack (no label {LABEL}={gcp.name})" for each in kept),
    )


def _ended(gcp: GcpSettings, found: Found, *, with_data: bool) -> Iterator[Step]:
    region = f"--region={gcp.region}"
    for kind, singular, name in (("services", "service", gcp.name), ("jobs", "job", gcp.migration)):
        if found.thing(kind, name):
            yield _removal(f"Cloud Run {singular} {name}", "run", kind, "delete", name, region)
    if found.thing("firewall rules", machines.firewall_rule(gcp)):
        rule = machines.firewall_rule(gcp)
        yield _removal(f"firewall rule {rule}", "compute", "firewall-rules", "delete", rule)
    if with_data:
        return
    for name, machine in gcp.machines.items():
        if (found.machine(name) or {}).get("status") == "RUNNING":
            stop = Command(("compute", "instances", "stop", name, f"--zone={machine.zone}"))
            yield Step("stop", f"machine {name}", (stop,))
    instance = found.thing("instances", gcp.name)
    if instance and at(instance, "settings.activationPolicy") != "NEVER":
        stop = Command(("sql", "instances", "patch", gcp.name, "--activation-policy=never"))
        yield Step("stop", f"Cloud SQL instance {gcp.name}", (stop,))


def _data(gcp: GcpSettings, found: Found) -> tuple[list[Step], list[str]]:
    """Return the steps that remove what holds data, and what is not this stack's to remove."""
    gone: list[Step] = []
    kept: list[str] = []
    for step, labels in _holders(gcp, found):
        if labels and labels.get(LABEL) == gcp.name:
            gone.append(step)
        else:
            kept.append(step.thing)
    if found.thing("accounts", gcp.account):
        gone += _without_rights(gcp, found)
        gone.append(_removal(f"service account {gcp.account}", "iam", "service-accounts", "delete", gcp.account))
    return gone, kept


def _holders(gcp: GcpSettings, found: Found) -> Iterator[tuple[Step, Any]]:
    """Yield what removes a thing that holds data and is there, with the labels of the thing."""
    for name, machine in gcp.machines.items():
        if there := found.machine(name):
            off = ("compute", "instances", "delete", name, f"--zone={machine.zone}", "--delete-disks=all")
            yield _removal(f"machine {name}", *off), there.get("labels")
    if there := found.thing("instances", gcp.name):
        open_up = ("sql", "instances", "patch", gcp.name, "--no-deletion-protection", "--activation-policy=always")
        # Cloud SQL itself keeps a copy for a month, should the words have been said too soon.
        last = ("--enable-final-backup", "--final-backup-retention-days=30")
        removal = _removal(f"Cloud SQL instance {gcp.name}", "sql", "instances", "delete", gcp.name, *last)
        yield replace(removal, commands=(Command(open_up), *removal.commands)), at(there, "settings.userLabels")
    if there := found.answers.get("bucket"):
        name = f"gs://{gcp.bucket_name}"
        yield _removal(f"bucket {name}", "storage", "rm", "--recursive", name), there.get("labels")
    for name in (gcp.password_secret, gcp.logins_secret):
        if there := found.thing("secrets", name):
            yield _removal(f"secret {name}", "secrets", "delete", name), there.get("labels")
    if there := found.thing("repositories", gcp.name):
        delete = ("artifacts", "repositories", "delete", gcp.name, f"--location={gcp.region}")
        yield _removal(f"registry {gcp.repository}", *delete), there.get("labels")


def _removal(thing: str, *arguments: str) -> Step:
    return Step("remove", thing, (Command(arguments),))


def _without_rights(gcp: GcpSettings, found: Found) -> Iterator[Step]:
    """Yield the steps that take the service account out of the project's policy, which stays when all else has gone."""
    for right in account.wanted_rights(gcp, ()):
        if right.policy == "project" and account.member(gcp) in account.holders(found.policy("project"), right):
            yield right.step("revoke", account.member(gcp))


def outputs(declared: Declared, found: Found) -> dict[str, Any]:
    """Return what others have to know of the stack; what is not there is left out or empty. It holds no secret."""
    gcp = declared.gcp
    instance = found.thing("instances", gcp.name) or {}
    private = [each["ipAddress"] for each in instance.get("ipAddresses", []) if each["type"] == "PRIVATE"]
    service_there = gcp.cloud_run and found.thing("services", gcp.name)
    there = {name: found.machine(name) for name in gcp.machines}
    return {
        "project": gcp.project,
        "region": gcp.region,
        "tracking_uri": f"https://{gcp.service_host(found.project_number)}" if service_there else "",
        "registry": gcp.repository if gcp.cloud_run else "",
        "service_account": gcp.account,
        "artifacts": gcp.artifacts if found.answers.get("bucket") else "",
        "database_connection": gcp.connection if instance else "",
        "database_uri": gcp.database_uri(private[0]) if private else "",
        "database_ca": at(instance, "serverCaCert.cert") or "",
        "database_password_secret": gcp.password_secret,
        "machines": {
            name: {"zone": gcp.machines[name].zone, **machines.addresses(machine)}
            for name, machine in there.items()
            if machine
        },
    }
