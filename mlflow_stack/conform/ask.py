"""What pyinfra runs on each host for `python -m mlflow_stack conform` (gather.py)."""

from mlflow_stack.conform.gather import gather

gather()
