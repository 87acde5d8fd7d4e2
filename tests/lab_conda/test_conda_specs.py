"""Versions and match specs."""

from __future__ import annotations

import pytest

from lab.conda.standin.errors import CondaError
from lab.conda.standin.solver import Index, solve
from lab.conda.standin.specs import Record, Spec, Version


def record(name: str, version: str, *depends: str, build: str = "h0_0") -> Record:
    return {
        "name": name,
        "version": version,
        "build": build,
        "depends": list(depends),
        "channel": "http://h/conda-forge",
    }


def test_versions_sort_as_conda_sorts_them() -> None:
    # The list in the documentation of VersionOrder, less epochs and local versions.
    ordered = [
        "0.4", "0.4.1.rc", "0.4.1", "0.5a1", "0.5b3", "0.5C1", "0.5", "0.9.6", "0.960923", "1.0", "1.1dev1", "1.1a1",
        "1.1.0dev1", "1.1.a1", "1.1.0rc1", "1.1.0", "1.1.0post1", "1.1post1", "1996.07.12",
    ]  # fmt: skip
    alphabetical = sorted(ordered)

    assert sorted(alphabetical, key=Version) == ordered
    assert Version("1.0") == Version("1.0.0")


@pytest.mark.parametrize(
    ("spec", "version", "matches"),
    [
        ("python", "3.12.1", True),
        ("python=3.12", "3.12.1", True),
        ("python=3.1", "3.12.1", False),
        ("python==3.12", "3.12.1", False),
        ("python 3.12.*", "3.12.1", True),
        ("python 3.12", "3.12.1", False),
        ("python!=3.12.*", "3.12.1", False),
        ("python>=3.9,<3.13.0a0", "3.12.1", True),
        ("python >=3.9, <3.12", "3.12.1", False),
        ("python~=3.12.0", "3.12.1", True),
        ("python<3|>=3.12", "3.12.1", True),
        ("python=3.12.1=h0_0", "3.12.1", True),
        ("python=3.12.1=*_cpython", "3.12.1", False),
        ("conda-forge::python=3.12", "3.12.1", True),
        ("bioconda::python=3.12", "3.12.1", False),
        ("pip<=23.2.1", "23.2.1", False),
    ],
)
def test_a_spec_matches_what_conda_would_take(spec: str, version: str, matches: bool) -> None:
    assert Spec.parse(spec).matches(record("python", version)) is matches


def test_a_spec_that_is_none_is_refused() -> None:
    with pytest.raises(CondaError) as raised:
        Spec.parse("=3.12")

    assert (raised.value.name, str(raised.value)) == ("InvalidMatchSpec", "Invalid spec '=3.12'")


@pytest.fixture
def offered() -> Index:
    return {
        "python": [record("python", "3.12.1"), record("python", "3.11.7")],
        "old": [record("old", "2", "python >=3.12"), record("old", "1", "python <3.12")],
    }


def test_the_solver_goes_back_to_an_older_version_where_it_must(offered: Index) -> None:
    found = solve([Spec.parse("old"), Spec.parse("python<3.12")], offered)

    assert [(record["name"], record["version"]) for record in found] == [("python", "3.11.7"), ("old", "1")]


def test_the_solver_prefers_what_is_installed(offered: Index) -> None:
    found = solve([Spec.parse("python")], offered, installed=[offered["python"][1]])

    assert found == [offered["python"][1]]


def test_the_solver_refuses_what_contradicts_itself(offered: Index) -> None:
    with pytest.raises(CondaError) as raised:
        solve([Spec.parse("old=2"), Spec.parse("python=3.11")], offered)

    assert raised.value.name == "LibMambaUnsatisfiableError"
    assert str(raised.value) == (
        "Encountered problems while solving: these specs conflict:\n  - old=2\n  - python=3.11"
    )
