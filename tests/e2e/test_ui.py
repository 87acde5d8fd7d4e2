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
ATTEMPTS = 5


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


def missing(url: str, wanted: list[str], directory: Path, *options: str) -> tuple[list[str], str]:
    """Return which of the wanted patterns a page does not show, and its text.

    The browser's time is virtual, and on a busy machine it can run out before the charts are drawn: a page that lacks
    something is opened again by a browser that has never seen it, at most ATTEMPTS times.
    """
    text, lacking = "", wanted
    for attempt in range(ATTEMPTS):
        text = look(url, directory / f"profile-{attempt}", *options)
        lacking = [part for part in wanted if not re.search(part, text)]
        if not lacking:
            break
    return lacking, text


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
