"""The machines of gcp_machines as an inventory: pyinfra examples/inventory_gcp.py deploy.py (docs/how-to/gcp.md).

Addresses, database and bucket are read from what `python -m mlflow_stack gcp apply` has made; nothing is written down
twice. Run it in the directory of deploy.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # pyinfra looks beside the inventory alone

from mlflow_stack.gcp.inventory import hosts

# A tracking server behind a proxy on each machine: with several of them, see docs/how-to/several-hosts.md. As the group
# gcp they get what group_data/gcp.py sets.
gcp = tracking = proxy = hosts()
