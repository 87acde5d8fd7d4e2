"""What a lab remembers: one directory with a JSON file per host, and a lock on it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import LabError


@dataclass(frozen=True)
class HostRecord:
    """Everything needed to start a host again, or to remove what is left of it."""

    name: str
    number: int
    release: str
    image: str
    layers: list[str]
    disk: str
    machine_id: str
    binds: dict[str, str] = field(default_factory=dict)

    @property
    def lowers(self) -> list[str]:
        return [*self.layers, self.image]


@dataclass(frozen=True)
class LayerRecord:
    """A kept upper directory; `lowers` is what lay beneath it, topmost first, the image last."""

    name: str
    path: str
    release: str
    lowers: list[str]


class Store:
    """The files below a lab's state directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.about = directory / "lab.json"
        self.key = directory / "key"
        self.known_hosts = directory / "known_hosts"
        self.static = directory / "static"
        self.settings = directory / "settings.json"
        self.faults = directory / "faults.json"
        self.proxy_log = directory / "proxy.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lab for oneself. A lock file that `down` removed meanwhile is no lock: then try on the new one."""
        path = self.directory / "lock"
        while True:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                    yield
                    return
            finally:
                os.close(handle)

    def found(self, network: str, cgroups: Mapping[str, str]) -> None:
        """Ensure the directory and its note about the lab. LabError if the directory belongs to somebody else."""
        if self.about.exists():
            return
        if strange := sorted(path.name for path in self.directory.glob("*") if path.name != "lock"):
            raise LabError(f"state directory {self.directory}: expected none or an empty one, found {strange[:3]}")
        self.static.mkdir()
        write_json(self.about, {"network": network, "cgroups": dict(cgroups)})

    def remove(self) -> None:
        """Ensure that the directory is gone, if it is a lab's."""
        if self.about.exists():
            shutil.rmtree(self.directory)
        (self.directory / "lock").unlink(missing_ok=True)
        if self.directory.is_dir() and not any(self.directory.iterdir()):
            self.directory.rmdir()

    def host_directory(self, name: str) -> Path:
        return self.directory / "hosts" / name

    def settings_of(self, release: str) -> Path:
        """What the hosts of a release have besides the settings of all."""
        return self.directory / f"settings-{release}.json"

    def hosts(self) -> list[HostRecord]:
        files = (self.directory / "hosts").glob("*/host.json")
        return sorted((HostRecord(**read_json(file)) for file in files), key=lambda record: record.number)

    def save_host(self, record: HostRecord) -> None:
        write_json(self.host_directory(record.name) / "host.json", asdict(record))

    def layers(self) -> list[LayerRecord]:
        return [LayerRecord(**read_json(file)) for file in sorted((self.directory / "layers").glob("*.json"))]

    def save_layer(self, record: LayerRecord) -> None:
        write_json(self.directory / "layers" / f"{record.name}.json", asdict(record))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def write_json(path: Path, content: object) -> None:
    """Replace the file as a whole: a reader or a crash never meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(content, indent=1) + "\n")
    draft.replace(path)
