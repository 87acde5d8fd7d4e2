"""Filling an environment: hard links out of the cache, prefix replacement, entry points, records.

The order is conda's: all files first, then the records, then the history. A process killed among the files leaves a
folder that is no environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import cache, environments, faults
from .config import Config
from .solver import identity
from .specs import Record, Spec

_ENTRY_POINT = re.compile(r"(\S+)\s*=\s*([\w.]+):([\w.]+)")


def changes(prefix: Path, wanted: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """What to unlink and what to link, so that the environment holds exactly the wanted packages."""
    new = {identity(record): record for record in wanted}
    old = {identity(record): record for record in environments.records(prefix)}
    if _python(old.values()) != _python(new.values()):  # noarch packages live in the site-packages of one python
        kept = {key for key in old if key in new and old[key].get("noarch") != "python"}
    else:
        kept = {key for key in old if key in new}
    gone, link = [old[key] for key in old if key not in kept], [new[key] for key in new if key not in kept]
    return gone, sorted(link, key=lambda record: str(record["name"]) != "python")  # the others need its folders


def apply(prefix: Path, unlink: list[Record], link: list[Record], specs: list[Spec], config: Config) -> None:
    """Carry the changes out; raises what `cache.provide` raises, before anything is touched."""
    folders = [cache.provide(record, config) for record in link]
    for record in unlink:
        _unlink(prefix, record)
    python = _python([*link, *environments.records(prefix)])
    placed = [_place(prefix, folder, record, python, config) for folder, record in zip(folders, link, strict=True)]
    requested = {spec.name: spec.text for spec in specs}
    for folder, record, paths in zip(folders, link, placed, strict=True):
        _write_record(prefix, folder, record, paths, requested.get(record["name"], ""))
    environments.add_history(prefix, [spec.text for spec in specs])
    environments.register(prefix)


def _python(records: Iterable[Record]) -> str:
    versions = [str(record["version"]) for record in records if record["name"] == "python"]
    return ".".join(versions[0].split(".")[:2]) if versions else ""


def _unlink(prefix: Path, record: Record) -> None:
    for name in record["files"]:
        (prefix / name).unlink(missing_ok=True)
    for parent in sorted({(prefix / name).parent for name in record["files"]}, key=lambda path: -len(str(path))):
        shutil.rmtree(parent / "__pycache__", ignore_errors=True)
        if parent.is_dir() and not any(parent.iterdir()):
            os.removedirs(parent)
    (prefix / "conda-meta" / f"{cache.stem(record)}.json").unlink()


def _place(prefix: Path, folder: Path, record: Record, python: str, config: Config) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    paths = json.loads((folder / "info" / "paths.json").read_text())["paths"]
    for number, path in enumerate(paths):
        if number == len(paths) // 2:
            faults.point("link")
        target = _target(path["_path"], record, python)
        _put(folder / path["_path"], prefix / target, prefix, path, config)
        placed.append({**path, "_path": target, "sha256_in_prefix": path["sha256"]})
    return placed + _write_entry_points(prefix, folder)


def _target(name: str, record: Record, python: str) -> str:
    if record.get("noarch") == "python":
        name = re.sub(r"^site-packages/", f"lib/python{python}/site-packages/", name)
        return re.sub(r"^python-scripts/", "bin/", name)
    return name


def _put(source: Path, target: Path, prefix: Path, path: dict[str, Any], config: Config) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    elif "prefix_placeholder" in path:
        target.write_text(source.read_text().replace(path["prefix_placeholder"], str(prefix)))
        shutil.copymode(source, target)
    elif config.always_copy:
        shutil.copy2(source, target)
    else:
        _hard_link(source, target)


def _hard_link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)


def _write_entry_points(prefix: Path, folder: Path) -> list[dict[str, Any]]:
    path = folder / "info" / "link.json"
    declared = json.loads(path.read_text())["noarch"].get("entry_points", []) if path.is_file() else []
    placed = []
    for text in declared:
        match = _ENTRY_POINT.fullmatch(text)
        if match is None:
            continue
        name, module, function = match.groups()
        target = prefix / "bin" / name
        target.unlink(missing_ok=True)
        target.write_text(
            f"#!{prefix}/bin/python\nimport sys\nfrom {module} import {function.split('.')[0]}\n\n"
            f"if __name__ == '__main__':\n    sys.exit({function}())\n"
        )
        target.chmod(0o755)
        placed.append({"_path": f"bin/{name}", "path_type": "unix_python_entry_point"})
    return placed


def _write_record(prefix: Path, folder: Path, record: Record, paths: list[dict[str, Any]], requested: str) -> None:
    content = {
        **json.loads((folder / "info" / "repodata_record.json").read_text()),
        **record,
        "channel": f"{record['channel']}/{record['subdir']}",
        "extracted_package_dir": str(folder),
        "files": [path["_path"] for path in paths],
        "link": {"source": str(folder), "type": 1},
        "package_tarball_full_path": str(folder.with_name(record["fn"])),
        "paths_data": {"paths_version": 1, "paths": paths},
        "requested_spec": requested,
        "requested_specs": [requested] if requested else [],
    }
    target = prefix / "conda-meta" / f"{cache.stem(record)}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content, indent=2, sort_keys=True))
