"""Make the numbered lines of docs/promises.md from mlflow_stack/conform; the words around them are written by hand.

scripts/promises_docs.py           write them, between the marks
scripts/promises_docs.py --check   write nothing; exit 1 when one is stale
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = REPOSITORY / "docs/promises.md"
# The lines of a promise stand between these, by its number.
BLOCK = re.compile(
    r"(?P<begin><!-- checks of (?P<promise>\d): made by `make docs` -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
HEADING = re.compile(r"^## (\d)\. (.+)\.$", re.MULTILINE)


def row(line: Any) -> str:
    """Return a check, or what a test proves, as a row of a table."""
    tests: Sequence[str] = getattr(line, "tests", ())
    if tests:
        links = (f"[{Path(test.partition('::')[0]).name}](../{test.partition('::')[0]})" for test in tests)
        asked = f"by test: {', '.join(links)}"
    else:
        asked = f"{'from outside' if line.is_from_outside else 'on the host'}: {line.hosts.words}"
    return f"| **{line.number}** | {line.sentence} | {asked} |\n"


def document(page: str) -> str:
    """Return the page with the lines that its promises have now; SystemExit when it has others."""
    from mlflow_stack.conform.promises import TITLES, listed  # noqa: PLC0415  # only now can it be found

    found = {int(number): title for number, title in HEADING.findall(page)}
    if found != TITLES or [int(block["promise"]) for block in BLOCK.finditer(page)] != [*TITLES]:
        raise SystemExit(f"{PAGE.name}: expected the headings and marks of exactly the promises in conform/promises.py")
    head = "\n| | what holds | asked |\n|---|---|---|\n"
    return BLOCK.sub(
        lambda block: f"{block['begin']}{head}{''.join(map(row, listed(int(block['promise']))))}\n{block['end']}", page
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    check = parser.parse_args().check
    sys.path.insert(0, str(REPOSITORY))
    page = PAGE.read_text()
    text = document(page)
    if not check:
        PAGE.write_text(text)
    elif text != page:
        print("docs/promises.md is stale; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
