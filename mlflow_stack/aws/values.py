"""The values of each template's parameters: settings, and what earlier stacks and secrets have given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_stack.aws.secret import Secret
from mlflow_stack.aws_settings import ENGINES, AwsSettings
from mlflow_stack.domain import cloudformation
from mlflow_stack.domain.cloudformation import Template
from mlflow_stack.domain.tracking import allowed_hosts
from mlflow_stack.image_settings import ImageSettings
from mlflow_stack.role_settings import PostgresqlSettings, ProxySettings, TrackingSettings
from mlflow_stack.setting_types import REPOSITORY

TEMPLATES = REPOSITORY / "templates" / "aws"
# What takes the place of a value that nobody can know yet. No template may be sent with it.
_LATER = "(known after "
CERTIFICATES = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----")
HOST = "host-"


@dataclass(frozen=True)
class CloudSettings:
    """The sections of the settings that a stack on AWS is made of."""

    aws: AwsSettings
    tracking: TrackingSettings
    postgresql: PostgresqlSettings
    proxy: ProxySettings
    image: ImageSettings


@dataclass(frozen=True)
class Known:
    """What is known so far: the outputs of the stacks by their parts, and the secrets."""

    settings: CloudSettings
    outputs: Mapping[str, Mapping[str, str]]
    database_secret: Secret
    logins_secret: Secret | None  # None where everybody is let in
    balancer_networks: tuple[str, ...] = ()

    def output(self, part: str, name: str) -> str:
        """Return an output of a stack, or what says that it is known only after it."""
        return self.outputs.get(part, {}).get(name) or f"{_LATER}{self.settings.aws.stack(part)})"


def is_known(template: Template) -> bool:
    """Return whether nothing in a template is to be known only later."""
    return _LATER not in cloudformation.text_of(template)


def parts(settings: AwsSettings) -> list[str]:
    """Return the parts of a stack, each a stack of CloudFormation, in the order in which they are made."""
    network = [] if settings.vpc_id else ["network"]
    service = ["tasks", "service"] if settings.service else []
    return [*network, "data", *service, *(f"{HOST}{name}" for name in settings.hosts)]


def template(part: str, known: Known) -> Template:
    """Return the template of a part, filled in with what is known."""
    kind = "host" if part.startswith(HOST) else part
    values = {"network": _network, "data": _data, "tasks": _tasks, "service": _service}
    given = _host(known, part.removeprefix(HOST)) if kind == "host" else values[kind](known)
    text = (TEMPLATES / f"{kind}.yaml").read_text()
    return cloudformation.filled(cloudformation.parse(text), {"Name": known.settings.aws.name, **given})


def public_url(settings: CloudSettings) -> str:
    scheme = "https" if settings.aws.certificate_arn else "http"
    return f"{scheme}://{settings.tracking.public_name}"


def database_uri(known: Known) -> str:
    """Return the SQLAlchemy URI of the stack's database, without its password."""
    address, port = (known.output("data", name) for name in ("DatabaseAddress", "DatabasePort"))
    names = known.settings.postgresql
    return known.settings.aws.database_uri(names.role, names.database, address, port)


def task_network(known: Known) -> dict[str, Any]:
    """Return subnets and public address of the tasks, as the API of ECS takes them."""
    aws = known.settings.aws
    subnets = aws.task_subnet_ids or _public_subnets(known)
    return {"subnets": subnets, "assignPublicIp": "DISABLED" if aws.task_subnet_ids else "ENABLED"}


def _vpc(known: Known) -> str:
    return known.settings.aws.vpc_id or known.output("network", "VpcId")


def _public_subnets(known: Known) -> list[str]:
    own = [known.output("network", f"PublicSubnet{zone}") for zone in "AB"]
    return known.settings.aws.public_subnet_ids or own


def _network(known: Known) -> dict[str, Any]:
    aws = known.settings.aws
    networks = aws.networks()
    return {"Network": aws.network, "PublicNetworks": networks[:2], "DatabaseNetworks": networks[2:]}


def _data(known: Known) -> dict[str, Any]:
    aws, names = known.settings.aws, known.settings.postgresql
    own = [known.output("network", f"DatabaseSubnet{zone}") for zone in "AB"]
    return {
        "VpcId": _vpc(known),
        "DatabaseSubnetIds": aws.database_subnet_ids or own,
        "BucketName": aws.bucket_name,
        "KeepOldVersionsDays": aws.bucket_keep_days,
        "LogDays": aws.log_days,
        "Engine": ENGINES[aws.database_engine],
        "EngineVersion": aws.database_version,
        "EngineFamily": aws.database_family,
        "DatabaseClass": aws.database_class,
        "DatabaseStorageGib": aws.database_storage_gib,
        "DatabaseMultiAz": aws.database_multi_az,
        "DatabaseBackupDays": aws.database_backup_days,
        "DatabaseName": names.database,
        "DatabaseUser": names.role,
        "DatabaseSecretArn": _arn(known.database_secret),
    }


def _tasks(known: Known) -> dict[str, Any]:
    aws, tracking, logins = known.settings.aws, known.settings.tracking, known.logins_secret
    return {
        "Image": f"{known.output('data', 'RepositoryUri')}:{aws.image_tag}",
        "Cpu": str(aws.task_cpu),
        "MemoryMib": aws.task_memory_mib,
        "Workers": str(tracking.workers),
        "AllowedHosts": ",".join(allowed_hosts([tracking.public_name])),
        "AllowedOrigins": public_url(known.settings),
        "BalancerNetworks": ",".join(known.balancer_networks),
        "DatabaseUri": database_uri(known),
        "DatabaseAuthority": _database_authority(aws),
        "DatabaseSecretArn": _arn(known.database_secret),
        "LoginsSecretArn": _arn(logins) if logins else "",
        "LoginsVersion": logins.version if logins else "",
        "Bucket": aws.bucket_name,
        "LogGroup": known.output("data", "LogGroup"),
    }


def _database_authority(aws: AwsSettings) -> str:
    """Return the certificates (PEM) that the database's has to be from, "" for any, without what explains them."""
    text = Path(aws.database_ca_file).expanduser().read_text() if aws.database_ca_file else ""
    return "".join(f"{each}\n" for each in CERTIFICATES.findall(text))


def _service(known: Known) -> dict[str, Any]:
    aws, network = known.settings.aws, task_network(known)
    return {
        "VpcId": _vpc(known),
        "PublicSubnetIds": _public_subnets(known),
        "TaskSubnetIds": network["subnets"],
        "TaskPublicIp": network["assignPublicIp"],
        "Scheme": "internal" if aws.internal else "internet-facing",
        "ClientNetwork": aws.client_network,
        "CertificateArn": aws.certificate_arn,
        "HostedZoneId": aws.hosted_zone_id,
        "PublicName": known.settings.tracking.public_name,
        "Cluster": known.output("tasks", "Cluster"),
        "TaskDefinition": known.output("tasks", "TaskDefinition"),
        "DatabaseClients": known.output("data", "DatabaseClients"),
        "MinTasks": aws.min_tasks,
        "MaxTasks": aws.max_tasks,
    }


def _host(known: Known, name: str) -> dict[str, Any]:
    aws = known.settings.aws
    subnets = _public_subnets(known)
    host = aws.hosts[name]
    return {
        "HostName": name,
        "VpcId": _vpc(known),
        "SubnetId": subnets[sorted(aws.hosts).index(name) % len(subnets)],
        "ImageId": aws.host_image,
        "InstanceType": host.type,
        "DiskGib": host.disk_gib,
        "KeyName": aws.host_key,
        "SshNetwork": aws.ssh_network,
        "ClientNetwork": aws.client_network,
        "DatabaseClients": known.output("data", "DatabaseClients"),
        "Bucket": aws.bucket_name,
    }


def _arn(secret: Secret) -> str:
    return secret.arn or f"{_LATER}the secret {secret.name})"
