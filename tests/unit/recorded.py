"""What the commands of facts printed on a real host (tests/data/record.py)."""

from pathlib import Path

DIRECTORY = Path(__file__).resolve().parents[1] / "data/debian-12"


def lines(state: str, name: str) -> list[str]:
    """Return the recorded output of a fact in a state ("fresh" or "deployed"); the file's first line is the command."""
    return (DIRECTORY / state / f"{name}.txt").read_text().splitlines()[1:]
