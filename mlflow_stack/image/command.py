"""python -m mlflow_stack image build|base|push|logins: container images, for platforms that run those

    build [--model MODEL] [--again]   build the tracking server's image, or that of a model (models:/NAME@ALIAS, …, or
                                      its directory), unless it is there; prints its reference
    base [SUITE]                      make a base image of Debian's packages, where no registry is reached
    push IMAGE DESTINATION            push an image to a registry (`buildah login` first); prints its digest there
    logins                            print the logins of proxy_users, for MLFLOW_LOGINS_FILE: a secret

--settings FILE is read over group_data/all.py. Exit status 1: it could not be done.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import cast

from pyinfra.api.exceptions import DeployError

from mlflow_stack import cloud_settings, secret_store
from mlflow_stack.cloud_settings import SettingsRefused
from mlflow_stack.domain.login import TRACKING_AREA, logins_text
from mlflow_stack.image import base, build, buildah
from mlflow_stack.image_settings import ImageSettings
from mlflow_stack.role_settings import InventorySettings, ProxySettings

DONE, ERROR = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what may stand behind `image`."""
    actions = parser.add_subparsers(dest="action", required=True)
    for name in ("build", "logins"):
        actions.add_parser(name, allow_abbrev=False).add_argument("--settings", type=Path)
    actions.choices["build"].add_argument("--model")
    actions.choices["build"].add_argument("--again", action="store_true")
    actions.add_parser("base", allow_abbrev=False).add_argument("suite", nargs="?", default="bookworm")
    push = actions.add_parser("push", allow_abbrev=False)
    push.add_argument("image")
    push.add_argument("destination")
    push.add_argument("--tls-verify", choices=("true", "false"), default="true", help="false: a registry without TLS")


def image(options: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status."""
    try:
        ACTIONS[options.action](options)
    except (SettingsRefused, build.ImageRefused, buildah.BuildahFailed, base.BaseFailed, DeployError) as problem:
        print(problem, file=sys.stderr)
        return ERROR
    return DONE


def _build(options: argparse.Namespace) -> None:
    settings = cast(ImageSettings, cloud_settings.load(["image"], options.settings)["image"])
    if options.model:
        built = build.model(settings, options.model, again=options.again)
    else:
        built = build.tracking(settings, again=options.again)
    said = f"built in {built.seconds:.0f} s" if built.seconds else "it was there before"
    print(f"{said}; what is in it: {built.sbom}", file=sys.stderr)
    print(built.reference)


def _base(options: argparse.Namespace) -> None:
    print(base.make(options.suite))


def _push(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as directory:
        digest = Path(directory) / "digest"
        buildah.push(options.image, options.destination, digest, [f"--tls-verify={options.tls_verify}"])
        repository = options.destination.rpartition(":")[0] if _has_tag(options.destination) else options.destination
        print(f"{repository}@{digest.read_text().strip()}")


def _has_tag(reference: str) -> bool:
    return ":" in reference.rpartition("/")[2]


def _logins(options: argparse.Namespace) -> None:
    settings = cloud_settings.load(["proxy", "inventory"], options.settings)
    users, stack = cast(ProxySettings, settings["proxy"]).users, cast(InventorySettings, settings["inventory"]).stack
    passwords = {
        (TRACKING_AREA, user): secret_store.resolve(reference, f"proxy_users.{user}", stack=stack)
        for user, reference in users.items()
    }
    text = logins_text(passwords, {login: os.urandom(16) for login in passwords})
    for password in passwords.values():
        secret_store.keep(password)
    print(text, end="")


ACTIONS = {"build": _build, "base": _base, "push": _push, "logins": _logins}
