"""Each fact on what its command printed on a real host, fresh and deployed (tests/data/record.py)."""

import base64
import inspect
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api.command import StringCommand
from pyinfra.api.facts import FactBase

import mlflow_stack
from mlflow_stack.domain import layout
from mlflow_stack.domain.artifacts import FormerStore, StoreState
from mlflow_stack.domain.certificates import AcmeCertificate
from mlflow_stack.domain.firewall import RULES_FILE, UNIT
from mlflow_stack.domain.object_store import ObjectStore
from mlflow_stack.domain.postgresql import Cluster
from mlflow_stack.facts.artifacts import Artifacts, ArtifactStore, StoreProblems
from mlflow_stack.facts.batch import Batch
from mlflow_stack.facts.certificates import Certificate, OwnCertificate
from mlflow_stack.facts.conda import Conda, CondaState, Environment, EnvironmentList, Environments, EnvironmentState
from mlflow_stack.facts.files import FileStates, FileTexts
from mlflow_stack.facts.firewall import FirewallRemains
from mlflow_stack.facts.host import InstalledPackages, Layout, Survey
from mlflow_stack.facts.mlflow import Models, Schema, SchemaState
from mlflow_stack.facts.postgresql import Postgresql
from mlflow_stack.facts.probe import Probe
from mlflow_stack.facts.proxy import LoginFile, Logins
from mlflow_stack.facts.service import EnabledInstances, Service
from tests.data import record
from tests.unit.recorded import DIRECTORY, lines

MODULES = [path.stem for path in (Path(mlflow_stack.__file__).parent / "facts").glob("*.py") if path.stem != "__init__"]
# Without Batch: its command and its output are those of other facts, in one (test_batch.py); nor Probe, whose script is
# that of who asks (tests/unit/conform).
FACTS = [
    fact
    for module in MODULES
    for fact in vars(import_module(f"mlflow_stack.facts.{module}")).values()
    if inspect.isclass(fact) and issubclass(fact, FactBase) and fact not in (FactBase, Batch, Probe)
]


def raw(fact: type[FactBase[Any]], arguments: dict[str, Any]) -> str:
    command = fact().command(**arguments)
    assert isinstance(command, StringCommand)
    return command.get_raw_value()


def read(fact: type[FactBase[Any]], state: str) -> Any:
    """Return a fact as pyinfra does: process() is called only when there is output, default() otherwise."""
    output = lines(state, fact.__name__)
    return fact().process(output) if output else fact.default()


@pytest.mark.parametrize("state", ["fresh", "deployed"])
@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.__name__)
def test_fact_is_recorded_with_its_present_command(fact: type[FactBase[Any]], state: str) -> None:
    arguments = dict(record.facts(record.NO_ENVIRONMENT))[fact]

    recorded = (DIRECTORY / state / f"{fact.__name__}.txt").read_text().splitlines()[0]

    assert recorded == record.shortened(raw(fact, arguments))


def test_miniconda_is_absent_on_a_fresh_host() -> None:
    assert read(Conda, "fresh") == CondaState()


def test_miniconda_of_a_deployed_host_has_its_marker_and_its_configuration() -> None:
    state = read(Conda, "deployed")

    assert (state.exists, state.started) == (True, False)
    assert state.marker.startswith('{"installer_version": "py312_')
    assert (state.condarc.mode, state.condarc.owner) == ("644", "root")


def test_environment_is_absent_then_complete() -> None:
    assert read(Environment, "fresh") == EnvironmentState()
    assert read(Environment, "deployed") == EnvironmentState(exists=True, complete=True)


def test_environments_are_listed_with_those_in_use() -> None:
    found = read(Environments, "deployed")

    assert read(Environments, "fresh") == EnvironmentList()
    model, tracking = found.complete
    assert (model.split("-")[0], tracking.split("-")[0]) == (f"{layout.ENVS_DIR}/model", f"{layout.ENVS_DIR}/mlflow")
    # That of the tracking server is used by what a run declares (operations/conda.py).
    assert (found.used, found.unfinished) == ({model}, [])


def test_environments_without_a_marker_are_unfinished_and_those_of_others_are_left_out() -> None:
    names = ("complete=mlflow-0123456789ab", "unfinished=model-iris-0123456789ab", "unfinished=ada-0123456789ab")

    found = Environments().process([line.replace("=", f"={layout.ENVS_DIR}/") for line in names])

    assert found == EnvironmentList(
        [f"{layout.ENVS_DIR}/mlflow-0123456789ab"], [f"{layout.ENVS_DIR}/model-iris-0123456789ab"], set()
    )


def test_files_are_read_without_the_symbolic_link_among_them() -> None:
    found = read(FileStates, "deployed")

    assert read(FileStates, "fresh") == {}
    assert {path: (state.mode, state.owner, state.group) for path, state in found.items()} == {
        "/etc/mlflow/tracking.env": ("640", "root", "mlflow"),
        "/opt/mlflow/libexec/fetch.sh": ("644", "root", "root"),
    }


def test_texts_of_files_are_read_without_the_symbolic_link_among_them() -> None:
    found = read(FileTexts, "deployed")

    assert set(read(FileTexts, "fresh")) == {"/etc/debian_version"}
    assert set(found) == {"/etc/mlflow/tracking.env", "/etc/debian_version"}
    assert found["/etc/debian_version"] == "12.15\n"
    assert 'MLFLOW_PORT="5000"\n' in found["/etc/mlflow/tracking.env"]


def test_text_of_a_file_that_is_no_utf_8_is_shown_with_replacements() -> None:
    line = f"{base64.b64encode(b'M' + bytes([0xFC]) + b'ller').decode()} /etc/a file"

    assert FileTexts().process([line]) == {"/etc/a file": "M\ufffdller"}


def test_text_of_an_empty_file_is_empty_and_not_absent() -> None:
    assert FileTexts().process([" /etc/empty"]) == {"/etc/empty": ""}


def test_packages_that_are_installed_are_found() -> None:
    assert list(read(InstalledPackages, "fresh")) == ["ca-certificates", "curl"]
    installed = ["nftables", "postgresql-15", "postgresql-client-15"]
    assert list(read(InstalledPackages, "deployed")) == ["ca-certificates", "curl", *installed]


def test_users_and_directories_are_found() -> None:
    found = read(Layout, "deployed")

    assert read(Layout, "fresh") == {}
    assert {name: entry.split(":")[5] for name, entry in found.items() if name.startswith("user:")} == {
        "user:mlflow": "/var/lib/mlflow",
        "user:mlflow-model": "/var/lib/mlflow-models",
    }
    assert {path: state for path, state in found.items() if path.startswith("/")} == {
        "/opt/mlflow": "755 root root",
        "/etc/mlflow": "750 root mlflow",
        "/var/backups/mlflow": "700 mlflow mlflow",
    }


def test_survey_is_of_the_recorded_host() -> None:
    assert read(Survey, "fresh").title == "Debian GNU/Linux 12 (bookworm)"


def test_database_server_is_absent_on_a_fresh_host() -> None:
    state = read(Postgresql, "fresh")

    assert (state.files, state.hba, state.ident, state.enabled, state.server) == ({}, None, None, False, {})


def test_database_server_of_a_deployed_host_is_read_whole() -> None:
    state = read(Postgresql, "deployed")

    role = state.server["role"]
    assert [(path.rpartition("/")[2], each.mode, each.owner) for path, each in state.files.items()] == [
        ("50-mlflow.conf", "640", "postgres"),
        ("pg_hba.conf", "640", "postgres"),
        ("pg_ident.conf", "640", "postgres"),
    ]
    assert state.hba.startswith("# BEGIN MLflow Stack")
    assert "mlflow  mlflow  mlflow_user\n" in state.ident
    assert state.enabled
    assert state.server["database"] == {"owner": "mlflow_user", "encoding": "UTF8", "public_connect": False}
    assert (role["login"], role["super"], role["createdb"], role["salt"]) == (True, False, False, None)
    assert (state.server["pending_restart"], state.server["stale"]) == ([], False)
    rights = ("connects", "reads", "reads_new", "writes", "creates", "member", "password")
    assert [state.server["dump_role"][right] for right in rights] == [True, True, True, False, False, False, False]


def test_database_server_that_is_down_leaves_its_files_readable() -> None:
    output = lines("deployed", "Postgresql")

    state = Postgresql().process(output[:-2])

    assert (state.server, state.enabled) == ({}, True)
    assert state.hba is not None


def test_database_server_without_the_database_says_nothing_of_rights_in_it() -> None:
    output = lines("deployed", "Postgresql")

    assert "dump_role" not in Postgresql().process(output[:-1]).server


def test_files_of_a_database_server_are_told_apart_without_a_newline_at_their_end(tmp_path: Path) -> None:
    (tmp_path / "pg_hba.conf").write_text("local all all peer")
    (tmp_path / "pg_ident.conf").write_text("# none")
    cluster = Cluster(str(tmp_path), "no-such.service", 1, "nobody", "nobody_else", "nothing")
    command = Postgresql().command(cluster).get_raw_value()
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, timeout=20).stdout

    state = Postgresql().process(output.splitlines())

    assert (state.hba, state.ident, state.enabled) == ("local all all peer\n", "# none\n", False)


def test_schema_is_unknown_then_at_a_revision() -> None:
    assert read(Schema, "fresh") == SchemaState()
    assert read(Schema, "deployed").error == ""
    assert len(read(Schema, "deployed").revision) == 12


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"revision": null}', SchemaState(None, "")),
        ('{"error": "connection refused"}', SchemaState(None, "connection refused")),
        (
            '{"revision": "0123456789ab", "known": true, "begun": ["dc11669786a5", "/x.sql.gz"]}',
            SchemaState("0123456789ab", "", dump="/x.sql.gz"),
        ),
        ('{"revision": "0123456789ab", "known": true, "begun": ["dc11669786a5", ""]}', SchemaState(None, "")),
    ],
)
def test_schema_of_a_database_without_tables_or_without_a_server(line: str, expected: SchemaState) -> None:
    assert Schema().process([line]) == expected


def test_model_is_out_of_reach_then_served_as_it_resolves() -> None:
    model = read(Models, "deployed")["diabetes"]

    assert read(Models, "fresh")["diabetes"] == {
        "current": None,
        "error": "http://127.0.0.1:5000: [Errno 111] Connection refused",
        "missing": False,
    }
    assert model["resolved"]["uri"] == "models:/diabetes/1"
    assert model["current"].startswith(model["resolved"]["id"] + "-")


def test_service_is_absent_then_running_as_it_was_proved() -> None:
    fresh, deployed = read(Service, "fresh"), read(Service, "deployed")

    assert (fresh.properties["LoadState"], fresh.not_ready) == ("not-found", "it is not running")
    assert (deployed.properties["UnitFileState"], deployed.not_ready) == ("enabled", "")
    assert deployed.digest == deployed.proved


def test_instances_of_the_umbrella_are_listed() -> None:
    assert set(read(EnabledInstances, "fresh")) == set()
    assert set(read(EnabledInstances, "deployed")) == {"diabetes"}


def test_firewall_is_absent_then_whole() -> None:
    assert read(FirewallRemains, "fresh") == set()
    assert read(FirewallRemains, "deployed") == {RULES_FILE, f"{layout.UNIT_DIR}/{UNIT}", "table"}


def test_artifact_store_is_absent_then_the_servers_own() -> None:
    deployed = read(ArtifactStore, "deployed")

    assert read(ArtifactStore, "fresh") == StoreState()
    assert (deployed.uid, deployed.writable, deployed.mark) == (deployed.owner, True, "")
    assert not deployed.is_mounted("/var/lib/mlflow/artifacts")


def test_artifacts_are_nowhere_then_where_the_server_keeps_them() -> None:
    assert read(Artifacts, "fresh") == FormerStore()
    assert read(Artifacts, "deployed") == FormerStore("/var/lib/mlflow/artifacts", has_artifacts=True)


def test_object_store_is_not_judged_where_there_is_nothing_to_ask_it_with() -> None:
    assert [read(StoreProblems, state) for state in ("fresh", "deployed")] == [[], []]


def test_object_store_is_asked_with_the_client_of_the_environment_and_tells_what_is_wrong(tmp_path: Path) -> None:
    """The environment is a stand-in that answers as on_host/object_store.py does."""
    python, program = tmp_path / "bin/python", tmp_path / "object_store.py"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho works; echo 'it is public' >&2; exit 1\n")
    python.chmod(0o755)
    arguments = {"store": ObjectStore("s3://bucket/mlflow"), "environment": str(tmp_path), "read_only": True}
    script = raw(StoreProblems, arguments).replace("runuser -u mlflow -- ", "")
    script = script.replace(f"{layout.LIBEXEC_DIR}/object_store.py", str(program))

    def ask() -> str:
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout

    before = ask()
    (tmp_path / layout.MARKER).touch()
    program.touch()

    assert (before, ask()) == ("", "it is public\n")
    assert StoreProblems().process(["it is public"]) == ["it is public"]


def test_logins_are_absent_then_known_by_their_salts() -> None:
    found = read(Logins, "deployed")

    assert read(Logins, "fresh") == LoginFile()
    assert set(found.salts) == {("tracking", "admin"), ("models/diabetes", "admin")}
    assert {len(salt) for salt in found.salts.values()} == {16}
    assert found.state
    assert (found.state.mode, found.state.owner) == ("600", "root")


def test_certificate_is_absent_then_well() -> None:
    found = read(OwnCertificate, "deployed")

    assert read(OwnCertificate, "fresh") == Certificate("there is none yet", "")
    assert found.to_do == ""
    assert re.fullmatch("([0-9A-F]{2}:){31}[0-9A-F]{2}", found.fingerprint)


def test_certificate_from_an_acme_server_is_read_like_one_of_the_host_s_own() -> None:
    command = raw(OwnCertificate, {"certificate": AcmeCertificate("mlflow.example.com", email="admin@example.com")})

    assert command == (
        "[ ! -e /opt/mlflow/libexec/acme-certificate.sh ] || sh /opt/mlflow/libexec/acme-certificate.sh check "
        "/etc/mlflow/credentials/proxy /etc/mlflow/credentials/acme /var/lib/mlflow-acme "
        "https://acme-v02.api.letsencrypt.org/directory mlflow.example.com admin@example.com"
    )
    assert OwnCertificate().process(["ends: Feb 25 05:50:11 2027 GMT"]) == Certificate("", "")
