"""The machines of the stack as hosts of an inventory, with its database and bucket as their settings.

examples/inventory_gcp.py is an inventory of them (docs/how-to/gcp.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow_stack.gcp.declared import load, missing
from mlflow_stack.gcp.gcloud import Gcloud
from mlflow_stack.gcp.stack import OUTPUTS, outputs
from mlflow_stack.gcp.survey import Refused, look
from mlflow_stack.setting_types import REPOSITORY

# What a host can't do without, and the output that there is of it.
_NEEDED = {"bucket": "artifacts", "database with a private address": "database_uri", "machine": "machines"}
# Where the certificate of the database's authority is kept for the run, which reads it as a file. It is no secret.
AUTHORITIES = REPOSITORY / ".secrets"


def hosts() -> list[tuple[str, dict[str, Any]]]:
    """Return the machines that gcp_machines of group_data/gcp.py names, by what the cloud says of them now.

    Raises SettingsRefused or Refused when the settings are bad, or the project can't be looked at.
    """
    declared = load()
    problems = missing(declared.gcp, "project", "region")
    if not declared.gcp.machines:
        problems.append("gcp_machines is empty; name machines there, in group_data/gcp.py")
    if problems:
        raise Refused(problems)
    found = look(Gcloud(declared.gcp.project), declared.gcp, OUTPUTS)
    if found.problems:
        raise Refused(found.problems)
    return host_entries(outputs(declared, found), declared.gcp.name, declared.gcp.machine_user)


def host_entries(
    found: dict[str, Any], stack: str, user: str, store: Path | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Return the hosts of the outputs of a stack. Raises Refused when a part of it is not there."""
    if absent := [thing for thing, output in _NEEDED.items() if not found[output]]:
        raise Refused([f"no {each} in the project yet; run `python -m mlflow_stack gcp apply`" for each in absent])
    common = {
        "ssh_user": user,
        "_sudo": True,
        "tracking_database_uri": found["database_uri"],
        "tracking_database_password": _password(found),
        "tracking_database_ca_file": str(_authority(found["database_ca"], (store or AUTHORITIES) / stack)),
        "tracking_artifacts_destination": found["artifacts"],
    }
    return [
        (name, {"ssh_hostname": machine["address"] or machine["internal_address"], **common})
        for name, machine in found["machines"].items()
    ]


def _password(found: dict[str, Any]) -> str:
    """Return the reference to the password. gcloud would write it to its log without the variable."""
    secret, project = found["database_password_secret"], found["project"]
    access = f"gcloud secrets versions access latest --secret={secret} --project={project}"
    return f"cmd:CLOUDSDK_CORE_DISABLE_FILE_LOGGING=true {access}"


def _authority(certificate: str, directory: Path) -> Path:
    directory.parent.mkdir(mode=0o700, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / "database-ca.pem"
    if not path.exists() or path.read_text() != certificate:
        path.write_text(certificate)
    return path
