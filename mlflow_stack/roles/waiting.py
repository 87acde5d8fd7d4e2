"""What waits for other hosts."""

from __future__ import annotations

from pyinfra.api.deploy import deploy

from mlflow_stack.operations import gate
from mlflow_stack.settings import Settings


@deploy("Gate")
def wait_for_database(settings: Settings) -> None:
    """Ensure that the database of the stack is ready before any host of it goes on."""
    if settings.has_other_hosts:
        gate.passed(name="Wait for the database", hosts=settings.waits_for("postgresql"), role="the database")


@deploy("Gate")
def wait_for_tracking(settings: Settings) -> None:
    """Ensure that the tracking server of the stack is ready before any host of it goes on."""
    if settings.has_other_hosts:
        gate.passed(
            name="Wait for the tracking server", hosts=settings.waits_for("tracking"), role="the tracking server"
        )
