"""The settings of container images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from mlflow_stack.role_settings import RoleSettings
from mlflow_stack.setting_types import IndexUrl, lock_exists, matches

Addon = Literal["mysql", "s3", "gcs", "azure"]
PART = r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*"  # as distribution/reference has it, narrower

ImageName = Annotated[
    str,
    matches(
        rf"({PART}(:[0-9]+)?/)*{PART}",
        "the name of an image without a tag, as mlflow-tracking or registry.example.com/mlflow",
    ),
]
BaseReference = Annotated[
    str,
    matches(
        rf"({PART}(:[0-9]+)?/)+{PART}(:[A-Za-z0-9._{{}}-]+)?(@sha256:[0-9a-f]{{64}})?",
        "an image with its registry, as docker.io/library/python:3.12-slim-bookworm, with or without @sha256:…",
    ),
]


# What a cloud's stack needs of its image, by what it needs it for.
NEEDED = {"s3": "the bucket", "gcs": "the bucket", "mysql": "the database"}


class ImageSettings(RoleSettings):
    name: ImageName
    python: Annotated[str, AfterValidator(lock_exists)]
    base: BaseReference
    addons: list[Addon]
    package_index_url: IndexUrl
    package_ca_file: str

    def lacking(self, *addons: str) -> str:
        """Return what to do where the image would have none of these for a stack, "" for nothing."""
        lacking = [addon for addon in addons if addon not in self.addons]
        if not lacking:
            return ""
        names, reasons = (
            " and ".join(words) for words in ([repr(each) for each in lacking], [NEEDED[each] for each in lacking])
        )
        return (
            f"image_addons lacks {names}, without which the image has no client for {reasons}; add it, and build and "
            "push the image anew"
        )

    def base_for(self, python: str) -> str:
        """Return the base image with this version of Python."""
        return self.base.replace("{python}", python)
