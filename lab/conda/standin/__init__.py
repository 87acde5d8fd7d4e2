"""The stand-in for the `conda` command: what it is, and the faults that tests can ask of it.

A small program of the standard library (plus PyYAML) with the command line, exit codes, JSON and on-disk records of
conda 26.5, for test hosts that cannot reach the real one (see `lab.conda`). It runs inside the prefix which the
stand-in Miniconda installer makes, and nowhere else. `specs` and `solver` choose packages, `channels` reads what a
channel offers, `cache` downloads, `linker` fills an environment, `commands` and `reports` are the subcommands.

Faults, by environment variable (read by `faults` here and by `installer.sh`):

    LAB_CONDA_FAIL_AT=STEP   break off with exit status 1 in the middle of STEP, leaving the half-done state behind
    LAB_CONDA_HANG_AT=STEP   stop for ten minutes in the middle of STEP, so that a test can kill it there

Steps of the installer: `unpack` (a part of the payload is on disk), `link` (all unpacked, no bin/conda yet).
Steps of conda: `fetch` (half of a package is downloaded), `link` (half of a package's files are in the environment,
no records), `pip` (packages are linked and recorded, the file's pip section is not installed yet).
"""

__version__ = "26.5.3"
