"""python -m mlflow_stack: what it says to a command line that pyinfra would misunderstand."""

import pytest

from mlflow_stack.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["plan", "--limit", "web", "inventory.py"], "--limit"),
        (["plan", "--json", "--limit", "web", "inventory.py"], "--limit"),
        (["drift", "--limit=web", "inventory.py"], "--limit=web"),
        (["apply", "--limit", "web", "inventory.py", "plan.json"], "--limit"),
        (["conform", "--limit", "web", "inventory.py"], "--limit"),
        (["conform", "--junit", "junit.xml", "inventory.py"], "--junit"),
    ],
)
def test_option_before_the_inventory_is_refused(
    arguments: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1

    assert capsys.readouterr() == (
        "",
        f"{option}: expected the inventory right after {arguments[0]}, and options of pyinfra after that; "
        "no host was touched\n",
    )


def test_inventory_that_is_no_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "web", "--limit", "inventory.py"]) == 1

    assert capsys.readouterr() == (
        "",
        "web: no such file; expected an inventory (docs/how-to/use-your-own-servers.md); no host was touched\n",
    )


def test_command_line_that_can_not_be_read_does_not_end_like_a_plan_with_changes() -> None:
    with pytest.raises(SystemExit) as end:
        main(["plan"])

    assert end.value.code == 1
