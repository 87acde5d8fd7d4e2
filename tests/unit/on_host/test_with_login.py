"""with_login.py, run as a host runs it: a program that finds the login, and who looks at it from outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mlflow_stack

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/with_login.py"
PROGRAM = """
import os, subprocess, sys
from pathlib import Path
print(os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"], sys.argv)
for name in ("environ", "cmdline"):
    print("enchantress" in Path(f"/proc/self/{name}").read_text())
print(b"enchantress" in subprocess.run(["env"], stdout=subprocess.PIPE).stdout)
sys.exit(3)
"""


def test_program_has_the_login_and_nobody_sees_the_password_nor_is_it_inherited(tmp_path: Path) -> None:
    program = tmp_path / "mlflow"
    program.write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "ada", str(program), "artifacts", "download"],
        input="the enchantress\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.stdout.splitlines() == [
        f"ada the enchantress {[str(program), 'artifacts', 'download']}",
        *["False"] * 3,
    ]
    assert done.returncode == 3
