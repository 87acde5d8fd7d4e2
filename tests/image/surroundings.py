"""What the tests and the benchmark of images have around them: a storage, settings, secrets, databases and a bucket."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import sources
from mlflow_stack.domain.login import TRACKING_AREA, logins_text
from mlflow_stack.image import base
from tests.image import containers
from tests.object_stores import S3Server
from tests.servers import databases
from tests.servers.databases import Server

SUITE, PYTHON = "bookworm", "3.11"
# No secret of a build or a container may be found anywhere that it does not belong; this is what is looked for.
CANARY = "canary-7f3a9c"
USER = "ada"
PASSWORD = f"{CANARY}: love lace"
DATABASE_PASSWORD = f'{CANARY}:\\"1'
S3_SECRET = f"{CANARY}-s3"
BUCKET = "artifacts"
BUILD_TIMEOUT_S = 3600


@contextmanager
def storage() -> Iterator[None]:
    """A storage of images that is gone afterwards. Chroot isolation: it works in machines that are containers, too.

    Its path is short: what podman runs at the end of a container refuses a runroot of more than 50 characters, and
    `podman run` waits 20 seconds for that.
    """
    directory = Path(tempfile.mkdtemp(prefix="mlflow-"))
    configuration = directory / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/images"\nrunroot = "{directory}/run"\n'
    )
    own = {"CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for command in (["buildah", "rm", "--all"], [*containers.PODMAN, "system", "reset", "--force"]):
            subprocess.run(command, capture_output=True, check=False, timeout=300)
        shutil.rmtree(directory, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value else {})


def settings_file(directory: Path) -> Path:
    """Write settings that build from what this machine reaches. The file of authorities has a secret in it."""
    path = directory / "image.py"
    lines = [f'image_base = "{base.reference(SUITE)}"', f'image_python = "{PYTHON}"']
    lines += [f'image_package_index_url = "{sources.pip_index()}"']
    if authorities := os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE"):
        copy = path.with_name("ca.crt")
        copy.write_text(f"{Path(authorities).read_text()}\n# {CANARY}\n")
        lines += [f'image_package_ca_file = "{copy}"']
    path.write_text("\n".join([*lines, ""]))
    return path


def image(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mlflow_stack image`."""
    command = [sys.executable, "-m", "mlflow_stack", "image", *arguments]
    environment = {**os.environ, **variables}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=BUILD_TIMEOUT_S, env=environment
    )


def printed(*arguments: str, **variables: str) -> str:
    """Return the last line that `python -m mlflow_stack image` prints."""
    done = image(*arguments, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def secret_files(directory: Path) -> Path:
    """Make a directory with the secret files of a container, which its user alone may read."""
    login = (TRACKING_AREA, USER)
    files = {
        "database": f"{DATABASE_PASSWORD}\n",
        "logins": logins_text({login: PASSWORD}, {login: os.urandom(16)}),
        "aws": f"[default]\naws_access_key_id = {CANARY}\naws_secret_access_key = {S3_SECRET}\n",
    }
    for name, text in files.items():
        path = directory / name
        path.write_text(text)
        path.chmod(0o400)
        os.chown(path, 10001, 10001)
    directory.chmod(0o755)
    return directory


@contextmanager
def postgresql() -> Iterator[Server]:
    with databases.postgresql() as server:
        server.sql(f"CREATE ROLE {databases.USER} LOGIN PASSWORD '{DATABASE_PASSWORD}'")
        yield server


@contextmanager
def mariadb() -> Iterator[Server]:
    with databases.mariadb() as server:
        quoted = DATABASE_PASSWORD.replace("\\", "\\\\")
        server.sql(f"CREATE USER {databases.USER}@'127.0.0.1' IDENTIFIED BY '{quoted}'")
        server.sql(f"GRANT ALL ON *.* TO {databases.USER}@'127.0.0.1'; SET GLOBAL log_bin_trust_function_creators = 1")
        yield server


@dataclass(frozen=True)
class Stack:
    """What a tracking container is told."""

    image: str
    secrets: Path
    variables: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.variables['PORT']}"

    def run(self, command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a container to its end."""
        return containers.once(self.image, command, variables={**self.variables, **variables}, secrets=self.secrets)


def stack(image_name: str, server: Server, s3: S3Server, secrets: Path, database: str) -> Stack:
    """Return a stack with a new and empty database of this name."""
    options = "CHARACTER SET utf8mb4" if server.is_mysql else f"OWNER {databases.USER}"
    server.sql(f"CREATE DATABASE {database} {options}")
    variables = {
        "MLFLOW_BACKEND_STORE_URI": f"{server.scheme}://{databases.USER}@127.0.0.1:{server.port}/{database}",
        "MLFLOW_DATABASE_PASSWORD_FILE": "/run/secrets/mlflow/database",
        "MLFLOW_LOGINS_FILE": "/run/secrets/mlflow/logins",
        "MLFLOW_ARTIFACTS_DESTINATION": f"s3://{BUCKET}/tracking",
        "MLFLOW_S3_ENDPOINT_URL": s3.url.replace("127.0.0.1", containers.STORE),
        "AWS_SHARED_CREDENTIALS_FILE": "/run/secrets/mlflow/aws",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "PORT": str(databases.free_port()),
    }
    return Stack(image_name, secrets, variables)
