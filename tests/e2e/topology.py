"""Several hosts under one inventory, with settings in group_data/ beside it, as a user would write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab import Host, Lab
from lab.inventory import connection, settings
from tests.e2e import web
from tests.e2e.conftest import LAYER
from tests.e2e.stack import EXAMPLE, OPEN, Run, Stack

BUILT = "built"

# What a role left on the host that told the story. Packages, Miniconda and environments stay, which is what takes long.
STRIP = """
systemctl disable --now --quiet mlflow-tracking mlflow-production mlflow-production@diabetes mlflow-firewall
rm -rf /etc/systemd/system/mlflow-* /etc/mlflow /var/lib/mlflow /var/lib/mlflow-models /var/lib/mlflow-stack
rm -rf /var/backups/mlflow
systemctl daemon-reload
pg_dropcluster --stop 15 main
pg_createcluster 15 main
systemctl disable --now --quiet postgresql
"""


def build(lab: Lab) -> str:
    """Ensure the layer of a host on which no role runs, but for which everything is downloaded and built."""
    if BUILT not in lab.layers():
        host = lab.up("builder", layers=[LAYER])
        host.run(f"set -e; {STRIP}")
        lab.snapshot("builder", BUILT)
        lab.down("builder")
    return BUILT


class Topology(Stack):
    """Hosts in groups. `arrange` says who is in which group and what the groups' data are; then as a Stack.

    `url` and `model_url` are those of a tracking server and of a model server, in the end of the given hosts.
    """

    def __init__(self, directory: Path, hosts: Mapping[str, Host], tracking: str, production: str) -> None:
        super().__init__(hosts[tracking], directory)
        self.hosts = hosts
        self.url = f"http://{hosts[tracking].address}:5000"
        self.model_url = f"http://{hosts[production].address}:5001"
        self.groups: Mapping[str, Sequence[str]] = {}
        self.data: Mapping[str, Mapping[str, Any]] = {}

    def arrange(self, groups: Mapping[str, Sequence[str]], **data: Mapping[str, Any]) -> None:
        """Set the groups (names of hosts by group), and data by the name of a group or of a host."""
        self.groups, self.data = groups, data

    def deploy(self, *options: str, **overrides: Any) -> Run:
        return self._finish(self.start("-y", "--json", *options, **overrides))

    def inventory(self, second: dict[str, Any] | None = None, **overrides: Any) -> Path:
        """Write the inventory and its group_data/; `overrides` become data of all hosts."""
        entries = {
            name: (name, {**connection(host), **settings(host.lab), **OPEN, **self.data.get(name, {}), **overrides})
            for name, host in self.hosts.items()
        }
        group_data = self.directory / "group_data"
        group_data.mkdir(exist_ok=True)
        for group in self.groups:
            values = self.data.get(group, {})
            (group_data / f"{group}.py").write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
        path = self.directory / "inventory.py"
        groups = {group: [entries[name] for name in names] for group, names in self.groups.items()}
        path.write_text("".join(f"{group} = {hosts!r}\n" for group, hosts in groups.items()))
        return path


def predictions(host: Host) -> list[float]:
    """Return what the model on a host predicts, asked over the network."""
    answer = web.post(f"http://{host.address}:5001/invocations", EXAMPLE)
    assert answer.status == 200, answer
    found: list[float] = answer.json["predictions"]
    return found


def release(host: Host) -> str:
    """Return the release of the model that a host serves."""
    return host.run("readlink /var/lib/mlflow-models/diabetes/current").stdout.strip()


def experiments(url: str) -> list[str]:
    """Return the names of the experiments that a tracking server knows."""
    answer = web.post(f"{url}/api/2.0/mlflow/experiments/search", {"max_results": 100})
    assert answer.status == 200, answer
    return sorted(each["name"] for each in answer.json["experiments"])
