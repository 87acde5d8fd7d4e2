"""The machines of a stack as an inventory for deploy.py: their addresses, with the stack's database and bucket.

`python -m mlflow_stack.aws.hosts SECRET REGION` prints the database's password: it is the command that the inventory
gives as the reference to it.
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from mlflow_stack.aws import preflight, stacks, values
from mlflow_stack.aws.api import Aws, Failed, Refused
from mlflow_stack.aws.secret import Secret
from mlflow_stack.aws.values import CloudSettings, Known


def hosts(settings: CloudSettings) -> list[tuple[str, dict[str, Any]]]:
    """Return the machines of aws_hosts for an inventory, with what they get from the stack.

    Raises Refused where there can be none, and Failed for one that is not there yet.
    """
    if not settings.aws.hosts:
        raise Refused(["aws_hosts is empty; name machines there, in group_data/aws.py"])
    aws = Aws(settings.aws.region)
    preflight.check_account(aws, settings)
    parts = {part: stacks.find(aws, settings.aws.stack(part)) for part in values.parts(settings.aws)}
    absent = [stack.name for part, stack in parts.items() if part not in ("tasks", "service") and not stack.is_there]
    if absent:
        raise Failed(f"not there yet: {', '.join(absent)}; run `python -m mlflow_stack aws apply`")
    return host_entries(Known(settings, {part: stack.outputs for part, stack in parts.items()}, Secret(""), None))


def host_entries(known: Known) -> list[tuple[str, dict[str, Any]]]:
    """Return the machines by what the stacks have said of them."""
    shared = _from_stack(known)
    return [
        (name, {"ssh_hostname": known.output(f"{values.HOST}{name}", "Address"), **shared})
        for name in known.settings.aws.hosts
    ]


def _from_stack(known: Known) -> dict[str, Any]:
    aws = known.settings.aws
    command = [sys.executable, "-m", "mlflow_stack.aws.hosts", aws.database_secret, aws.region]
    return {
        "ssh_user": aws.host_user,
        "_sudo": True,
        "tracking_database_uri": values.database_uri(known),
        "tracking_database_password": f"cmd:{shlex.join(command)}",
        "tracking_database_ca_file": aws.database_ca_file,
        "tracking_artifacts_destination": f"s3://{aws.bucket_name}/artifacts",
        "tracking_artifacts_region": aws.region,
    }


def password(name: str, region: str) -> str:
    """Return the database's password."""
    found = Aws(region).ask("secretsmanager", "get_secret_value", SecretId=name)
    return str(json.loads(found["SecretString"])["password"])


if __name__ == "__main__":
    try:
        print(password(*sys.argv[1:3]))
    except Failed as failed:
        sys.exit(f"{Path(__file__).stem}: {failed}")
