"""Throw-away database servers on loopback, with TLS from an authority of their own: a real MariaDB and PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ON_HOST = REPOSITORY / "mlflow_stack/on_host"
# With what option files and password files have to escape.
PASSWORD = "p#w: \\n\"it's\\"
USER = "mlflow_user"
START_S = 60
# What is started so ends with this process, however that ends.
BOUND = ("setpriv", "--pdeathsig=TERM")
PROGRAM_TIMEOUT_S = 600


@dataclass(frozen=True)
class Server:
    """A server: its directory (with ca.pem) and port. `program`, `options`: what administers it by its Unix socket."""

    directory: Path
    port: int
    scheme: str
    administer: tuple[str, ...]

    @property
    def is_mysql(self) -> bool:
        return self.scheme.startswith("mysql")

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    def sql(self, statement: str, database: str = "") -> str:
        """Return what a statement of the administrator's prints, without column names."""
        target = [database or ("mysql" if self.is_mysql else "postgres")]
        done = subprocess.run(
            [*self.administer, *target], input=statement, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def uri(self, database: str, user: str = USER, host: str = "localhost") -> str:
        """Return the URI as MLflow Stack would give it to MLflow on a host, with the files of here."""
        where = f"{self.scheme}://{user}@{host}:{self.port}/{database}"
        if not self.is_mysql:
            return f"{where}?sslmode=verify-full&sslrootcert={self.ca_file}"
        tls = f"ssl_ca={self.ca_file}&ssl_check_hostname=true"
        return f"{where}?{tls}&read_default_file={self.password_file}&read_default_group=pymysql"

    @property
    def password_file(self) -> Path:
        return self.directory / ("mysql.cnf" if self.is_mysql else "pgpass")

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the programs that are installed on hosts, as there but for the user."""
        return subprocess.run(
            [sys.executable, "-I", str(ON_HOST / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_TIMEOUT_S,
            cwd="/",
            env={**os.environ, "PGPASSFILE": str(self.password_file), "NO_COLOR": "1"},
        )


def missing() -> str:
    """Return which of the servers' programs this machine has not; "" when it has all."""
    programs = {"mariadb-server-core": "mariadbd", "mariadb-client": "mariadb-dump", "openssl": "openssl"}
    absent = [package for package, program in programs.items() if not shutil.which(program, path=_path())]
    return ", ".join([*absent, *([] if _postgresql_bin() else ["postgresql"])])


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin"


def _postgresql_bin() -> Path | None:
    return max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), default=Path()).parent if _has_postgresql() else None


def _has_postgresql() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def mariadb(*, tls: bool = True) -> Iterator[Server]:
    """Run a MariaDB."""
    with _directory() as directory:
        data, sock = directory / "data", directory / "my.sock"
        user = pwd.getpwuid(os.getuid()).pw_name
        install = ["mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={data}", "--skip-test-db"]
        done = subprocess.run(
            [*install, "--auth-root-authentication-method=normal"], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        port = free_port()
        options = {
            "user": user,
            "datadir": data,
            "socket": sock,
            "port": port,
            "bind-address": "127.0.0.1",
            "pid-file": directory / "my.pid",
            "skip-name-resolve": "1",
            "character-set-server": "latin1",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-buffer-pool-size": "32M",
            "log-bin": directory / "binlog",
            **{f"ssl-{name}": directory / f"{name}.pem" for name in ("ca", "cert", "key") if tls},
        }
        command = ["mariadbd", "--no-defaults", *(f"--{name}={value}" for name, value in options.items())]
        client = ("mariadb", "--no-defaults", f"--socket={sock}", "--user=root", "--batch", "--skip-column-names")
        with _running(command, directory / "log", lambda: _answers([*client, "--execute=SELECT 1"])):
            yield Server(directory, port, "mysql+pymysql", client)


@contextmanager
def postgresql() -> Iterator[Server]:
    """Run a PostgreSQL; as nobody where this is root, as whom it does not run."""
    binaries = _postgresql_bin()
    assert binaries
    with _directory() as directory:
        port, user = free_port(), _as_nobody(directory)
        data = directory / "data"
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": directory,
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": directory / "cert.pem",
            "ssl_key_file": directory / "key.pem",
        }
        init = [str(binaries / "initdb"), "--auth-local=trust", "--auth-host=scram-sha-256", "--username=postgres"]
        subprocess.run([*BOUND, *user, *init, f"--pgdata={data}", "--encoding=UTF8"], check=True, capture_output=True)
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in options.items())
        server = [str(binaries / "postgres"), "-D", str(data)]
        client = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", str(directory), "-p", str(port), "-U", "postgres")
        with _running([*user, *server], directory / "log", lambda: _answers([*client, "-c", "SELECT 1"])):
            yield Server(directory, port, "postgresql+psycopg2", client)


def _as_nobody(directory: Path) -> list[str]:
    """Give the directory to nobody where this is root; return setpriv's options to be that user."""
    if os.getuid():
        return []
    for path in (directory, *directory.iterdir()):
        shutil.chown(path, "nobody")
    return ["--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@contextmanager
def _directory() -> Iterator[Path]:
    """Make a directory with an authority, and a certificate of it for localhost, not for its address."""
    directory = Path(tempfile.mkdtemp(prefix="mlflow-stack-database-"))
    make = """
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=authority
    openssl req -newkey rsa:2048 -nodes -keyout key.pem -out server.csr -subj /CN=localhost
    openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out cert.pem -extfile name
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout other.key -out other.pem -subj /CN=another
    chmod 600 key.pem
    """
    try:
        (directory / "name").write_text("subjectAltName=DNS:localhost\n")
        subprocess.run(["sh", "-euc", make], cwd=directory, check=True, capture_output=True)
        yield directory
    finally:
        shutil.rmtree(directory)


@contextmanager
def _running(command: list[str], log: Path, is_up: Callable[[], bool]) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*BOUND, *command], stdout=output, stderr=output, env={**os.environ, "PATH": _path()}
        )
    try:
        end = time.monotonic() + START_S
        while not is_up():
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < end, log.read_text(errors="replace")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(timeout=START_S)


def _answers(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
