"""What an image is made of: the files of its build's context, and the tag that follows from them."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow_stack.domain import layout
from mlflow_stack.domain.environment import EnvironmentSpec, schema_revision
from mlflow_stack.domain.object_store import PLUGIN, plugin_files
from mlflow_stack.image.models import Model
from mlflow_stack.image_settings import ImageSettings
from mlflow_stack.setting_types import REPOSITORY

STATIC, LOCKS, ON_HOST = REPOSITORY / "image", REPOSITORY / "locks", REPOSITORY / "mlflow_stack" / "on_host"
PROGRAMS = (
    *("accounts.py", "container.py", "database.py", "entrypoint.py", "gate.py", "login.py", "ready.py"),
    *("s3_compatible.py", "supervise.py"),
)
# Of the tracking server alone.
TRACKING_PROGRAMS = ("dumps.py", "migrate.py", "needs.py", "schema.py")
# Where MLflow finds the app that gate.py makes (importlib.metadata's entry points).
PACKAGE = "payload/libexec/mlflow_stack.dist-info"


@dataclass(frozen=True)
class Contents:
    """An image before it is built.

    `files` by their paths in the build's context; what is below payload/ ends up below /opt/mlflow. `model` is a
    directory that is copied there too. `locked` says that each requirement has a hash.
    """

    name: str
    version: str
    base: str
    python: str
    files: Mapping[str, bytes]
    locked: bool = True
    model: Path | None = None

    @property
    def digest(self) -> str:
        """What the image is built from, in 12 hexadecimal digits."""
        found = hashlib.sha256(f"{self.base} {self.python} {self.locked}".encode())
        for path, content in [*sorted(self.files.items()), *_tree(self.model)]:
            found.update(f"\n{path} {hashlib.sha256(content).hexdigest()}".encode())
        return found.hexdigest()[:12]

    @property
    def reference(self) -> str:
        """The image's name and tag; buildah's own registry is localhost."""
        first = self.name.partition("/")[0] if "/" in self.name else ""
        registry = "" if "." in first or ":" in first or first == "localhost" else "localhost/"
        return f"{registry}{self.name}:{self.version}-{self.digest}"

    def write(self, directory: Path) -> None:
        """Make `directory` the context of a build."""
        for path, content in self.files.items():
            target = directory / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(0o755 if "/bin/" in path else 0o644)
        if self.model:
            shutil.copytree(self.model, directory / "payload/model")


def _tree(directory: Path | None) -> list[tuple[str, bytes]]:
    if not directory:
        return []
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return [(f"payload/model/{path.relative_to(directory)}", path.read_bytes()) for path in files]


def tracking(settings: ImageSettings) -> Contents:
    """Return the contents of the tracking server's image; OSError names a lock file that is not there."""
    names = ["mlflow", *dict.fromkeys(settings.addons)]
    texts = [(LOCKS / f"{name}-py{settings.python}.txt").read_text() for name in names]
    version = re.search(r"^mlflow==([^\s\\]+)", texts[0], re.MULTILINE)
    files = _files("".join(texts), (*PROGRAMS, *TRACKING_PROGRAMS)) | {
        "payload/schema-revision": (schema_revision(texts[0]) or "").encode(),
        **_plugin(),
        f"{PACKAGE}/METADATA": (STATIC / "METADATA").read_bytes(),
        f"{PACKAGE}/entry_points.txt": (STATIC / "entry_points.txt").read_bytes(),
    }
    return Contents(
        name=settings.name,
        version=version[1] if version else "",
        base=settings.base_for(settings.python),
        python=settings.python,
        files=files,
    )


def _plugin() -> dict[str, bytes]:
    """Return the plugin that keeps clients away from the object store, where hosts have it."""
    files = plugin_files((ON_HOST / f"{PLUGIN}.py").read_text())
    return {f"payload/{Path(file.path).relative_to(layout.OPT_DIR)}": file.content.encode() for file in files}


def model(settings: ImageSettings, chosen: Model, environment: EnvironmentSpec, python: str) -> Contents:
    """Return the contents of a model's image; its requirements are its own, and are not locked."""
    return Contents(
        name=chosen.image_name,
        version=chosen.version,
        base=settings.base_for(python),
        python=python,
        files=_files(environment.requirements, PROGRAMS),
        locked=False,
        model=chosen.directory,
    )


def _files(requirements: str, programs: Sequence[str]) -> dict[str, bytes]:
    """Return what every image is made of."""
    return {
        "Containerfile": (STATIC / "Containerfile").read_bytes(),
        "build/requirements.txt": requirements.encode(),
        "build/uv.txt": (LOCKS / "uv.txt").read_bytes(),
        "build/sbom.txt": (LOCKS / "sbom.txt").read_bytes(),
        "build/check_environment.py": (ON_HOST / "check_environment.py").read_bytes(),
        **{f"build/{name}": (STATIC / name).read_bytes() for name in ("install.sh", "describe.sh", "sbom.py")},
        **{f"payload/libexec/{name}": (ON_HOST / name).read_bytes() for name in programs},
        "payload/bin/mlflow-stack": (STATIC / "mlflow-stack").read_bytes(),
    }
