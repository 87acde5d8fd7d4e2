"""moto's server on loopback, one for all these tests, an empty account in it, and a stack's settings in a file."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mlflow_stack.__main__ import main
from mlflow_stack.aws import answer, api
from tests.unit.aws.balancer import balancer
from tests.unit.aws.certificate import PUBLIC_NAME, Pair, make_pair

REGION, ACCOUNT = "us-east-1", "123456789012"
# What a look alone asks. All else is a change, or asks for one.
LOOKS = ("Get", "Describe", "List", "HEAD", "GET")
PASSWORD = "a password that no output may show"


@dataclass(frozen=True)
class Moto:
    """A running server: its address, and the file in which it records what it is asked."""

    url: str
    recording: Path

    def post(self, path: str, data: Any = None) -> None:
        body = json.dumps(data).encode() if data is not None else b""
        request = urllib.request.Request(f"{self.url}/moto-api/{path}", body, method="POST")
        urllib.request.urlopen(request, timeout=30).close()

    def calls(self) -> list[str]:
        """Return what was asked since the last reset, as service:Operation; of S3 the method and path."""
        lines = self.recording.read_text().splitlines() if self.recording.exists() else []
        return [_operation(json.loads(line)) for line in lines]


def _operation(entry: dict[str, Any]) -> str:
    headers = {name.lower(): value for name, value in entry["headers"].items()}
    service = headers.get("authorization", "////").split("/")[3]
    if target := headers.get("x-amz-target"):
        return f"{service}:{target.rpartition('.')[2]}"
    body = base64.b64decode(entry["body"]).decode() if entry["body_encoded"] else str(entry["body"])
    action = [each.partition("=")[2] for each in body.split("&") if each.startswith("Action=")]
    return f"{service}:{action[0]}" if action else f"{service}:{entry['method']}"


@pytest.fixture(scope="session", autouse=True)
def models_are_read_once() -> Iterator[None]:
    """Keep what botocore reads of each API: it would read it anew for each command that is run here."""
    session = importlib.import_module("botocore.session")
    loader = importlib.import_module("botocore.loaders").create_loader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "create_loader", lambda _: loader)
        yield


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    directory, port = tmp_path_factory.mktemp("moto"), _free_port()
    server = Moto(f"http://127.0.0.1:{port}", directory / "recording")
    recorder = {"MOTO_RECORDER_FILEPATH": str(server.recording), "MOTO_ENABLE_RECORDING": "true"}
    with (directory / "log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.aws.moto_server", str(port)],
            env={**os.environ, **recorder},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_there(server, process, directory / "log")
        yield server
    finally:
        process.kill()
        process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_there(server: Moto, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        try:
            server.post("reset")
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"moto did not start:\n{log.read_text()}")


@dataclass
class Cloud:
    """An empty account, and a stack's settings for it."""

    moto: Moto
    directory: Path
    pair: Pair
    settings: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str, region: str = REGION) -> Any:
        return importlib.import_module("boto3").client(service, region_name=region)

    @property
    def path(self) -> Path:
        return self.directory / "settings.py"

    def run(self, *arguments: str, **changed: Any) -> tuple[int, str, str]:
        """Run `aws` with these arguments and changed settings; return exit status, output and messages."""
        data = {**self.settings, **changed}
        self.path.write_text("".join(f"{name} = {value!r}\n" for name, value in data.items()))
        self.moto.post("recorder/reset-recording")
        with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as messages:
            status = main(["aws", *arguments, "--settings", str(self.path)])
        assert PASSWORD not in output.getvalue() + messages.getvalue()
        return status, output.getvalue(), messages.getvalue()

    def push(self, tag: str) -> None:
        """Put an image into the repository."""
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": {"digest": f"sha256:{tag}"}, "layers": []}
        self.client("ecr").put_image(repositoryName="mlflow", imageManifest=json.dumps(manifest), imageTag=tag)

    def changes(self) -> list[str]:
        """Return the calls of the last run that were more than a look."""
        return [call for call in self.moto.calls() if not call.partition(":")[2].startswith(LOOKS)]

    def certificate(self, **names: Any) -> str:
        """Import a certificate; return its ARN."""
        pair = make_pair(**names) if names else self.pair
        answer = self.client("acm").import_certificate(
            Certificate=pair.certificate.public_bytes(Encoding.PEM), PrivateKey=pair.key_pem
        )
        return str(answer["CertificateArn"])


@contextmanager
def empty_account(moto: Moto, directory: Path, pair: Pair) -> Iterator[Cloud]:
    """Empty the account; yield it with settings for a stack, whose load balancer answers as a service does."""
    with pytest.MonkeyPatch.context() as patch, balancer(directory, pair) as (address, _):
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION"):
            patch.delenv(name, raising=False)
        for name, value in {
            "AWS_ENDPOINT_URL": moto.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_CONFIG_FILE": str(directory / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(directory / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "ADMIN_PASSWORD": PASSWORD,
            "SSL_CERT_FILE": str(directory / "certificate.pem"),
        }.items():
            patch.setenv(name, value)
        patch.setattr(api, "PAUSE_S", 0.05)
        patch.setattr(answer, "connect", lambda to, timeout: socket.create_connection(address, timeout))
        moto.post("reset")
        at_once = {"model_name": "ecs::task", "transition": {"progression": "immediate"}}
        moto.post("state-manager/set-transition", at_once)
        cloud = Cloud(moto, directory, pair)
        cloud.settings = {
            "tracking_public_name": PUBLIC_NAME,
            "tracking_ready_timeout_s": 10,
            "proxy_users": {"admin": "env:ADMIN_PASSWORD"},
            "aws_account_id": ACCOUNT,
            "aws_region": REGION,
            "aws_image_tag": "3.17.2-1",
            "aws_certificate_arn": cloud.certificate(),
        }
        yield cloud


@pytest.fixture
def cloud(moto: Moto, tmp_path: Path, pair: Pair) -> Iterator[Cloud]:
    with empty_account(moto, tmp_path, pair) as made:
        yield made


@pytest.fixture(scope="session")
def pair() -> Pair:
    return make_pair(names=[PUBLIC_NAME])


def serve(cloud: Cloud) -> Cloud:
    """Make a stack whose service runs."""
    assert cloud.run("apply")[0] == 1  # makes the repository
    cloud.push("3.17.2-1")
    assert cloud.run("apply")[0] == 0
    return cloud
