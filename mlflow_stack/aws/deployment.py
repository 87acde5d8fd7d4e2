"""The story of a stack on AWS: which stack of CloudFormation comes when, and what happens between them.

network, data, then the image has to be there; tasks; the migration; the service, which has to answer; the machines.
Each step follows from what is there, so that an apply that was interrupted is run again and goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pyinfra.api.exceptions import DeployError

from mlflow_stack.aws import answer, migration, preflight, secret, stacks, values
from mlflow_stack.aws.api import Aws, Failed, Refused
from mlflow_stack.aws.secret import Secret
from mlflow_stack.aws.stacks import Stack
from mlflow_stack.aws.values import CloudSettings, Known
from mlflow_stack.domain.stack_plan import StackChange

Show = Callable[[StackChange], None]
HTTPS, HTTP = 443, 80


class Deployment:
    """A stack as it is, and as it is to be.

    Raises Refused with all that is wrong; nothing is changed before `apply`.
    """

    def __init__(self, aws: Aws, settings: CloudSettings) -> None:
        self.aws, self.settings = aws, settings
        problems = list(preflight.of_settings(settings))
        if nobody := preflight.of_account(aws, settings):
            raise Refused([*nobody, *problems])  # there is nobody to ask about the rest
        self.stacks = {part: stacks.find(aws, settings.aws.stack(part)) for part in values.parts(settings.aws)}
        self.database_secret = secret.database(aws, settings.aws.database_secret)
        self.logins_secret: Secret | None = None
        try:
            self.logins_secret = self._logins()
        except DeployError as error:  # a reference to a password leads nowhere
            problems.append(str(error))
        problems += preflight.of_resources(aws, settings, self.stacks, self.database_secret)
        # The first apply makes the repository, and goes on when the image is in it.
        self.missing_image = preflight.missing_image(aws, settings, self.stacks["data"]) if settings.aws.service else ""
        if self.missing_image and self.stacks["tasks"].is_there:
            problems.append(self.missing_image)
        if problems:
            raise Refused(problems)
        self.balancer_networks = self._balancer_networks()

    def _balancer_networks(self) -> tuple[str, ...]:
        """Return where the load balancer has its addresses: what it says of a client is believed."""
        aws = self.settings.aws
        if not aws.vpc_id:
            return tuple(aws.networks()[:2])
        found = self.aws.ask("ec2", "describe_subnets", SubnetIds=aws.public_subnet_ids)
        return tuple(sorted(each["CidrBlock"] for each in found["Subnets"]))

    def _logins(self) -> Secret | None:
        aws, users = self.settings.aws, self.settings.proxy.users
        return secret.logins(self.aws, aws.logins_secret, users, aws.name) if aws.service and users else None

    @property
    def known(self) -> Known:
        outputs = {part: stack.outputs for part, stack in self.stacks.items() if stack.is_there}
        return Known(self.settings, outputs, self.database_secret, self.logins_secret, self.balancer_networks)

    # --- what would change ---

    def plan(self) -> list[StackChange]:
        """Return what an apply would do, in its order. CloudFormation is asked by change sets, which are removed."""
        changes = [self._secret_change(each) for each in (self.database_secret, self.logins_secret) if each]
        known = self.known
        for part, stack in self.stacks.items():
            if part == "tasks" and self.missing_image:
                changes.append(
                    StackChange(self.settings.aws.name, steps=(f"goes on when it is there: {self.missing_image}",))
                )
            change = self._planned(part, stack, known)
            if part == "service" and self._moves(known):
                changes.append(StackChange(self.settings.aws.name, steps=(self._migration_in_words(),)))
            changes.append(change)
            if part == "tasks" and any(each.name == "TaskDefinition" for each in change.resources):
                # Its revision is counted by ECS.
                known = replace(
                    known, outputs={**known.outputs, "tasks": {"Cluster": known.output("tasks", "Cluster")}}
                )
        return changes

    def _secret_change(self, each: Secret) -> StackChange:
        words = "a new version of its value" if each.arn else "made, with its value"
        return StackChange(f"secret {each.name}", steps=(words,) if each.is_new else ())

    def _planned(self, part: str, stack: Stack, known: Known) -> StackChange:
        wanted = values.template(part, known)
        if wanted == stack.template or not stack.is_there or not values.is_known(wanted):
            return stacks.planned(stack, wanted)
        change_set = stacks.prepare(self.aws, stack, wanted, self.settings.aws.name)
        if change_set is None:
            return StackChange(stack.name, idle=len(wanted["Resources"]))
        stacks.discard(self.aws, stack, change_set.id)
        return change_set.change

    def _moves(self, known: Known) -> bool:
        """Return whether the service is to run another task definition than it does."""
        running = self.stacks["service"].template.get("Resources", {}).get("Service", {}).get("Properties", {})
        return bool(running.get("TaskDefinition") != known.output("tasks", "TaskDefinition"))

    def _migration_in_words(self) -> str:
        if self._backs_up:
            return (
                "a snapshot of the database, then its schema is brought up to date by a task, before the service moves"
            )
        return "the database's schema is looked at, or made, by a task, before the service moves"

    @property
    def _backs_up(self) -> bool:
        return self.settings.tracking.upgrade_database and self.stacks["service"].is_there

    # --- changing it ---

    def apply(self, show: Show) -> None:
        """Do what the plan says, step by step, and show each before it is done; see the service answer.

        Raises Failed at the first that fails, with what there is then.
        """
        try:
            for part in self.stacks:
                self._before(part, show)
                self._apply(part, show)
            if self.settings.aws.service:
                self._see_it_answer()
        except Failed as error:
            there = [stack.name for stack in self.stacks.values() if stack.is_there]
            made = f"there are now: {', '.join(there)}" if there else "no stack was made"
            raise Failed(f"{error}\n{made}; put it right and apply again, which goes on from here") from None

    def _before(self, part: str, show: Show) -> None:
        if part == "data":
            self._write_database_secret(show)
        elif part == "tasks":
            if missing := preflight.missing_image(self.aws, self.settings, self.stacks["data"]):
                raise Failed(missing)
            self._write_logins(show)
        elif part == "service" and self._moves(self.known):
            show(StackChange(self.settings.aws.name, steps=(self._migration_in_words(),)))
            self._migrate()

    def _write_database_secret(self, show: Show) -> None:
        if self.database_secret.is_new:
            show(self._secret_change(self.database_secret))
            value = secret.new_password(self.aws)
            self.database_secret = secret.write(
                self.aws, replace(self.database_secret, value=value), self.settings.aws.name
            )

    def _write_logins(self, show: Show) -> None:
        if self.logins_secret and self.logins_secret.is_new:
            show(self._secret_change(self.logins_secret))
            self.logins_secret = secret.write(self.aws, self.logins_secret, self.settings.aws.name)

    def _apply(self, part: str, show: Show) -> None:
        stack, wanted = self.stacks[part], values.template(part, self.known)
        is_new = wanted != stack.template
        change_set = stacks.prepare(self.aws, stack, wanted, self.settings.aws.name) if is_new else None
        if change_set is None:
            show(StackChange(stack.name, idle=len(wanted["Resources"])))
            return
        show(change_set.change)
        if lost := stacks.losses(change_set.change):
            stacks.discard(self.aws, stack, change_set.id)
            raise Failed(
                f"stack {stack.name}: its data in {', '.join(lost)} would be left behind; take the change back"
            )
        try:
            self.stacks[part] = stacks.execute(self.aws, change_set)
        except Failed:
            self.stacks[part] = stacks.find(self.aws, stack.name)
            raise

    def _migrate(self) -> None:
        known, aws = self.known, self.settings.aws
        if self._backs_up:
            migration.snapshot(self.aws, aws.name)
        network: dict[str, Any] = {
            **values.task_network(known),
            "securityGroups": [known.output("data", "DatabaseClients")],
        }
        migration.migrate(
            self.aws,
            known.output("tasks", "Cluster"),
            known.output("tasks", "TaskDefinition"),
            network,
            known.output("data", "LogGroup"),
            self.settings.tracking.upgrade_database,
        )

    def _see_it_answer(self) -> None:
        known, tracking, aws = self.known, self.settings.tracking, self.settings.aws
        cluster, service = known.output("tasks", "Cluster"), known.output("service", "Service")
        answer.wait_until_steady(self.aws, cluster, service, stacks.TIMEOUT_S)
        tls = bool(aws.certificate_arn)
        balancer = (known.output("service", "LoadBalancerName"), HTTPS if tls else HTTP)
        is_open = not self.logins_secret
        answer.wait_until_answers(tracking.public_name, balancer, tls, is_open, tracking.ready_timeout_s)


def outputs(aws: Aws, settings: CloudSettings) -> dict[str, str]:
    """Return what is to be known of a stack as far as it is there, by name: "data.Bucket" and so on."""
    found = {part: stacks.find(aws, settings.aws.stack(part)).outputs for part in values.parts(settings.aws)}
    return {f"{part}.{name}": value for part, each in found.items() for name, value in each.items()}
