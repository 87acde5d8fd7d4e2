"""A conda channel and a Miniconda installer for test hosts: TEST DOUBLES, not the real ones.

The machines that run our tests reach no network but the package registries, so neither Anaconda's installer nor
conda-forge. What stands in for them here:

- `conda-forge`, a channel with CPython repackaged from this machine's pyenv, and pip, setuptools and wheel. It is a
  true conda channel: real conda reads it.
- `Miniconda3-<version>-Linux-x86_64.sh`, with the flags, messages and exit statuses of the real installer (made by
  https://github.com/conda/constructor) and, inside, a small program with conda's command line (lab/conda/standin).
  It imitates conda 26.5: what its commands do to files, its exit statuses, its JSON, its terms of service.

A green test says that we keep to this contract; that it is the real one's contract is checked with the real conda
before each release. The packages need the glibc of this machine or a newer one (built on Debian 12: 2.36); for hosts
with an older one (Debian 11: 2.31) there is a channel of their own, whose only Python is compiled on such a host.

    publishing     the interface: publish, reasons; keeps what was built
    build          puts the parts together
    hosts          which of the two channels a host uses
    tools          this machine's Pythons, pinned wheels
    compiled       a Python for hosts with an older glibc
    cpython        a CPython that works wherever it is put
    packages       conda's package and channel format
    installer      the .sh file
    standin/       what runs on the hosts
"""

from .publishing import publish, reasons

__all__ = ["publish", "reasons"]
