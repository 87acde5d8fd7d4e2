"""Servers of object stores, each a process of its own: moto for S3, which also knows who may do what, and an emulator
of Google Cloud Storage, which asks nobody for a login.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from lab.process import wait_until

REGION = "eu-central-1"
START_TIMEOUT_S = 120
# What docs/how-to/object-store.md lets a tracking server do below its prefix, and with the bucket.
BELOW, WITH_BUCKET = ("s3:PutObject", "s3:GetObject", "s3:DeleteObject"), ("s3:ListBucket",)


@dataclass(frozen=True)
class S3Server:
    """A server that speaks S3; `authorities`: the file of those whom its certificate is from, "" without TLS."""

    url: str
    authorities: str = ""

    def client(self, key: tuple[str, str] = ("anybody", "anything"), service: str = "s3") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            verify=self.authorities or None,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def bucket(self, name: str, **options: Any) -> str:
        """Make a bucket in REGION."""
        self.client().create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}, **options)
        return name

    def names(self, bucket: str) -> list[str]:
        return [each["Key"] for each in self.client().list_objects_v2(Bucket=bucket).get("Contents", ())]

    def user(self, bucket: str, prefix: str, below: Sequence[str] = BELOW, name: str = "mlflow") -> tuple[str, str]:
        """Make a user who may list a bucket and do that below a prefix; return the id of a key and its secret."""
        iam, name = self.client(service="iam"), f"{name}-{bucket}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="artifacts", PolicyDocument=_policy(bucket, prefix, below))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def role(self, bucket: str, prefix: str) -> dict[str, str]:
        """Make a role with the rights of a user; return the keys that who takes it on is given, which have an end."""
        iam, name = self.client(service="iam"), f"mlflow-{bucket}"
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="artifacts", PolicyDocument=_policy(bucket, prefix, BELOW))
        taken = self.client(service="sts").assume_role(RoleArn=arn, RoleSessionName="tests")
        return {name: str(value) for name, value in taken["Credentials"].items()}

    @contextmanager
    def closed(self) -> Iterator[None]:
        """While this lasts the server looks at who asks, and lets nobody do more than they may."""
        self._let_in_unasked("0")
        try:
            yield
        finally:
            self._let_in_unasked("inf")

    @contextmanager
    def open(self) -> Iterator[None]:
        """While this lasts a closed server lets everybody do everything again."""
        self._let_in_unasked("inf")
        try:
            yield
        finally:
            self._let_in_unasked("0")

    def _let_in_unasked(self, requests: str) -> None:
        _post(f"{self.url}/moto-api/reset-auth", requests, "text/plain")


def _policy(bucket: str, prefix: str, below: Sequence[str]) -> str:
    statements = [
        # Where several objects are deleted at once, as MLflow does, moto asks for the right to the bucket itself.
        {
            "Effect": "Allow",
            "Action": [*WITH_BUCKET, *(each for each in below if each == "s3:DeleteObject")],
            "Resource": f"arn:aws:s3:::{bucket}",
        },
        {"Effect": "Allow", "Action": list(below), "Resource": f"arn:aws:s3:::{bucket}/{prefix}/*"},
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


@contextmanager
def s3_server(
    directory: Path, address: str = "127.0.0.1", certificate: tuple[str, str] | None = None
) -> Iterator[S3Server]:
    """A server of moto's at a free port of an address, with a certificate and its key (PEM) for TLS."""
    port, options, authorities = free_port(address), list[str](), ""
    if certificate:
        files = [directory / "s3.crt", directory / "s3.key"]
        for path, text in zip(files, certificate, strict=True):
            path.write_text(text)
        authorities = str(files[0])
        options = ["--ssl", "--ssl-cert", str(files[0]), "--ssl-key", str(files[1])]
    with running(
        [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port), *options],
        directory / "moto.log",
        (address, port),
    ):
        yield S3Server(f"{'https' if certificate else 'http'}://{address}:{port}", authorities)


@contextmanager
def gcs_emulator(directory: Path, address: str = "127.0.0.1", buckets: Sequence[str] = ()) -> Iterator[str]:
    """The emulator at a free port of an address, with these buckets; yields its own address."""
    port = free_port(address)
    command = [
        sys.executable,
        "-m",
        "gcp_storage_emulator",
        "start",
        f"--host={address}",
        f"--port={port}",
        "--in-memory",
    ]
    with running(command, directory / "gcs.log", (address, port)):
        url = f"http://{address}:{port}"
        for bucket in buckets:
            _post(f"{url}/storage/v1/b?project=tests", json.dumps({"name": bucket}), "application/json")
        yield url


@contextmanager
def running(command: Sequence[str], log: Path, address: tuple[str, int], **variables: str) -> Iterator[None]:
    """Run a server, from when it listens at an address, to the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=output, stderr=subprocess.STDOUT)
    try:
        is_up = wait_until(lambda: process.poll() is not None or _listens(address), START_TIMEOUT_S)
        assert is_up, log.read_text()
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)


def _post(url: str, body: str, content_type: str) -> None:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": content_type})
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20).close()


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
