"""The lab: its network, its package proxy, and its hosts."""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from . import image, requirements, rootfs
from .access import Access
from .cgroups import Group, own
from .errors import LabError, LabUnavailable
from .host import Host
from .network import Network
from .process import start_daemon
from .store import HostRecord, LayerRecord, Store, read_json, write_json

DEFAULT_ID, DEFAULT_NETWORK = "mlab", "10.77.0"
PROXY_PORT = 3142
FIRST_HOST, LAST_HOST = 11, 254
# A deployed host with PostgreSQL and MLflow writes 1.4 GB; below this much free memory, disks go to /var/tmp.
RAM_WANTED = 4 << 30
RAM = Path("/dev/shm")  # noqa: S108 (a directory of ours in it, named by the lab's id)
NAME, NAME_RULE = r"[a-z][a-z0-9-]{0,62}", "small letters, digits and hyphens, a letter first"
FAULTS = ("404", "500", "truncated", "html")


class Lab:
    """A lab named `id` (also the prefix of all that it makes on this machine) on the /24 network `network`.1-254

    `network` is the first three octets. `conda=False` leaves out the local conda channel. `upstreams` (name to
    URL) are mirrors that the proxy passes on, cached, below `proxy_url`/upstream/NAME/. The state directory is
    /var/tmp/ID, or $LAB_DIR. Nothing is made before `up`.
    """

    def __init__(
        self,
        id: str = DEFAULT_ID,
        network: str = DEFAULT_NETWORK,
        *,
        conda: bool = True,
        upstreams: Mapping[str, str] | None = None,
    ) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9]{0,9}", id):
            raise ValueError(f"lab id {id!r}: expected a letter and up to 9 letters or digits, all small")
        if not re.fullmatch(r"(\d{1,3}\.){2}\d{1,3}", network):
            raise ValueError(f"lab network {network!r}: expected the first three octets of an address, as in 10.77.0")
        self.id, self.conda, self.upstreams = id, conda, dict(upstreams or {})
        self.network = Network(id, network)
        self.store = Store(Path(os.environ.get("LAB_DIR") or f"/var/tmp/{id}"))  # noqa: S108
        self.access = Access(self.store, self.network, id)
        self.ram = RAM / id
        self.proxy_url = f"http://{self.network.gateway}:{PROXY_PORT}"

    def __repr__(self) -> str:
        return f"Lab({self.id!r}, {self.network.prefix!r})"

    # --- is it possible? ----------------------------------------------------------------------------------------

    def check(self) -> list[str]:
        """Every reason why a lab can not run on this machine; empty if it can."""
        return requirements.missing(self.network)

    def ensure(self) -> None:
        """Raise LabUnavailable with all reasons, if there are any."""
        if reasons := self.check():
            raise LabUnavailable("this machine can not run a lab:\n" + "\n".join(f"- {reason}" for reason in reasons))

    @property
    def static_dir(self) -> Path:
        """What lies here, the proxy serves below `proxy_url`/static/."""
        return self.store.static

    def set_faults(self, faults: Mapping[str, str]) -> None:
        """Make the package proxy fail for some paths: pattern to "404", "500", "truncated" or "html"; {} for none."""
        if unknown := set(faults.values()) - set(FAULTS):
            raise ValueError(f"faults {sorted(unknown)}: expected {', '.join(FAULTS)}")
        write_json(self.store.faults, dict(faults))

    # --- hosts --------------------------------------------------------------------------------------------------

    def up(
        self,
        name: str,
        *,
        release: str = "bookworm",
        layers: Sequence[str] = (),
        ram: bool = True,
        binds: Mapping[str, str] | None = None,
    ) -> Host:
        """Ensure that the host `name` runs and answers SSH; a host that is there already stays as it is.

        A new host gets the Debian `release`, or starts as a clone from `layers` (see `snapshot`; topmost first), and
        its disk in memory if `ram` and 4 GiB are free. `binds` (path on the host to a directory of this machine) are
        mounted in it, as a network file system would be. The first use of a release builds its image: a minute or two;
        and for one with an older glibc than this machine's a Python, which takes three more (lab/conda/compiled.py).
        Raises LabUnavailable, and LabError with the console's end if the host does not come up.
        """
        if os.geteuid() or not self.network.is_up:
            self.ensure()
        with self.store.locked():
            self._serve()
        base = None if layers or self._known(name) else image.ensure(release, self.proxy_url)
        self._publish_conda(release, base)
        with self.store.locked():
            self._serve()
            if not self._known(name):
                self._create(name, release, base, layers, ram, dict(binds or {}))
        host = self.host(name)
        host.start()
        return host

    def host(self, name: str) -> Host:
        """The host of this name. Raises LabError, naming those there are."""
        return Host(self, name)

    def hosts(self) -> list[Host]:
        return [self.host(record.name) for record in self.store.hosts()]

    def snapshot(self, host_name: str, layer: str) -> None:
        """Keep all that the host has written as `layer`; the host is stopped for it and goes on from there.

        Any number of clones can then start from it within seconds: `up(name, layers=[layer])`.
        """
        host = self.host(host_name)
        if not re.fullmatch(NAME, layer) or layer in self.layers():
            raise LabError(f"layer {layer!r}: expected a new name of {NAME_RULE}; taken: {self.layers()}")
        host.stop()
        with self.store.locked():
            record = host.record
            path = Path(record.disk).parent.parent / "layers" / layer
            path.parent.mkdir(parents=True, exist_ok=True)
            (Path(record.disk) / "upper").rename(path)
            shutil.rmtree(Path(record.disk) / "work")
            self.store.save_layer(LayerRecord(layer, str(path), record.release, record.lowers))
            self.store.save_host(replace(record, layers=[str(path), *record.layers]))
        self.host(host_name).start()

    def layers(self) -> list[str]:
        return [record.name for record in self.store.layers()]

    def down(self, *names: str) -> None:
        """Ensure that these hosts are gone without a trace; no names: the whole lab. Safe at any time, and twice."""
        if not names and not self._traces():
            return
        with self.store.locked():
            for record in [record for record in self.store.hosts() if record.name in names]:
                self.group(record.name).remove()
                self.network.detach(record.name, record.number)
                shutil.rmtree(record.disk, ignore_errors=True)
                shutil.rmtree(self.store.host_directory(record.name), ignore_errors=True)
            if names:
                self._name_peers()
            else:
                self._remove_all()

    def _traces(self) -> bool:
        places = (self.store.directory, self.ram, self.group().unified)
        return self.network.is_up or bool(self.network.namespaces()) or any(place.exists() for place in places)

    def _remove_all(self) -> None:
        self.group().remove()
        self.network.down()
        shutil.rmtree(self.ram, ignore_errors=True)
        self.store.remove()

    def serve(self) -> None:
        """Ensure what hosts live from: network, package proxy and conda channel."""
        with self.store.locked():
            self._serve()
        self._publish_conda("bookworm", None)

    # --- what a lab is made of ----------------------------------------------------------------------------------

    def record(self, name: str) -> HostRecord:
        for record in self.store.hosts():
            if record.name == name:
                return record
        names = ", ".join(record.name for record in self.store.hosts()) or "none"
        raise LabError(f"lab {self.id} has no host {name}; it has: {names}")

    def _known(self, name: str) -> bool:
        return any(record.name == name for record in self.store.hosts())

    def group(self, name: str = "") -> Group:
        """The control groups of a host, of the proxy (".proxy"), or of the lab, which is above them all."""
        parents = read_json(self.store.about)["cgroups"] if self.store.about.exists() else own()
        return Group(parents, f"{self.id}/{name}".rstrip("/"))

    def addresses(self) -> dict[str, str]:
        return {record.name: self.network.address(record.number) for record in self.store.hosts()}

    def _serve(self) -> None:
        """Ensure network and package proxy."""
        self.store.found(self.network.prefix, own())
        self.network.up()
        if not self.group(".proxy").populated():
            mirrors = [f"{name}={url}" for name, url in self.upstreams.items()]
            start_daemon("lab.proxy", self.id, self.network.prefix, *mirrors)

    def _publish_conda(self, release: str, base: Path | None) -> None:
        """Put the conda channel and the installer below the proxy's static directory, once per lab."""
        if self.conda:
            from .conda import hosts  # noqa: PLC0415 (a lab without it does not need what it imports)

            hosts.ensure(self, release, base)

    def _create(
        self, name: str, release: str, base: Path | None, layers: Sequence[str], ram: bool, binds: dict[str, str]
    ) -> None:
        if not re.fullmatch(NAME, name):
            raise LabError(f"host name {name!r}: expected {NAME_RULE}")
        taken = {record.number for record in self.store.hosts()}
        number = next(number for number in range(FIRST_HOST, LAST_HOST + 1) if number not in taken)
        release, paths = self._stack(release, base, layers)
        place = self.ram if ram and memory_free() >= RAM_WANTED else self.store.directory
        disk = place / "disks" / name
        machine_id = uuid.uuid4().hex
        self.store.save_host(HostRecord(name, number, release, paths[-1], paths[:-1], str(disk), machine_id, binds))

    def _stack(self, release: str, base: Path | None, layers: Sequence[str]) -> tuple[str, list[str]]:
        """The directories under a new host, topmost first, the image last; layers bring their release with them."""
        if base:
            return release, [str(base)]
        known = {record.name: record for record in self.store.layers()}
        if unknown := [layer for layer in layers if layer not in known]:
            raise LabError(f"no layer {', '.join(unknown)}; there are: {', '.join(known) or 'none'}")
        chosen = [known[layer] for layer in layers]
        images = {record.lowers[-1] for record in chosen}
        if len(images) > 1:
            raise LabError(f"layers {', '.join(layers)} are of different base systems: {', '.join(sorted(images))}")
        paths = [path for record in chosen for path in (record.path, *record.lowers[:-1])]
        return chosen[0].release, [*dict.fromkeys(paths), *images]

    def start(self, record: HostRecord) -> None:
        """Boot a host that does not run, and tell its peers. (Use `Host.start`, which also waits.)"""
        with self.store.locked():
            self._serve()
            self.access.ensure_keys()
            self.group(record.name).remove()
            self.network.attach(record.name, record.number)
            start_daemon("lab.supervisor", self.id, self.network.prefix, record.name)
            self._name_peers()

    def _name_peers(self) -> None:
        """Write the names of all hosts into each running one, through its PID 1: so it needs no answer from it."""
        for host in self.hosts():
            if pid := host.init():
                rootfs.name_peers(Path(f"/proc/{pid}/root"), host.name, self.addresses())


def memory_free() -> int:
    """Bytes that files in memory may take: what the machine has available and /dev/shm admits."""
    available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return min(int(available[1]) * 1024 if available else 0, shutil.disk_usage(RAM).free if RAM.is_dir() else 0)
