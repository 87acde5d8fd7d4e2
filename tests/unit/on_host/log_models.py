"""Log and register the models NAME… at MLFLOW_TRACKING_URI; print {"NAME": [run id, logged model id]} as JSON.

A program of its own: MLflow keeps the tracking server of a process in global state that other tests would inherit.
"""

import json
import sys

import mlflow


def same(model_input: list[float]) -> list[float]:
    return model_input


def log(name: str) -> tuple[str, str]:
    """Return the ids of the run and of the logged model."""
    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(
            name="model", python_model=same, registered_model_name=name, pip_requirements=["mlflow==3.17.2"]
        )
    return run.info.run_id, info.model_id


if __name__ == "__main__":
    print(json.dumps({name: log(name) for name in sys.argv[1:]}))
