"""The settings of a stack on Google Cloud, and the names and addresses that follow from them.

Limits are those that Google documents; a name that it would refuse half-way through a run is refused before.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mlflow_stack.role_settings import RoleSettings
from mlflow_stack.setting_types import matches, network

# What Cloud Run takes of memory for so many processors, in MiB (Cloud Run, "Configure memory limits for services").
MEMORY_MIB = {1: (512, 4096), 2: (512, 8192), 4: (2048, 16384), 8: (4096, 32768)}
DATABASE, DATABASE_USER = "mlflow_db", "mlflow_user"
# What a resource carries that was made by a stack; only such are ever removed with their data.
LABEL = "mlflow-stack"


def _processors(value: int) -> int:
    if value not in MEMORY_MIB:
        raise ValueError("expected 1, 2, 4 or 8")
    return value


ProjectId = Annotated[
    str,
    matches(r"([a-z][a-z0-9-]{4,28}[a-z0-9])?", "a project's id, as my-project-123 (not its name, not its number)"),
]
Region = Annotated[str, matches(r"([a-z]+-[a-z]+[0-9]+)?", "a region, as europe-west1")]
Zone = Annotated[str, matches(r"[a-z]+-[a-z]+[0-9]+-[a-z]", "a zone, as europe-west1-b")]
GcpName = Annotated[
    str, matches(r"[a-z][a-z0-9-]{0,18}[a-z0-9]", "2 to 20 lower-case letters, digits and -, a letter first")
]
AccountName = Annotated[
    str,
    matches(
        r"([a-z][a-z0-9-]{4,28}[a-z0-9])?",
        "6 to 30 lower-case letters, digits and -, a letter first, without @ and what follows it",
    ),
]
# Without dots: a name with dots is a domain, which its owner has to prove (Cloud Storage, "Bucket naming").
BucketName = Annotated[
    str,
    matches(
        r"((?!goog)[a-z0-9][a-z0-9_-]{1,61}[a-z0-9])?",
        "a bucket's name of 3 to 63 lower-case letters, digits, - and _, without gs://",
    ),
]
ImageName = Annotated[
    str,
    matches(
        r"([a-z0-9][a-z0-9._-]*(:(?!latest$)[A-Za-z0-9_][A-Za-z0-9._-]{0,127}|@sha256:[0-9a-f]{64}))?",
        "NAME:TAG or NAME@sha256:DIGEST of an image in the stack's registry, and no tag that moves (latest)",
    ),
]
Member = Annotated[
    str,
    matches(
        r"(user|group|serviceAccount|domain):[^\s:,]+",
        "user:…, group:…, serviceAccount:… or domain:… (gcp_public is what lets everybody in)",
    ),
]


class MachineSettings(RoleSettings):
    """One entry of gcp_machines."""

    zone: Zone
    machine_type: Annotated[str, matches(r"[a-z][a-z0-9-]+", "a machine type, as e2-standard-2")] = "e2-standard-2"
    disk_gb: Annotated[int, Field(ge=10, le=65536)] = 30


class GcpSettings(RoleSettings):
    project: ProjectId
    region: Region
    name: GcpName
    cloud_run: bool
    image: ImageName
    min_instances: Annotated[int, Field(ge=0, le=1000)]
    max_instances: Annotated[int, Field(ge=1, le=1000)]
    cpu: Annotated[int, AfterValidator(_processors)]
    memory_mib: Annotated[int, Field(ge=512, le=32768)]
    public: bool
    invokers: list[Member]
    service_account: AccountName
    bucket: BucketName
    bucket_keep_days: Annotated[int, Field(ge=1, le=3650)]
    database_version: Annotated[
        str, matches(r"(POSTGRES_1[4-9]|MYSQL_8_[04])", "POSTGRES_14 to POSTGRES_19, MYSQL_8_0 or MYSQL_8_4")
    ]
    database_edition: Literal["ENTERPRISE", "ENTERPRISE_PLUS"]
    database_tier: Annotated[str, matches(r"db-[a-zA-Z0-9-]+", "a tier of Cloud SQL, as db-custom-1-3840")]
    database_disk_gb: Annotated[int, Field(ge=10, le=65536)]
    database_highly_available: bool
    machines: dict[
        Annotated[
            str, matches(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", "a host's name of lower-case letters, digits and -")
        ],
        MachineSettings,
    ]
    machine_image: Annotated[str, matches(r"[a-z0-9-]+/[a-z0-9-]+", "PROJECT/FAMILY, as debian-cloud/debian-12")]
    machine_user: Annotated[str, matches(r"[a-z_][a-z0-9_-]{0,31}", "a user's name of lower-case letters")]
    machine_ssh_key: str
    machine_clients: list[Annotated[str, AfterValidator(network)]]
    network: Annotated[str, matches(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", "the name of a VPC network, as default")]

    @model_validator(mode="after")
    def _instances_are_in_order(self) -> GcpSettings:
        if self.min_instances > self.max_instances:
            raise ValueError(
                f"gcp_min_instances is {self.min_instances} and gcp_max_instances {self.max_instances}; the first may "
                "not be greater than the second"
            )
        return self

    @model_validator(mode="after")
    def _memory_suits_the_processors(self) -> GcpSettings:
        least, most = MEMORY_MIB[self.cpu]
        if not least <= self.memory_mib <= most:
            raise ValueError(
                f"gcp_memory_mib is {self.memory_mib}; with gcp_cpu = {self.cpu} Cloud Run gives {least} to {most}"
            )
        return self

    @model_validator(mode="after")
    def _who_is_let_in_is_said_once(self) -> GcpSettings:
        if self.public and self.invokers:
            raise ValueError(
                "gcp_public lets everybody reach the server, whose own login (proxy_users) then decides, and "
                "gcp_invokers names who may; leave gcp_invokers empty, or set gcp_public = False"
            )
        return self

    @model_validator(mode="after")
    def _machines_are_reachable(self) -> GcpSettings:
        elsewhere = [name for name, machine in self.machines.items() if not machine.zone.startswith(f"{self.region}-")]
        if self.region and elsewhere:
            zone = self.machines[elsewhere[0]].zone
            raise ValueError(
                f"gcp_machines[{elsewhere[0]!r}]['zone'] is {zone!r}, and gcp_region is {self.region!r}; the machines "
                "stand where their database and bucket are"
            )
        if self.machines and not (self.machine_ssh_key and self.machine_clients):
            raise ValueError(
                "gcp_machines: set gcp_machine_ssh_key to the file of the public key that logs in there, and "
                "gcp_machine_clients to the networks that reach them"
            )
        return self

    # --- names and addresses ---

    @property
    def repository(self) -> str:
        """The registry's repository, as programs that push to it know it."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{self.name}"

    @property
    def account(self) -> str:
        """The address of the service account that the tracking server runs as."""
        return f"{self.service_account or f'{self.name}-tracking'}@{self.project}.iam.gserviceaccount.com"

    @property
    def bucket_name(self) -> str:
        """The bucket. Names of buckets are shared by all customers, so the project's is part of it."""
        return self.bucket or f"{self.project}-{self.name}"

    @property
    def artifacts(self) -> str:
        """Where in the bucket the artifacts are, as MLflow knows it."""
        return f"gs://{self.bucket_name}/artifacts"

    @property
    def connection(self) -> str:
        """The Cloud SQL instance, as its connectors know it."""
        return f"{self.project}:{self.region}:{self.name}"

    @property
    def is_mysql(self) -> bool:
        return self.database_version.startswith("MYSQL")

    def database_uri(self, address: str) -> str:
        """Return the SQLAlchemy URI of the database, without its password; `address` as HOST, or "" for the socket
        that Cloud Run makes.

        The certificate of a Cloud SQL instance has the instance's name and not its address (Cloud SQL, "SSL/TLS
        certificates"), so that it is looked at whom it is from: an authority that this instance alone has.
        """
        socket = f"/cloudsql/{self.connection}"
        if self.is_mysql:
            by_address = f"{address}:3306/{DATABASE}?ssl_check_hostname=false"
            where = by_address if address else f"localhost/{DATABASE}?unix_socket={socket}"
            return f"mysql+pymysql://{DATABASE_USER}@{where}"
        where = f"{address}:5432/{DATABASE}?sslmode=verify-ca" if address else f"/{DATABASE}?host={socket}"
        return f"postgresql+psycopg2://{DATABASE_USER}@{where}"

    @property
    def password_secret(self) -> str:
        return f"{self.name}-database-password"

    @property
    def logins_secret(self) -> str:
        return f"{self.name}-logins"

    @property
    def migration(self) -> str:
        """The Cloud Run job that brings the database's schema up to date."""
        return f"{self.name}-migrate"

    def service_host(self, project_number: str) -> str:
        """Return the host name that Cloud Run gives the service (Cloud Run, "Deterministic URLs")."""
        return f"{self.name}-{project_number}.{self.region}.run.app"
