"""Train three models on scikit-learn's diabetes data, log them to MLflow, and make the best one the champion.

    python examples/train_diabetes.py --tracking-uri http://mlflow.example.com:5000

Needs only the address of the tracking server: parameters, metrics, artifacts and models all go through it.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from importlib.metadata import version

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split

NAME = "diabetes"  # of the experiment and of the registered model
ALIAS = "champion"
PAIRS = ((0.01, 0.01), (0.01, 0.75), (0.01, 1.0))  # alpha, l1_ratio
# What the model server installs to load the model. Said here, since MLflow's own search for it takes 5 s per model and
# also lists what only happens to be imported, such as pytest.
PACKAGES = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")
# Unless the caller's environment says otherwise: left alone, MLflow tries an unreachable server for minutes (so: 70 s
# at most) and prints two addresses after each run.
MLFLOW_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class Trained:
    """A logged model and its error on the test data."""

    run_id: str
    model_uri: str
    rmse: float


def train(data: pd.DataFrame, alpha: float, l1_ratio: float) -> Trained:
    """Train, evaluate and log one model in a run of its own."""
    features, target = data.drop(columns="target"), data["target"]
    train_x, test_x, train_y, test_y = train_test_split(features, target, random_state=42)
    with mlflow.start_run(run_name=f"alpha={alpha} l1_ratio={l1_ratio}") as run:
        model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio, random_state=42).fit(train_x, train_y)
        predicted = model.predict(test_x)
        metrics = evaluate(test_y, predicted)
        mlflow.log_params({"alpha": alpha, "l1_ratio": l1_ratio})
        mlflow.log_metrics(metrics)
        mlflow.log_figure(plot(test_y, predicted), "predicted-vs-true.png")
        mlflow.log_text(data.to_csv(index=False), "diabetes.csv")
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(train_x, predicted),
            input_example=train_x.head(2),
            pip_requirements=[f"{package}=={version(package)}" for package in PACKAGES],
        )
    print(f"alpha={alpha} l1_ratio={l1_ratio}: " + " ".join(f"{name}={value:.3f}" for name, value in metrics.items()))
    return Trained(run.info.run_id, logged.model_uri, metrics["rmse"])


def evaluate(true: pd.Series, predicted: pd.Series) -> dict[str, float]:
    """Return the metrics to log; the first decides which model is best."""
    return {
        "rmse": root_mean_squared_error(true, predicted),
        "mae": mean_absolute_error(true, predicted),
        "r2": r2_score(true, predicted),
    }


def plot(true: pd.Series, predicted: pd.Series) -> Figure:
    """Return a scatter plot of predictions over true values, with the line on which they would agree."""
    figure = Figure()
    axes = figure.subplots()
    axes.scatter(true, predicted, s=12)
    axes.axline((true.mean(), true.mean()), slope=1, color="grey")
    axes.set(xlabel="true disease progression", ylabel="predicted")
    return figure


def promote(best: Trained) -> str:
    """Register the model, point the alias to it, and return its version."""
    registered = mlflow.register_model(best.model_uri, NAME)
    mlflow.MlflowClient().set_registered_model_alias(NAME, ALIAS, registered.version)
    return registered.version


def main() -> None:
    """Parse the command line, train, promote. Exit status 1 when the server cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = os.environ.get("MLFLOW_TRACKING_URI")
    parser.add_argument("--tracking-uri", default=given, required=not given, help="default: $MLFLOW_TRACKING_URI")
    uri = parser.parse_args().tracking_uri.rstrip("/")
    os.environ.update(MLFLOW_ENVIRONMENT | os.environ)
    mlflow.set_tracking_uri(uri)
    try:
        experiment = mlflow.set_experiment(NAME)
        data = load_diabetes(as_frame=True).frame
        best = min((train(data, *pair) for pair in PAIRS), key=lambda trained: trained.rmse)
        number = promote(best)
    except MlflowException as error:
        sys.exit(
            f"MLflow at {uri} did not answer as expected; check the address, and on its host "
            f"`systemctl status mlflow-tracking`: {error.message}"
        )
    print(f"experiment: {uri}/#/experiments/{experiment.experiment_id}")
    print(f"model: {NAME} version {number}, alias {ALIAS}, of run {best.run_id}")


if __name__ == "__main__":
    main()
