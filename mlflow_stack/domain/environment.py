"""Python environments: immutable directories named by the digest of what they are made of."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from shlex import quote
from typing import Any

import yaml

from mlflow_stack.domain import layout
from mlflow_stack.domain.bounds import within

# Whatever the umask of the login is, the services have to read what root builds.
UMASK = "umask 022; "

# NAME, NAME=1.2, NAME>=1.2,<2: no option, no URL and no channel, from which conda would run scripts as root.
_CONDA_SPEC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]* ?([<>=!~][A-Za-z0-9_.*+!<>=~,|]*)?")

# By the scheme of a URI, the add-on to the MLflow environment that MLflow reaches it with (locks/<add-on>-py….txt).
ADDONS = {"mysql+pymysql": "mysql", "s3": "s3", "gs": "gcs", "wasbs": "azure"}


def addons(*uris: str) -> tuple[str, ...]:
    """Return the add-ons that an MLflow environment needs for these URIs, none of them twice."""
    found = [ADDONS.get(uri.partition("://")[0]) for uri in uris]
    return tuple(dict.fromkeys(name for name in found if name))


@dataclass(frozen=True)
class EnvironmentSpec:
    """What an environment consists of.

    `conda_packages` are conda specs ("python=3.12"), `requirements` is the text of a pip requirements file. `locked`
    says that it pins every package with hashes. `builder` is the user that runs the package installer: requirements
    that a model brings may run code of their own while they are installed, so they never are installed by root.
    """

    name: str
    conda_packages: tuple[str, ...]
    channels: tuple[str, ...]
    requirements: str = field(repr=False)
    locked: bool = True
    builder: str = "root"

    @cached_property
    def digest(self) -> str:
        facts = [self.conda_packages, self.channels, self.requirements, self.locked]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]

    @property
    def path(self) -> str:
        return f"{layout.ENVS_DIR}/{self.name}-{self.digest}"

    @property
    def marker(self) -> str:
        """Content of the marker file that is written when the environment is complete."""
        facts = {"conda_packages": self.conda_packages, "channels": self.channels, "locked": self.locked}
        return json.dumps({"name": self.name, "digest": self.digest, **facts}, indent=1) + "\n"


@dataclass(frozen=True)
class Toolchain:
    """What builds environments: the Miniconda at `conda_prefix`, and "uv" or "pip" as the `program` that installs.

    `uv_lock` is the hash-locked requirements file of uv itself; `index_url` is empty for the host's own configuration.
    """

    conda_prefix: str
    program: str
    uv_lock: str = field(repr=False)
    index_url: str = ""

    @property
    def uv_path(self) -> str:
        """Where uv is kept: outside every environment, so that none holds more than its lock."""
        match = re.search(r"^uv==([^\s\\]+)", self.uv_lock, re.MULTILINE)
        return f"{layout.OPT_DIR}/tools/uv-{match[1] if match else 'unknown'}/bin/uv"

    @property
    def index_option(self) -> str:
        return f"--index-url {quote(self.index_url)} " if self.index_url else ""


def conda_create_command(spec: EnvironmentSpec, toolchain: Toolchain) -> str:
    """Return the command that makes the environment's directory with Python in it.

    CI is unset because conda takes it as consent to Anaconda's terms of service (conda.md 1.3).
    """
    channels = " ".join(f"-c {quote(channel)}" for channel in spec.channels)
    packages = " ".join(map(quote, spec.conda_packages))
    conda = f"env -u CI {quote(toolchain.conda_prefix)}/bin/conda"
    # Hard links to the package cache would be handed to another builder with the environment.
    copy = "" if spec.builder == "root" else "--copy "
    create = f"{conda} create -y -q {copy}-p {quote(spec.path)} --override-channels {channels} {packages}"
    return UMASK + within(1800, create)


def uv_install_command(spec: EnvironmentSpec, toolchain: Toolchain) -> str:
    """Return the command that installs uv beside the environments, unless it is there, with the environment's own pip.

    It reads the lock file of uv on standard input.
    """
    tool = toolchain.uv_path.removesuffix("/bin/uv")
    pip = f"{quote(spec.path)}/bin/python -I -m pip install -q --no-input --disable-pip-version-check --require-hashes"
    install = within(600, f"{pip} {toolchain.index_option}--target {tool}.part -r /dev/stdin")
    return (
        f"{UMASK}if [ -x {toolchain.uv_path} ]; then cat > /dev/null; "
        f"else rm -rf {tool}.part; {install}; rm -rf {tool} && mv {tool}.part {tool}; fi"
    )


def install_command(spec: EnvironmentSpec, toolchain: Toolchain) -> str:
    """Return the command that installs the requirements, as the spec's builder."""
    python = f"{quote(spec.path)}/bin/python"
    hashes = "--require-hashes " if spec.locked else ""
    source = f"{hashes}{toolchain.index_option}-r {quote(spec.path)}/requirements.txt"
    if toolchain.program == "pip":
        options = "-q --no-input --no-compile --no-cache-dir --disable-pip-version-check"
        return UMASK + within(3600, f"{_as_builder(spec)}{python} -I -m pip install {options} {source}")
    # Hard links to the cache save time and disk, but would hand root's files to another builder.
    link_mode = "hardlink" if spec.builder == "root" else "copy"
    cache = f"{layout.CACHE_DIR}/uv-{spec.builder}"
    # TMPDIR: uv leaves a lock file that everybody may write in it, and /tmp is everybody's.
    variables = f"UV_CACHE_DIR={cache} TMPDIR={cache} UV_LINK_MODE={link_mode} UV_PYTHON_DOWNLOADS=never"
    install = f"{variables} {toolchain.uv_path} pip install -q --python {python} {source}"
    return UMASK + within(3600, f"{_as_builder(spec)}{install}")


def compile_command(spec: EnvironmentSpec) -> str:
    """Return the command that byte-compiles the environment.

    Without byte code each start costs 2.5 times the CPU, since the service can't write it (conda.md 1.5). The exit
    status is ignored: 1 only says that some package ships a template that is no Python.
    """
    path = quote(spec.path)
    return f"{UMASK}timeout -k 30 900 {_as_builder(spec)}{path}/bin/python -I -m compileall -qq -j 0 {path}/lib || true"


def _as_builder(spec: EnvironmentSpec) -> str:
    """Return the beginning of a command that is run by the spec's builder, to be followed by variables and a program.

    In /, because the login's home is where commands begin: others can't read it, and uv takes settings from there.
    """
    user = "" if spec.builder == "root" else f"runuser -u {spec.builder} -- "
    return f"{user}env -C / "


# Its model server is uvicorn, which takes a socket (on_host/supervise.py); before, it was gunicorn behind a shell.
OLDEST_MLFLOW = (2, 22)


class ModelEnvironmentError(ValueError):
    """A model's conda.yaml does not describe an environment that can serve it."""


def model_environment(name: str, conda_yaml: str, channels: tuple[str, ...]) -> EnvironmentSpec:
    """Return the environment that a model's own conda.yaml describes.

    Its channels are replaced by ours (`channels`), which is how a mirror, and the refusal of Anaconda's channels, hold
    for models too. Raises ModelEnvironmentError when Python or MLflow is missing, or MLflow is too old.
    """
    try:
        document: Any = yaml.safe_load(conda_yaml)
        dependencies = list(document["dependencies"])
        pip = [str(line) for item in dependencies if isinstance(item, dict) for line in item.get("pip", [])]
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise ModelEnvironmentError(f"its conda.yaml can't be read ({type(error).__name__})") from None
    conda = tuple(str(item) for item in dependencies if not isinstance(item, dict))
    if wrong := [package for package in conda if not _CONDA_SPEC.fullmatch(package)]:
        raise ModelEnvironmentError(
            f"its conda.yaml names {wrong[0]!r}; expected NAME or NAME=VERSION, without a channel, URL or option"
        )
    if not any(re.match(r"python(?![A-Za-z0-9_.-])", package) for package in conda):
        raise ModelEnvironmentError("its conda.yaml names no python version")
    if not any(re.match(r"mlflow\b", line) for line in pip):
        raise ModelEnvironmentError("its conda.yaml has no mlflow among the pip packages, which serves it")
    for line in pip:
        found = re.match(r"mlflow(?:\[[^]]*\])?\s*==\s*(\d+)\.(\d+)", line)
        if found and (int(found[1]), int(found[2])) < OLDEST_MLFLOW:
            raise ModelEnvironmentError(
                f"it was logged with {found[0]}, whose server can't take over a socket; expected "
                f"mlflow {OLDEST_MLFLOW[0]}.{OLDEST_MLFLOW[1]} or newer"
            )
    return EnvironmentSpec(
        name=f"model-{name}",
        conda_packages=tuple(package.replace(" ", "") for package in conda),
        channels=channels,
        requirements="".join(f"{line}\n" for line in pip),
        locked=False,
        builder=layout.PRODUCTION_USER,
    )


def schema_revision(lock: str, of: str = "schema") -> str | None:
    """Return a database schema revision of the MLflow in a lock file, from its header (scripts/lock.py).

    `of`: "schema", the tracking database's, or "auth-schema", that of its tables for accounts and permissions.
    """
    match = re.search(rf"^# mlflow-{of}-revision: (\S+)$", lock, re.MULTILINE)
    return match[1] if match else None
