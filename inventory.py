"""The hosts, by group. A host's groups say what runs on it: postgresql, tracking, production.

As it stands this names the host of the lab (`make lab`), so that you can try everything on this machine. To deploy to
servers of your own, delete the lab's lines and write, for example:

    production = tracking = postgresql = [
        ("mlflow.example.com", {"ssh_user": "deploy", "_sudo": True}),
    ]

A host's data may hold any setting of group_data/all.py, for that host alone. `ssh_user` needs sudo without a password.
"""

from lab.inventory import hosts as lab_hosts

# What differs from group_data/all.py in the lab: the server is opened to this machine, without a login, so that a
# browser and a client can reach it, and a model is declared before anybody has trained it.
_lab_settings = {
    "tracking_bind": "0.0.0.0",  # noqa: S104  # only this machine can reach a lab host
    "tracking_open_to_everybody": True,
    "production_bind": "0.0.0.0",  # noqa: S104
    "production_open_to_everybody": True,
    "production_models": {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001, "required": False}},
}
_hosts = [(name, {**data, **_lab_settings}) for name, data in lab_hosts()]

postgresql = _hosts
tracking = _hosts
production = _hosts
