"""What a container is told, by environment variables and secret files: read and judged as a whole.

A secret is in the file that NAME_FILE names or, for platforms that have no such files, in the variable NAME. What is
wrong is said in one sentence each, all of them at once, and never shows a secret.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))  # python -I leaves it out

from database import password_fault, uri_fault  # type: ignore[import-not-found]  # its neighbours in the image
from login import TRACKING_AREA, read_users  # type: ignore[import-not-found]

DATABASE = "MLFLOW_BACKEND_STORE_URI"
CREDENTIAL = "MLFLOW_DATABASE_PASSWORD"
# Whom the certificate of the database has to be from (PEM); given in the same two ways, and no secret.
AUTHORITY = "MLFLOW_DATABASE_CA"
STORE = "MLFLOW_ARTIFACTS_DESTINATION"
LOGINS, OPEN = "MLFLOW_LOGINS", "MLFLOW_OPEN_TO_EVERYBODY"
UPGRADE = "MLFLOW_UPGRADE_DATABASE"
# None of these is for the server's own environment, which stays readable while it runs (/proc/PID/environ, proc(5)).
SECRETS = (CREDENTIAL, f"{CREDENTIAL}_FILE", LOGINS, f"{LOGINS}_FILE")
# Who asks whether the server works; no user may have the name.
OWN_USER = "mlflow-stack"

EXPECTED_DATABASE = "postgresql+psycopg2://USER@HOST:PORT/DATABASE or mysql+pymysql://USER@HOST:PORT/DATABASE"
EXPECTED_STORE = "s3://BUCKET/PATH, gs://BUCKET/PATH, wasbs://CONTAINER@ACCOUNT.blob.core.windows.net/PATH or a mount"
# By the scheme of an address: the modules that MLflow needs for it, and the add-on (image_addons) that they come with.
DRIVERS = {"postgresql+psycopg2": (("psycopg2",), ""), "mysql+pymysql": (("pymysql",), "mysql")}
# Not those that do other than they say: ssl_verify_identity makes SQLAlchemy and PyMySQL look at no certificate at all.
MYSQL_OPTIONS = ("ssl_ca", "ssl_check_hostname", "ssl_disabled", "unix_socket")
STORES = {
    "s3": (("boto3",), "s3"),
    "gs": (("google.cloud.storage",), "gcs"),
    "wasbs": (("azure.storage.blob", "azure.identity"), "azure"),
}
# What is written there is gone with the container.
FLEETING = ("overlay", "tmpfs", "ramfs", "rootfs")


class Refused(Exception):
    """The container can't be started as it is told to; a sentence for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = (f"  {problem}" for problem in self.problems)
        super().__init__("\n".join([f"{count} in what this container is told; nothing was started", *lines]))


class Database(NamedTuple):
    """The tracking database: an address without a password, the password, "" for none, and whom the server's
    certificate has to be from, "" where it is not looked at."""

    uri: str
    password: str
    authority: str = ""


class Server(NamedTuple):
    """How a server listens: TCP port, worker processes, seconds for what is being answered when it has to stop."""

    port: int
    workers: int
    drain_s: int


class Told:
    """The variables, and what has been found wrong with them so far."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = variables
        self.problems: list[str] = []

    def wrong(self, problem: str) -> None:
        self.problems.append(problem)

    def judged(self) -> None:
        """Raise Refused when anything was wrong."""
        if self.problems:
            raise Refused(self.problems)

    def text(self, name: str) -> str:
        return self.variables.get(name, "")

    def number(self, name: str, default: int, most: int) -> int:
        given = self.text(name) or str(default)
        if not re.fullmatch(r"[0-9]{1,9}", given) or not 1 <= int(given) <= most:
            self.wrong(f"{name}: expected a whole number from 1 to {most}; found {given!r}")
            return default
        return int(given)

    def switch(self, name: str) -> bool:
        given = self.text(name) or "false"
        if given not in ("true", "false"):
            self.wrong(f"{name}: expected true or false; found {given!r}")
        return given == "true"

    def secret(self, name: str) -> str:
        """Return a secret, "" where none is given."""
        path, value = self.text(f"{name}_FILE"), self.text(name).strip("\n")
        if path and value:
            self.wrong(f"{name} and {name}_FILE: both are given; leave one of them out")
        if not path or value:
            return value
        try:
            value = Path(path).read_text()
        except OSError as error:
            self.wrong(f"{name}_FILE: {path} can't be read ({error.strerror}); mount it so that uid {os.getuid()} may")
        except ValueError:
            self.wrong(f"{name}_FILE: {path} is no text")
        else:
            if not value.strip():
                self.wrong(f"{name}_FILE: {path} is empty; expected the secret in it")
        return value.strip("\n")

    def drivers(self, name: str, what: str, known: tuple[tuple[str, ...], str]) -> None:
        """Say so when MLflow lacks what it needs for an address that begins with `what`."""
        modules, addon = known
        lacking = [module for module in modules if not is_there(module)]
        if lacking:
            build = f'; build it with "{addon}" in image_addons' if addon else ""
            self.wrong(f"{name}: {what} needs {' and '.join(lacking)}, which this image does not have{build}")


def is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


def server(told: Told) -> Server:
    return Server(
        told.number("PORT", 5000, 65535),
        told.number("MLFLOW_WORKERS", 1, 64),
        told.number("MLFLOW_DRAIN_TIMEOUT_S", 25, 3600),
    )


def database(told: Told) -> Database:
    uri, password, authority = told.text(DATABASE), told.secret(CREDENTIAL), told.secret(AUTHORITY)
    scheme = uri.partition("://")[0]
    if not uri:
        told.wrong(f"{DATABASE}: not given; expected {EXPECTED_DATABASE}")
    elif scheme not in DRIVERS or "://" not in uri:
        told.wrong(f"{DATABASE}: expected {EXPECTED_DATABASE}; found {without_password(scheme)!r} before ://")
    else:
        told.drivers(DATABASE, f"{scheme}://", DRIVERS[scheme])
    if has_password(uri):
        told.wrong(
            f"{DATABASE}: holds a password; take it out, and give it in a file that {CREDENTIAL}_FILE names, or in "
            f"{CREDENTIAL}"
        )
    elif scheme in DRIVERS and (fault := uri_fault(uri, MYSQL_OPTIONS, f"expected only {', '.join(MYSQL_OPTIONS)}")):
        told.wrong(f"{DATABASE}: {fault}")
    if "\n" in password:
        told.wrong(f"{CREDENTIAL}: has more than one line; expected the password alone")
    elif fault := password_fault(uri, password):
        told.wrong(f"{CREDENTIAL}: {fault}")
    if authority and "-----BEGIN CERTIFICATE-----" not in authority:
        told.wrong(f"{AUTHORITY}: expected certificates in PEM, which begin with -----BEGIN CERTIFICATE-----")
    if authority and re.search(r"[?&]ssl", uri):
        told.wrong(f"{AUTHORITY}: {DATABASE} has options of its own for TLS (ssl…); leave them out")
    return Database(uri, password, authority)


def has_password(uri: str) -> bool:
    """Return whether a URI holds one, as SQLAlchemy splits it."""
    in_query = {name.lower() for name, _ in parse_qsl(uri.partition("?")[2])}
    return bool(re.search(r"//[^:/]*:[^@]*@", uri)) or bool(in_query & {"password", "passwd"})


def without_password(text: str) -> str:
    return text.rpartition("@")[2] if "@" in text else text


def store(told: Told) -> str:
    """Return where artifacts are kept."""
    destination = told.text(STORE)
    scheme = urlsplit(destination).scheme
    if not destination:
        told.wrong(f"{STORE}: not given; expected {EXPECTED_STORE}")
    elif scheme in STORES:
        told.drivers(STORE, f"{scheme}://", STORES[scheme])
    elif not destination.startswith("/"):
        told.wrong(f"{STORE}: expected {EXPECTED_STORE}; found {destination!r}")
    elif not Path(destination).is_dir() or not os.access(destination, os.W_OK):
        told.wrong(f"{STORE}: {destination} is no directory that uid {os.getuid()} may write; mount one there")
    elif (kind := file_system(destination)) in FLEETING:
        told.wrong(
            f"{STORE}: {destination} is on {kind}, and artifacts would be gone with the container; mount a directory "
            "there, or name a bucket"
        )
    return destination


def file_system(path: str, mounts: str = "/proc/self/mounts") -> str:
    """Return the type of the file system that a path is on (proc(5), /proc/PID/mounts)."""
    real = Path(path).resolve()
    found = [line.split(" ")[1:3] for line in Path(mounts).read_text().splitlines()]
    above = [(point, kind) for point, kind in found if real.is_relative_to(point.encode().decode("unicode_escape"))]
    return max(reversed(above), key=lambda mount: len(mount[0]))[1]  # of several at one point the last is on top


def logins(told: Told) -> str:
    """Return the text of the logins, as login.py reads it; "" where everybody may pass."""
    text, is_open = told.secret(LOGINS), told.switch(OPEN)
    if is_open and text:
        told.wrong(f"{OPEN} is true, and {LOGINS} says who may log in; leave one of them out")
    elif not is_open and not text and not told.text(f"{LOGINS}_FILE"):
        told.wrong(
            f"nobody would be asked for a login: give {LOGINS}_FILE or {LOGINS} (`python -m mlflow_stack image "
            f"logins`), or {OPEN}=true where the platform asks, or the network is private"
        )
    elif text and (problem := wrong_logins(text)):
        told.wrong(f"{LOGINS}: {problem}; expected what `python -m mlflow_stack image logins` prints")
    return text


def wrong_logins(text: str) -> str:
    """Return what is wrong with the text of logins, "" for nothing."""
    try:
        users = read_users(text)
    except ValueError:
        return "a line is not AREA USER SALT HASH"
    names = [user for area, user in users if area == TRACKING_AREA]
    if OWN_USER in names:
        return f"a user is called {OWN_USER}, as who asks whether the server works is"
    return "" if names else f"there is no user of the area {TRACKING_AREA!r}"


def model_is_open(told: Told) -> None:
    if not told.switch(OPEN):
        told.wrong(
            f"a model's server has no login: set {OPEN}=true where the platform asks for one, or the network is private"
        )
