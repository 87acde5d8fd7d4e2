"""Memory, processes and restart time of both units, beside the units of the tutorial that people follow by hand.

The tutorial's units are MLflow's defaults: four workers, job runners, everything on the command line. They run on the
same host, from the same environments, on the same database, one after the other.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.common import bench_lab, median, say, served
from tests.e2e.stack import Stack

RESTARTS = 5
SETTLE_S = 45  # the default units go on starting job consumers long after they answer

NAIVE_TRACKING = """[Service]
User=mlflow
WorkingDirectory=/var/lib/mlflow
Environment=PATH={environment}/bin:/usr/bin:/bin
ExecStart={environment}/bin/mlflow server --host 0.0.0.0 --port 5000 --backend-store-uri {uri} \\
  --artifacts-destination /var/lib/mlflow/artifacts
"""
NAIVE_MODEL = """[Service]
User=mlflow-model
Environment=HOME=/tmp PATH={model}/env/bin:/usr/bin:/bin MLFLOW_TRACKING_URI=http://127.0.0.1:5000
ExecStart={model}/env/bin/mlflow models serve --model-uri {model}/model --env-manager local --host 0.0.0.0 --port 5001
"""
ANSWER = (
    "curl -sf -o /dev/null -m 20 -X POST -H 'Content-Type: application/json' -d '{\"max_results\": 1}' "
    "http://127.0.0.1:5000/api/2.0/mlflow/experiments/search"
)
UNTIL_PING = "for i in $(seq 240); do curl -sf http://127.0.0.1:5001/ping && exit 0; sleep 0.5; done; exit 1"


@dataclass(frozen=True)
class Footprint:
    """Memory in MiB (proportional set size, which counts shared pages once) and processes of a unit."""

    mib: int
    processes: int


def footprint(stack: Stack, unit: str) -> Footprint:
    script = (
        f"pids=$(systemctl status --no-pager -n 0 {unit} | grep -oE '[├└]─ *[0-9]+' | grep -oE '[0-9]+'); "
        "echo $(cat $(printf '/proc/%s/smaps_rollup ' $pids) | awk '/^Pss:/ {s += $2} END {print int(s / 1024)}') "
        "$(echo $pids | wc -w)"
    )
    mib, processes = stack.host.run(script).stdout.split()
    return Footprint(int(mib), int(processes))


def restart_seconds(stack: Stack, unit: str) -> float:
    """Return the seconds from `systemctl restart` to an answer that needs the database, measured on the host."""
    start = time.monotonic()
    stack.host.run(
        f"systemctl restart {unit}; for i in $(seq 1200); do {ANSWER} && exit 0; sleep 0.1; done; exit 1", timeout=300
    )
    return time.monotonic() - start


def measure(stack: Stack, tracking: str, model: str) -> tuple[Footprint, Footprint, list[float]]:
    times = [restart_seconds(stack, tracking) for _ in range(RESTARTS)]
    stack.host.run(f"systemctl restart {model}; {UNTIL_PING}", timeout=300)
    time.sleep(SETTLE_S)
    return footprint(stack, tracking), footprint(stack, model), times


def install_naive(stack: Stack) -> None:
    environment = stack.host.run("ls -d /opt/mlflow/envs/mlflow-*").stdout.strip()
    uri = "postgresql+psycopg2://mlflow_user@/mlflow_db?host=/var/run/postgresql"
    model = "/var/lib/mlflow-models/diabetes/current"
    stack.host.put(
        "/etc/systemd/system/naive-tracking.service", NAIVE_TRACKING.format(environment=environment, uri=uri)
    )
    stack.host.put("/etc/systemd/system/naive-model.service", NAIVE_MODEL.format(model=model))
    stack.host.run("systemctl daemon-reload; systemctl stop mlflow-tracking mlflow-production")


def main() -> None:
    with bench_lab() as lab:
        stack = served(lab)
        say("measuring the units of MLflow Stack")
        ours = measure(stack, "mlflow-tracking.service", "mlflow-production@diabetes.service")
        say("measuring the tutorial's units")
        install_naive(stack)
        naive = measure(stack, "naive-tracking.service", "naive-model.service")
    print(
        "| | tracking MiB | tracking processes | model MiB | model processes | restart to answer, s, median (range) |"
    )
    print("|---|---|---|---|---|---|")
    for title, (tracking, model, times) in (("tutorial", naive), ("MLflow Stack", ours)):
        cells = [tracking.mib, tracking.processes, model.mib, model.processes, median(times)]
        print(f"| {title} | {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
