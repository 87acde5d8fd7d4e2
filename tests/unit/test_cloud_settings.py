"""Settings without hosts: group_data/all.py and a file over it, refused in the same words as those of hosts."""

from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.cloud_settings import SettingsRefused, load


def refusal(tmp_path: Path, text: str) -> list[str]:
    """Return what is said to a file of settings."""
    path = tmp_path / "aws.py"
    path.write_text(text)
    with pytest.raises(SettingsRefused) as refused:
        load(["image", "proxy"], path)
    return str(refused.value).replace(str(tmp_path), "…").splitlines()


def loaded(overlay: Path | None = None) -> Any:
    return load(["image"], overlay)["image"]


def test_defaults_are_those_of_all_hosts() -> None:
    assert loaded().name == "mlflow-tracking"


def test_file_wins_over_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "aws.py"
    path.write_text('_registry = "registry.example.com"\nimage_name = f"{_registry}/mlflow"\nimage_addons = ["s3"]\n')

    assert (loaded(path).name, loaded(path).addons) == ("registry.example.com/mlflow", ["s3"])
    assert loaded(path).python == loaded().python


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    assert refusal(tmp_path, 'image_nam = "a"\nimage_name = "A:1"\nimage_python = "3.9"\nproxy_port = 0\n') == [
        "4 problems in the settings; nothing was changed",
        "  image_nam: unknown setting; did you mean image_name?",
        "  image_name: expected the name of an image without a tag, as mlflow-tracking or registry.example.com/mlflow; "
        "found 'A:1'",
        "  image_python: no lock file for it; expected one of 3.10, 3.11, 3.12, 3.13, or run `make lock` for a new "
        "one; found '3.9'",
        "  proxy_port: input should be greater than or equal to 1; found 0",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            'image_base = "debian"',
            "image_base: expected an image with its registry, as docker.io/library/python:3.12-slim-bookworm, with or "
            "without @sha256:…; found 'debian'",
        ),
        (
            'image_addons = ["oracle"]',
            "image_addons[0]: input should be 'mysql', 's3', 'gcs' or 'azure'; found 'oracle'",
        ),
        (
            'image_package_index_url = "https://ada:canary@pypi.example.com/simple"',
            "image_package_index_url: expected an address that starts with http:// or https://, without a login in it; "
            "found 'https://ada:***@pypi.example.com/simple'",
        ),
        ("image_name = ", "…/aws.py: SyntaxError: invalid syntax (aws.py, line 1)"),
        ("import nowhere", "…/aws.py: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_bad_setting_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    assert refusal(tmp_path, text) == ["1 problem in the settings; nothing was changed", f"  {problem}"]


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsRefused) as refused:
        loaded(tmp_path / "aws.py")

    assert refused.value.problems == [f"{tmp_path}/aws.py: can't be read (No such file or directory)"]
