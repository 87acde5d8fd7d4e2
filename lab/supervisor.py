"""The process behind one host: mounts its disk, boots it, and boots it again after a reboot.

`python -m lab.supervisor ID NETWORK NAME` returns when the disk is mounted and prepared, and goes on in the background
until the host powers off. It needs no signal of its own: the host is stopped by a SIGTERM to its nspawn process, and
killed by its control group.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

from . import image, rootfs
from .core import Lab
from .process import detach, run
from .store import HostRecord

CLONE_NEWNS, CLONE_NEWTIME, MS_REC, MS_PRIVATE = 0x20000, 0x80, 0x4000, 1 << 18
# systemd-nspawn ends with this status when the host asked for a reboot and nspawn was told not to do it (--keep-unit).
REBOOT = 133
# systemd from this version on knows only the unified hierarchy.
FIRST_UNIFIED_ONLY = 258
NSPAWN_STATE = Path("/run/systemd/nspawn")

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    lab_id, network, name = sys.argv[1:]
    lab = Lab(lab_id, network)
    record = lab.record(name)
    directory = lab.store.host_directory(name)
    lab.group(name).enter()
    root = mount(record, directory / "root")
    prepare(lab, record, root)
    command = nspawn(lab, record, root)
    detach(directory / "console.log")
    while boot(command, environment(record)) == REBOOT:
        pass


def boot(command: list[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, check=False, env=environment, preexec_fn=start_time_at_zero).returncode


def mount(record: HostRecord, root: Path) -> Path:
    """Mount the host's disk in a mount namespace of our own: the mount goes when the last process of the host goes."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount(MS_PRIVATE)")
    upper, work = Path(record.disk) / "upper", Path(record.disk) / "work"
    for directory in (root, upper, work, NSPAWN_STATE):
        directory.mkdir(parents=True, exist_ok=True)
    upper.chmod(0o755)
    options = f"lowerdir={':'.join(record.lowers)},upperdir={upper},workdir={work}"
    run("mount", "-t", "overlay", "overlay", "-o", options, str(root))
    # nspawn's own notes about the host vanish with the namespace too.
    run("mount", "-t", "tmpfs", "tmpfs", str(NSPAWN_STATE))
    return root


def prepare(lab: Lab, record: HostRecord, root: Path) -> None:
    rootfs.name_host(root, record.name, record.machine_id)
    rootfs.install_keys(root, lab.store.host_directory(record.name) / "hostkey", lab.access.public_key())
    rootfs.use_proxy(root, lab.proxy_url)
    rootfs.name_peers(root, record.name, lab.addresses())


def nspawn(lab: Lab, record: HostRecord, root: Path) -> list[str]:
    """The command that boots the host once. Why each option is there:

    - register, keep-unit: no systemd or machined of this machine takes part.
    - console=read-only: the boot is logged; with "pipe" and no terminal, PID 1 prints nothing.
    - suppress-sync: a throwaway disk needs no fsync; installing PostgreSQL takes half the time.
    - CAP_NET_ADMIN: nspawn drops it when it is given a namespace; firewalls and sysctl in the host need it.
    - CAP_BPF and bpf: without them IPAddressDeny= in the host is silently not enforced.
    - the binds: the controllers writable, so that MemoryMax= and the like are enforced and not only shown.
    """
    command = [
        "systemd-nspawn", "--boot", f"--directory={root}", "--register=no", "--keep-unit",
        f"--machine={lab.id}-{record.name}", f"--hostname={record.name}",
        f"--network-namespace-path=/run/netns/{lab.network.namespace(record.name)}",
        "--resolv-conf=off", "--timezone=off", "--console=read-only", "--suppress-sync=yes",
        "--system-call-filter=bpf", "--capability=CAP_BPF,CAP_NET_ADMIN",
    ]  # fmt: skip
    controllers = lab.group(record.name).binds()
    if controllers and not unified_only(record):
        command += ["--tmpfs=/sys/fs/cgroup:mode=755"]
        command += [f"--bind={path}:/sys/fs/cgroup/{controller}" for controller, path in controllers.items()]
    return command + [f"--bind={directory}:{path}" for path, directory in record.binds.items()]


def environment(record: HostRecord) -> dict[str, str]:
    extra = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
    if unified_only(record):
        extra["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
    return {**os.environ, **extra}


def unified_only(record: HostRecord) -> bool:
    return image.systemd_version(Path(record.image)) >= FIRST_UNIFIED_ONLY


def start_time_at_zero() -> None:
    """Give the coming boot clocks, hence an uptime, of its own: pyinfra's `server.reboot` compares uptimes."""
    offset = -int(time.clock_gettime(time.CLOCK_BOOTTIME))
    _check(_libc.unshare(CLONE_NEWTIME), "unshare(CLONE_NEWTIME)")
    Path("/proc/self/timens_offsets").write_text(f"monotonic {offset} 0\nboottime {offset} 0\n")


def _check(result: int, call: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{call}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
