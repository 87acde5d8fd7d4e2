"""Plans: what they show, how they are kept as JSON, and what is said when the hosts are no longer as they were."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mlflow_stack.domain import plan as plans
from mlflow_stack.domain.plan import HostPlan, PlannedCommand, PlannedOperation

UNIT = "/etc/systemd/system/mlflow-tracking.service"
WRITE = PlannedOperation(
    "Tracking | Write the unit",
    (
        PlannedCommand("set -eu; …", path=UNIT, change="new, 644 root:root", diff=plans.difference(UNIT, None, "a\n")),
        PlannedCommand("rm -f /etc/mlflow/old", path="/etc/mlflow/old", change="removed", diff=plans.HIDDEN),
    ),
)
CREATE = PlannedOperation("PostgreSQL | Create role", (PlannedCommand("psql", stdin="CREATE ROLE a;\nGRANT b;\n"),))
RELEASE = PlannedOperation("Production | Release model iris", later="models:/iris/1 is looked up when it answers")
DB = HostPlan("db", "0" * 32, (CREATE,), idle=3)
WEB = HostPlan("web", "1" * 32, (WRITE, RELEASE), idle=0)
IDLE = HostPlan("idle", "2" * 32, (), idle=7)
MADE = "2026-01-02T03:04:05Z"


def document(*host_plans: HostPlan, unreached: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a plan document as a program reads it from a file."""
    text = json.dumps(plans.to_document(host_plans, unreached, MADE))
    found: dict[str, Any] = json.loads(text)
    return found


def test_difference_of_a_new_file_is_all_its_lines() -> None:
    assert plans.difference("/etc/a", None, "one\ntwo\n") == "--- /dev/null\n+++ /etc/a\n@@ -0,0 +1,2 @@\n+one\n+two\n"


def test_difference_of_a_removed_file_is_all_its_lines() -> None:
    assert plans.difference("/etc/a", "one\n", None) == "--- /etc/a\n+++ /dev/null\n@@ -1 +0,0 @@\n-one\n"


def test_difference_shows_changed_and_removed_lines_among_their_neighbours() -> None:
    assert plans.difference("/etc/a", "1\n2\n3\n4\n5\n6\n7\n8\n", "1\n2\n3\n4\nfive\n7\n8\n") == (
        "--- /etc/a\n+++ /etc/a\n@@ -2,7 +2,6 @@\n 2\n 3\n 4\n-5\n-6\n+five\n 7\n 8\n"
    )


def test_difference_says_where_a_newline_is_missing_at_the_end() -> None:
    assert plans.difference("/etc/a", "one", "one\n") == (
        "--- /etc/a\n+++ /etc/a\n@@ -1 +1 @@\n-one\n\\ No newline at end of file\n+one\n"
    )


def test_difference_of_equal_texts_is_empty() -> None:
    assert plans.difference("/etc/a", "one\n", "one\n") == ""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("MLFLOW_URI=postgresql://ada:hunter2@db/x", "MLFLOW_URI=postgresql://ada:***@db/x"),
        ("DB_PASSWORD=hunter2", "DB_PASSWORD=***"),
        ('token: "hunter2"', "token: ***"),
        ("host all all 0/0 ldap ldapbindpasswd=hunter2", "host all all 0/0 ldap ldapbindpasswd=***"),
        ("password_encryption = 'scram-sha-256'", "password_encryption = 'scram-sha-256'"),
    ],
)
def test_difference_hides_what_somebody_else_wrote_like_a_secret(line: str, shown: str) -> None:
    assert plans.difference("/etc/x", f"{line}\n", None) == f"--- /etc/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-{shown}\n"


def test_reason_why_something_is_left_for_later_makes_no_other_plan() -> None:
    refused, silent = (
        HostPlan("web", "1f", (PlannedOperation("Release", later=reason),), 0) for reason in ("refused", "timed out")
    )
    decided = HostPlan("web", "1f", (PlannedOperation("Release"),), 0)

    assert plans.deviations({"web": refused}, {"web": silent}) == []
    assert len(plans.deviations({"web": refused}, {"web": decided})) == 1


def test_plan_comes_back_from_its_document_as_it_was() -> None:
    found = document(DB, WEB, IDLE, unreached=("z", "y"))

    assert plans.from_document(found) == {"db": DB, "web": WEB, "idle": IDLE}
    assert (found["format"], found["made"], found["unreached"]) == (1, MADE, ["y", "z"])


def test_document_has_what_programs_look_for() -> None:
    assert document(DB)["hosts"]["db"] == {
        "host": "db",
        "machine": "0" * 32,
        "operations": [
            {
                "name": "PostgreSQL | Create role",
                "commands": [
                    {"command": "psql", "stdin": "CREATE ROLE a;\nGRANT b;\n", "path": "", "change": "", "diff": ""}
                ],
                "later": "",
            }
        ],
        "idle": 3,
        "digest": DB.digest,
    }


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    """Return an edit of the document of DB."""

    def edit(found: dict[str, Any]) -> None:
        target: Any = found
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = to

    return edit


OPERATION = ("hosts", "db", "operations", 0)
EDITED = "what it says about db was edited after it was made; make it anew"
DAMAGED = "it is damaged; make it anew"
FOREIGN = "it is no plan of this version of MLflow Stack; make it anew"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(_set(*OPERATION, "commands", 0, "stdin", to="DROP ROLE a;\n"), EDITED, id="another-command"),
        pytest.param(_set(*OPERATION, "commands", to=[]), EDITED, id="command-removed"),
        pytest.param(_set("hosts", "db", "operations", to=[]), EDITED, id="operation-removed"),
        pytest.param(_set("hosts", "db", "machine", to="2" * 32), EDITED, id="another-machine"),
        pytest.param(_set("hosts", "db", "digest", to="0"), EDITED, id="another-digest"),
        pytest.param(_set("hosts", "db", to={"host": "db"}), DAMAGED, id="parts-missing"),
        pytest.param(_set(*OPERATION, "commands", 0, to={"shell": "true"}), DAMAGED, id="unknown-part"),
        pytest.param(_set("hosts", "db", to=None), DAMAGED, id="no-plan-of-a-host"),
        pytest.param(_set("hosts", "db", "operations", to=["psql"]), DAMAGED, id="no-operation"),
        pytest.param(_set("hosts", to=[]), FOREIGN, id="no-hosts"),
        pytest.param(_set("format", to=0), FOREIGN, id="another-format"),
    ],
)
def test_document_that_was_edited_or_damaged_is_refused(edit: Callable[[dict[str, Any]], None], message: str) -> None:
    found = document(DB)
    edit(found)

    with pytest.raises(ValueError, match=r"make it anew") as refusal:
        plans.from_document(found)

    assert str(refusal.value) == message


@pytest.mark.parametrize("found", [{}, [], None, "text", 1])
def test_json_that_is_no_plan_is_refused(found: Any) -> None:
    with pytest.raises(ValueError, match=r"make it anew") as refusal:
        plans.from_document(found)

    assert str(refusal.value) == FOREIGN


def by_host(*host_plans: HostPlan) -> dict[str, HostPlan]:
    return {plan.host: plan for plan in host_plans}


def test_same_plan_has_no_deviations() -> None:
    assert plans.deviations(by_host(DB, WEB), by_host(WEB, DB)) == []


@pytest.mark.parametrize(
    ("reviewed", "now", "names"),
    [
        ([DB, WEB], [DB], "it was made for db, web; this run reaches db"),
        ([DB], [DB, WEB], "it was made for db; this run reaches db, web"),
        ([DB], [], "it was made for db; this run reaches no host"),
    ],
)
def test_deviation_of_other_hosts_names_both(reviewed: list[HostPlan], now: list[HostPlan], names: str) -> None:
    assert plans.deviations(by_host(*reviewed), by_host(*now)) == [
        f"{names}. Give the inventory and the --limit that it was made with"
    ]


def test_deviation_of_another_machine_is_named_instead_of_its_commands() -> None:
    assert plans.deviations(by_host(DB), by_host(replace(DB, machine="2" * 32, operations=()))) == [
        f"db: it was made for another machine (machine-id {'0' * 32}, now {'2' * 32}); check the address, or make the "
        "plan anew if the machine was"
    ]


def test_deviation_in_commands_names_the_operations() -> None:
    now = replace(WEB, operations=(replace(WRITE, commands=WRITE.commands[:1]), CREATE), idle=1)

    assert plans.deviations(by_host(WEB), by_host(now)) == [
        "web: something else is to be done now than was reviewed, in: Tracking | Write the unit, "
        "Production | Release model iris, PostgreSQL | Create role"
    ]


def test_deviations_of_several_hosts_are_all_named() -> None:
    now = by_host(replace(DB, operations=()), replace(WEB, machine="2" * 32), IDLE)

    assert [problem.split(":")[0] for problem in plans.deviations(by_host(DB, WEB), now)] == [
        "it was made for db, web; this run reaches db, idle, web. Give the inventory and the --limit that it was made "
        "with",
        "db",
        "web",
    ]


def test_text_has_files_with_their_change_and_difference_and_what_comes_later() -> None:
    assert "\n".join(plans.to_text(WEB)) == (
        f"""web: Tracking | Write the unit
    {UNIT} (new, 644 root:root)
        --- /dev/null
        +++ {UNIT}
        @@ -0,0 +1 @@
        +a
    /etc/mlflow/old (removed)
        the content is secret and not shown

web: Production | Release model iris
    later: models:/iris/1 is looked up when it answers
"""
    )


def test_text_has_commands_with_what_they_read() -> None:
    assert list(plans.to_text(DB)) == [
        "db: PostgreSQL | Create role",
        "    $ psql",
        "        CREATE ROLE a;",
        "        GRANT b;",
        "",
    ]


def test_text_of_a_host_with_nothing_to_do_is_empty() -> None:
    assert list(plans.to_text(IDLE)) == []


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        (DB, "db: 1 operation to run, with 1 command, 0 of them for files; 3 as declared"),
        (
            WEB,
            "web: 1 operation to run, with 2 commands, 2 of them for files; 1 operation to be decided later; "
            "0 as declared",
        ),
        (IDLE, "idle: nothing to do; 7 as declared"),
        (
            replace(WEB, operations=(RELEASE, RELEASE)),
            "web: nothing to do; 2 operations to be decided later; 0 as declared",
        ),
        (
            replace(WEB, operations=(WRITE, CREATE)),
            "web: 2 operations to run, with 3 commands, 2 of them for files; 0 as declared",
        ),
    ],
)
def test_summary_counts_operations_commands_and_files(plan: HostPlan, line: str) -> None:
    assert plans.summary(plan) == line
