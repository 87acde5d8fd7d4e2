"""What a stack on Google Cloud is declared to be: its own settings, and those that it shares with hosts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mlflow_stack import cloud_settings
from mlflow_stack.gcp_settings import GcpSettings
from mlflow_stack.image_settings import ImageSettings
from mlflow_stack.role_settings import ProxySettings, TrackingSettings
from mlflow_stack.setting_types import REPOSITORY

# Without these nobody can be asked, or nothing made.
REQUIRED = {
    "project": "the project's id",
    "region": "a region, as europe-west1",
    "image": "NAME:TAG of an image in the registry",
}
OVERLAY = REPOSITORY / "group_data" / "gcp.py"


@dataclass(frozen=True)
class Declared:
    """The settings of a stack; of those of `proxy` only its users are used."""

    gcp: GcpSettings
    tracking: TrackingSettings
    proxy: ProxySettings
    image: ImageSettings


def load(path: Path | None = None) -> Declared:
    """Return the settings of group_data/all.py, and over it of `path`, or of group_data/gcp.py where there is one.

    Raises cloud_settings.SettingsRefused with all problems.
    """
    overlay = path or (OVERLAY if OVERLAY.exists() else None)
    found = cloud_settings.load(("gcp", "tracking", "proxy", "image"), overlay)
    return Declared(
        cast(GcpSettings, found["gcp"]),
        cast(TrackingSettings, found["tracking"]),
        cast(ProxySettings, found["proxy"]),
        cast(ImageSettings, found["image"]),
    )


def missing(gcp: GcpSettings, *names: str) -> list[str]:
    """Return a sentence for each of the required settings that is not there."""
    return [
        f"gcp_{name}: required, but empty; expected {REQUIRED[name]}, in group_data/gcp.py"
        for name in names
        if not getattr(gcp, name)
    ]
