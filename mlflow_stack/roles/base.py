"""What every host of ours has: packages, users, directories and the programs that run on the host."""

from __future__ import annotations

from importlib import resources

from pyinfra.api.deploy import deploy
from pyinfra.context import host as this_host

from mlflow_stack.domain import layout
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.operations import files, host
from mlflow_stack.operations.host import Directory, User
from mlflow_stack.settings import Settings

USERS: tuple[User, ...] = (
    User(layout.TRACKING_USER, layout.STATE_DIR),
    User(layout.PRODUCTION_USER, layout.MODELS_DIR),
)

# The sockets of the servers behind it are for its group, which has to be there first.
PROXY_USER = User(layout.PROXY_USER, layout.PROXY_DIR)

# A directory stands after the one that it is in.
DIRECTORIES = (
    Directory(layout.OPT_DIR),
    Directory(layout.ENVS_DIR),
    Directory(f"{layout.OPT_DIR}/tools"),
    Directory(layout.CACHE_DIR),
    # Private: uv keeps lock files in its cache that everybody may write.
    Directory(f"{layout.CACHE_DIR}/uv-root", "700"),
    Directory(f"{layout.CACHE_DIR}/uv-{layout.PRODUCTION_USER}", "700", layout.PRODUCTION_USER, layout.PRODUCTION_USER),
    Directory(layout.LIBEXEC_DIR),
    Directory(layout.CONFIG_DIR, "750", "root", layout.TRACKING_USER),
    Directory(f"{layout.CONFIG_DIR}/production", "755"),
    Directory(layout.CREDENTIALS_DIR, "700"),
    Directory(layout.STATE_DIR, "750", layout.TRACKING_USER, layout.TRACKING_USER),
    Directory(layout.MODELS_DIR),
    Directory(f"{layout.MODELS_DIR}/.staging"),
    Directory(layout.STAMPS_DIR, "700"),
    Directory(layout.BACKUP_DIR, "700", layout.TRACKING_USER, layout.TRACKING_USER),
)

PROXY_DIRECTORIES = (
    Directory(layout.PROXY_DIR),
    Directory(layout.PROXY_TLS_DIR, "700"),
)

# It is the server's own user who makes and reads its key.
DATABASE_DIRECTORIES = (Directory(layout.DATABASE_TLS_DIR, "700", "postgres", "postgres"),)

PROGRAMS = (
    *("accounts.py", "azure_store.py", "check_environment.py", "database.py", "dumps.py", "fetch.sh", "gcs_store.py"),
    *("needs.py", "object_store.py", "over_socket.py", "permissions.py", "ready.py", "s3_store.py", "schema.py"),
    *("supervise.py", "with_login.py"),
)


@deploy("Base")
def deploy_base(settings: Settings, survey: HostSurvey) -> None:
    """Ensure packages, users, directories and our own programs."""
    host.packages(
        name="Install packages", names=_packages(settings, survey), never_started=survey.platform.never_started
    )
    users, directories = USERS, _directories(settings)
    if settings.has_proxy:
        users, directories = (*users, PROXY_USER), (*directories, *PROXY_DIRECTORIES)
    if settings.uses_acme:
        directories = (*directories, Directory(layout.ACME_ACCOUNTS_DIR, "700"))
    if settings.serves_database:
        directories = (*directories, *DATABASE_DIRECTORIES)
    host.layout(name="Create users and directories", users=users, directories=directories)
    name = ManagedFile(layout.HOST_FILE, f"{this_host.name}\n")
    programs = (*PROGRAMS, "certificate.sh") if settings.makes_certificates else PROGRAMS
    files.managed(name="Install the programs of MLflow Stack", files=[*map(program, programs), name])


def _directories(settings: Settings) -> tuple[Directory, ...]:
    """Return the directories of every host, and that of the tracking server's artifacts where it is ours."""
    artifacts = settings.own_artifact_directory
    own = Directory(artifacts, "750", layout.TRACKING_USER, layout.TRACKING_USER)
    return (*DIRECTORIES, own) if artifacts else DIRECTORIES


def _packages(settings: Settings, survey: HostSurvey) -> list[str]:
    packages = list(survey.platform.packages)
    if settings.firewall.enabled:
        packages += survey.platform.firewall_packages
    if "postgresql" in settings.groups:
        packages += survey.platform.postgresql_packages
    if "tracking" in settings.groups:
        packages += survey.platform.mysql_client_packages if settings.uses_mysql else survey.platform.client_packages
    if settings.has_proxy:
        packages += survey.platform.proxy_packages
    if settings.uses_acme:
        packages += survey.platform.acme_packages
    return packages


def program(name: str) -> ManagedFile:
    """Return one of our programs that run on hosts."""
    text = resources.files("mlflow_stack.on_host").joinpath(name).read_text()
    return ManagedFile(f"{layout.LIBEXEC_DIR}/{name}", text)
