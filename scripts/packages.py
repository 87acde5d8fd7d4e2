"""Install the Debian packages that the lab needs on this machine; with --tests, also those of the tests.

Run by make with the system's own Python, before there is a .venv: standard library only. Does nothing when all are
there. Exit status 1 when it has no right to install them, with the command to run instead.
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab.requirements import PROGRAMS

# Beside the programs of the lab: its image's keyring, what its stand-in for Miniconda is built with, .venv and curl.
LAB = {*PROGRAMS.values(), "debian-archive-keyring", "binutils", "libc-bin", "python3-venv", "curl"}
# A browser for MLflow's pages, with a font to draw them in; nft, for the rules of the firewall; Vagrant, with the
# provider that needs no virtual machine; what examines TLS from outside; what builds and runs container images, a
# registry for them, and the databases that they use.
TESTS = {
    *("chromium", "fonts-dejavu-core", "nftables", "vagrant", "vagrant-lxc", "sslscan", "testssl.sh"),
    *("buildah", "podman", "runc", "docker-registry", "openssl", "postgresql", "mariadb-server-core", "mariadb-client"),
}
APT = "apt-get -q -o DPkg::Lock::Timeout=300"


def missing(packages: set[str]) -> list[str]:
    """Return those of the packages that are not installed, sorted."""
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\\n", *packages]
    listed = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()
    return sorted(packages - {line.split()[1] for line in listed if line.startswith("installed ")})


def install(packages: list[str]) -> None:
    """Install the packages. SystemExit with the commands to run when this is not root, or with apt's status."""
    update = f"{APT} update"
    command = f"{APT} install -y --no-install-recommends {shlex.join(packages)}"
    if os.geteuid():
        sys.exit(f"packages are missing, and only root can install them:\n\n    sudo sh -c '{update} && {command}'\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for line in (update, command):
        print(f"+ {line}", flush=True)
        done = subprocess.run(shlex.split(line), env=environment, stdout=subprocess.DEVNULL, timeout=1200, check=False)
        if done.returncode:
            sys.exit(f"`{line}` failed with exit status {done.returncode}; run it by hand to see why")


def main() -> None:
    """Parse the command line; install what is missing."""
    parser = argparse.ArgumentParser(description="Install the Debian packages that the lab needs.")
    parser.add_argument("--tests", action="store_true", help="also the packages that only the tests need")
    wanted = LAB | TESTS if parser.parse_args().tests else LAB
    try:
        packages = missing(wanted)
    except FileNotFoundError:
        return  # not Debian: what the lab misses, it says itself
    if packages:
        install(packages)


if __name__ == "__main__":
    main()
