"""pyinfra reads this file first: how a run names itself on the hosts, and how it goes on when one of them fails."""

from pyinfra import config  # type: ignore[attr-defined]

from mlflow_stack.running import prepare_run

config.ENV = prepare_run()
