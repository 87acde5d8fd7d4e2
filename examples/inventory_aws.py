"""The machines of aws_hosts as an inventory: pyinfra examples/inventory_aws.py deploy.py (docs/how-to/aws.md).

Addresses, database and bucket are read from what `python -m mlflow_stack aws apply` has made; nothing is written down
twice. Run it in the directory of deploy.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # pyinfra looks beside the inventory alone

from mlflow_stack.aws.command import load
from mlflow_stack.aws.hosts import hosts

# A tracking server behind a proxy on each machine: with several of them, see docs/how-to/several-hosts.md. As the group
# aws they get what group_data/aws.py sets.
aws = tracking = proxy = hosts(load())
