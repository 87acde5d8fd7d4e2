"""The stand-in itself: it knows what the published schemas do not know, and lets nothing out."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.gcp.cloud import Cloud
from tests.gcp.endpoint import serving
from tests.gcp.schema import Request, complaints

LISTED = "secretmanager.googleapis.com", "/v1/projects/my-project-1/secrets"


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (
            Request("POST", *LISTED, {"secretId": ["x"]}, {"lables": {}}),
            "POST secretmanager.googleapis.com/v1/projects/my-project-1/secrets: body.lables is unknown",
        ),
        (
            Request("POST", *LISTED, {"secretId": ["x"]}, {"labels": {"a": 1}}),
            "POST secretmanager.googleapis.com/v1/projects/my-project-1/secrets: body.labels.a is 1, expected the type "
            "string",
        ),
        (
            Request("GET", *LISTED, {"pagesize": ["5"]}),
            "GET secretmanager.googleapis.com/v1/projects/my-project-1/secrets: query parameter pagesize is unknown",
        ),
        (
            Request("DELETE", *LISTED, {}),
            "DELETE secretmanager.googleapis.com/v1/projects/my-project-1/secrets: no method of the API",
        ),
        (
            Request("POST", "storage.googleapis.com", "/storage/v1/b", {}, {"name": "x"}),
            "POST storage.googleapis.com/storage/v1/b: query parameter project is missing",
        ),
        (
            Request("GET", "example.com", "/", {}),
            "GET example.com/: no API that is known",
        ),
    ],
    ids=["field", "type", "query-parameter", "method", "query-parameter-that-is-required", "address"],
)
def test_request_that_the_schema_does_not_know_is_complained_of(request_: Request, complaint: str) -> None:
    assert complaints(request_) == [complaint]


def test_value_that_is_none_of_an_enumeration_is_complained_of() -> None:
    body = {"name": "mlflow", "databaseVersion": "POSTGRES_8_1"}

    found = complaints(Request("POST", "sqladmin.googleapis.com", "/sql/v1beta4/projects/p/instances", {}, body))

    assert len(found) == 1
    assert "body.databaseVersion is 'POSTGRES_8_1', expected one of [" in found[0]


def test_answer_of_the_stand_in_is_held_to_the_schema_too() -> None:
    assert complaints(Request("GET", *LISTED, {}), {"secret": []}) == [
        "GET secretmanager.googleapis.com/v1/projects/my-project-1/secrets: answer.secret is unknown"
    ]


def test_request_to_any_other_address_is_refused_and_complained_of(tmp_path: Path) -> None:
    cloud = Cloud()
    with serving(cloud, tmp_path) as variables:
        address = f"http://{variables['CLOUDSDK_PROXY_ADDRESS']}:{variables['CLOUDSDK_PROXY_PORT']}"
        context = ssl.create_default_context(cafile=variables["CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"])
        handlers = (urllib.request.ProxyHandler({"https": address}), urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)

        with pytest.raises(urllib.error.URLError, match="403"):
            opener.open("https://example.com/", timeout=10)

    assert cloud.complaints == ["example.com: not an address of Google's APIs"]
