"""The list of promises: its numbers, its tests, and docs/promises.md, which is made of it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from mlflow_stack.conform.promises import BY_TEST, CHECKS, TITLES, ByTest, listed
from scripts.promises_docs import document
from tests.unit.defaults import REPOSITORY, settings

PAGE = REPOSITORY / "docs/promises.md"


def test_lines_of_each_promise_are_numbered_from_one_on_without_a_gap() -> None:
    for promise in TITLES:
        numbers = [line.number for line in listed(promise)]
        assert numbers == [f"{promise}.{place}" for place in range(1, len(numbers) + 1)]
        assert numbers
    assert sum(len(listed(promise)) for promise in TITLES) == len(CHECKS) + len(BY_TEST)


@pytest.mark.parametrize("tested", BY_TEST, ids=lambda each: each.number)
def test_test_that_proves_a_promise_is_there(tested: ByTest) -> None:
    for test in tested.tests:
        path, _, name = test.partition("::")
        assert f"\ndef {name or 'test_'}" in (REPOSITORY / path).read_text(), test


def test_every_sentence_is_one_and_fits_into_a_line() -> None:
    sentences = [line.sentence for promise in TITLES for line in listed(promise)]

    assert len(set(sentences)) == len(sentences)
    assert [each for each in sentences if each.endswith(".") or not each[0].isupper() or len(each) > 90] == []


def test_page_has_the_lines_of_the_code() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/promises_docs.py", "--check"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    for number in [line.number for promise in TITLES for line in listed(promise)]:
        assert f"| **{number}** |" in PAGE.read_text()


def test_page_keeps_what_is_written_by_hand_and_gets_its_lines_back() -> None:
    page = PAGE.read_text()
    stale = page.replace("| **5.1** | Passwords", "| **5.1** | No passwords").replace("*Today:*", "*By hand:*")

    assert document(stale) == page.replace("*Today:*", "*By hand:*")


def test_page_without_a_promise_is_refused() -> None:
    with pytest.raises(SystemExit, match="expected the headings and marks of exactly the promises"):
        document(PAGE.read_text().replace("## 8. Nobody", "## Nobody"))


def test_scripts_ask_and_write_nothing() -> None:
    """A crude look for what would change a host; all of them are run in the tests of this directory, or on hosts."""
    everything = settings(
        ("postgresql", "tracking", "production", "proxy"),
        postgresql_client_networks=["10.0.0.0/24"],
        production_models={"diabetes": {"uri": "models:/diabetes@champion"}},
    )
    verbs = re.compile(
        r"\b(rm|mv|cp|ln|chmod|chown|install|mkdir|touch|tee|kill|sed -i|nft -[fa]|systemctl (?!show|list)\w+|"
        r"INSERT|UPDATE|DELETE|ALTER|CREATE|DROP|GRANT|REVOKE|SET) "
    )
    for check in CHECKS:
        script = check.script(everything) if check.script else ""
        written = script.replace("> /dev/null", "").replace("awk 'length >= 8'", "")
        assert verbs.findall(script.replace("-perm ", "")) == [], check.number
        assert " > " not in written, check.number
        assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
