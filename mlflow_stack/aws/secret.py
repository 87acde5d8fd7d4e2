"""Passwords and logins of a stack, kept in Secrets Manager. Templates and tasks only know where a secret is.

They are made here and not by a template: a template has no place for a value that must not be shown, and the logins
come from the settings. A version's id follows from the text, so that a task definition can name the very version.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from mlflow_stack import secret_store
from mlflow_stack.aws.api import Aws
from mlflow_stack.domain.login import TRACKING_AREA, Login, logins_text

TAG = "mlflow-stack"
PASSWORD_LENGTH = 40
SALT_BYTES = 16
_ABSENT = ("ResourceNotFoundException", "ResourceNotFound")


@dataclass(frozen=True)
class Secret:
    """A secret as it is to be: `arn` is "" while it is not there, `is_new` says that its value is to be written."""

    name: str
    arn: str = ""
    version: str = ""
    is_new: bool = False
    value: str = field(default="", repr=False)
    # What was made here and not kept yet (secret_store.keep).
    passwords: tuple[str, ...] = field(default=(), repr=False)


def database(aws: Aws, name: str) -> Secret:
    """Return the database's password: the one that is there, or one that is to be made."""
    found = aws.ask("secretsmanager", "describe_secret", absent=_ABSENT, SecretId=name)
    return Secret(name, found["ARN"]) if found and not found.get("DeletedDate") else Secret(name, is_new=True)


def logins(aws: Aws, name: str, users: Mapping[str, str], stack: str) -> Secret:
    """Return the logins of the tracking server's users, each with a reference to the password.

    The salts that are there stay, so that the same users with the same passwords are the same text.
    """
    passwords = {
        (TRACKING_AREA, user): secret_store.resolve(reference, f"proxy_users.{user}", stack=stack)
        for user, reference in users.items()
    }
    found = aws.ask("secretsmanager", "get_secret_value", absent=(*_ABSENT, "InvalidRequestException"), SecretId=name)
    present = found["SecretString"] if found else ""
    salts = _salts(present)
    text = logins_text(passwords, {login: salts.get(login, os.urandom(SALT_BYTES)) for login in passwords})
    arn = found["ARN"] if found else ""
    return Secret(name, arn, _version(text), text != present, text, tuple(passwords.values()))


def _salts(text: str) -> dict[Login, bytes]:
    lines = [line.split(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {(area, user): bytes.fromhex(salt) for area, user, salt, _ in lines}


def _version(text: str) -> str:
    # 32 to 64 characters (Secrets Manager API Reference, ClientRequestToken). Random salts are in the text.
    return hashlib.sha256(text.encode()).hexdigest()


def new_password(aws: Aws) -> str:
    """Return a database password in the form that the template reads."""
    answer = aws.ask("secretsmanager", "get_random_password", PasswordLength=PASSWORD_LENGTH, ExcludePunctuation=True)
    return json.dumps({"password": answer["RandomPassword"]})


def write(aws: Aws, secret: Secret, stack: str) -> Secret:
    """Ensure the secret with its value; return it with its ARN. One that was to be deleted is taken back."""
    for password in secret.passwords:
        secret_store.keep(password)
    token = {"ClientRequestToken": secret.version} if secret.version else {}
    found = aws.ask("secretsmanager", "describe_secret", absent=_ABSENT, SecretId=secret.name)
    if not found:
        made = aws.ask(
            "secretsmanager",
            "create_secret",
            Name=secret.name,
            Description=f"MLflow Stack {stack}",
            SecretString=secret.value,
            Tags=[{"Key": TAG, "Value": stack}],
            **token,
        )
        return Secret(secret.name, made["ARN"], secret.version)
    if found.get("DeletedDate"):
        aws.ask("secretsmanager", "restore_secret", SecretId=secret.name)
    aws.ask("secretsmanager", "put_secret_value", SecretId=secret.name, SecretString=secret.value, **token)
    return Secret(secret.name, found["ARN"], secret.version)
