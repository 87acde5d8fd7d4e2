"""Whether a secret is shown anywhere while a deploy is at work.

The secret holds a canary, a word that is nowhere else. `Watcher` looks for it from outside, in the hosts' own /proc and
files as this machine has them, so that it leaves no trace there: at processes, and at files that may not live long, all
the time; at everything else when it ends.
"""

from __future__ import annotations

import base64
import os
import re
import stat
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from lab import Host
from tests.e2e.stack import REPOSITORY

# The files that are there to hold a secret, also while they are made beside their place; and who may own them. Those in
# /run/credentials are systemd's copies for one service each (LoadCredential=).
SECRET_FILES = (
    "/etc/mlflow/credentials/*",
    "/run/credentials/*/pgpass",
    "/run/credentials/*/mysql.cnf",
    "/run/credentials/*/permissions-key",
    "/run/credentials/*/artifacts",
    "/run/mlflow-tracking/pgpass",
    "/run/mlflow-tracking/mysql.cnf",
    "/run/mlflow-stack-*/pgpass",
    "/run/mlflow-stack-*/mysql.cnf",
)
OWNERS = ("root", "mlflow")
DYNAMIC_USERS = range(61184, 65520)  # of DynamicUser=, which no file of users names; systemd.exec(5)
# Where files appear that are gone a moment later: /run has the units of systemd-run, with their environment.
FLEETING = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/etc/mlflow", "/etc/systemd/system", "/home", "/root")
LARGEST = 1 << 20  # bytes; a larger file is read when the watcher ends
# What any user of a host can ask for.
PUBLIC = ("systemctl show", "systemctl show '*'", "systemctl cat '*'", "ps -eww -o args", "journalctl --all")
HERE = "this machine"


def forms(canary: str) -> list[bytes]:
    """Return what a canary looks like: itself, and in base64, where it depends on the length of what is before it."""
    plain = canary.encode()
    encoded = [base64.b64encode(bytes(shift) + plain)[: (shift + len(plain)) // 3 * 4] for shift in range(3)]
    return [plain, encoded[0], encoded[1][2:], encoded[2][3:]]


@dataclass(frozen=True)
class Place:
    """A host, or this machine: where its root is for us, "" for our own, and where files may not live long."""

    name: str
    root: str
    fleeting: Sequence[str]


class Watcher:
    """Watches hosts, and this machine from which they are deployed, for a canary.

    `findings`: where it was shown, a line each, with *** in its place. `kept`: the files that may hold it and did, with
    the modes they had. `samples`: how many times processes and fleeting files were looked at, and `longest_s`: the most
    seconds from one time to the next. Of this machine `directories` and the repository are watched, and no process's
    environment: that is where somebody who deploys puts a secret.
    """

    def __init__(self, hosts: Sequence[Host], canary: str, directories: Sequence[Path]) -> None:
        self.hosts, self.forms = hosts, forms(canary)
        self.pattern = re.compile(b"|".join(map(re.escape, self.forms)))
        self.here = Place(HERE, "", [str(directory) for directory in directories])
        self.findings: set[str] = set()
        self.kept: set[str] = set()
        self.samples, self.longest_s = 0, 0.0
        self._judged: set[tuple[str, int, int, int]] = set()
        self._over = threading.Event()

    def __enter__(self) -> Watcher:
        self._thread = ThreadPoolExecutor(1)
        self._sampling = self._thread.submit(self._sample)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.shutdown()
        self._sampling.result()  # raises what it ended with before
        self._search(self.here, [*self.here.fleeting, str(REPOSITORY)], "--exclude-dir=.secrets", "--exclude-dir=.venv")
        for place in self._places():
            self._search(place, [path for path in _directories(place.root) if path not in ("/proc", "/sys")])
        for host in self.hosts:
            self._ask(host)

    def read(self, where: str, text: bytes | str) -> None:
        """Report each line of a text that shows the canary, up to there."""
        data = text.encode() if isinstance(text, str) else text
        if self.pattern.search(data):  # far cheaper than the rest
            for line in filter(self.pattern.search, data.splitlines()):
                masked = self.pattern.sub(b"***", line).decode(errors="replace").strip()
                self.findings.add(f"{where}: {masked[: masked.index('***') + 3][-100:]}")

    def _places(self) -> Iterator[Place]:
        """Yield the hosts as they are now: a host that was rebooted has another root."""
        for host in self.hosts:
            if pid := host.init():
                yield Place(host.name, f"/proc/{pid}/root", FLEETING)

    def _sample(self) -> None:
        last = time.monotonic()
        while not self._over.is_set():
            begin = time.monotonic()
            self.longest_s, last = max(self.longest_s, begin - last), begin
            for place in [*self._places(), self.here]:
                self._look_at_processes(place)
                self._look_at_files(place)
            self.samples += 1
            self._over.wait(time.monotonic() - begin)  # half a processor is enough for the watcher

    def _look_at_processes(self, place: Place) -> None:
        own = os.readlink("/proc/self/ns/pid")
        for pid in filter(str.isdigit, os.listdir(f"{place.root}/proc")):
            directory = f"{place.root}/proc/{pid}"
            with suppress(OSError):  # it has ended
                if place.root:
                    program, _, _ = _read(f"{directory}/cmdline").partition(b"\0")
                    variables = _read(f"{directory}/environ").replace(b"\0", b"\n")
                    self.read(f"{place.name}: environment of {os.fsdecode(program)}", variables)
                elif os.readlink(f"{directory}/ns/pid") != own:
                    continue  # of a host
                self.read(f"{place.name}: arguments", _read(f"{directory}/cmdline").replace(b"\0", b" "))

    def _look_at_files(self, place: Place) -> None:
        for directory in place.fleeting:
            for parent, _, names in os.walk(place.root + directory):
                for name in names:
                    with suppress(OSError):  # it is gone
                        self._look_at_file(place, f"{parent}/{name}")

    def _look_at_file(self, place: Place, path: str) -> None:
        found = os.lstat(path)
        version = (path, found.st_ino, found.st_ctime_ns, found.st_size)
        if stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST and version not in self._judged:
            self._judged.add(version)
            self._judge(place, path, found, shows=bool(self.pattern.search(_read(path))))

    def _judge(self, place: Place, path: str, found: os.stat_result, *, shows: bool) -> None:
        """Report a file that shows the canary; one that is there to hold it must not be open even while it is empty."""
        name = path.removeprefix(place.root)
        owner = _name(f"{place.root}/etc/passwd", found.st_uid)
        is_open = bool(found.st_mode & 0o077) or (owner not in OWNERS and found.st_uid not in DYNAMIC_USERS)
        is_for_secrets = any(fnmatch(name, pattern) for pattern in SECRET_FILES)
        line = f"{place.name}: {name} ({stat.S_IMODE(found.st_mode):o} {owner})"
        if is_for_secrets and not is_open:
            self.kept.update([line] if shows else [])
        elif is_for_secrets or shows:
            self.findings.add(line)

    def _search(self, place: Place, directories: Sequence[str], *options: str) -> None:
        """Search all files. The canary comes on standard input: grep's own arguments can be seen, too."""
        grep = ["grep", "-rlaF", "--null", "--no-messages", "--file=-", *options]
        paths = [place.root + directory for directory in directories]
        done = subprocess.run([*grep, *paths], input=b"\n".join(self.forms), stdout=subprocess.PIPE, check=False)
        for path in filter(None, os.fsdecode(done.stdout).split("\0")):
            self._judge(place, path, os.lstat(path), shows=True)

    def _ask(self, host: Host) -> None:
        """Read the journal, which is compressed on the disk, and what any user is told."""
        for entry in host.run("journalctl --all --output=export").stdout.split("\n\n"):
            writer = re.search(r"^SYSLOG_IDENTIFIER=(.*)$", entry, re.MULTILINE)
            self.read(f"{host.name}: journal of {writer[1] if writer else 'an unknown program'}", entry)
        for command in PUBLIC:
            told = host.run(f"cd / && runuser -u nobody -- {command}", check=False).stdout
            self.read(f"{host.name}: {command}, as nobody", told)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _directories(root: str) -> list[str]:
    return [f"/{entry.name}" for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]


def _name(passwd: str, uid: int) -> str:
    """Return the name of a user; the number where there is none."""
    users = [line.split(":") for line in Path(passwd).read_text().splitlines()]
    return next((user[0] for user in users if user[2] == str(uid)), str(uid))
