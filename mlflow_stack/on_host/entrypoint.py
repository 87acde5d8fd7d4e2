"""entrypoint [serve | migrate | ready]: what a container of ours does. Its variables: docs/how-to/container-image.md.

`serve` runs the tracking server, or in a model's image the model. `migrate` makes the schema of an empty database, and
with MLFLOW_UPGRADE_DATABASE=true brings that of an older MLflow up to date; a server never does. `ready` exits 0 when
the server works: it has answered a call that needs the database, or predicted.

All that is wrong with what the container is told is said at once, and nothing is started then. Secrets are written to
files that this user alone may read, below TMPDIR or /tmp, which has to be in memory or on a disk of the container's
own; this process then becomes the server (execve(2)), without them in its environment.
"""

import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

import container  # type: ignore[import-not-found]  # its neighbours in the image
import s3_compatible  # type: ignore[import-not-found]
from container import OWN_USER, Database, Refused, Server, Told
from database import encrypted, extended, pgpass  # type: ignore[import-not-found]
from gate import LOGINS_VARIABLE  # type: ignore[import-not-found]
from login import SCRYPT, TRACKING_AREA  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "model"
# The revision of the database that this MLflow migrates to (locks/).
SCHEMA = HERE.parent / "schema-revision"
PROGRAMS = Path(sys.executable).parent
PYTHON = (sys.executable, "-I")
# The names by which a container asks itself.
OWN_NAMES = "localhost,localhost:*,127.0.0.1,127.0.0.1:*"
ALLOWED_HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
USAGE_ERROR = 2

Variables = dict[str, str]


def private(name: str) -> Path:
    """Return where a file of this container's own is, in a directory that nobody else may read."""
    directory = Path(os.environ.get("TMPDIR", "/tmp")) / "mlflow-stack"  # noqa: S108  # the container's own
    directory.mkdir(mode=0o700, exist_ok=True)
    return directory / name


def write(name: str, text: str) -> Path:
    path = private(name)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def temporary_directory_is_there(told: Told) -> None:
    try:
        write("probe", "").unlink()
    except OSError as error:
        told.wrong(f"{error.filename}: {error.strerror}; mount a tmpfs at /tmp")


def database_variables(database: Database) -> Variables:
    """Return what MLflow is told of its database; the password is in a file that the driver reads."""
    uri, password, authority = database
    uri = trusting(uri, write("database-ca.pem", authority)) if authority else encrypted(uri)
    if not password:
        return {container.DATABASE: uri}
    if uri.startswith("mysql"):
        path = write("my.cnf", f'[client]\npassword="{password}"\n')  # PyMySQL takes off the outer quotes alone
        return {container.DATABASE: extended(uri, f"read_default_file={path}")}
    return {container.DATABASE: uri, "PGPASSFILE": str(write("pgpass", pgpass(password)))}


def trusting(uri: str, authority: Path) -> str:
    """Return a URI whose server has to prove who it is, its name too, as on hosts (mlflow_stack/domain/database.py)."""
    mysql, postgresql = f"ssl_ca={authority}&ssl_check_hostname=true", f"sslmode=verify-full&sslrootcert={authority}"
    verified: str = extended(uri, mysql if uri.startswith("mysql") else postgresql)
    return verified


def server_variables(server: Server) -> Variables:
    """Return how the server listens and stops.

    A load balancer keeps its connections for 60 s (AWS, "Connection idle timeout"); if the server closed them first,
    requests would be lost on them.
    """
    return {
        "MLFLOW_HOST": "0.0.0.0",  # noqa: S104  # what may reach it is the platform's to say
        "MLFLOW_PORT": str(server.port),
        "MLFLOW_WORKERS": str(server.workers),
        "MLFLOW_UVICORN_OPTS": f"--timeout-keep-alive 75 --timeout-graceful-shutdown {server.drain_s} "
        "--timeout-worker-healthcheck 60",
    }


def tracking_variables(given: Variables) -> Variables:
    """Return the rest of the tracking server's configuration, as on hosts (mlflow_stack/roles/tracking.py)."""
    names = given.get(ALLOWED_HOSTS)
    return {
        "MLFLOW_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": given.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false"),
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": "^(mlflow-artifacts|models|runs):/.*$",
        **({ALLOWED_HOSTS: f"{names},{OWN_NAMES}"} if names else {}),
    }


def store_variables(given: Variables) -> Variables:
    """Return what clients of a server that speaks S3 are told beside its address, unless something else is given."""
    known = s3_compatible.VARIABLES if given.get("MLFLOW_S3_ENDPOINT_URL") else {}
    return {name: given.get(name, value) for name, value in known.items()}


def login_variables(logins: str) -> Variables:
    """Return what the gate is told: the given logins, and one that `ready` has, with a password of this start alone."""
    path = private("ready")
    path.unlink(missing_ok=True)
    if not logins:
        return {}
    password, salt = secrets.token_hex(24), os.urandom(16)
    hash_ = hashlib.scrypt(password.encode(), salt=salt, **SCRYPT).hex()
    own = f"{TRACKING_AREA} {OWN_USER} {salt.hex()} {hash_}"
    write(path.name, f"{OWN_USER}:{password}\n")
    return {LOGINS_VARIABLE: str(write("logins", f"{logins}\n{own}\n"))}


def ready_arguments(port: str) -> list[str]:
    """Return what ready.py and supervise.py are asked about."""
    address = f"http://127.0.0.1:{port}"
    if MODEL.is_dir():
        return ["model", address, str(MODEL / "serving_input_example.json")]
    login = private("ready")
    return ["tracking", address, *(["--login", str(login)] if login.exists() else [])]


def environment(variables: Variables) -> Variables:
    """Return what a program of ours is started with: no secrets."""
    return {name: value for name, value in os.environ.items() if name not in container.SECRETS} | variables


def become(program: str, *arguments: str, variables: Variables) -> NoReturn:
    command = [*PYTHON, str(HERE / program), *arguments]
    os.execve(command[0], command, environment(variables))  # noqa: S606  # no shell


def serve_tracking() -> None:
    told = Told(os.environ)
    temporary_directory_is_there(told)
    server, database = container.server(told), container.database(told)
    container.store(told)
    logins = container.logins(told)
    told.judged()
    variables = database_variables(database)
    check = [*PYTHON, str(HERE / "migrate.py"), "check", variables[container.DATABASE], SCHEMA.read_text()]
    if subprocess.run(check, env=environment(variables), check=False).returncode:
        sys.exit(1)
    given = dict(os.environ)
    variables |= server_variables(server) | tracking_variables(given) | store_variables(given) | login_variables(logins)
    app = ["--app-name", "mlflow-stack"] if logins else []
    command = [str(PROGRAMS / "mlflow"), "server", *app]
    become("supervise.py", *ready_arguments(str(server.port)), "--", *command, variables=variables)


def serve_model() -> None:
    told = Told(os.environ)
    temporary_directory_is_there(told)
    server = container.server(told)
    container.model_is_open(told)
    told.judged()
    # MLflow has no options for these; they are uvicorn's own variables.
    variables = server_variables(server) | {
        "UVICORN_TIMEOUT_KEEP_ALIVE": "75",
        "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN": str(server.drain_s),
        "UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "60",
        "MLFLOW_MODELS_WORKERS": str(server.workers),
    }
    command = [str(PROGRAMS / "mlflow"), "models", "serve", "--model-uri", str(MODEL), "--env-manager", "local"]
    become("supervise.py", *ready_arguments(str(server.port)), "--", *command, variables=variables)


def serve() -> None:
    if MODEL.is_dir():
        serve_model()
    serve_tracking()


def migrate() -> None:
    told = Told(os.environ)
    temporary_directory_is_there(told)
    database, upgrade = container.database(told), told.switch(container.UPGRADE)
    told.judged()
    variables = database_variables(database)
    allowed = "--allow-upgrade" if upgrade else "--refuse-upgrade"
    become("migrate.py", "migrate", variables[container.DATABASE], SCHEMA.read_text(), allowed, variables=variables)


def ready() -> None:
    become("ready.py", *ready_arguments(os.environ.get("PORT") or "5000"), variables={})


COMMANDS = {"serve": serve, "migrate": migrate, "ready": ready}


def main() -> int:
    command, *rest = sys.argv[1:] or ["serve"]
    if command not in COMMANDS or rest:
        print(f"expected one of {', '.join(COMMANDS)}; found {' '.join(sys.argv[1:])!r}", file=sys.stderr)
        return USAGE_ERROR
    try:
        COMMANDS[command]()
    except Refused as refusal:
        print(refusal, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
