"""Throwaway hosts on this machine: real Debian systems with systemd, for the demo, the tests and the benchmarks.

A lab is one bridge, one package proxy and any number of hosts; a host is a systemd-nspawn container with its own
address, its own disk (an overlay), its own cgroups and its own uptime. Everything carries the lab's id, so that labs
live side by side and `down` finds all of it again, whatever crashed in between.

    python -m lab up            one host, "mlflow1", reachable by SSH in a few seconds
    python -m lab down          nothing is left but the caches

How the modules build on each other, top to bottom:

    __main__      the command line
    demo          `make demo`: a host, deployed to, with a model trained and served
    inventory     the lab's hosts as pyinfra sees them
    core, host    Lab and Host: the Python interface
    supervisor    the process that runs one host: mounts, boots, boots again
    proxy         the process that gives the hosts their packages (cache: what it keeps; sources: from where)
    rootfs, image the files of a host: its overlay, and the base system beneath it
    access        SSH keys and how to use them
    network, cgroups, store, process    one kernel or file facility each
    requirements  why this machine can not run a lab
    errors        what the lab raises
"""

from .core import Lab
from .errors import CommandFailed, LabError, LabUnavailable
from .host import Host

__all__ = ["CommandFailed", "Host", "Lab", "LabError", "LabUnavailable"]
