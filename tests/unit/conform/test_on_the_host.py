"""Checks that only the host can answer: their scripts where they can be run on this machine, and what is judged by."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.conform import confined, database, hidden, working
from mlflow_stack.conform.checks import Check, NotAsked, Subject, Unknown
from mlflow_stack.domain import layout
from mlflow_stack.domain.database import mysql_options
from mlflow_stack.domain.survey import parse_survey
from mlflow_stack.settings import ROLES, Settings
from tests.unit.conform.servers import serving
from tests.unit.defaults import settings
from tests.unit.recorded import lines

HASH = "0123456789abcdef" * 2
SPOKEN = "correct: horse\\battery"
KEY = "MHcCAQEEIOsecretsecretsecretsecretsecret"


def found(check: Check, answer: list[str] | None = None, own: Settings | None = None, **survey: Any) -> list[str]:
    answers = {check.number: [*(answer or []), "status 0"]}
    subject = Subject(own or settings(), parse_survey(survey.get("survey", [])), answers=answers)
    return [fault.found for fault in check.judge(subject)]


def run(check: Check, own: Settings, places: dict[str, str]) -> list[str]:
    """Run the script of a check with other places in the stead of the host's, as the user that the tests have."""
    assert check.script
    script = check.script(own).replace("runuser -u nobody -- ", "")
    for place, instead in places.items():
        script = script.replace(place, instead)
    done = subprocess.run(["bash", "--norc"], input=script, text=True, capture_output=True, timeout=60, check=False)
    return [*done.stdout.splitlines(), f"status {done.returncode}"]


def judged(check: Check, answer: list[str], own: Settings | None = None) -> list[str]:
    return [fault.found for fault in check.judge(Subject(own or settings(), answers={check.number: answer}))]


# --- secrets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """A host's secrets, and the places where they are looked for."""
    keys, etc = tmp_path / "credentials", tmp_path / "etc"
    (keys / "proxy").mkdir(parents=True)
    etc.mkdir()
    escaped = SPOKEN.replace("\\", "\\\\").replace(":", "\\:")
    (keys / "pgpass").write_text(f"*:*:*:*:{escaped}\n")
    (keys / "logins").write_text(f"# Managed by MLflow Stack: …\ntracking admin 5a17 {HASH}\n")
    kind = "EC PRIVATE KEY"
    pem = f"-----BEGIN {kind}-----\n{KEY}\npublicpublic\n-----END {kind}-----\n"
    (keys / "proxy/server.pem").write_text(f"{pem}-----BEGIN CERTIFICATE-----\npublicpublic\n")
    searched = "/etc /run /tmp /var/tmp /dev/shm /var/log /opt/mlflow/libexec"
    return {searched: str(etc), "/home -maxdepth 3": f"{tmp_path}/home", layout.CREDENTIALS_DIR: str(keys)}


@pytest.mark.parametrize("secret", [SPOKEN, HASH, KEY])
def test_secret_in_a_file_that_others_read_is_found_without_being_shown(places: dict[str, str], secret: str) -> None:
    etc = Path(next(iter(places.values())))
    (etc / "with a space").write_text(f"x={secret};")
    (etc / "public").write_text("publicpublic, admin, 5a17, tracking")

    answer = run(hidden.readable, settings(), places)

    assert answer == ["secrets 3", f"{etc}/with a space", "status 0"]
    assert judged(hidden.readable, answer) == [
        f"a secret of the host is in {etc}/with a space, which everybody can read"
    ]


def test_password_of_mysql_is_looked_for_as_it_is(places: dict[str, str]) -> None:
    (Path(places[layout.CREDENTIALS_DIR]) / "mysql.cnf").write_text(mysql_options('p#w"with\\n'))
    etc = Path(next(iter(places.values())))
    (etc / "leak").write_text('p#w"with\\n')

    assert f"{etc}/leak" in run(hidden.readable, settings(), places)


def test_many_files_are_looked_at_with_all_secrets(places: dict[str, str]) -> None:
    """More than one call of grep is needed for them, and each has to have the secrets."""
    etc = Path(next(iter(places.values())))
    for number in range(2100):
        (etc / f"{number:04}").write_text(HASH if number in (3, 1500, 2099) else "nothing")

    answer = run(hidden.readable, settings(), places)

    assert sorted(answer[1:-1]) == [f"{etc}/{number:04}" for number in (3, 1500, 2099)]


def test_host_without_a_secret_is_not_asked(places: dict[str, str], tmp_path: Path) -> None:
    empty = {**places, layout.CREDENTIALS_DIR: str(tmp_path / "none")}
    (Path(next(iter(places.values()))) / "a file").touch()

    answer = run(hidden.readable, settings(), empty)

    assert answer == ["secrets 0", "status 0"]
    with pytest.raises(NotAsked, match="this host keeps no secret"):
        judged(hidden.readable, answer)


@pytest.mark.parametrize(
    ("check", "instead"),
    [
        (hidden.readable, {"-print0": "-false"}),
        (hidden.journal, {"journalctl": "true"}),
        (hidden.arguments, {"systemctl": "true"}),
        (confined.writable, {layout.LIBEXEC_DIR: "/nowhere"}),
    ],
    ids=lambda each: getattr(each, "number", ""),
)
def test_script_that_has_nothing_to_look_into_is_no_success(
    places: dict[str, str], check: Check, instead: dict[str, str]
) -> None:
    answer = run(check, settings(), {**places, **instead})

    with pytest.raises(Unknown, match="its command ended with status 1"):
        judged(check, answer)


def test_secret_in_the_arguments_of_a_process_is_found(places: dict[str, str]) -> None:
    leaking = subprocess.Popen(["cat", "-", HASH], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        own = {"/proc/[0-9]*/cmdline": f"/proc/{leaking.pid}/cmdline", "systemctl": "echo"}
        answer = run(hidden.arguments, settings(), {**places, **own})
    finally:
        leaking.kill()
        leaking.communicate()

    assert answer == ["secrets 3", "process cat", "status 0"]
    assert judged(hidden.arguments, answer) == ["a secret of the host is in the arguments of cat"]


def test_secret_in_a_unit_is_found_by_its_name(places: dict[str, str], tmp_path: Path) -> None:
    """Another program plays systemctl: it knows two units, and one of them says too much."""
    program = tmp_path / "units"
    program.write_text(
        f"#!/bin/sh\ncase $* in *list-units*) printf 'a.service x\\nb.service x\\n' ;; *a.service*) echo A=b ;; "
        f"*) echo 'Environment=X={HASH}' ;; esac\n"
    )
    program.chmod(0o755)

    answer = run(
        hidden.arguments, settings(), {**places, "systemctl": str(program), "/proc/[0-9]*/cmdline": "/dev/null"}
    )

    assert judged(hidden.arguments, answer) == ["a secret of the host is in what systemctl shows of b.service"]


def test_secret_in_the_journal_is_found_with_the_program_that_wrote_it(places: dict[str, str], tmp_path: Path) -> None:
    journal = tmp_path / "journalctl"
    text = f"Nov 27 01:02:03 host sudo[12]: X={HASH}\nNov 27 01:02:04 host sudo[13]: {HASH}\nNov 27 a b {HASH}\n"
    journal.write_text(f"#!/bin/sh\ncat <<'END'\n{text}Nov 27 01:02:04 host other[14]: nothing\nEND\n")
    journal.chmod(0o755)

    answer = run(hidden.journal, settings(), {**places, "journalctl": str(journal)})

    assert HASH not in "".join(answer)
    assert sorted(judged(hidden.journal, answer)) == [
        "a secret of the host is in 1 lines of a program that writes several lines",
        "a secret of the host is in 2 lines of sudo",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="root's files are judged")
def test_mode_of_a_key_and_of_its_directory_is_judged(tmp_path: Path) -> None:
    keys = tmp_path / "credentials"
    keys.mkdir(mode=0o700)
    (keys / "logins").touch(mode=0o600)
    place = {layout.CREDENTIALS_DIR: str(keys)}

    def faults() -> list[str]:
        answer = run(hidden.keys, settings(), place)
        return judged(hidden.keys, [line.replace(str(keys), layout.CREDENTIALS_DIR) for line in answer])

    assert faults() == []
    (keys / "logins").chmod(0o640)
    (keys / "link").symlink_to("/etc/passwd")
    keys.chmod(0o755)
    assert sorted(faults()) == [
        f"{layout.CREDENTIALS_DIR} is 755 root root",
        f"{layout.CREDENTIALS_DIR}/link is neither file nor directory",
        f"{layout.CREDENTIALS_DIR}/logins is 640 root root",
    ]


def test_keys_of_a_database_s_server_are_its_user_s() -> None:
    own = settings(postgresql_client_networks=["10.0.0.0/24"])
    tls = layout.DATABASE_TLS_DIR
    good = [f"d 700 root root {layout.CREDENTIALS_DIR}", f"d 700 postgres postgres {tls}"]
    good += [f"f 600 postgres postgres {tls}/server.pem", f"f 644 postgres postgres {tls}/ca.crt"]

    assert found(hidden.keys, good, own) == []
    assert found(hidden.keys, [*good, f"f 600 root root {tls}/ca.key"], own) == [f"{tls}/ca.key is 600 root root"]
    assert found(hidden.keys, []) == [f"there is no {layout.CREDENTIALS_DIR}"]


def test_directory_that_others_see_is_found() -> None:
    own = [layout.CONFIG_DIR, layout.STATE_DIR, layout.STAMPS_DIR, layout.BACKUP_DIR, "/var/lib/mlflow/artifacts"]
    closed = [f"750 {path}" for path in own]

    assert found(hidden.closed, closed) == []
    assert found(hidden.closed, ["755 /etc/mlflow", *closed[1:-1]]) == [
        "/etc/mlflow is 755",
        "there is no /var/lib/mlflow/artifacts",
    ]


# --- what works ----------------------------------------------------------------------------------------------------

UNITS = [
    *("Id=postgresql.service ActiveState=active UnitFileState=enabled",),
    "Id=postgresql@15-main.service ActiveState=active UnitFileState=enabled-runtime",
    "Id=mlflow-tracking.service ActiveState=active UnitFileState=enabled",
]


def test_unit_that_does_not_run_or_does_not_start_with_the_host_is_found() -> None:
    stopped = "Id=mlflow-production@diabetes.service ActiveState=inactive UnitFileState=disabled"
    absent = "Id=mlflow-firewall.service ActiveState=inactive UnitFileState="

    assert found(working.services, UNITS) == []
    assert found(working.services, [UNITS[0].replace("=active", "=inactive"), *UNITS[1:]]) == []
    assert found(working.services, [*UNITS[:1], UNITS[2]]) == ["no cluster of PostgreSQL is started"]
    assert found(working.services, [*UNITS, stopped, absent, "failed mlflow-proxy-certificate.service loaded"]) == [
        "mlflow-production@diabetes.service is inactive",
        "mlflow-production@diabetes.service is disabled",
        "mlflow-firewall.service is inactive",
        "mlflow-firewall.service is not there",
        "mlflow-proxy-certificate.service has failed",
    ]
    with pytest.raises(Unknown, match="systemd names no unit"):
        found(working.services, [])


def test_units_that_are_to_run_follow_from_the_settings() -> None:
    everything = settings(ROLES, postgresql_client_networks=["10.0.0.0/24"])
    assert working.units(everything) == [
        "mlflow-firewall.service",
        "mlflow-tracking.service",
        "mlflow-production.service",
        "mlflow-proxy-login.service",
        "mlflow-proxy.service",
        "mlflow-proxy-certificate.timer",
        "mlflow-database-certificate.timer",
    ]
    assert working.units(settings(firewall_enabled=False)) == ["mlflow-tracking.service", "mlflow-production.service"]


def test_answer_of_the_tracking_server_is_asked_with_curl() -> None:
    statuses = iter([200, 500])
    with serving(lambda *_: (next(statuses), {}, "{}")) as served:
        own = settings(tracking_port=served.port)
        well, ill = (judged(working.database, run(working.database, own, {}), own) for _ in range(2))
    down = judged(working.database, run(working.database, own, {}), own)

    method, path, headers = served.requests[0]
    assert (method, path, headers["Content-Type"]) == ("POST", working.SEARCH, "application/json")
    assert (well, ill) == ([], ["HTTP 500 for a search of experiments"])
    assert down == ["no answer to a search of experiments"]


@pytest.mark.parametrize(
    ("answer", "body", "faults"),
    [
        (200, '{"predictions": [1]}', []),
        (200, '{"error": "x"}', ["diabetes: HTTP 200 and no prediction"]),
        (400, '{"error_code": "BAD_REQUEST"}', ["diabetes: HTTP 400 and no prediction"]),
    ],
)
def test_model_is_asked_for_its_input_example(tmp_path: Path, answer: int, body: str, faults: list[str]) -> None:
    example = tmp_path / "diabetes/current/model/serving_input_example.json"
    example.parent.mkdir(parents=True)
    example.write_text('{"inputs": [1]}')

    def model(method: str, path: str, _: object) -> tuple[int, dict[str, str], str]:
        return (200, {}, "\n") if path == "/ping" else (answer, {}, body)

    with serving(model) as served:
        models = {"diabetes": {"uri": "models:/diabetes@champion", "port": served.port}}
        own = settings(production_models=models)
        said = run(working.predictions, own, {layout.MODELS_DIR: str(tmp_path)})

    assert [(method, path) for method, path, _ in served.requests] == [("GET", "/ping"), ("POST", "/invocations")]
    assert judged(working.predictions, said, own) == faults


def test_model_without_an_example_or_without_a_release_is_judged_by_what_it_is() -> None:
    models = {"diabetes": {"uri": "models:/diabetes@champion", "port": 5001}}
    required = settings(production_models=models)
    optional = settings(production_models={"diabetes": {**models["diabetes"], "required": False}})

    assert found(working.predictions, ["diabetes 200 "], required) == []
    assert found(working.predictions, ["diabetes 000 000 0"], required) == ["diabetes: HTTP 000 for /ping"]
    assert found(working.predictions, ["diabetes"], required) == ["diabetes was never released"]
    assert found(working.predictions, ["diabetes 200 200 1"], optional) == []
    with pytest.raises(NotAsked, match="no model was released"):
        found(working.predictions, ["diabetes"], optional)


# --- what services may do ------------------------------------------------------------------------------------------

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


# --- the database, in the words of PostgreSQL 15 -------------------------------------------------------------------


def test_setting_that_could_lose_what_was_confirmed_is_found() -> None:
    good = ["fsync on", "full_page_writes on", "synchronous_commit on"]

    assert found(database.durable, good) == []
    assert found(database.durable, [*good, "synchronous_commit off"]) == ["synchronous_commit is off"]
    with pytest.raises(Unknown):
        found(database.durable, [])


def test_right_that_the_role_should_not_have_is_found() -> None:
    rights = dict.fromkeys(("super", "createdb", "createrole", "replication", "bypassrls"), False)

    assert found(database.role, [json.dumps({**rights, "of": []})]) == []
    assert found(database.role, [json.dumps({**rights, "createdb": True, "of": ["postgres"]})]) == [
        "role mlflow_user has createdb",
        "role mlflow_user has the rights of postgres",
    ]
    with pytest.raises(Unknown, match="there is no role mlflow_user"):
        found(database.role, [])


def test_role_for_dumps_that_may_do_more_than_read_is_found() -> None:
    rights = ("super", "createdb", "createrole", "replication", "bypassrls", "creates", "writes", "member", "password")
    well = dict.fromkeys(rights, False)

    assert found(database.dump_role, [json.dumps(well)]) == []
    assert found(database.dump_role, [json.dumps(dict.fromkeys(rights, True))])[5:] == [
        "role mlflow_dump may create tables",
        "role mlflow_dump may change a table",
        "role mlflow_dump has the rights of another role",
        "role mlflow_dump has a password",
    ]
    with pytest.raises(Unknown, match="there is no role mlflow_dump"):
        found(database.dump_role, [])


def test_database_of_others_that_is_not_as_needed_is_found_and_asked_by_the_host() -> None:
    own = settings(
        ("tracking",), tracking_database_uri="mysql+pymysql://u@db/d", tracking_database_password="env:DB_PASSWORD"
    )
    assert database.needs.script

    script = database.needs.script(own)

    assert database.needs.hosts.include(own)
    assert not database.needs.hosts.include(settings())
    assert "-p LoadCredential=mysql.cnf:/etc/mlflow/credentials/mysql.cnf " in script
    assert "/opt/mlflow/libexec/schema.py needs '\"'\"'mysql+pymysql://u@db/d?ssl_check_hostname=false&" in script
    assert found(database.needs, [], own) == []
    assert found(database.needs, ["db:3306 can't be reached from this host"], own) == [
        "db:3306 can't be reached from this host"
    ]


def test_database_that_others_may_connect_to_is_found() -> None:
    def faults(**changed: object) -> list[str]:
        return found(database.connect, [json.dumps({"owner": "mlflow_user", "public": False, "others": [], **changed})])

    assert faults() == []
    assert faults(public=True, others=["other"]) == ["every role may connect to mlflow_db"]
    assert faults(others=["other"]) == ["other may connect to mlflow_db"]
    assert faults(owner="other") == ["the owner of mlflow_db is other"]


def rule(**changed: object) -> dict[str, object]:
    usual = {"line": 96, "type": "local", "database": ["all"], "user": ["all"], "address": None, "method": "peer"}
    return {**usual, "error": None, **changed}


@pytest.mark.parametrize(
    ("changed", "faults"),
    [
        ({}, []),
        ({"type": "host", "address": "127.0.0.1", "method": "scram-sha-256"}, []),
        ({"type": "hostssl", "address": "10.0.0.0", "method": "scram-sha-256"}, []),
        ({"type": "host", "address": "all", "method": "reject"}, []),
        ({"database": ["replication"], "method": "trust"}, []),
        ({"database": ["theirs"], "type": "host", "address": "all", "method": "trust"}, []),
        (
            {"type": "hostssl", "database": None, "error": "hostssl record cannot match because SSL is disabled"},
            [],
        ),
        ({"database": None, "error": "invalid method"}, ["line 96 of pg_hba.conf: invalid method"]),
        ({"method": "trust", "database": ["mlflow_db"]}, ["line 96 of pg_hba.conf lets all in by trust"]),
        (
            {"type": "host", "address": "10.0.0.0", "method": "scram-sha-256"},
            ["line 96 of pg_hba.conf lets 10.0.0.0 in without TLS"],
        ),
    ],
)
def test_rule_of_pg_hba_is_judged_by_whom_it_lets_in_and_how(changed: dict[str, object], faults: list[str]) -> None:
    assert found(database.rules, [json.dumps([rule(**changed)])]) == faults


def test_database_that_others_use_has_tls_and_a_certificate_that_lasts() -> None:
    good = ["password_encryption scram-sha-256", "ssl on", "ssl_min_protocol_version TLSv1.2", "left yes"]

    assert found(database.tls, good) == []
    assert found(database.tls, ["password_encryption md5", "ssl off", "ssl_min_protocol_version TLSv1", "left no"]) == [
        "ssl is off",
        "ssl_min_protocol_version is TLSv1",
        "password_encryption is md5",
        "its certificate ends within 14 days",
    ]
