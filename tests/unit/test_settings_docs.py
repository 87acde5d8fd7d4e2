"""docs/settings.md is generated, complete and fresh."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from mlflow_stack.setting_types import HostName, PgName, Port
from mlflow_stack.settings import setting_names
from scripts.settings_docs import comment_above, markdown, sections, type_in_words
from tests.unit.defaults import REPOSITORY


def test_settings_documentation_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/settings_docs.py", "--check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_settings_documentation_that_is_stale_is_refused(tmp_path: Path) -> None:
    for directory in ("scripts", "group_data", "mlflow_stack", "locks"):
        (tmp_path / directory).symlink_to(REPOSITORY / directory)
    (tmp_path / "scripts").unlink()
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts/settings_docs.py"
    script.write_text((REPOSITORY / "scripts/settings_docs.py").read_text())
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/settings.md").write_text("# Settings\n")

    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "docs/settings.md is stale; run `make docs`\n")
    assert (tmp_path / "docs/settings.md").read_text() == "# Settings\n"


def test_settings_documentation_has_a_section_for_each_setting() -> None:
    lines = (REPOSITORY / "docs/settings.md").read_text().splitlines()

    titles = [line.removeprefix("### ") for line in lines if line.startswith("### ")]

    assert sorted(titles) == sorted(setting_names())


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (bool, "`True` or `False`"),
        (Port, "whole number, at least 1024, at most 65535"),
        (PgName, "text, a lower-case name of letters, digits and _, and none of PostgreSQL's own"),
        (HostName, "text, a host name or IPv4 address, without a port, or empty"),
        (Literal["uv", "pip"], '`"uv"` or `"pip"`'),
        (Annotated[list[str], Field(min_length=1)], "list; each item: text, at least 1 of them"),
    ],
)
def test_type_is_put_into_words(annotation: object, words: str) -> None:
    assert type_in_words(annotation) == words


def test_settings_are_grouped_by_the_heading_above_them() -> None:
    source = (
        "# --- conda: Python ------\n\n# First.\nconda_a = 1\n"
        "# --- tracking: server ---\n\n# Second.\ntracking_b = [\n    2,\n]\n"
    )

    found = sections(source)

    assert {role: (title, [vars(setting) for setting in settings]) for role, (title, settings) in found.items()} == {
        "conda": ("Python", [{"name": "conda_a", "default": "1", "comment": "First."}]),
        "tracking": ("server", [{"name": "tracking_b", "default": "[\n    2,\n]", "comment": "Second."}]),
    }


def test_comment_ends_at_the_first_line_without_a_hash() -> None:
    assert comment_above(["# Not this.", "", "# One.", "#", "#   two", "x = 1"], 5) == "One.\n\n  two"


def test_comment_with_an_indented_paragraph_becomes_code_and_angle_brackets_stay() -> None:
    text = markdown("Each is NAME@<name> or `<a>`:\n\n  x = {\n      1,\n  }\n\nThat is all.")

    assert text == "Each is NAME@\\<name> or `<a>`:\n\n```python\nx = {\n    1,\n}\n```\n\nThat is all."
