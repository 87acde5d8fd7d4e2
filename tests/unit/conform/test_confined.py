"""Checks of confined.py, what services may do: their scripts where they can run here, and what is judged by."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.conform import confined
from mlflow_stack.conform.checks import Unknown
from mlflow_stack.domain import layout
from mlflow_stack.settings import ROLES
from tests.unit.conform.judging import found, judged, run
from tests.unit.conform.servers import serving
from tests.unit.defaults import settings
from tests.unit.recorded import lines

DEPLOYED = lines("deployed", "Survey")
OPENED = {
    "tracking_bind": "0.0.0.0",
    "production_bind": "0.0.0.0",
    "production_models": {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}},
}
LOADED = ["same", "policy drop"]


def test_firewall_is_judged_by_the_settings_and_by_what_is_loaded() -> None:
    def faults(answer: list[str], **data: Any) -> list[str]:
        return found(confined.rules, answer, settings(**{**OPENED, **data}), survey=DEPLOYED)

    file = "/etc/mlflow/firewall.nft"
    assert faults(LOADED) == []
    assert faults([]) == ["there is no table of ours, or it lets everything in"]
    assert faults(["same", "policy accept"]) == ["there is no table of ours, or it lets everything in"]
    assert faults(["policy drop"]) == ["rules were added or taken away since they were loaded"]
    assert faults(LOADED, tracking_bind="127.0.0.1", firewall_allow=["9100/tcp"]) == [
        f'{file} has: tcp dport 5000 accept comment "tracking_port"',
        f"{file} lacks a rule",
    ]


def test_server_that_listens_beyond_its_host_is_found() -> None:
    def faults(**data: Any) -> list[str]:
        return found(confined.listening, [], settings(**{**OPENED, **data}), survey=DEPLOYED)

    assert faults() == []
    assert faults(tracking_bind="127.0.0.1") == ["mlflow-tracking.socket listens on 0.0.0.0:5000/tcp"]
    with pytest.raises(Unknown):
        found(confined.listening)


def test_socket_that_lets_others_in_is_found() -> None:
    own = settings(ROLES, production_models={"diabetes": {"uri": "models:/diabetes@champion"}})
    good = [
        "7 660 root mlflow-proxy /run/mlflow/proxy-login.sock",
        "7 660 mlflow mlflow-proxy /run/mlflow/tracking.sock",
        "7 660 mlflow-model mlflow-proxy /run/mlflow/production-diabetes.sock",
    ]

    assert found(confined.sockets, good, own) == []
    assert found(confined.sockets, [good[0], "0 666 mlflow mlflow-proxy /run/mlflow/tracking.sock"], own) == [
        "the user nobody reached /run/mlflow/tracking.sock"
    ]
    assert found(confined.sockets, [*good[:2], good[2].replace("mlflow-proxy", "users")], own) == [
        "/run/mlflow/production-diabetes.sock is 660 mlflow-model users"
    ]
    with pytest.raises(Unknown, match="the user nobody could not be made to try"):
        found(confined.sockets, ["127 660 mlflow mlflow-proxy /run/mlflow/tracking.sock"], own)
    with pytest.raises(Unknown, match="there is no socket"):
        found(confined.sockets, [], own)


def test_exposure_above_the_limit_is_found() -> None:
    def said(tracking: str) -> list[str]:
        scores = {"mlflow-firewall": "2.8 OK", "mlflow-tracking": tracking, "mlflow-production": "0.2 SAFE"}
        return [f"→ Overall exposure level for {unit}.service: {score} 😀" for unit, score in scores.items()]

    assert found(confined.exposure, said("0.9 SAFE")) == []
    assert found(confined.exposure, said("6.1 MEDIUM")) == ["mlflow-tracking.service: 6.1"]
    with pytest.raises(Unknown, match=r"systemd-analyze says nothing of mlflow-firewall\.service"):
        found(confined.exposure, said("0.9 SAFE")[1:])


def test_process_with_rights_is_found() -> None:
    confinement = "Uid:997 CapEff:0000000000000000 CapBnd:0000000000000000 NoNewPrivs:1 Seccomp:2"
    good = f"mlflow-tracking.service 12 {confinement}"

    assert found(confined.processes, [good]) == []
    assert found(confined.processes, [good, "mlflow-tracking.service 13 "]) == []  # it has ended meanwhile
    assert found(confined.processes, [good.replace("Uid:997", "Uid:0").replace("Seccomp:2", "Seccomp:0")]) == [
        "process 12 of mlflow-tracking.service is root",
        "process 12 of mlflow-tracking.service has Seccomp:0",
    ]
    with pytest.raises(Unknown, match="no process of a server was found"):
        found(confined.processes, [])


def test_processes_of_this_machine_are_read_as_they_are() -> None:
    own = settings()
    script = confined.processes.script(own) if confined.processes.script else ""
    script = script.replace('$(grep -lF "/$u" /proc/[0-9]*/cgroup | cut -d/ -f3)', str(os.getpid()))
    done = subprocess.run(["bash", "--norc"], input=script, text=True, capture_output=True, timeout=60, check=True)

    unit, pid, *status = done.stdout.splitlines()[0].split()
    assert (unit, pid) == ("mlflow-tracking.service", str(os.getpid()))
    assert f"Uid:{os.getuid()}" in status
    assert {each.partition(":")[0] for each in status} == {"Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"}


@pytest.mark.skipif(os.geteuid() != 0, reason="root's files are judged")
def test_program_that_another_user_can_change_is_found(tmp_path: Path) -> None:
    programs, units = tmp_path / "libexec", tmp_path / "units"
    for directory in (programs, units):
        directory.mkdir()
    (programs / "ready.py").touch(mode=0o644)
    (units / "mlflow-tracking.service").touch(mode=0o644)
    (units / "somebody.service").touch(mode=0o666)
    (programs / "link").symlink_to("/nowhere")
    missing = [layout.CONFIG_DIR, layout.ENVS_DIR, settings().conda.prefix]
    places = {layout.LIBEXEC_DIR: str(programs), layout.UNIT_DIR: str(units), **dict.fromkeys(missing, "/nowhere")}

    def faults() -> list[str]:
        return judged(confined.writable, run(confined.writable, settings(), places))

    assert faults() == []
    (programs / "ready.py").chmod(0o646)
    os.chown(units / "mlflow-tracking.service", 65534, 0)
    assert faults() == [
        f"{programs}/ready.py is 646 root root",
        f"{units}/mlflow-tracking.service is 644 nobody root",
    ]


def test_account_that_somebody_could_log_in_as_is_found() -> None:
    good = ["mlflow L 999:/usr/sbin/nologin", "mlflow-model L 997:/usr/sbin/nologin"]

    assert found(confined.accounts, good) == []
    assert found(confined.accounts, ["mlflow P 0:/bin/bash", "mlflow-model  "]) == [
        "mlflow is root",
        "mlflow has a password",
        "the shell of mlflow is /bin/bash",
        "there is no user mlflow-model",
    ]


def test_page_of_another_site_is_refused_as_curl_sees_it() -> None:
    with serving(lambda _method, _path, headers: (403 if headers["Origin"] else 200, {}, "")) as served:
        own = settings(tracking_port=served.port)
        refused = judged(confined.foreign_origin, run(confined.foreign_origin, own, {}), own)
    with serving(lambda *_: (200, {}, "")) as served:
        own = settings(tracking_port=served.port)
        taken = judged(confined.foreign_origin, run(confined.foreign_origin, own, {}), own)
    with pytest.raises(Unknown, match="the tracking server does not answer"):
        judged(confined.foreign_origin, run(confined.foreign_origin, own, {}), own)

    assert (refused, taken) == ([], ["HTTP 200 for a page of conform.invalid"])
