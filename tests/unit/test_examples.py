"""examples/train_diabetes.py, run as a user does, against a real `mlflow server`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Run
from mlflow.models import Model

SCRIPT = Path(__file__).resolve().parents[2] / "examples/train_diabetes.py"
FEATURES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


@dataclass(frozen=True)
class Trained:
    """A server on which the example was run once, and what the example printed."""

    uri: str
    stdout: str
    stderr: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri=self.uri)

    @property
    def runs(self) -> list[Run]:
        """The runs of the experiment, the best first."""
        experiment = self.client.get_experiment_by_name("diabetes")
        assert experiment is not None
        return list(self.client.search_runs([experiment.experiment_id], order_by=["metrics.rmse"]))


def environment(**mlflow: str) -> dict[str, str]:
    """Our environment without its MLflow settings, which would lead elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return kept | mlflow | {"MLFLOW_DISABLE_TELEMETRY": "true"}


def train(uri: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT)],
        env=environment(MLFLOW_TRACKING_URI=uri),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"mlflow server did not become healthy at {uri}:\n{log.read_text()}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, which are in a process group of their own."""
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server that only this module uses."""
    directory = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    options = {
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{directory}/mlflow.db",
        "--artifacts-destination": str(directory / "artifacts"),
    }
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *(word for option in options.items() for word in option)],
            env=environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        stop(process)


@pytest.fixture(scope="module")
def trained(server: str) -> Trained:
    result = train(server)
    assert result.returncode == 0, result.stderr
    return Trained(server, result.stdout, result.stderr)


def test_example_logs_a_run_with_parameters_and_metrics_for_each_pair(trained: Trained) -> None:
    runs = trained.runs

    assert sorted((run.data.params["alpha"], run.data.params["l1_ratio"]) for run in runs) == [
        ("0.01", "0.01"),
        ("0.01", "0.75"),
        ("0.01", "1.0"),
    ]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert [set(run.data.metrics) for run in runs] == [{"rmse", "mae", "r2"}] * 3
    assert all(50 < run.data.metrics["rmse"] < 65 for run in runs)


def test_example_stores_the_plot_and_the_data_with_each_run(trained: Trained, tmp_path: Path) -> None:
    for run in trained.runs:
        download_artifacts(run_id=run.info.run_id, dst_path=str(tmp_path / run.info.run_id), tracking_uri=trained.uri)

    directories = sorted(tmp_path.iterdir())
    assert [sorted(file.name for file in directory.iterdir()) for directory in directories] == [
        ["diabetes.csv", "predicted-vs-true.png"]
    ] * 3
    assert (directories[0] / "predicted-vs-true.png").read_bytes().startswith(b"\x89PNG")
    data = pd.read_csv(directories[0] / "diabetes.csv")
    assert (list(data.columns), len(data)) == ([*FEATURES, "target"], 442)


def test_example_makes_the_model_with_the_lowest_rmse_the_champion(trained: Trained) -> None:
    best, *others = trained.runs

    version = trained.client.get_model_version_by_alias("diabetes", "champion")

    assert version.run_id == best.info.run_id
    assert all(best.data.metrics["rmse"] < run.data.metrics["rmse"] for run in others)


def test_example_stores_signature_input_example_and_requirements_with_the_model(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", trained.uri)
    path = Path(download_artifacts(artifact_uri="models:/diabetes@champion", dst_path=str(tmp_path)))

    model = Model.load(str(path))

    assert model.signature.inputs.input_names() == FEATURES
    assert pd.DataFrame(model.load_input_example(str(path))).shape == (2, len(FEATURES))
    requirements = (path / "requirements.txt").read_text().splitlines()
    assert [line.split("==")[0] for line in requirements] == [
        "mlflow",
        "numpy",
        "pandas",
        "scikit-learn",
        "scipy",
        "skops",
    ]


def test_example_prints_a_line_for_each_run_and_where_to_look(trained: Trained) -> None:
    run_id = trained.runs[0].info.run_id

    lines = [re.sub(r"\d+\.\d{3}", "#", line) for line in trained.stdout.splitlines()]

    assert lines == [
        "alpha=0.01 l1_ratio=0.01: rmse=# mae=# r2=#",
        "alpha=0.01 l1_ratio=0.75: rmse=# mae=# r2=#",
        "alpha=0.01 l1_ratio=1.0: rmse=# mae=# r2=#",
        f"experiment: {trained.uri}/#/experiments/1",
        f"model: diabetes version 1, alias champion, of run {run_id}",
    ]


def test_example_warns_of_nothing(trained: Trained) -> None:
    assert not re.search("warn|deprecat|traceback|error", trained.stderr, re.IGNORECASE), trained.stderr


def test_example_says_what_to_check_when_the_server_is_unreachable() -> None:
    uri = f"http://127.0.0.1:{free_port()}"

    result = train(uri)

    message = result.stderr.splitlines()[-1]
    assert (result.returncode, result.stdout) == (1, "")
    assert "Traceback" not in result.stderr
    assert message.startswith(
        f"MLflow at {uri} did not answer as expected; check the address, and on its host "
        "`systemctl status mlflow-tracking`: API request to "
    )
    assert "Connection refused" in message
