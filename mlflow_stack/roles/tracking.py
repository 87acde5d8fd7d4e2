"""The tracking server: mlflow-tracking."""

from __future__ import annotations

from pathlib import Path

from pyinfra.api.deploy import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.operation import OperationMeta

from mlflow_stack.domain import layout
from mlflow_stack.domain.database import MYSQL_PASSFILE, PASSFILE, mysql_options, passfile
from mlflow_stack.domain.environment import EnvironmentSpec, schema_revision
from mlflow_stack.domain.files import ManagedFile
from mlflow_stack.domain.permissions import CONFIGURATION, KEY, KEY_FILE, key_file, wanted
from mlflow_stack.domain.permissions import configuration as permissions_configuration
from mlflow_stack.domain.survey import HostSurvey
from mlflow_stack.domain.tracking import allowed_hosts, environment_file
from mlflow_stack.on_host.database import password_fault, pgpass
from mlflow_stack.operations import certificates, files, mlflow, permissions, service
from mlflow_stack.roles import artifacts, passwords
from mlflow_stack.roles.conda import mlflow_environment
from mlflow_stack.settings import Settings
from mlflow_stack.templates import render

UNIT, SOCKET = "mlflow-tracking.service", "mlflow-tracking.socket"
ENVIRONMENT_FILE = f"{layout.CONFIG_DIR}/tracking.env"


@deploy("Tracking")
def deploy_tracking(settings: Settings, survey: HostSurvey, environment_built: OperationMeta) -> None:
    """Ensure that the tracking server runs on the present schema and environment, and really works."""
    environment, tracking = mlflow_environment(settings), settings.tracking
    credentials, configuration = _credentials(settings), _configuration(settings, survey, environment)
    # Before anything is changed: where artifacts are to be may not be as it should.
    artifacts.place(settings, environment, configuration[0])
    files.managed(
        name="Write the database password for mlflow-tracking",
        files=[*credentials, *_given_authority(settings)],
        absent=[*_surplus(settings), *artifacts.surplus(settings)],
    )
    if settings.postgresql_certificates and not settings.has_local_database and not tracking.database_uri:
        certificates.trusted(
            name="Trust the database", path=layout.DATABASE_CA_FILE, certificates=settings.postgresql_certificates
        )
    schema = mlflow.schema(
        name="Bring the database schema up to date",
        environment=environment.path,
        uri=settings.database_uri,
        target=schema_revision(environment.requirements) or "",
        allow_upgrade=tracking.upgrade_database,
        passfile=passfile(settings.database_uri) if credentials else "",
        servers=settings.stack_hosts["tracking"],
    )
    accounts = _accounts(settings, environment)
    files.managed(
        name="Write the unit and configuration of mlflow-tracking",
        files=configuration,
        absent=[] if settings.has_permissions else [KEY_FILE, CONFIGURATION],
    )
    ready = f"{environment.path}/bin/python -I {layout.LIBEXEC_DIR}/ready.py tracking"
    login = f" --key {KEY_FILE}" if settings.has_permissions else ""
    service.ready(
        name="Run mlflow-tracking and see it work",
        unit=UNIT,
        socket=SOCKET,
        files=[*configuration, *credentials, *permissions_key(settings), *artifacts.access(settings)],
        # For a run that was interrupted: the marker is newer than the process when the environment was built again.
        watched=[f"{environment.path}/{layout.MARKER}", layout.SUPERVISOR],
        check=f"{ready} {settings.own_tracking_uri} --artifacts{login}",
        timeout_s=tracking.ready_timeout_s,
        after=[environment_built, schema, *accounts],
    )


def _accounts(settings: Settings, environment: EnvironmentSpec) -> list[OperationMeta]:
    """Return the operation on MLflow's accounts when the server has to be started after it: an upgrade stops it."""
    if not settings.has_permissions:
        return []
    accounts = permissions.accounts(
        name="Give users their accounts and permissions",
        environment=environment.path,
        uri=settings.database_uri,
        target=schema_revision(environment.requirements, of="auth-schema") or "",
        wanted=_wanted(settings),
        key_file=permissions_key(settings)[0],
        allow_upgrade=settings.tracking.upgrade_database,
        passfile=PASSFILE if settings.database_needs_password else "",
    )
    return [accounts] if settings.tracking.upgrade_database else []


def _configuration(settings: Settings, survey: HostSurvey, environment: EnvironmentSpec) -> list[ManagedFile]:
    unit, socket = f"{layout.UNIT_DIR}/{UNIT}", f"{layout.UNIT_DIR}/{SOCKET}"
    text = render(unit, settings=settings, environment=environment.path)
    return [
        ManagedFile(ENVIRONMENT_FILE, environment_file(variables(settings)), mode="640", group=layout.TRACKING_USER),
        *_permissions_configuration(settings),
        *artifacts.plugin(settings),
        # Before the unit, which can't be verified without it.
        ManagedFile(
            socket, render(socket, stream=settings.tracking_stream, group=settings.socket_group(layout.TRACKING_USER))
        ),
        ManagedFile(unit, text, check=survey.platform.verify_unit),
    ]


def variables(settings: Settings) -> dict[str, str]:
    """Return the whole configuration of the server, as the environment variables that `mlflow server` reads."""
    tracking = settings.tracking
    return {
        "MLFLOW_BACKEND_STORE_URI": settings.database_uri,
        "MLFLOW_ARTIFACTS_DESTINATION": settings.tracking_artifacts.destination,
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_HOST": settings.tracking_address,
        "MLFLOW_PORT": str(tracking.port),
        "MLFLOW_WORKERS": str(tracking.workers),
        # The socket is given to the server (on_host/supervise.py); what is being answered when it stops has 30 s.
        "MLFLOW_UVICORN_OPTS": "--fd 0 --timeout-graceful-shutdown 30 --timeout-worker-healthcheck 60",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(allowed_hosts(settings.tracking_names)),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(settings.tracking_origins),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true" if tracking.job_execution else "false",
        # A model version may come from this server only, never from a path of the host (CVE-2025-11201).
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": "^(mlflow-artifacts|models|runs):/.*$",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **({"MLFLOW_AUTH_CONFIG_PATH": CONFIGURATION} if settings.has_permissions else {}),
        **(settings.object_store.variables if settings.object_store else {}),
    }


def permissions_key(settings: Settings) -> list[ManagedFile]:
    """Return the file with what MLflow's accounts are known by; none where MLflow asks nobody."""
    if not settings.has_permissions:
        return []
    return [key_file(passwords.shared_by(settings.stack_hosts["tracking"], *KEY, stack=settings.inventory.stack))]


def _permissions_configuration(settings: Settings) -> list[ManagedFile]:
    if not settings.has_permissions:
        return []
    text = permissions_configuration(settings.database_uri)
    return [ManagedFile(CONFIGURATION, text, mode="640", group=layout.TRACKING_USER)]


def _wanted(settings: Settings) -> str:
    tracking = settings.tracking
    return wanted(settings.proxy.users, tracking.admins, tracking.experiment_permissions, tracking.model_permissions)


def _given_authority(settings: Settings) -> list[ManagedFile]:
    path = settings.tracking.database_ca_file
    return [ManagedFile(layout.DATABASE_CA_FILE, Path(path).expanduser().read_text())] if path else []


def _surplus(settings: Settings) -> list[str]:
    """Return what a database that the host had before has left there."""
    used = passfile(settings.database_uri) if settings.database_needs_password else ""
    return [
        *(each for each in (PASSFILE, MYSQL_PASSFILE) if each != used),
        *([] if layout.DATABASE_CA_FILE in settings.database_uri else [layout.DATABASE_CA_FILE]),
    ]


def _credentials(settings: Settings) -> list[ManagedFile]:
    if settings.database_password is None:
        return []
    databases = settings.stack_hosts["postgresql"]
    password = passwords.set_by(databases, *settings.database_password, stack=settings.inventory.stack)
    path = passfile(settings.database_uri)
    if fault := password_fault(settings.database_uri, password):
        raise DeployError(f"{settings.database_password[1]} {fault}")
    text = mysql_options(password) if path == MYSQL_PASSFILE else pgpass(password)
    return [ManagedFile(path, text, mode="600", is_secret=True)]
