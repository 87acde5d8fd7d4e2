"""MLflow's pages in a real browser: do the people who open the address see their runs?

Needs Debian's package chromium (and fonts-dejavu-core for the picture). MLFLOW_SCREENSHOT=1 writes the picture of the
documentation anew; otherwise nothing is written to the tree.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.e2e import web
from tests.e2e.browser import missing, skip_without_chromium
from tests.e2e.stack import REPOSITORY, Stack

SCREENSHOT = REPOSITORY / "docs" / "images" / "mlflow-ui.png"


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack that has answered."""
    skip_without_chromium()
    served.recovers()
    return served


def test_browser_shows_the_runs_of_the_experiment_and_their_metrics(stack: Stack, tmp_path: Path) -> None:
    api = f"{stack.url}/api/2.0/mlflow"
    experiment = web.get(f"{api}/experiments/get-by-name?experiment_name=diabetes").json["experiment"]["experiment_id"]
    runs = web.post(f"{api}/runs/search", {"experiment_ids": [experiment]}).json["runs"]
    picture = [f"--screenshot={SCREENSHOT}"] if os.environ.get("MLFLOW_SCREENSHOT") else []

    shown = [
        "diabetes",
        "3 matching runs",
        "alpha=0.01 l1_ratio=0.01",
        "alpha=0.01 l1_ratio=0.75",
        "alpha=0.01 l1_ratio=1.0",
    ]
    shown += [f"{metric['value']:.2f}" for run in runs for metric in run["data"]["metrics"]]

    url = f"{stack.url}/#/experiments/{experiment}/runs?compareRunsMode=CHART"
    lacking, text = missing(url, [re.escape(part) for part in shown], tmp_path, *picture)

    assert len(runs) == 3
    assert lacking == [], text


def test_browser_shows_the_registered_model_with_its_alias(stack: Stack, tmp_path: Path) -> None:
    wanted = [r"\bdiabetes\b.*\bVersion 1\b.*@ ?champion\b"]

    lacking, text = missing(f"{stack.url}/#/models/diabetes", wanted, tmp_path)

    assert lacking == [], text
