"""pyinfra reads this file first: how a run names itself on the hosts, and how it ends when it can't go on."""

from pyinfra import config  # type: ignore[attr-defined]

from mlflow_stack.running import prepare_run

# The hosts are parts of one service: one that fails, or can't be reached, stops the run on all of them.
config.FAIL_PERCENT = 0
config.ENV = prepare_run()
