"""Model URIs: which model to serve."""

from __future__ import annotations

import re
from dataclasses import dataclass

EXPECTED = "models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID or runs:/RUN_ID/NAME"

_PATTERNS = (
    ("alias", re.compile(r"models:/(?P<name>[^/@:]+)@(?P<reference>[A-Za-z0-9_.-]+)")),
    ("version", re.compile(r"models:/(?P<name>[^/@:]+)/(?P<reference>[1-9][0-9]*)")),
    ("logged", re.compile(r"models:/(?P<reference>m-[0-9a-f]{32})(?P<name>)")),
    ("run", re.compile(r"runs:/(?P<reference>[0-9a-f]{32})/(?P<name>[^/]+)")),
)


@dataclass(frozen=True)
class ModelUri:
    """A parsed model URI. `kind` is "alias", "version", "logged" or "run"; `reference` is the alias, version or id."""

    kind: str
    name: str
    reference: str


def parse_model_uri(uri: str) -> ModelUri:
    """Parse a model URI; raise ValueError, saying what is expected, for anything else.

    `models:/NAME/latest` is refused: it changes whenever anybody trains, which is what an alias is for.
    """
    for kind, pattern in _PATTERNS:
        if match := pattern.fullmatch(uri):
            return ModelUri(kind, match["name"], match["reference"])
    raise ValueError(f"{uri!r} is not a model URI; expected {EXPECTED}")
