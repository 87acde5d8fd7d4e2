"""check_environment.py: an environment has exactly the packages of its lock file."""

import subprocess
import sys
from pathlib import Path

import mlflow_stack
from mlflow_stack.on_host.check_environment import differences, locked, normalised

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/check_environment.py"
LOCK = """\
# mlflow-schema-revision: dc11669786a5
Flask_Cors==6.0.1 \\
    --hash=sha256:00
numpy==2.4.6 ; python_version >= "3.11" \\
    --hash=sha256:11
"""


def test_lock_file_is_read_as_names_and_versions() -> None:
    assert locked(LOCK) == {"flask-cors": "6.0.1", "numpy": "2.4.6"}


def test_names_are_compared_as_pep_503_does() -> None:
    assert normalised("Ruamel.YAML__clib") == "ruamel-yaml-clib"


def test_environment_that_is_as_locked_has_no_differences() -> None:
    assert differences({"numpy": "2.4.6"}, {"numpy": "2.4.6", "pip": "25.3", "setuptools": "80"}) == []


def test_package_that_is_missing_other_or_too_much_is_named() -> None:
    found = differences({"numpy": "2.4.6", "flask": "3.1"}, {"numpy": "2.4.5", "six": "1.17", "pip": "25.3"})

    assert found == [
        "numpy: 2.4.5 installed, 2.4.6 locked",
        "flask: not installed, 3.1 locked",
        "six: 1.17 installed, not locked",
    ]


def test_program_compares_the_environment_that_it_runs_in(tmp_path: Path) -> None:
    """Run in the environment of the tests, which is nobody's lock file."""
    (tmp_path / "requirements.txt").write_text("pytest==0.0.1 \\\n    --hash=sha256:00\n")

    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(tmp_path / "requirements.txt")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the environment is not what its lock file says: pytest: ")
    assert " installed, 0.0.1 locked; " in done.stderr
