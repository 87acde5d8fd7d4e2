"""Google's own client, gcloud: the only way in which this package speaks to Google Cloud."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Creating a database takes Cloud SQL ten minutes, and a migration may take longer.
TIMEOUT_S = 3600
# A service account or an API is known everywhere only some time after it was made (IAM, "Access change propagation").
ATTEMPTS, PAUSE_S = 8, 15.0
_NOT_YET = re.compile(r"Service account \S+ does not exist|SERVICE_DISABLED|has not been used in project")
_LOGIN = re.compile(
    r"do not currently have an active account|UNAUTHENTICATED|invalid authentication credentials|[Rr]eauthentication|"
    r"refreshing your current auth tokens|invalid_grant"
)
# What gcloud is told beside its arguments. It would write what it prints, secrets too, to a log file of its own.
_VARIABLES = {"CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true", "CLOUDSDK_CORE_DISABLE_PROMPTS": "true"}


class GcloudFailed(Exception):
    """A call that gcloud ended with an error; its text is gcloud's own sentence."""

    @property
    def is_login(self) -> bool:
        """True where nobody is logged in, or the login has expired."""
        return bool(_LOGIN.search(str(self)))


@dataclass(frozen=True)
class Command:
    """One call of gcloud: its arguments without those that every call has, and what it reads on standard input.

    A secret is never an argument: others see those. `is_secret` keeps the input out of every plan.
    """

    arguments: tuple[str, ...]
    stdin: str = ""
    is_secret: bool = False

    @property
    def shown(self) -> str:
        """The command line, as an operator would type it."""
        return shlex.join(["gcloud", *self.arguments])


class Gcloud:
    """Calls gcloud for one project. Raises GcloudFailed where it is not installed, or refuses."""

    def __init__(self, project: str, wait: Callable[[float], None] = time.sleep) -> None:
        self.project, self.wait = project, wait

    def ask(self, *arguments: str) -> Any:
        """Return what gcloud answers, from its JSON."""
        text = self._call([*arguments, "--format=json"])
        return json.loads(text) if text.strip() else None

    def run(self, command: Command) -> None:
        """Make a change; wait for what was made shortly before and is not known everywhere yet."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._call([*command.arguments, "--format=none"], command)
            except GcloudFailed as failed:
                if attempt == ATTEMPTS or not _NOT_YET.search(str(failed)):
                    raise
                self.wait(PAUSE_S)
            else:
                return

    def _call(self, arguments: list[str], command: Command | None = None) -> str:
        program = shutil.which("gcloud")
        if program is None:
            raise GcloudFailed("gcloud is not installed; https://cloud.google.com/sdk/docs/install says how")
        with _input(command) as given:
            try:
                done: subprocess.CompletedProcess[str] = subprocess.run(
                    [program, *arguments, f"--project={self.project}", "--quiet"],
                    env={**os.environ, **_VARIABLES},
                    capture_output=True,
                    text=True,
                    timeout=TIMEOUT_S,
                    check=False,
                    **given,
                )
            except subprocess.TimeoutExpired:
                raise GcloudFailed(f"gcloud did not end within {TIMEOUT_S} s") from None
        if done.returncode:
            raise GcloudFailed(_sentence(done.stderr) or f"gcloud ended with status {done.returncode}")
        return done.stdout


@contextmanager
def _input(command: Command | None) -> Iterator[dict[str, Any]]:
    """Give what a command reads: a secret through a pipe, other things in a file, since some flags take no pipe."""
    if command is None or not command.stdin:
        yield {"stdin": subprocess.DEVNULL}
    elif command.is_secret:
        yield {"input": command.stdin}
    else:
        with tempfile.NamedTemporaryFile("w+", prefix="mlflow-stack-") as file:
            file.write(command.stdin)
            file.seek(0)
            yield {"stdin": file}


def _sentence(stderr: str) -> str:
    """Return what gcloud says is wrong: from its last "ERROR:" on, in one line, without the names of the command and
    the account."""
    text = stderr.rpartition("ERROR:")[2]
    text = text.partition("This command is authenticated ")[0]
    return re.sub(r"^\([a-z0-9.-]+\) ", "", " ".join(text.split())).rstrip(".")
