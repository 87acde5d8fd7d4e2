"""Amazon's API by its own client, boto3, and its errors in words."""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

PAUSE_S = 5.0
ATTEMPTS = 5
TIMEOUT_S = 30
# What an error of sts says of the credentials, by its code.
CREDENTIALS = {
    "ExpiredToken": "they have expired; log in anew (aws sso login, or a new session token)",
    "ExpiredTokenException": "they have expired; log in anew (aws sso login, or a new session token)",
    "RequestExpired": "they have expired, or this machine's clock is wrong",
    "InvalidClientTokenId": "AWS does not know them; check AWS_ACCESS_KEY_ID, or the profile that AWS_PROFILE names",
    "SignatureDoesNotMatch": "the secret key is not the one of the access key; check AWS_SECRET_ACCESS_KEY",
    "AuthFailure": "AWS does not take them",
}


class Failed(Exception):
    """AWS did not do something; the message says what, and what to do. `code` is its own, "" for none."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Refused(Exception):
    """What can't be done as it is declared, a sentence each; nothing was changed."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{count}; nothing was changed", *(f"  {each}" for each in self.problems)]))


class Aws:
    """The clients of one region. Credentials are where boto3 looks for them: never a setting."""

    def __init__(self, region: str) -> None:
        self.region = region
        self.client = functools.cache(self._client)
        try:
            self._session = importlib.import_module("boto3").Session(region_name=region)
            self._errors = importlib.import_module("botocore.exceptions")
        except ModuleNotFoundError:
            raise Failed("boto3, Amazon's client, is not installed here; run `make venv`") from None

    def _client(self, service: str) -> Any:
        config = importlib.import_module("botocore.config").Config(
            retries={"mode": "standard", "max_attempts": ATTEMPTS},
            connect_timeout=TIMEOUT_S,
            read_timeout=2 * TIMEOUT_S,
        )
        return self._session.client(service, config=config)

    def ask(self, service: str, operation: str, absent: Iterable[str] = (), **arguments: Any) -> Any:
        """Return the answer to a call; None where the error's code or message has one of `absent`.

        Raises Failed for any other error, with AWS's own words.
        """
        with self._in_words(f"{service} {operation}"):
            try:
                return getattr(self.client(service), operation)(**arguments)
            except self._errors.ClientError as error:
                code, message = _said(error)
                if any(each == code or each in message for each in absent):
                    return None
                raise

    def all(self, service: str, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return all entries of a list that comes in pages."""
        with self._in_words(f"{service} {operation}"):
            pages = self.client(service).get_paginator(operation).paginate(**arguments)
            return [entry for page in pages for entry in page.get(key) or ()]

    @contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._errors.ClientError as error:
            code, message = _said(error)
            raise Failed(f"{what}: {code}: {message}", code) from None
        except self._errors.BotoCoreError as error:
            raise Failed(f"{what}: {error}") from None

    def account(self) -> str:
        """Return the number of the account that the credentials are for; raise Failed with what is wrong with them."""
        try:
            return str(self.client("sts").get_caller_identity()["Account"])
        except self._errors.NoCredentialsError:
            reason = "there are none; log in (aws configure sso, aws sso login), or set AWS_PROFILE"
        except self._errors.ClientError as error:
            code, message = _said(error)
            reason = CREDENTIALS.get(code, f"{code}: {message}")
        except self._errors.BotoCoreError as error:
            reason = str(error)
        raise Failed(f"the credentials for AWS can't be used: {reason}")


def _said(error: Any) -> tuple[str, str]:
    """Return code and message of an error of AWS."""
    found = error.response["Error"]
    return found.get("Code", ""), found.get("Message", "")


def wait_until(done: Callable[[], bool], what: str, seconds: float) -> None:
    """Call `done` until it is true; raise Failed, about `what`, when it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds:.0f} s; look at it in the console, and run again")
        time.sleep(PAUSE_S)
