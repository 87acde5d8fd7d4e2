"""A module imports only from layers further down, as the docstring of mlflow_stack says."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow_stack

PACKAGE = Path(mlflow_stack.__file__).parent
LAYERS = [
    name.removesuffix(".py") for name in re.findall(r"^    (\w+(?:/|\.py)) ", mlflow_stack.__doc__ or "", re.MULTILINE)
]
LAYERS = [name.rstrip("/") for name in LAYERS]
ON_HOST = sorted((PACKAGE / "on_host").glob("*.py"))
NEIGHBOURS = {path.stem for path in ON_HOST}  # installed beside each other


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path not in ON_HOST and path.name != "__init__.py"]


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_is_in_a_layer_of_the_docstring() -> None:
    assert {layer_of(path) for path in modules()} <= set(LAYERS)
    assert len(LAYERS) == len(set(LAYERS))


def test_every_module_imports_only_from_its_own_layer_or_one_further_down() -> None:
    upward = []
    for path in modules():
        for name in imported(path):
            package, _, rest = name.partition(".")
            if package == "mlflow_stack" and LAYERS.index(rest.split(".")[0]) < LAYERS.index(layer_of(path)):
                upward.append(f"{path.relative_to(PACKAGE)} imports {name}")

    assert upward == []


def test_domain_imports_nothing_that_needs_a_host() -> None:
    strangers = [
        f"{path.name} imports {name}"
        for path in (PACKAGE / "domain").glob("*.py")
        for name in imported(path)
        if name.split(".")[0] not in {*sys.stdlib_module_names, "mlflow_stack", "yaml", "cryptography"}
    ]

    assert strangers == []


# What only an environment has, by the program that is run in one.
CLIENTS = {
    "schema.py": {"psycopg2"},
    "permissions.py": {"psycopg2"},
    "s3_store.py": {"boto3", "botocore"},
    "gcs_store.py": {"google", "requests"},
    "azure_store.py": {"azure"},
    "proxied_stores.py": {"mlflow"},
    "gate.py": {"mlflow"},
}


def test_programs_on_the_host_import_only_the_standard_library_and_the_clients_that_they_are_for() -> None:
    strangers = [
        f"{path.name} imports {name}"
        for path in ON_HOST
        for name in imported(path)
        if name.split(".")[0] not in {*sys.stdlib_module_names, *NEIGHBOURS, *CLIENTS.get(path.name, ())}
    ]

    assert strangers == []


def test_operations_ask_for_facts_only_through_the_look() -> None:
    """A fact that is read another way is a round trip of its own, and may contradict the plan."""
    asking = [
        f"{path.name}:{node.lineno}"
        for path in (PACKAGE / "operations").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("get_fact", "reload_fact", "get_facts")
    ]
    looking = [
        path.name for path in (PACKAGE / "operations").glob("*.py") if "mlflow_stack.look.look" in imported(path)
    ]

    assert asking == []
    assert len(looking) >= 7


def test_deploy_loads_nothing_that_only_some_runs_need() -> None:
    """Each run waits for what is loaded."""
    deploy = ast.parse((PACKAGE.parent / "deploy.py").read_text())
    own = sorted({node.module for node in deploy.body if isinstance(node, ast.ImportFrom) and node.module})
    some = ["boto3", "cryptography.x509", "mlflow", "requests", "sqlalchemy"]
    program = f"import sys, {', '.join(own)}; print([name for name in {some} if name in sys.modules])"

    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")
