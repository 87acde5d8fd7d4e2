"""How deploy.py and the roles call operations: the rules that pyinfra itself does not enforce."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mlflow_stack

PACKAGE = Path(mlflow_stack.__file__).parent
ROLES = sorted((PACKAGE / "roles").glob("*.py"))
OPERATIONS = sorted((PACKAGE / "operations").glob("*.py"))


@dataclass(frozen=True)
class Call:
    """A call of an operation: where it stands, its name= and what else is wrong with its form."""

    place: str
    name: ast.expr | None
    positional: int


def operation_modules() -> set[str]:
    return {path.stem for path in OPERATIONS if path.stem != "__init__"}


def calls(path: Path) -> Iterator[Call]:
    """Yield the calls MODULE.operation(…) of a role, by the modules that it imports from operations."""
    tree = ast.parse(path.read_text())
    bound = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "mlflow_stack.operations"
        for alias in node.names
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module))) if module in bound:
                names = [keyword.value for keyword in node.keywords if keyword.arg == "name"]
                yield Call(f"{path.name}:{node.lineno}", next(iter(names), None), len(node.args))


ALL_CALLS = [call for path in ROLES for call in calls(path)]


def text(name: ast.expr | None) -> str:
    """Return a name as it is written, with {…} for what is filled in."""
    match name:
        case ast.Constant(value=str(words)):
            return words
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "{…}" for part in parts)  # type: ignore[misc]
    return ""


def test_walk_finds_the_calls() -> None:
    assert len(ALL_CALLS) > 12


@pytest.mark.parametrize("call", ALL_CALLS, ids=lambda call: call.place)
def test_operation_call_has_an_imperative_name_and_only_keyword_arguments(call: Call) -> None:
    first = text(call.name).split(" ")[0]

    assert call.positional == 0
    assert first.istitle()
    assert not first.endswith(("s", "ed")), f"{first}: not imperative"


@pytest.mark.parametrize("call", ALL_CALLS, ids=lambda call: call.place)
def test_operation_name_holds_no_host(call: Call) -> None:
    filled_in = [
        ast.unparse(part.value)
        for part in ast.walk(call.name or ast.Constant(""))
        if isinstance(part, ast.FormattedValue)
    ]

    assert [expression for expression in filled_in if "host" in expression or "address" in expression] == []


def test_no_two_operation_calls_share_a_name() -> None:
    counts = Counter(text(call.name) for call in ALL_CALLS)

    assert [name for name, count in counts.items() if count > 1] == []


def test_roles_use_no_operation_of_pyinfra_where_ours_would_do() -> None:
    imports = [line for path in ROLES for line in path.read_text().splitlines() if "pyinfra.operations" in line]

    assert imports == []


def test_operations_take_no_parameter_that_pyinfra_swallows() -> None:
    parameters = [
        f"{path.name}: {function.name}({argument.arg})"
        for path in OPERATIONS
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef) and any("operation" in ast.unparse(d) for d in function.decorator_list)
        for argument in function.args.args
        if argument.arg == "name" or argument.arg.startswith("_")
    ]

    assert parameters == []
