"""Files that must be absent: a plan shows what was in them, but nothing of a credential."""

from mlflow_stack.domain import layout
from mlflow_stack.operations.commands import Remove
from tests.unit.operations.test_operations import commands_of


def test_removed_file_is_secret_below_the_credentials_and_nowhere_else() -> None:
    paths = [f"{layout.CREDENTIALS_DIR}/pgpass", f"{layout.CONFIG_DIR}/old.env"]
    states = {"FileStates": [f"600 root root 00 {path}" for path in paths]}

    commands = commands_of("files.managed", {"files": [], "absent": paths}, states, "plan")

    assert all(isinstance(command, Remove) for command in commands)
    assert [(command.path, command.is_secret) for command in commands if isinstance(command, Remove)] == [
        (paths[0], True),
        (paths[1], False),
    ]
