"""The settings of a stack on AWS, and the names and addresses that follow from them.

Limits are those that Amazon documents; what it would refuse half-way through a run is refused before.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mlflow_stack.on_host.needs import OLDEST
from mlflow_stack.role_settings import RoleSettings
from mlflow_stack.setting_types import Positive, matches, network

# What Fargate takes of memory for so much processor, in MiB (Amazon ECS, "Task size").
MEMORY_MIB = {256: (512, 2048), 512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720)}
ENGINES = {"postgresql": "postgres", "mysql": "mysql"}
DRIVERS = {"postgresql": "postgresql+psycopg2", "mysql": "mysql+pymysql"}
TITLES = {"postgresql": "PostgreSQL", "mysql": "MySQL"}
EVERYBODY = "0.0.0.0/0"

Network = Annotated[str, AfterValidator(network)]
AwsName = Annotated[
    str, matches(r"[a-z](?!.*--)[a-z0-9-]{0,18}[a-z0-9]", "2 to 20 lower-case letters, digits and single -")
]
AccountId = Annotated[str, matches(r"([0-9]{12})?", "the 12 digits of an account, as text")]
Region = Annotated[str, matches(r"([a-z]{2}(-[a-z]+)+-[0-9])?", "a region, as eu-central-1")]
ImageTag = Annotated[
    str,
    matches(
        r"((?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?",
        "the tag of an image in the stack's repository, and none that moves (latest)",
    ),
]
CertificateArn = Annotated[
    str,
    matches(
        r"(arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[0-9a-f-]+)?",
        "the ARN of a certificate, as arn:aws:acm:REGION:ACCOUNT:certificate/ID",
    ),
]
# Amazon S3, "General purpose bucket naming rules"; without dots, which its certificate does not cover.
BucketName = Annotated[
    str,
    matches(
        r"((?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9-]{1,61}[a-z0-9])?",
        "a bucket's name of 3 to 63 lower-case letters, digits and -, without s3://",
    ),
]
SubnetId = Annotated[str, matches(r"subnet-[0-9a-f]+", "the id of a subnet, as subnet-0123456789abcdef0")]
HostLabel = Annotated[str, matches(r"[a-z][a-z0-9]{0,19}", "a host's name of lower-case letters and digits")]


class AwsHostSettings(RoleSettings):
    """One entry of aws_hosts."""

    type: Annotated[str, matches(r"[a-z0-9-]+\.[a-z0-9]+", "a type of EC2, as t3.medium")] = "t3.medium"
    disk_gib: Annotated[int, Field(ge=10, le=16384)] = 20


class AwsSettings(RoleSettings):
    name: AwsName
    account_id: AccountId
    region: Region
    service: bool
    image_tag: ImageTag
    certificate_arn: CertificateArn
    hosted_zone_id: Annotated[str, matches(r"(Z[A-Z0-9]+)?", "the id of a hosted zone of Route 53, as Z0123456789ABC")]
    clear_text: bool
    internal: bool
    client_network: Network
    min_tasks: Annotated[int, Field(ge=1, le=100)]
    max_tasks: Annotated[int, Field(ge=1, le=100)]
    task_cpu: Literal[256, 512, 1024, 2048, 4096]
    task_memory_mib: Positive
    log_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731]
    bucket: BucketName
    bucket_keep_days: Annotated[int, Field(ge=1, le=3650)]
    database_engine: Literal["postgresql", "mysql"]
    database_version: Annotated[
        str, matches(r"[0-9]+(\.[0-9]+){1,2}", "a version, as 17.11 (PostgreSQL) or 8.4.9 (MySQL)")
    ]
    database_class: Annotated[str, matches(r"db\.[a-z0-9]+\.[a-z0-9]+", "a class of RDS, as db.t4g.small")]
    database_storage_gib: Annotated[int, Field(ge=20, le=65536)]
    database_multi_az: bool
    database_backup_days: Annotated[int, Field(ge=1, le=35)]
    database_ca_file: str
    network: Network
    vpc_id: Annotated[str, matches(r"(vpc-[0-9a-f]+)?", "the id of a network, as vpc-0123456789abcdef0")]
    public_subnet_ids: list[SubnetId]
    task_subnet_ids: list[SubnetId]
    database_subnet_ids: list[SubnetId]
    hosts: dict[HostLabel, AwsHostSettings]
    host_image: Annotated[str, matches(r"(ami-[0-9a-f]+)?", "the id of an image of EC2, as ami-0123456789abcdef0")]
    host_user: Annotated[str, matches(r"[a-z_][a-z0-9_-]{0,31}", "a user's name of lower-case letters")]
    host_key: str
    ssh_network: Annotated[str, AfterValidator(lambda value: network(value) if value else value)]

    @model_validator(mode="after")
    def _tasks_are_in_order(self) -> AwsSettings:
        if self.min_tasks > self.max_tasks:
            raise ValueError(
                f"aws_min_tasks is {self.min_tasks} and aws_max_tasks {self.max_tasks}; the first may not be greater "
                "than the second"
            )
        return self

    @model_validator(mode="after")
    def _memory_suits_the_processor(self) -> AwsSettings:
        least, most = MEMORY_MIB[self.task_cpu]
        if not least <= self.task_memory_mib <= most or self.task_memory_mib % (1024 if most > 2048 else 512):
            raise ValueError(
                f"aws_task_memory_mib is {self.task_memory_mib}; with aws_task_cpu = {self.task_cpu} Fargate gives "
                f"{least} to {most}, in steps of {1024 if most > 2048 else 512}"
            )
        return self

    @model_validator(mode="after")
    def _database_is_new_enough(self) -> AwsSettings:
        title = TITLES[self.database_engine]
        oldest, reason = OLDEST[title]
        found, needed = ([int(part) for part in version.split(".")] for version in (self.database_version, oldest))
        if found < needed[: len(found)]:  # "8.0" is the newest of these
            raise ValueError(
                f"aws_database_version is {self.database_version!r}, which is too old for MLflow; expected {oldest} or "
                f"newer of {title} ({reason})"
            )
        return self

    @model_validator(mode="after")
    def _network_is_whole(self) -> AwsSettings:
        own = ipaddress.ip_network(self.network)
        if own.version != 4 or not 16 <= own.prefixlen <= 24:
            raise ValueError(
                f"aws_network is {self.network!r}; expected an IPv4 network of 256 to 65536 addresses, as "
                '"10.42.0.0/16", which is divided into four'
            )
        given = [name for name in ("public", "task", "database") if getattr(self, f"{name}_subnet_ids")]
        if given and not self.vpc_id:
            raise ValueError(f"aws_{given[0]}_subnet_ids is for aws_vpc_id, which is empty")
        if self.vpc_id and (len(self.public_subnet_ids) < 2 or len(self.database_subnet_ids) < 2):
            raise ValueError(
                "aws_vpc_id: set aws_public_subnet_ids and aws_database_subnet_ids to two subnets or more of it each, "
                "in two availability zones"
            )
        return self

    @model_validator(mode="after")
    def _hosts_are_reachable(self) -> AwsSettings:
        if self.hosts and not (self.host_image and self.host_key and self.ssh_network):
            raise ValueError(
                "aws_hosts: set aws_host_image to a Debian image of the region, aws_host_key to a key pair of EC2, and "
                "aws_ssh_network to the network that may reach SSH"
            )
        return self

    # --- names and addresses ---

    def stack(self, part: str) -> str:
        """Return the name of a stack of CloudFormation: "network", "data", "tasks", "service" or "host-NAME"."""
        return f"{self.name}-{part}"

    @property
    def bucket_name(self) -> str:
        """The bucket. Names of buckets are shared by all customers of AWS, so the account's is part of it."""
        return self.bucket or f"{self.name}-{self.account_id}-{self.region}"

    @property
    def database_secret(self) -> str:
        return f"{self.name}/database"

    @property
    def logins_secret(self) -> str:
        return f"{self.name}/logins"

    @property
    def database_family(self) -> str:
        """The family of the database's parameters: those of one major version."""
        major = 1 if self.database_engine == "postgresql" else 2
        return ENGINES[self.database_engine] + ".".join(self.database_version.split(".")[:major])

    def networks(self) -> list[str]:
        """Return the four parts of the stack's own network: two public ones, two for the database."""
        return [str(part) for part in ipaddress.ip_network(self.network).subnets(prefixlen_diff=2)]

    def database_uri(self, user: str, database: str, address: str, port: str) -> str:
        """Return the SQLAlchemy URI of the database, without its password."""
        return f"{DRIVERS[self.database_engine]}://{user}@{address}:{port}/{database}"
