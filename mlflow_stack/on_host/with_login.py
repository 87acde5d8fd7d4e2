"""with_login USER PROGRAM ARGUMENTS…: run a Python program of MLflow's as a user who logs in at the tracking server.

The password is on standard input. MLflow takes it from a variable; the environment that a process was started with
stays readable (/proc/PID/environ, proc(5)), what a process sets for itself is not in there. Nor do the processes that
MLflow starts get it (uname, for one): os.unsetenv takes it from what they inherit, and leaves it in os.environ.
"""

import os
import runpy
import sys


def main() -> None:
    user, program, *arguments = sys.argv[1:]
    os.environ["MLFLOW_TRACKING_USERNAME"] = user
    os.environ["MLFLOW_TRACKING_PASSWORD"] = sys.stdin.read().strip("\n")
    os.unsetenv("MLFLOW_TRACKING_PASSWORD")
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main()
