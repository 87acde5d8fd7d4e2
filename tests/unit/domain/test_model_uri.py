"""Model URIs."""

import pytest

from mlflow_stack.domain.model_uri import ModelUri, parse_model_uri

ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/diabetes@champion", ModelUri("alias", "diabetes", "champion")),
        ("models:/my model@v1.2", ModelUri("alias", "my model", "v1.2")),
        ("models:/diabetes/12", ModelUri("version", "diabetes", "12")),
        (f"models:/m-{ID}", ModelUri("logged", "", f"m-{ID}")),
        (f"runs:/{ID}/model", ModelUri("run", "model", ID)),
    ],
)
def test_model_uri_is_parsed(uri: str, expected: ModelUri) -> None:
    assert parse_model_uri(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "diabetes",
        "models:/diabetes",
        "models:/diabetes/latest",
        "models:/diabetes/0",
        "models:/diabetes/Production",
        "models:/@champion",
        "models:/diabetes@",
        "models:/m-123",
        f"runs:/{ID}",
        f"runs:/{ID}/a/b",
        "file:///tmp/model",
        "s3://bucket/model",
        "models:/diabetes@champion\n",
    ],
)
def test_model_uri_of_any_other_form_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is not a model URI") as refused:
        parse_model_uri(uri)

    assert str(refused.value) == (
        f"{uri!r} is not a model URI; expected models:/NAME@ALIAS, models:/NAME/VERSION, models:/m-ID or "
        "runs:/RUN_ID/NAME"
    )
