"""Secrets in Secret Manager: the password of the database's user, and the logins of a server that asks for them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mlflow_stack.domain.login import TRACKING_AREA, Login, logins_text
from mlflow_stack.gcp.gcloud import Command
from mlflow_stack.gcp.plan import Difference, Step
from mlflow_stack.gcp.survey import Found
from mlflow_stack.gcp_settings import LABEL, GcpSettings


@dataclass(frozen=True)
class Secret:
    """A secret as it should be. `version` is the one that holds it; where it `is_new`, the one that will."""

    name: str
    value: str
    version: int
    is_new: bool


def password(settings: GcpSettings, found: Found) -> Secret:
    """Return the password of the database's user: the one that is there, or a new one."""
    there = _there(settings.password_secret, found)
    if there:
        return replace(there, value=there.value.strip("\n"))  # as the server reads it
    return Secret(settings.password_secret, secrets.token_urlsafe(32), _next(settings.password_secret, found), True)


def logins(settings: GcpSettings, found: Found, passwords: Mapping[str, str]) -> Secret:
    """Return the file of the server's logins, by user; what is there stays where it says the same of every user."""
    name, there = settings.logins_secret, _there(settings.logins_secret, found)
    users: dict[Login, str] = {(TRACKING_AREA, user): password for user, password in passwords.items()}
    salts = _salts(there.value if there else "")
    text = logins_text(users, {login: salts.get(login) or secrets.token_bytes(16) for login in users})
    return there if there and there.value == text else Secret(name, text, _next(name, found), True)


def users_there(settings: GcpSettings, found: Found) -> set[str]:
    """Return who has a login at the server now."""
    there = _there(settings.logins_secret, found)
    return {user for _, user in _salts(there.value if there else "")}


def steps(secret: Secret, settings: GcpSettings, found: Found) -> Iterator[Step]:
    """Ensure the secret. The value goes there on standard input; it stays in the stack's region."""
    if not found.thing("secrets", secret.name):
        region = ("--replication-policy=user-managed", f"--locations={settings.region}")
        arguments = ("secrets", "create", secret.name, *region, f"--labels={LABEL}={settings.name}", "--data-file=-")
        command = Command(arguments, secret.value, is_secret=True)
        yield Step("create", f"secret {secret.name}", (command,), (Difference("location", settings.region),))
    elif secret.is_new:
        command = Command(("secrets", "versions", "add", secret.name, "--data-file=-"), secret.value, is_secret=True)
        yield Step("change", f"secret {secret.name}", (command,), (Difference("version", str(secret.version)),))


def _there(name: str, found: Found) -> Secret | None:
    answer = found.answers.get(f"{name} value")
    if not answer:
        return None
    data = answer["payload"]["data"].replace("-", "+").replace("_", "/")
    return Secret(name, base64.b64decode(data).decode(), _number(answer["name"]), False)


def _next(name: str, found: Found) -> int:
    answer = found.answers.get(f"{name} value")
    return _number(answer["name"]) + 1 if answer else 1


def _number(version: str) -> int:
    return int(version.rpartition("/")[2])


def _salts(text: str) -> dict[Login, bytes]:
    lines = [line.split(" ") for line in text.splitlines() if not line.startswith("#")]
    return {(area, user): bytes.fromhex(salt) for area, user, salt, _ in lines}
