"""What is wrong is said before anything is made: all of it, a sentence each."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mlflow_stack.aws import command
from tests.unit.aws.conftest import Cloud, serve

CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0d3e2c1b-0000-4000-8000-000000000000"


def refusal(*problems: str, of: str = "") -> tuple[int, str, str]:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [f"{count}{of}; nothing was changed", *(f"  {problem}" for problem in problems), ""]
    return 1, "", "\n".join(lines)


def test_settings_that_are_missing_are_named_all_at_once(cloud: Cloud) -> None:
    cloud.settings = {}

    assert cloud.run("plan") == refusal(
        "aws_account_id: required, but not set; put it into group_data/aws.py",
        "aws_region: required, but not set; put it into group_data/aws.py",
        "tracking_public_name: required, but not set; it is the name that users type, as mlflow.example.com",
        "aws_image_tag: required, but not set; it is the tag of the image that `make image` made",
        "aws_certificate_arn is empty, so that passwords and data would cross the network in the clear; set it to a "
        "certificate for tracking_public_name, or say aws_clear_text = True",
    )
    assert cloud.moto.calls() == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param(
            {"proxy_users": {}},
            "proxy_users is empty, so that whoever reaches the load balancer may read, change and delete everything; "
            "name users, or say tracking_open_to_everybody = True",
            id="no-login",
        ),
        pytest.param(
            {"image_addons": ["gcs", "mysql"]},
            "image_addons lacks 's3', without which the image has no client for the bucket; add it, and build and push "
            "the image anew",
            id="image-without-a-client-of-the-bucket",
        ),
        pytest.param(
            {"aws_database_engine": "mysql", "aws_database_version": "8.4.9", "image_addons": ["s3"]},
            "image_addons lacks 'mysql', without which the image has no client for the database; add it, and build and "
            "push the image anew",
            id="image-without-the-driver",
        ),
        pytest.param(
            {"aws_database_ca_file": "/nowhere/bundle.pem"},
            "aws_database_ca_file: /nowhere/bundle.pem can't be read (No such file or directory)",
            id="no-authority",
        ),
        pytest.param(
            {"aws_database_ca_file": __file__},
            f"aws_database_ca_file: {__file__}: expected the certificates of authorities in PEM, which begin with "
            "-----BEGIN CERTIFICATE-----",
            id="authority-that-is-none",
        ),
        pytest.param(
            {"tracking_permissions": True},
            "tracking_permissions is for hosts behind a proxy; a container asks for a login alone: set it to False",
            id="permissions",
        ),
        pytest.param(
            {"aws_account_id": "210987654321", "aws_certificate_arn": "", "aws_clear_text": True},
            "aws_account_id is 210987654321, and the credentials are for account 123456789012; use those of "
            "210987654321",
            id="wrong-account",
        ),
        pytest.param(
            {"aws_certificate_arn": CERTIFICATE},
            f"aws_certificate_arn: there is no certificate {CERTIFICATE}; look in the console of ACM",
            id="no-certificate",
        ),
        pytest.param(
            {"aws_certificate_arn": CERTIFICATE.replace("us-east-1", "eu-central-1")},
            "aws_certificate_arn: the certificate is in eu-central-1, and aws_region is us-east-1; a load balancer "
            "takes those of its own region alone: ask for one there",
            id="certificate-elsewhere",
        ),
        pytest.param(
            {"tracking_public_name": "models.example.com"},
            "aws_certificate_arn: the certificate is for mlflow.example.com, not for models.example.com",
            id="certificate-for-another-name",
        ),
        pytest.param(
            {"aws_database_version": "99.1"},
            "aws_database_version: RDS offers no postgresql 99.1 in us-east-1; choose one that it has",
            id="database-that-is-not-offered",
        ),
        pytest.param(
            {"proxy_users": {"admin": "env:NOBODY_SET_THIS"}},
            "proxy_users.admin: the environment variable NOBODY_SET_THIS is not set; export it before running pyinfra",
            id="password-that-is-not-there",
        ),
        pytest.param(
            {
                "aws_vpc_id": "vpc-0123",
                "aws_public_subnet_ids": ["subnet-01", "subnet-02"],
                "aws_database_subnet_ids": ["subnet-01", "subnet-02"],
            },
            "aws_public_subnet_ids: not all of subnet-01, subnet-02 are there",
            id="subnets-that-are-not-there",
        ),
    ],
)
def test_what_is_wrong_is_found_before_anything_is_made(cloud: Cloud, changed: dict[str, Any], problem: str) -> None:
    status, output, messages = cloud.run("apply", **changed)

    assert (status, output) == (1, "")
    assert f"  {problem}" in messages.splitlines()
    assert messages.splitlines()[0].endswith("; nothing was changed")
    assert cloud.changes() == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        pytest.param(
            {"aws_min_tasks": 5, "aws_max_tasks": 4},
            "aws_min_tasks is 5 and aws_max_tasks 4; the first may not be greater than the second",
            id="more-tasks-at-least-than-at-most",
        ),
        pytest.param(
            {"aws_client_network": "10.0.0.1/8"},
            'aws_client_network: expected a network like "10.0.0.0/24" (10.0.0.1/8 has host bits set); found '
            "'10.0.0.1/8'",
            id="network-with-host-bits",
        ),
        pytest.param(
            {"aws_network": "10.42.0.0/28"},
            "aws_network is '10.42.0.0/28'; expected an IPv4 network of 256 to 65536 addresses, as \"10.42.0.0/16\", "
            "which is divided into four",
            id="network-too-small",
        ),
        pytest.param(
            {"aws_database_version": "9.6.24"},
            "aws_database_version is '9.6.24', which is too old for MLflow; expected 12 or newer of PostgreSQL "
            "(generated columns)",
            id="database-too-old",
        ),
        pytest.param(
            {"aws_database_engine": "mysql", "aws_database_version": "5.7.44"},
            "aws_database_version is '5.7.44', which is too old for MLflow; expected 8.0.16 or newer of MySQL "
            "(CHECK constraints that can be dropped)",
            id="mysql-too-old",
        ),
        pytest.param(
            {"aws_task_cpu": 256, "aws_task_memory_mib": 4096},
            "aws_task_memory_mib is 4096; with aws_task_cpu = 256 Fargate gives 512 to 2048, in steps of 512",
            id="memory-that-fargate-has-not",
        ),
        pytest.param(
            {"aws_image_tag": "latest"},
            "aws_image_tag: expected the tag of an image in the stack's repository, and none that moves (latest); "
            "found 'latest'",
            id="tag-that-moves",
        ),
        pytest.param(
            {"aws_account_id": "1234"},
            "aws_account_id: expected the 12 digits of an account, as text; found '1234'",
            id="account",
        ),
        pytest.param(
            {"aws_bucket": "s3://mlflow"},
            "aws_bucket: expected a bucket's name of 3 to 63 lower-case letters, digits and -, without s3://; found "
            "'s3://mlflow'",
            id="bucket-as-an-address",
        ),
        pytest.param(
            {"aws_task_subnet_ids": ["subnet-01"]},
            "aws_task_subnet_ids is for aws_vpc_id, which is empty",
            id="subnets-without-a-network",
        ),
        pytest.param(
            {"aws_vpc_id": "vpc-01", "aws_public_subnet_ids": ["subnet-01"]},
            "aws_vpc_id: set aws_public_subnet_ids and aws_database_subnet_ids to two subnets or more of it each, in "
            "two availability zones",
            id="network-without-subnets",
        ),
        pytest.param(
            {"aws_hosts": {"mlflow1": {}}},
            "aws_hosts: set aws_host_image to a Debian image of the region, aws_host_key to a key pair of EC2, and "
            "aws_ssh_network to the network that may reach SSH",
            id="hosts-that-nobody-reaches",
        ),
        pytest.param(
            {"aws_hosts": {"mlflow1": "t3.medium"}},
            "aws_hosts['mlflow1']: expected a dictionary with the keys type, disk_gib; found 't3.medium'",
            id="host-that-is-no-dictionary",
        ),
        pytest.param(
            {"aws_max_task": 6}, "aws_max_task: unknown setting; did you mean aws_max_tasks?", id="misspelt-setting"
        ),
    ],
)
def test_bad_setting_is_refused_and_aws_is_not_asked(cloud: Cloud, changed: dict[str, Any], problem: str) -> None:
    assert cloud.run("plan", **changed) == refusal(problem, of=" in the settings")
    assert cloud.moto.calls() == []


def test_command_that_is_interrupted_says_what_becomes_of_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "Deployment", interrupted)

    assert cloud.run("apply") == (
        1,
        "",
        "interrupted; AWS ends what it has begun, and the same command goes on from there\n",
    )


def test_outputs_of_a_stack_that_is_not_there_say_so(cloud: Cloud) -> None:
    assert cloud.run("outputs") == (0, "nothing of this stack is there\n", "")
    assert cloud.run("outputs", "--json") == (0, "{}\n", "")


def test_missing_credentials_are_said_in_words(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    assert cloud.run("plan") == refusal(
        "the credentials for AWS can't be used: there are none; log in (aws configure sso, aws sso login), or set "
        "AWS_PROFILE"
    )


@contextmanager
def token_service(code: str) -> Iterator[str]:
    """A server that refuses every call with an error of AWS, in the form of STS's API; moto takes all credentials."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>made up</Message></Error>"
            body = f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>".encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("ExpiredToken", "they have expired; log in anew (aws sso login, or a new session token)"),
        (
            "InvalidClientTokenId",
            "AWS does not know them; check AWS_ACCESS_KEY_ID, or the profile that AWS_PROFILE names",
        ),
        ("AccessDenied", "AccessDenied: made up"),
    ],
)
def test_credentials_that_are_refused_are_said_in_words(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    with token_service(code) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)

        assert cloud.run("destroy") == refusal(f"the credentials for AWS can't be used: {reason}")
    assert cloud.changes() == []


def test_authorities_of_all_regions_are_more_than_a_task_is_told(cloud: Cloud) -> None:
    bundle, one = cloud.directory / "global-bundle.pem", cloud.pair.certificate.public_bytes(Encoding.PEM).decode()
    bundle.write_text(one * (30_000 // len(one) + 1))

    assert cloud.run("plan", aws_database_ca_file=str(bundle)) == refusal(
        f"aws_database_ca_file: {bundle} has {bundle.stat().st_size} bytes, and a task is told 30000 at most; take the "
        "file of the region, https://truststore.pki.rds.amazonaws.com/us-east-1/us-east-1-bundle.pem"
    )
    assert cloud.run("plan", aws_database_ca_file=str(bundle), aws_service=False)[0] == 2


def test_bucket_of_that_name_that_is_not_the_stack_s_is_left_alone(cloud: Cloud) -> None:
    cloud.client("s3").create_bucket(Bucket="artifacts-of-ada")

    assert cloud.run("plan", aws_bucket="artifacts-of-ada") == refusal(
        "aws_bucket: artifacts-of-ada exists already and is not this stack's; choose another name, or remove it"
    )


def test_bucket_in_another_region_is_refused(cloud: Cloud) -> None:
    place = {"LocationConstraint": "eu-central-1"}
    cloud.client("s3", "eu-central-1").create_bucket(Bucket="artifacts-of-ada", CreateBucketConfiguration=place)

    assert cloud.run("plan", aws_bucket="artifacts-of-ada") == refusal(
        "aws_bucket: artifacts-of-ada is in eu-central-1, and aws_region is us-east-1; choose another name, or that "
        "region"
    )


def test_bucket_that_somebody_made_public_is_refused(cloud: Cloud) -> None:
    assert cloud.run("apply")[0] == 1  # makes the bucket, and stops without an image
    bucket = "mlflow-123456789012-us-east-1"
    cloud.client("s3").put_bucket_acl(Bucket=bucket, ACL="public-read")

    assert cloud.run("plan") == refusal(
        f"aws_bucket: {bucket} is public: whoever knows its name may read it; block public access (aws s3api "
        "put-public-access-block), and look at who has read it"
    )

    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    cloud.client("s3").put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert cloud.run("plan")[0] == 2


def test_certificate_that_is_not_issued_is_refused(cloud: Cloud) -> None:
    asked = cloud.client("acm").request_certificate(DomainName="mlflow.example.com", ValidationMethod="DNS")

    assert cloud.run("plan", aws_certificate_arn=asked["CertificateArn"]) == refusal(
        "aws_certificate_arn: the certificate for mlflow.example.com is PENDING_VALIDATION, expected ISSUED; prove "
        "that the name is yours (the console of ACM says how)"
    )


def test_certificate_for_all_names_of_a_domain_is_taken(cloud: Cloud) -> None:
    assert cloud.run("plan", aws_certificate_arn=cloud.certificate(names=["*.example.com"]))[0] == 2


def test_subnets_of_another_network_and_of_one_zone_are_refused(cloud: Cloud) -> None:
    ec2 = cloud.client("ec2")
    vpc, other = (ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"] for number in (1, 2))

    def subnet(network: str, block: str) -> str:
        made = ec2.create_subnet(VpcId=network, CidrBlock=block, AvailabilityZone="us-east-1a")
        return str(made["Subnet"]["SubnetId"])

    first, second = subnet(vpc, "10.1.0.0/24"), subnet(vpc, "10.1.1.0/24")
    stranger = subnet(other, "10.2.0.0/24")
    own = {"aws_vpc_id": vpc, "aws_public_subnet_ids": [first, second], "aws_database_subnet_ids": [first, stranger]}

    assert cloud.run("plan", **own) == refusal(
        "aws_public_subnet_ids: all are in one availability zone; expected two zones or more",
        f"aws_database_subnet_ids: {stranger} is not in aws_vpc_id, {vpc}",
    )


def test_what_is_gone_or_not_there_of_a_stack_that_runs_is_named_all_at_once(cloud: Cloud) -> None:
    serve(cloud)
    cloud.client("s3").delete_bucket(Bucket="mlflow-123456789012-us-east-1")
    cloud.client("secretsmanager").delete_secret(SecretId="mlflow/database")

    status, output, messages = cloud.run("apply", aws_image_tag="3.18.0-1")

    assert (status, output, messages) == refusal(
        "aws_bucket: mlflow-123456789012-us-east-1 is gone, and stack mlflow-data had made it; make it anew by hand, "
        "with that name",
        "the secret mlflow/database is gone, and the database was made with it; take it back (aws secretsmanager "
        "restore-secret --secret-id mlflow/database)",
        "aws_image_tag: no image '3.18.0-1' in 123456789012.dkr.ecr.us-east-1.amazonaws.com/mlflow; push it there "
        "(docs/how-to/aws.md)",
    )
    assert cloud.changes() == []


def test_without_amazon_s_client_it_is_said_how_to_get_it(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)

    assert cloud.run("plan") == (1, "", "boto3, Amazon's client, is not installed here; run `make venv`\n")
