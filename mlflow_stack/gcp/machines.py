"""Virtual machines for deploy.py, in a network that reaches the database by a private address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Difference, Step, text
from mlflow_stack.gcp.survey import Found, name_of
from mlflow_stack.gcp_settings import LABEL, GcpSettings, MachineSettings

# SSH, and what a proxy of the stack listens on.
PORTS = (22, 80, 443)


def problems(settings: GcpSettings, found: Found) -> Iterator[str]:
    """Yield what is wrong with the key, and with machines that are there and can't become what is declared."""
    try:
        public_key(settings)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        yield (
            f"gcp_machine_ssh_key: {settings.machine_ssh_key} can't be used ({reason}); expected the file of a public "
            "key, as id_ed25519.pub"
        )
    for name, machine in settings.machines.items():
        there = found.machine(name)
        if there and (has := name_of({"name": there["machineType"]})) != machine.machine_type:
            yield (
                f"gcp_machines[{name!r}]['machine_type']: the machine is {has}, and {machine.machine_type} is "
                "declared; stop it and change it with gcloud, or declare what it is"
            )


def public_key(settings: GcpSettings) -> str:
    """Return the key that logs in to the machines; OSError or ValueError when the file is not that of a public key."""
    key = Path(settings.machine_ssh_key).expanduser().read_text().strip() if settings.machines else ""
    if settings.machines and ("PRIVATE" in key or not key.startswith(("ssh-", "ecdsa-", "sk-"))):
        raise ValueError("not a public key")
    return key


def private_network(settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure that the network of the machines is connected with Google's, where a private Cloud SQL instance is."""
    if not settings.machines or found.list("peerings"):
        return  # any connection will do
    name, network = f"{settings.name}-database", f"--network={settings.network}"
    if not found.thing("ranges", name):
        create = ("compute", "addresses", "create", name, "--global", "--purpose=VPC_PEERING", "--prefix-length=20")
        yield Step("create", f"address range {name}", (Command((*create, network)),), (Difference("size", "/20"),))
    connect = ("services", "vpc-peerings", "connect", f"--ranges={name}", network)
    differences = (Difference("with", "servicenetworking.googleapis.com"),)
    yield Step("connect", f"network {settings.network}", (Command(connect),), differences)


def machines(settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure that the machines run, and that the networks of their clients reach them."""
    yield from _firewall(settings, found)
    for name, machine in settings.machines.items():
        there = found.machine(name)
        if not there:
            yield _create(name, machine, settings)
        elif there["status"] in ("TERMINATED", "STOPPED", "STOPPING"):
            command = Command(("compute", "instances", "start", name, f"--zone={machine.zone}"))
            yield Step("start", f"machine {name}", (command,))


def firewall_rule(settings: GcpSettings) -> str:
    return f"{settings.name}-clients"


def _firewall(settings: GcpSettings, found: Found) -> Iterator[Step]:
    if not settings.machines:
        return
    name, clients = firewall_rule(settings), sorted(settings.machine_clients)
    there = found.thing("firewall rules", name)
    ranges = f"--source-ranges={','.join(clients)}"
    if not there:
        create = ("compute", "firewall-rules", "create", name, f"--network={settings.network}", "--direction=INGRESS")
        rules = f"--allow={','.join(f'tcp:{port}' for port in PORTS)}"
        command = Command((*create, rules, ranges, f"--target-tags={settings.name}"))
        differences = (Difference("ports", ", ".join(map(str, PORTS))), Difference("from", ", ".join(clients)))
        yield Step("create", f"firewall rule {name}", (command,), differences)
    elif (has := sorted(there.get("sourceRanges", []))) != clients:
        command = Command(("compute", "firewall-rules", "update", name, ranges))
        yield Step("change", f"firewall rule {name}", (command,), (Difference("from", text(clients), text(has)),))


def _create(name: str, machine: MachineSettings, settings: GcpSettings) -> Step:
    project, _, family = settings.machine_image.partition("/")
    keys = f"ssh-keys={settings.machine_user}:{public_key(settings)}"
    # ":::" parts the entries, since a key's comment may hold a comma (`gcloud topic escaping`).
    metadata = f"--metadata=^:::^{keys}:::block-project-ssh-keys=TRUE:::enable-oslogin=FALSE"
    command = Command(
        (
            *("compute", "instances", "create", name, f"--zone={machine.zone}"),
            *(f"--machine-type={machine.machine_type}", f"--boot-disk-size={machine.disk_gb}GB"),
            *(f"--image-family={family}", f"--image-project={project}", f"--network={settings.network}"),
            # What it may do, the rights of the account say; a scope could only narrow them.
            *(f"--service-account={settings.account}", "--scopes=cloud-platform", "--shielded-secure-boot"),
            *(f"--tags={settings.name}", f"--labels={LABEL}={settings.name}", metadata),
        )
    )
    fields = (("zone", machine.zone), ("machine type", machine.machine_type), ("disk, GB", str(machine.disk_gb)))
    return Step("create", f"machine {name}", (command,), tuple(Difference(*field) for field in fields))


def addresses(machine: Any) -> dict[str, str]:
    """Return where a machine is reached from outside ("" for nowhere) and from its own network."""
    interface = machine["networkInterfaces"][0]
    outside = [access["natIP"] for access in interface.get("accessConfigs", []) if access.get("natIP")]
    return {"address": outside[0] if outside else "", "internal_address": interface["networkIP"]}
