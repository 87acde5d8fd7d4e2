"""What `make audit` makes of pip-audit's answers; tests/e2e/test_examiners.py runs the real one."""

import json

from scripts.audit import DUE, UNKNOWN, Answer, Package, Vulnerability, judge, locked, read

JINJA, YAML = Package("jinja2", "3.1.6"), Package("pyyaml", "6.0.3")
FILES = {JINJA: ["locks/uv.txt", "requirements.txt"], YAML: ["requirements.txt"]}
MENDED = Vulnerability(JINJA, ["PYSEC-1", "CVE-1"], ["3.1.7", "3.2.0"])
UNMENDED = Vulnerability(YAML, ["PYSEC-2", "CVE-2"], [])


def test_nothing_known_is_nothing_to_do() -> None:
    assert judge(Answer([], {}), FILES, {}) == (0, [])


def test_vulnerability_that_a_newer_version_mends_is_due() -> None:
    assert judge(Answer([MENDED], {}), FILES, {}) == (
        DUE,
        [
            "jinja2 3.1.6: PYSEC-1 = CVE-1, mended in 3.1.7, 3.2.0; raise it, or waive it with a reason; "
            "in locks/uv.txt, requirements.txt"
        ],
    )


def test_vulnerability_that_no_version_mends_is_only_reported() -> None:
    assert judge(Answer([UNMENDED], {}), FILES, {}) == (
        0,
        ["pyyaml 6.0.3: PYSEC-2 = CVE-2, no version mends it yet; watch it; in requirements.txt"],
    )


def test_waived_vulnerability_is_reported_with_the_reason_by_any_of_its_ids() -> None:
    assert judge(Answer([MENDED], {}), FILES, {"CVE-1": "templates are ours alone"}) == (
        0,
        [
            "jinja2 3.1.6: PYSEC-1 = CVE-1, mended in 3.1.7, 3.2.0; waived: templates are ours alone; "
            "in locks/uv.txt, requirements.txt"
        ],
    )


def test_waiver_that_nothing_needs_is_to_be_removed_and_fails_until_it_is() -> None:
    assert judge(Answer([], {}), FILES, {"CVE-3": "long ago"}) == (
        DUE,
        ["tests/data/examiners.json: no locked package has CVE-3 any more; remove it"],
    )


def test_package_that_was_not_asked_about_is_not_taken_for_safe() -> None:
    assert judge(Answer([], {YAML: "Dependency not found on PyPI"}), FILES, {"CVE-3": "perhaps still"}) == (
        UNKNOWN,
        ["not audited: 1 of 2 packages, the first of them pyyaml 6.0.3: Dependency not found on PyPI"],
    )


def test_what_is_known_of_some_is_due_although_others_were_not_asked_about() -> None:
    assert judge(Answer([MENDED], {YAML: "Dependency not found on PyPI"}), FILES, {})[0] == DUE


def test_report_of_pip_audit_is_read() -> None:
    known = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["3.1.7", "3.2.0"], "description": "made up"}
    report = {
        "dependencies": [
            {"name": "jinja2", "version": "3.1.6", "vulns": [known]},
            {"name": "pyyaml", "skip_reason": "Dependency not found on PyPI"},
        ],
        "fixes": [],
    }

    answer = read([JINJA, YAML], json.dumps(report), "a warning")

    assert answer == Answer([MENDED], {YAML: "Dependency not found on PyPI"})


def test_without_a_report_every_package_was_not_asked_about_for_what_pip_audit_complained_of() -> None:
    assert read([JINJA, YAML], "", "no route to host") == Answer([], dict.fromkeys([JINJA, YAML], "no route to host"))


def test_package_that_the_report_leaves_out_was_not_asked_about() -> None:
    answer = read([JINJA], json.dumps({"dependencies": [], "fixes": []}), "a warning")

    assert answer == Answer([], {JINJA: "a warning"})


def test_every_lock_file_is_audited() -> None:
    files = {path for paths in locked().values() for path in paths}

    assert files == {
        *("locks/sbom.txt", "locks/uv.txt", "requirements.txt", "requirements-dev.txt"),
        *(
            f"locks/{name}-py{python}.txt"
            for name in ("mlflow", "mysql", "s3", "gcs", "azure")
            for python in ("3.10", "3.11", "3.12", "3.13")
        ),
    }
