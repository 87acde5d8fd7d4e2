"""MLflow's pages in a real browser: do the people who open the address see their runs?

Needs Debian's package chromium (and fonts-dejavu-core for the picture). MLFLOW_SCREENSHOT=1 writes the picture of the
documentation anew; otherwise nothing is written to the tree.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e import web
from tests.e2e.stack import REPOSITORY, Stack

SCREENSHOT = REPOSITORY / "docs" / "images" / "mlflow-ui.png"
BROWSER = [
    "chromium",
    "--headless=new",
    "--no-sandbox",  # for root; it opens nothing but our own host
    "--disable-gpu",
    "--disable-quic",
    "--no-proxy-server",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1400,900",
    # Milliseconds that scripts may take to draw the page; waiting for the server does not count.
    "--virtual-time-budget=20000",
]
BROWSER_TIMEOUT_S = 120


@pytest.fixture(scope="module")
def stack(served: Stack) -> Stack:
    """A served stack that has answered."""
    if not shutil.which("chromium") and not os.environ.get("CI"):
        pytest.skip("chromium is not installed: apt-get install --no-install-recommends chromium fonts-dejavu-core")
    served.recovers()
    return served


def look(url: str, profile: Path, *options: str) -> str:
    """Open a page in a browser that has never seen it; return the text that it shows."""
    done = subprocess.run(
        [*BROWSER, f"--user-data-dir={profile}", "--dump-dom", *options, url],
        capture_output=True,
        text=True,
        timeout=BROWSER_TIMEOUT_S,
        check=True,
    )
    page = re.sub(r"<(style|script)\b.*?</\1>", "", done.stdout, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_browser_shows_the_runs_of_the_experiment_and_their_metrics(stack: Stack, tmp_path: Path) -> None:
    api = f"{stack.url}/api/2.0/mlflow"
    experiment = web.get(f"{api}/experiments/get-by-name?experiment_name=diabetes").json["experiment"]["experiment_id"]
    runs = web.post(f"{api}/runs/search", {"experiment_ids": [experiment]}).json["runs"]
    picture = [f"--screenshot={SCREENSHOT}"] if os.environ.get("MLFLOW_SCREENSHOT") else []

    text = look(f"{stack.url}/#/experiments/{experiment}/runs?compareRunsMode=CHART", tmp_path, *picture)

    assert len(runs) == 3
    shown = [
        "diabetes",
        "3 matching runs",
        "alpha=0.01 l1_ratio=0.01",
        "alpha=0.01 l1_ratio=0.75",
        "alpha=0.01 l1_ratio=1.0",
    ]
    shown += [f"{metric['value']:.2f}" for run in runs for metric in run["data"]["metrics"]]
    assert [part for part in shown if part not in text] == [], text


def test_browser_shows_the_registered_model_with_its_alias(stack: Stack, tmp_path: Path) -> None:
    text = look(f"{stack.url}/#/models/diabetes", tmp_path)

    assert re.search(r"\bdiabetes\b.*\bVersion 1\b.*@ ?champion\b", text), text
