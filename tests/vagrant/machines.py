"""Vagrant as its users have it, where there are no virtual machines and no public boxes: with LXC, inside a lab.

    a network namespace   the lab's, as of a host that is named "vagrant"; the machine's bridge in it is one with the
                          lab's, so that the machine reaches the lab's package proxy and nothing else
    a mount namespace     for each command: the other namespace's /sys (LXC looks for bridges there), its own /etc/lxc
                          and /run
    a control group       the lab's, above LXC's own
    the box               the lab's base system under the public box's name

So the repository's Vagrantfile is used as it is, and `Lab.down` finds and ends all of it whatever happened.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import Lab, image, rootfs
from lab.process import run

REPOSITORY = Path(__file__).resolve().parents[2]
BOX = "debian/bookworm64"
PLACE, PLACE_NUMBER, MACHINE_NUMBER = "vagrant", 21, 22
PROGRAMS = {"vagrant": "vagrant", "lxc-start": "vagrant-lxc", "redir": "vagrant-lxc"}
BRIDGE = "lxcbr0"
# The key that every public box admits; Vagrant replaces it when it first logs in.
PUBLIC_KEY = "/usr/share/rubygems-integration/all/gems/vagrant-[0-9]*/keys/vagrant.pub"

LXC_CONF = "lxc.lxcpath = {machines}\n"
# cgroup.relative: below the group that the command runs in, which is the lab's.
DEFAULT_CONF = """\
lxc.net.0.type = veth
lxc.net.0.link = {bridge}
lxc.net.0.flags = up
lxc.net.0.ipv4.address = {address}/24
lxc.cgroup.relative = 1
lxc.apparmor.profile = unconfined
"""
BOX_CONF = """\
lxc.mount.auto = cgroup:mixed proc:mixed sys:mixed
lxc.cap.drop = mac_admin mac_override sys_time sys_module
lxc.tty.max = 1
lxc.pty.max = 1024
"""
# vagrant-lxc 1.4.3 hands a Hash to I18n.t, which Ruby 3 takes for a second positional argument: no port is forwarded.
VAGRANT_LXC_FIX = """\
I18n.singleton_class.prepend(Module.new do
  def translate(key = nil, arguments = {}, **keywords) = super(key, **arguments, **keywords)
  alias_method :t, :translate
end)
"""
# As a public box does: each machine makes its host key when it first boots.
NEW_HOST_KEY = "[Service]\nExecStartPre=\nExecStartPre=ssh-keygen -A\nExecStartPre=/usr/sbin/sshd -t\n"

# Of the hierarchies of control groups only those that the lab uses, and removes its own from: LXC takes all it finds.
ENTER = """
mount --rbind /sys/fs/cgroup "$1/cgroup"
mount -t sysfs sysfs /sys
if [ -d "$1/cgroup/unified" ]; then
    mount -t tmpfs tmpfs /sys/fs/cgroup
    for name in unified systemd memory pids cpu cpuacct; do
        mkdir "/sys/fs/cgroup/$name"
        mount --bind "$1/cgroup/$name" "/sys/fs/cgroup/$name"
    done
else
    mount --rbind "$1/cgroup" /sys/fs/cgroup
fi
mount --bind "$1/etc" /etc/lxc
mount -t tmpfs tmpfs /run
shift
exec "$@"
"""


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit status, what it printed, and what it complained of."""

    status: int
    stdout: str
    stderr: str


def missing() -> list[str]:
    """Return why Vagrant can't run on this machine; nothing if it can."""
    packages = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    return [f"programs are missing: apt-get install -y {' '.join(packages)}"] if packages else []


class Machines:
    """A place in `lab` where `vagrant` works; the lab must be one of its own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.address = lab.network.address(MACHINE_NUMBER)
        self.directory = lab.ram / PLACE
        self.namespace = lab.network.namespace(PLACE)

    def up(self) -> None:
        """Ensure the place, with the box in it and no machine."""
        self.lab.serve()
        for name in ("cgroup", "etc", "home/.vagrant.d", "machines"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        rootfs.write(self.directory / "etc/lxc.conf", LXC_CONF.format(machines=self.directory / "machines"))
        rootfs.write(self.directory / "etc/default.conf", DEFAULT_CONF.format(bridge=BRIDGE, address=self.address))
        # Vagrant reads its home's own Vagrantfile first, whatever the project's says.
        rootfs.write(self.directory / "home/.vagrant.d/Vagrantfile", VAGRANT_LXC_FIX)
        self._connect()
        box = self._box()
        added = self.run("vagrant", "box", "add", "--name", BOX, "--provider", "lxc", str(box))
        assert added.status == 0, added.stderr
        box.unlink()

    def run(self, *command: str, timeout: float = 600) -> Ended:
        """Run a command in the repository, as a user of Vagrant would.

        It prints to files: what it leaves running, such as Vagrant's forwarder of ports, would keep a pipe open.
        """
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "--propagation", "private"]
        stdout, stderr = self.directory / "stdout", self.directory / "stderr"
        with stdout.open("w") as out, stderr.open("w") as err:
            done = subprocess.run(
                [*enter, "sh", "-ec", ENTER, "sh", str(self.directory), *command],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=timeout,
                check=False,
                env=self._environment(),
                preexec_fn=self.lab.group(PLACE).enter,
            )
        return Ended(done.returncode, stdout.read_text(), stderr.read_text())

    def pyinfra(self, *arguments: str) -> Ended:
        """Run pyinfra as the how-to says, but with the lab's Miniconda: `--data` leaves the shipped files alone."""
        settings = json.loads(self.lab.store.settings.read_text())
        data = [word for name, value in settings.items() for word in ("--data", f"{name}={_text(value)}")]
        return self.run(sys.executable, "-m", "pyinfra", *data, *arguments, timeout=900)

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.directory / "home"),
            "VAGRANT_HOME": str(self.directory / "home/.vagrant.d"),
            "VAGRANT_DOTFILE_PATH": str(self.directory / "home/.vagrant"),
            "VAGRANT_DEFAULT_PROVIDER": "lxc",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "NO_COLOR": "1",
        }

    def _connect(self) -> None:
        """Give the namespace a bridge for machines, with its way to the lab as one of the bridge's ports."""
        network = self.lab.network
        network.attach(PLACE, PLACE_NUMBER)
        address = f"{network.address(PLACE_NUMBER)}/24"
        for words in (
            f"link add {BRIDGE} type bridge",
            "addr flush dev eth0",
            f"link set eth0 master {BRIDGE}",
            f"addr add {address} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        ):
            run("ip", "-n", self.namespace, *words.split())

    def _box(self) -> Path:
        """Make the box of the lab's base system: what the public one has, and the lab's package sources."""
        content = self.directory / "draft"
        (content / "rootfs").mkdir(parents=True)
        run("cp", "-a", f"{image.ensure('bookworm', self.lab.proxy_url)}/.", f"{content}/rootfs")
        self._prepare(content / "rootfs")
        (content / "metadata.json").write_text(json.dumps({"provider": "lxc", "version": "1.0.0"}))
        (content / "lxc-config").write_text(BOX_CONF)
        box = self.directory / "lxc.box"
        packed = ("-I", "gzip -1", "-cf", f"{content}/rootfs.tar.gz")  # the smallest is not worth 20 s
        run("tar", "-C", str(content), "--numeric-owner", *packed, "./rootfs")
        run("tar", "-C", str(content), "-cf", str(box), "metadata.json", "lxc-config", "rootfs.tar.gz")
        shutil.rmtree(content)
        return box

    def _prepare(self, root: Path) -> None:
        run("chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "vagrant")
        rootfs.write(root / "etc/sudoers.d/vagrant", "vagrant ALL=(ALL) NOPASSWD: ALL\n", mode=0o440)
        (key,) = Path("/").glob(PUBLIC_KEY.lstrip("/"))
        home = root / "home/vagrant"
        rootfs.write(home / ".ssh/authorized_keys", key.read_text(), mode=0o600)
        owner = home.stat()
        for path in (home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(path, owner.st_uid, owner.st_gid)
        rootfs.write(root / "etc/systemd/system/ssh.service.d/host-key.conf", NEW_HOST_KEY)
        rootfs.use_proxy(root, self.lab.proxy_url)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
