"""Templates: the files of templates/, each below the path that it has on a host."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent.parent / "templates"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  # units and configuration files, not HTML
)


def render(path: str, **values: object) -> str:
    """Return the text of the file at `path` on a host; raise jinja2.UndefinedError when a value is missing."""
    return _environment.get_template(f"{path.lstrip('/')}.j2").render(values)
