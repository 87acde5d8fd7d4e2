"""What a run says about hosts that it can't reach, and to a terminal that is not there."""

from __future__ import annotations

import linecache
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyinfra.api import util

from mlflow_stack.domain.lock import Holder, parse_holder
from mlflow_stack.running import Answers, ConnectAdvice, read_no_sources


def line(message: str, level: int) -> str:
    record = logging.LogRecord("pyinfra", level, "", 0, message, (), None)
    ConnectAdvice().filter(record)
    return record.getMessage()


def test_error_about_a_host_that_can_not_be_reached_says_what_to_do() -> None:
    message = "[db1] Could not resolve hostname ([Errno -2] Name or service not known)"

    assert line(message, logging.ERROR) == f"{message}; check the name, or set ssh_hostname to the host's address"


def test_other_lines_are_left_alone() -> None:
    assert line("[db1] Could not connect (timed out)", logging.INFO) == "[db1] Could not connect (timed out)"
    assert line("[db1] psql: 100% done", logging.ERROR) == "[db1] psql: 100% done"


def test_place_of_an_operation_is_found_without_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(util, "stack", util.stack)  # to be put back
    monkeypatch.setattr(util, "getframeinfo", util.getframeinfo)
    state, read, orders, reads = SimpleNamespace(current_deploy_filename=__file__), [], [], []
    getlines = linecache.getlines
    monkeypatch.setattr(linecache, "getlines", lambda *file: read.append(file) or getlines(*file))

    for prepare in (lambda: None, read_no_sources):
        prepare()
        read.clear()
        orders.append(util.get_operation_order_from_stack(state))  # type: ignore[no-untyped-call]
        reads.append(len(read))

    assert orders[0] == orders[1] != []
    assert reads[0] > 0, "pyinfra reads no sources any more: remove read_no_sources"
    assert reads[1] == 0


def test_question_that_nobody_can_answer_ends_the_run_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("yes\n")
    with (tmp_path / "answers").open() as stdin:
        answers = Answers(stdin)

        assert answers.readline() == "yes\n"
        with pytest.raises(SystemExit) as end:
            answers.readline()

    assert end.value.code == (
        "\n    pyinfra asks, and there is no terminal to answer from; "
        "run with --dry to see the changes or -y to make them"
    )


SAME_PROCESS = "import os; os.getpid = lambda: 41; from mlflow_stack.running import RUN; print(RUN)"


def name_of_a_run(program: str = SAME_PROCESS) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_runs_of_one_user_machine_and_process_id_have_names_of_their_own() -> None:
    first, second = name_of_a_run(), name_of_a_run()

    assert re.fullmatch(rf"\S+@{re.escape(socket.gethostname())}:41-[0-9a-f]{{6}}", first)
    assert first != second
    assert parse_holder(f"busy {first} 7") == Holder(first, 7)


def test_run_of_a_user_without_a_name_is_named_by_the_uid() -> None:
    nameless = "import getpass\ndef nobody(): raise KeyError\ngetpass.getuser = nobody\n"

    assert name_of_a_run(nameless + SAME_PROCESS).startswith(f"{os.getuid()}@")
