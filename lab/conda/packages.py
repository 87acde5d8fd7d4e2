"""conda's package format: the info/ folder, the archive, the channel's index.

https://docs.conda.io/projects/conda-build/en/stable/resources/package-spec.html
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

EPOCH = 1_700_000_000  # the time of every generated file, so that the same input gives the same archive

Index = dict[str, Any]


def index(name: str, version: str, build: str, **more: object) -> Index:
    """A package's info/index.json; a plain linux-64 package unless `more` says otherwise."""
    platform = {"arch": "x86_64", "platform": "linux", "subdir": "linux-64"}
    common = {"build_number": 0, "constrains": [], "depends": [], "timestamp": EPOCH * 1000}
    return {"name": name, "version": version, "build": build, **common, **platform, **more}


def stem(content: Index) -> str:
    """NAME-VERSION-BUILD."""
    return f"{content['name']}-{content['version']}-{content['build']}"


def files(root: Path) -> list[Path]:
    """Every file and link of a package, info/ first (where readers of a package look), then by name."""
    found = [path for path in root.rglob("*") if path.is_symlink() or path.is_file()]
    return sorted(found, key=lambda path: (path.relative_to(root).parts[0] != "info", str(path)))


def write_info(root: Path, content: Index, *, placeholder: str = "", entry_points: list[str] | None = None) -> None:
    """Write info/ for the files in `root`; text files that hold `placeholder` are marked for prefix replacement."""
    paths = [_describe(path, root, placeholder) for path in files(root)]
    documents: dict[str, object] = {"index.json": content, "paths.json": {"paths": paths, "paths_version": 1}}
    if content.get("noarch"):
        link = {"type": "python", "entry_points": entry_points or []}
        documents["link.json"] = {"noarch": link, "package_metadata_version": 1}
    (root / "info").mkdir()
    for name, document in documents.items():
        (root / "info" / name).write_text(json.dumps(document, indent=1, sort_keys=True))


def _describe(path: Path, root: Path, placeholder: str) -> dict[str, object]:
    data = path.read_bytes()
    entry: dict[str, object] = {
        "_path": str(path.relative_to(root)),
        "path_type": "softlink" if path.is_symlink() else "hardlink",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    is_text = not (path.is_symlink() or path.suffix == ".pyc" or data.startswith(b"\x7fELF"))  # ELF: by $ORIGIN
    if placeholder and is_text and placeholder.encode() in data:
        entry |= {"file_mode": "text", "prefix_placeholder": placeholder}
    return entry


def add_files(tar: tarfile.TarFile, root: Path, paths: list[Path]) -> None:
    """Add files to an archive, owned by root; only sources with bytecode keep their time, which the bytecode names."""
    for path in paths:
        member = tar.gettarinfo(path, str(path.relative_to(root)))
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        compiled = list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))
        member.mtime = int(member.mtime) if path.suffix == ".py" and compiled else EPOCH
        if member.islnk():
            member.type, member.size = tarfile.REGTYPE, path.stat().st_size
        if member.isreg():
            with path.open("rb") as file:
                tar.addfile(member, file)
        else:
            tar.addfile(member)


def pack(root: Path, channel: Path) -> Path:
    """Archive a package folder into its channel, as .tar.bz2: the format that every conda reads."""
    content = json.loads((root / "info" / "index.json").read_text())
    target = channel / str(content["subdir"]) / f"{stem(content)}.tar.bz2"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(target, "w:bz2") as tar:
        add_files(tar, root, files(root))
    return target


def write_repodata(channel: Path, contents: dict[Path, Index]) -> None:
    """Write each subdirectory's repodata.json over the given archives and their info/index.json."""
    for subdir in ("linux-64", "noarch"):
        packages = {
            archive.name: {**content, **_sums(archive)}
            for archive, content in sorted(contents.items())
            if content["subdir"] == subdir
        }
        document = {"info": {"subdir": subdir}, "packages": packages, "packages.conda": {}, "repodata_version": 1}
        (channel / subdir).mkdir(parents=True, exist_ok=True)
        (channel / subdir / "repodata.json").write_text(json.dumps(document, indent=1, sort_keys=True))


def _sums(archive: Path) -> dict[str, object]:
    data = archive.read_bytes()
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return {"md5": md5, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def unpack_wheel(wheel: Path, into: Path, build: str, depends: list[str]) -> Index:
    """Lay a pure wheel out as a noarch package in `into`, and return its index."""
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if ".data/" not in name and not name.endswith("/")]
        archive.extractall(into / "site-packages", members)  # noqa: S202 - zipfile keeps to the folder by itself
    information = next((into / "site-packages").glob("*.dist-info"))
    (information / "INSTALLER").write_text("conda\n")
    metadata = HeaderParser().parsestr((information / "METADATA").read_text())
    name = re.sub(r"[-_.]+", "-", metadata["Name"]).lower()
    noarch = {"arch": None, "platform": None, "subdir": "noarch", "noarch": "python"}
    content = index(name, metadata["Version"], build, depends=depends, **noarch)
    write_info(into, content, entry_points=_entry_points(information / "entry_points.txt"))
    return content


def _entry_points(path: Path) -> list[str]:
    parser = ConfigParser(delimiters="=")
    parser.read(path)
    scripts = parser["console_scripts"] if parser.has_section("console_scripts") else {}
    return [f"{name} = {target}" for name, target in scripts.items()]
