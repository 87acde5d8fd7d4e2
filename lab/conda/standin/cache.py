"""The package cache: PREFIX/pkgs (or pkgs_dirs) with each package's archive and its unpacked folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from . import faults
from .channels import TIMEOUT_SECONDS
from .config import Config
from .errors import CondaError
from .specs import Record

_CHUNK = 1 << 20


def stem(record: Record) -> str:
    """NAME-VERSION-BUILD, the name of a package's folder and of its record."""
    return f"{record['name']}-{record['version']}-{record['build']}"


def is_cached(record: Record, config: Config) -> bool:
    """Whether the package needs no download."""
    return _cached(record, config) is not None


def provide(record: Record, config: Config) -> Path:
    """The package's unpacked folder, downloaded and checked first if the cache has not got it.

    Raises CondaError(ChecksumMismatchError, CondaHTTPError, OfflineError).
    """
    return _cached(record, config) or _unpack(_download(record, config), record)


def from_explicit(line: str, config: Config) -> Record:
    """The record of one line of an @EXPLICIT file, `URL[#md5 or sha256]`; downloads the package if need be."""
    url, _, digest = line.partition("#")
    base, subdir, name = url.rsplit("/", 2)
    package, version, build = name.removesuffix(".tar.bz2").rsplit("-", 2)
    record: Record = {
        "name": package, "version": version, "build": build, "fn": name, "url": url, "channel": base, "subdir": subdir,
    }  # fmt: skip
    if digest:
        digest = digest.removeprefix("sha256:")
        record["sha256" if len(digest) == 64 else "md5"] = digest
    return _stored(provide(record, config))


def clean(config: Config) -> list[str]:
    """Remove archives, the channel index and every unpacked package that no environment links to."""
    removed = []
    for folder in (Path(path) for path in config.pkgs_dirs):
        for entry in sorted(folder.glob("*")):
            if entry.is_dir() and entry.name != "cache" and _is_linked(entry):
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            removed.append(str(entry))
    return removed


def _is_linked(folder: Path) -> bool:
    return any(path.stat().st_nlink > 1 for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _stored(folder: Path) -> Record:
    record: Record = json.loads((folder / "info" / "repodata_record.json").read_text())
    return record


def _cached(record: Record, config: Config) -> Path | None:
    for path in config.pkgs_dirs:
        folder = Path(path) / stem(record)
        if (folder / "info" / "repodata_record.json").is_file():
            stored = _stored(folder)
            if all(record.get(kind) in (None, stored.get(kind)) for kind in ("md5", "sha256")):
                return folder
    return None


def _download(record: Record, config: Config) -> Path:
    url = record["url"]
    if config.offline and not url.startswith("file:"):
        raise CondaError("OfflineError", f"This command needs {url}, but conda is in offline mode.")
    config.packages.mkdir(parents=True, exist_ok=True)
    target = config.packages / str(record["fn"])
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    actual = _receive(url, partial)
    for kind, digest in actual.items():
        if record.get(kind) not in (None, digest):
            raise CondaError(
                "ChecksumMismatchError",
                f"Conda detected a mismatch between the expected content and downloaded content\nfor url '{url}'.\n"
                f"  download saved to: {partial}\n  expected {kind}: {record[kind]}\n  actual {kind}: {digest}\n",
            )
    record.update(actual, size=partial.stat().st_size)
    return partial.replace(target)


def _receive(url: str, target: Path) -> dict[str, str]:
    digests: dict[str, Any] = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, target.open("wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                file.flush()
                for digest in digests.values():
                    digest.update(chunk)
                faults.point("fetch")
    except urllib.error.HTTPError as error:
        raise CondaError("CondaHTTPError", f"HTTP {error.code} {error.reason.upper()} for url <{url}>") from None
    except OSError as error:
        raise CondaError("CondaHTTPError", f"HTTP 000 CONNECTION FAILED for url <{url}>\n{error}") from None
    return {kind: digest.hexdigest() for kind, digest in digests.items()}


def _unpack(archive: Path, record: Record) -> Path:
    folder = archive.with_name(stem(record))
    partial = archive.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="tar")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CondaError("CondaVerificationError", f"The package {archive} appears to be corrupted: {error}") from None
    info = json.loads((partial / "info" / "index.json").read_text())
    (partial / "info" / "repodata_record.json").write_text(json.dumps({**info, **record}, indent=2, sort_keys=True))
    shutil.rmtree(folder, ignore_errors=True)
    return partial.rename(folder)
