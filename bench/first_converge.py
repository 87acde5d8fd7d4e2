"""A first deploy with warm package caches, beside the same work done by a bare shell script."""

from __future__ import annotations

import statistics

from bench.common import bench_lab, fresh, median, say, seconds
from lab import Lab
from lab.inventory import settings
from mlflow_stack.setting_types import REPOSITORY

RUNS = 3


def bare(lab: Lab) -> float:
    """Return the seconds of bench/bare.sh on a fresh host."""
    host = fresh(lab).host
    data = settings(lab)
    url = data["conda_installer_url"].format(version=data["conda_installer_version"], arch="x86_64")
    host.put("/root/bench/bare.sh", (REPOSITORY / "bench" / "bare.sh").read_bytes(), mode="755")
    host.put("/root/bench/uv.txt", (REPOSITORY / "locks" / "uv.txt").read_bytes())
    host.put("/root/bench/mlflow.txt", (REPOSITORY / "locks" / "mlflow-py3.12.txt").read_bytes())
    variables = f"INSTALLER_URL={url} CHANNEL_ALIAS={data['conda_channel_alias']}"
    return seconds(lambda: host.run(f"{variables} /root/bench/bare.sh", timeout=900))


def deploy(lab: Lab) -> float:
    """Return the seconds of `pyinfra inventory.py deploy.py -y` on a fresh host."""
    stack = fresh(lab)
    return seconds(lambda: stack.converge(production_models={}))


def main() -> None:
    with bench_lab() as lab:
        say("warming the caches")
        bare(lab)
        ours, script = [], []
        for number in range(RUNS):
            script.append(bare(lab))
            ours.append(deploy(lab))
            say(f"round {number + 1}: script {script[-1]:.1f} s, deploy {ours[-1]:.1f} s")
    ratio = statistics.median(ours) / statistics.median(script)
    print("| first converge, warm caches | seconds, median (range) |\n|---|---|")
    print(f"| bare shell script | {median(script)} |\n| deploy.py | {median(ours)} |\n| ratio | {ratio:.2f} |")


if __name__ == "__main__":
    main()
