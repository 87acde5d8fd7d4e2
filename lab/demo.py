"""`make demo`: a host in the lab, deployed to as inventory.py says, a model trained on it and served by it.

    python -m lab.demo        safe to run again: what is there stays, and a step with nothing to do says so
    python -m lab.demo down   removes it

Every step is a command that you could type; it is printed before it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import runpy
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .core import Lab
from .errors import LabError
from .image import CACHE
from .inventory import find, settings
from .store import write_json

REPOSITORY = Path(__file__).resolve().parent.parent
PYTHON = ".venv/bin/python"
NAME, MODEL = "mlflow1", "diabetes"
STEPS = 5
# Seconds. The deploy builds two Python environments; the others answer in a few.
DEPLOY_LIMIT, TRAIN_LIMIT, CALL_LIMIT = 1800, 600, 30
ROW = {
    "columns": ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"],
    "data": [[0.038, 0.051, 0.062, 0.022, -0.044, -0.035, -0.043, -0.003, 0.020, -0.018]],
}


class StepFailed(Exception):
    """A command of a step failed or took too long; the message says which."""


class Demo:
    """The steps, in order; `host` has the address that all but the first need."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.begun = lab, time.monotonic()
        self.title = ""

    def run(self) -> None:
        """Take every step. Raises LabError or StepFailed; `title` then names the step."""
        self.step(1, "A host: Debian with systemd and SSH, in a container on this machine")
        address = self.bring_up()
        tracking, model = f"http://{address}:5000", f"http://{address}:5001"

        self.step(2, "Deploy to it: PostgreSQL, Miniconda, mlflow-tracking, mlflow-production")
        command(f"{Path(PYTHON).parent}/pyinfra", "inventory.py", "deploy.py", "-y", limit=DEPLOY_LIMIT)

        self.step(3, "Train and register a model, as a user would")
        version = champion(tracking)
        if version:
            say(f"{MODEL} version {version}, alias champion, is registered already; the deploy above has seen to it.")
        else:
            command(PYTHON, "examples/train_diabetes.py", "--tracking-uri", tracking, limit=TRAIN_LIMIT)

        self.step(4, "Deploy again: the model is there now, so it is served")
        if version:
            say("Nothing to do: the model was there when step 2 deployed.")
        else:
            command(f"{Path(PYTHON).parent}/pyinfra", "inventory.py", "deploy.py", "-y", limit=DEPLOY_LIMIT)

        self.step(5, "Ask the model for a prediction")
        predict(model)
        print(summary(tracking, model, round(time.monotonic() - self.begun)), flush=True)

    def step(self, number: int, title: str) -> None:
        self.title = f"step {number} ({title})"
        elapsed = f"[{time.monotonic() - self.begun:.0f} s]"
        print(f"\n{elapsed:>7}  {number}/{STEPS}  {title}\n", flush=True)

    def bring_up(self) -> str:
        """Ensure the host; its address. A lab that is up keeps the Miniconda it was made with."""
        known = bool(settings(self.lab))
        real = {} if known else real_conda(self.lab.proxy_url)
        if real:
            upstreams = {name: origin for name, (origin, _) in real.items()}
            self.lab = Lab(self.lab.id, self.lab.network.prefix, conda=False, upstreams=upstreams)
        was_up = any(host.name == NAME and host.is_up() for host in self.lab.hosts())
        if not any(CACHE.glob("*.tar.zst")):
            say("The first time, the base system is made from Debian's packages: one to two minutes.")
        host = self.lab.up(NAME)
        if real:
            write_json(self.lab.store.settings, {key: value for _, (_, pair) in real.items() for key, value in [pair]})
        say(f"{host.name} {'was up already' if was_up else 'is up'} at {host.address}")
        say(which_conda(settings(self.lab)))
        return host.address


def real_conda(proxy_url: str) -> dict[str, tuple[str, tuple[str, str]]]:
    """Return what leads hosts to the real Miniconda and conda-forge through the lab's proxy; {} when out of reach.

    By the name of the mirror: the URL it stands for, and the setting with its value.
    """
    defaults = runpy.run_path(str(REPOSITORY / "group_data" / "all.py"))
    installer, channels = defaults["conda_installer_url"], defaults["conda_channel_alias"]
    machine, version = platform.machine(), defaults["conda_installer_version"]
    tried = installer.replace("{version}", version).replace("{arch}", machine)
    if not (answers(tried) and answers(f"{channels}/{defaults['conda_channels'][0]}/noarch/repodata.json")):
        return {}
    return {
        "miniconda": _mirrored("miniconda", proxy_url, "conda_installer_url", installer),
        "channels": _mirrored("channels", proxy_url, "conda_channel_alias", channels),
    }


def _mirrored(name: str, proxy_url: str, setting: str, url: str) -> tuple[str, tuple[str, str]]:
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return origin, (setting, f"{proxy_url}/upstream/{name}{url.removeprefix(origin)}")


def answers(url: str) -> bool:
    """Return whether a HEAD request to `url` succeeds within 5 s."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5):
            return True
    except OSError:
        return False


def which_conda(chosen: Mapping[str, Any]) -> str:
    if "/upstream/" in chosen["conda_installer_url"]:
        return "Miniconda and conda-forge are the real ones, through the lab's proxy."
    return "The real Miniconda can't be reached from here: using the lab's stand-in installer and channel."


def champion(tracking: str) -> str | None:
    """Return the version that the alias of the example points to; None when nobody has trained it yet."""
    url = f"{tracking}/api/2.0/mlflow/registered-models/alias?name={MODEL}&alias=champion"
    try:
        with urllib.request.urlopen(url, timeout=CALL_LIMIT) as answer:
            version: str = json.load(answer)["model_version"]["version"]
            return version
    except urllib.error.HTTPError:
        return None
    except OSError as problem:
        raise StepFailed(f"GET {url}: {getattr(problem, 'reason', problem)}") from None


def predict(model: str) -> None:
    body = json.dumps({"dataframe_split": ROW})
    headers = ("-H", "Content-Type: application/json")
    command("curl", "-sS", "--fail-with-body", *headers, f"{model}/invocations", "-d", body, limit=CALL_LIMIT)
    print()


def command(*words: str, limit: float) -> None:
    """Print a command and run it from the repository's directory, its output shown as it comes.

    Raises StepFailed when it fails, or takes more than `limit` seconds.
    """
    line = shlex.join(words)
    print(f"$ {line}", flush=True)
    try:
        status = subprocess.run(words, cwd=REPOSITORY, timeout=limit, check=False, stdin=subprocess.DEVNULL).returncode
    except subprocess.TimeoutExpired:
        raise StepFailed(f"`{line}` took more than {limit:.0f} s") from None
    except FileNotFoundError:
        raise StepFailed(f"{words[0]} is not there; run it as `make demo`, which installs what is needed") from None
    if status:
        raise StepFailed(f"`{line}` ended with exit status {status}")


def say(sentence: str) -> None:
    print(f"  {sentence}", flush=True)


def look_inside() -> str:
    on_host = f"{PYTHON} -m lab exec {NAME}"
    return f"""\
  {on_host} systemctl status mlflow-tracking 'mlflow-production@*'
  {on_host} journalctl -u mlflow-tracking -n 50
  {on_host} runuser -l postgres -c 'psql mlflow_db -c "\\dt"'"""


def summary(tracking: str, model: str, seconds: int) -> str:
    return f"""
Done in {seconds} s.

  MLflow   {tracking}   (open it in a browser on this machine)
  model    {model}/invocations

Look inside:
{look_inside()}

Remove it: make demo-down"""


def failure(demo: Demo, problem: Exception | str) -> str:
    return f"""
demo: {demo.title} failed: {problem}

Look further:
  {PYTHON} -m lab status
{look_inside()}

Run it again with `make demo` (it goes on from here), or remove it with `make demo-down`."""


def main() -> int:
    """Parse the command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description="Show MLflow Stack on this machine.")
    parser.add_argument("what", nargs="?", choices=["up", "down"], default="up")
    what = parser.parse_args().what
    if os.geteuid():
        print(f"demo: it makes a host on this machine, which needs root: sudo make demo{'-down' * (what == 'down')}")
        return 1
    demo = Demo(find())
    try:
        if what == "down":
            demo.title = "removing the lab"
            demo.lab.down()
            print("The host is gone; what it was made from stays in ~/.cache/mlflow-stack-lab for the next time.")
        else:
            demo.run()
    except (LabError, StepFailed) as problem:
        print(failure(demo, problem), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(failure(demo, "interrupted"), file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
