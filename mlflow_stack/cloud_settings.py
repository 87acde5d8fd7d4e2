"""The settings of what has no hosts, as images and clouds: group_data/all.py, and a file over it."""

from __future__ import annotations

import runpy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from mlflow_stack.inventory_check import problems_of, unknown_settings
from mlflow_stack.role_settings import RoleSettings
from mlflow_stack.setting_types import REPOSITORY
from mlflow_stack.settings import role_models, split_by_role

DEFAULTS = REPOSITORY / "group_data" / "all.py"


class SettingsRefused(Exception):
    """The settings can't be used; a sentence for each reason."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        lines = (f"  {problem}" for problem in self.problems)
        super().__init__("\n".join([f"{count} in the settings; nothing was changed", *lines]))


def load(sections: Iterable[str], overlay: Path | None = None) -> dict[str, RoleSettings]:
    """Return the settings of these sections (the prefixes in group_data) by their names.

    `overlay` is a file like those of group_data/, whose settings win. Raises SettingsRefused with all problems.
    """
    data = values(DEFAULTS) | (values(overlay) if overlay else {})
    problems, models = unknown_settings(data), role_models()
    fields: Any = {name: (models[name], ...) for name in sections}
    form = create_model("Chosen", __config__=ConfigDict(strict=True, extra="forbid"), **fields)
    try:
        checked = form(**{name: part for name, part in split_by_role(data).items() if name in fields})
    except ValidationError as error:
        problems += problems_of(error)
    if problems:
        raise SettingsRefused(problems)
    return {name: getattr(checked, name) for name in fields}


def values(path: Path) -> dict[str, Any]:
    """Return what a file of settings sets; raise SettingsRefused when it can't be read."""
    try:
        return {name: value for name, value in runpy.run_path(str(path)).items() if not name.startswith("_")}
    except OSError as error:
        raise SettingsRefused([f"{path}: can't be read ({error.strerror})"]) from None
    except Exception as error:  # whatever Python says to what stands in it
        raise SettingsRefused([f"{path}: {type(error).__name__}: {error}"]) from None
