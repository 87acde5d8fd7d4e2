"""The templates: taken by AWS's own linter, and as closed as they are said to be. All of it, also what moto ignores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlflow_stack.aws import values
from mlflow_stack.aws.command import load
from mlflow_stack.aws.secret import Secret
from mlflow_stack.aws.values import Known
from mlflow_stack.domain import cloudformation
from mlflow_stack.domain.cloudformation import Template

PARTS = ("network", "data", "tasks", "service", "host")
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mlflow"
OUTPUTS = {
    "network": {
        "VpcId": "vpc-0123456789abcdef0",
        **{
            f"{kind}Subnet{zone}": f"subnet-{number}123456789abcdef0"
            for number, (kind, zone) in enumerate((kind, zone) for kind in ("Public", "Database") for zone in "AB")
        },
    },
    "data": {
        "RepositoryUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/mlflow",
        "DatabaseAddress": "mlflow.abc.eu-central-1.rds.amazonaws.com",
        "DatabasePort": "5432",
        "DatabaseClients": "sg-0123456789abcdef0",
        "LogGroup": "/mlflow-stack/mlflow",
    },
    "tasks": {
        "Cluster": "mlflow",
        "TaskDefinition": "arn:aws:ecs:eu-central-1:123456789012:task-definition/mlflow:1",
    },
}
SETTINGS = {
    "tracking_public_name": "mlflow.example.com",
    "aws_account_id": "123456789012",
    "aws_region": "eu-central-1",
    "aws_image_tag": "3.17.2-1",
    "aws_certificate_arn": "arn:aws:acm:eu-central-1:123456789012:certificate/0d3e2c1b-0000-4000-8000-000000000000",
    "aws_hosted_zone_id": "Z0123456789ABC",
    "aws_hosts": {"mlflow1": {}},
    "aws_host_image": "ami-0123456789abcdef0",
    "aws_host_key": "ada",
    "aws_ssh_network": "203.0.113.0/24",
}


def filled(tmp_path: Path, part: str, logins: bool = True, **changed: Any) -> Template:
    """Return a part's template, filled in with settings and what earlier stacks would have given."""
    path = tmp_path / "settings.py"
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in {**SETTINGS, **changed}.items()))
    secret = Secret("mlflow/logins", f"{ARN}/logins-AbCdEf", "0" * 64) if logins else None
    networks = ("10.42.0.0/18", "10.42.64.0/18")
    known = Known(load(path), OUTPUTS, Secret("mlflow/database", f"{ARN}/database-AbCdEf"), secret, networks)
    return values.template("host-mlflow1" if part == "host" else part, known)


@pytest.fixture
def properties(tmp_path: Path) -> Any:
    """What a resource of a filled template has."""
    return lambda part, name, **changed: filled(tmp_path, part, **changed)["Resources"][name]["Properties"]


def lint(*paths: Path) -> str:
    """Return what cfn-lint says of templates: its errors and warnings."""
    command = [str(Path(sys.executable).parent / "cfn-lint"), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 or done.stdout, done.stderr
    return done.stdout


def test_templates_have_nothing_that_the_linter_of_aws_dislikes() -> None:
    assert lint(*(values.TEMPLATES / f"{part}.yaml" for part in PARTS)) == ""


def test_what_is_sent_has_nothing_that_the_linter_of_aws_dislikes(tmp_path: Path) -> None:
    settings: tuple[dict[str, Any], ...] = (
        {},
        {"aws_database_engine": "mysql", "aws_database_version": "8.4.9"},
        {"aws_certificate_arn": "", "aws_clear_text": True, "aws_hosted_zone_id": ""},
    )
    for number, changed in enumerate(settings):
        for part in PARTS:
            text = cloudformation.text_of(filled(tmp_path, part, **changed))
            assert len(text.encode()) < 51_200  # CreateChangeSet, TemplateBody
            (tmp_path / f"{number}-{part}.yaml").write_text(text)

    assert lint(*sorted(tmp_path.glob("*.yaml"))) == ""


@pytest.mark.parametrize("part", PARTS)
def test_what_is_sent_says_everything_itself(tmp_path: Path, part: str) -> None:
    template = filled(tmp_path, part)

    assert "Parameters" not in template
    assert "Conditions" not in template
    assert cloudformation.parse(cloudformation.text_of(template)) == template


def test_bucket_is_closed_encrypted_and_keeps_what_was_overwritten(properties: Any) -> None:
    bucket, policy = properties("data", "Bucket"), properties("data", "BucketPolicy")

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"] == [
        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    ]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert policy["PolicyDocument"]["Statement"] == [
        {
            "Sid": "TlsOnly",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [
                {"Fn::Sub": "arn:${AWS::Partition}:s3:::mlflow-123456789012-eu-central-1"},
                {"Fn::Sub": "arn:${AWS::Partition}:s3:::mlflow-123456789012-eu-central-1/*"},
            ],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    ]


@pytest.mark.parametrize(
    ("engine", "version", "family", "port", "parameters"),
    [
        ("postgresql", "17.11", "postgres17", 5432, {"rds.force_ssl": "1"}),
        (
            "mysql",
            "8.4.9",
            "mysql8.4",
            3306,
            {
                "require_secure_transport": "ON",
                "character_set_server": "utf8mb4",
                "log_bin_trust_function_creators": "1",
            },
        ),
    ],
)
def test_database_is_private_encrypted_backed_up_and_takes_tls_alone(
    properties: Any, engine: str, version: str, family: str, port: int, parameters: dict[str, str]
) -> None:
    changed = {"aws_database_engine": engine, "aws_database_version": version}
    database = properties("data", "Database", **changed)
    group = properties("data", "DatabaseParameters", **changed)
    ingress = properties("data", "DatabaseSecurityGroup", **changed)["SecurityGroupIngress"]

    assert (database["PubliclyAccessible"], database["StorageEncrypted"]) == (False, True)
    assert (database["DeletionProtection"], database["BackupRetentionPeriod"]) == (True, 7)
    assert database["MasterUserPassword"] == (
        f"{{{{resolve:secretsmanager:{ARN}/database-AbCdEf:SecretString:password}}}}"
    )
    assert (group["Family"], group["Parameters"]) == (family, parameters)
    assert [(each["FromPort"], each["ToPort"], each["SourceSecurityGroupId"]) for each in ingress] == [
        (port, port, {"Fn::GetAtt": ["DatabaseClients", "GroupId"]})
    ]


@pytest.mark.parametrize("name", ["Repository", "Bucket", "BucketPolicy", "Logs", "Database"])
def test_what_holds_data_outlives_its_stack(tmp_path: Path, name: str) -> None:
    resource = filled(tmp_path, "data")["Resources"][name]

    kept = ("Snapshot", "Snapshot") if name == "Database" else ("RetainExceptOnCreate", "Retain")
    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == kept


def rights(role: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return actions and resources of a role's statements by their names."""
    statements = [each for policy in role["Policies"] for each in policy["PolicyDocument"]["Statement"]]
    return {each["Sid"]: (each["Action"], each["Resource"]) for each in statements}


def test_mlflow_may_read_and_write_its_bucket_and_nothing_else(properties: Any) -> None:
    bucket = "arn:${AWS::Partition}:s3:::mlflow-123456789012-eu-central-1"
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    expected = {
        "List": (["s3:ListBucket", "s3:GetBucketLocation"], {"Fn::Sub": bucket}),
        "Artifacts": (
            [*objects, "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
            {"Fn::Sub": f"{bucket}/*"},
        ),
    }

    assert rights(properties("tasks", "TaskRole")) == expected
    assert rights(properties("host", "Role")) == expected


def test_a_task_is_started_with_the_right_to_its_image_its_secrets_and_its_log(properties: Any) -> None:
    here = "${AWS::Region}:${AWS::AccountId}"
    assert rights(properties("tasks", "ExecutionRole")) == {
        "Registry": ("ecr:GetAuthorizationToken", "*"),
        "Image": (
            ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            {"Fn::Sub": f"arn:${{AWS::Partition}}:ecr:{here}:repository/mlflow"},
        ),
        "Secrets": ("secretsmanager:GetSecretValue", [f"{ARN}/database-AbCdEf", f"{ARN}/logins-AbCdEf"]),
        "Logs": (
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            {"Fn::Sub": f"arn:${{AWS::Partition}}:logs:{here}:log-group:/mlflow-stack/mlflow:*"},
        ),
    }


def test_container_is_told_where_its_secrets_are_and_has_no_rights(properties: Any) -> None:
    (container,) = properties("tasks", "TaskDefinition")["ContainerDefinitions"]

    assert (container["User"], container["ReadonlyRootFilesystem"]) == ("10001", True)
    assert container["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
    assert {each["Name"]: each["ValueFrom"] for each in container["Secrets"]} == {
        "MLFLOW_DATABASE_PASSWORD": f"{ARN}/database-AbCdEf:password::",
        "MLFLOW_LOGINS": f"{ARN}/logins-AbCdEf:::{'0' * 64}",
    }
    assert {each["Name"]: each["Value"] for each in container["Environment"]} == {
        "PORT": "5000",
        "AWS_DEFAULT_REGION": {"Ref": "AWS::Region"},
        "FORWARDED_ALLOW_IPS": "10.42.0.0/18,10.42.64.0/18",
        "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://mlflow_user@mlflow.abc.eu-central-1.rds.amazonaws.com:5432/"
        "mlflow_db",
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow-123456789012-eu-central-1/artifacts",
        "MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow.example.com,mlflow.example.com:*",
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://mlflow.example.com",
        "MLFLOW_WORKERS": "1",
        "MLFLOW_DRAIN_TIMEOUT_S": "110",
    }


def test_container_is_open_to_everybody_only_where_there_are_no_logins(tmp_path: Path) -> None:
    template = filled(tmp_path, "tasks", logins=False)
    (container,) = template["Resources"]["TaskDefinition"]["Properties"]["ContainerDefinitions"]

    assert {"Name": "MLFLOW_OPEN_TO_EVERYBODY", "Value": "true"} in container["Environment"]
    assert [each["Name"] for each in container["Secrets"]] == ["MLFLOW_DATABASE_PASSWORD"]
    assert "logins" not in json.dumps(rights(template["Resources"]["ExecutionRole"]["Properties"]))


def test_clients_without_tls_are_sent_to_it_and_the_tasks_take_the_load_balancer_alone(properties: Any) -> None:
    listener, redirect = properties("service", "Listener"), properties("service", "Redirect")

    assert (listener["Port"], listener["SslPolicy"]) == (443, "ELBSecurityPolicy-TLS13-1-2-2021-06")
    assert redirect["DefaultActions"] == [
        {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}}
    ]
    (ingress,) = properties("service", "TaskSecurityGroup")["SecurityGroupIngress"]
    assert ingress["SourceSecurityGroupId"] == {"Fn::GetAtt": ["LoadBalancerSecurityGroup", "GroupId"]}


def test_without_a_certificate_the_load_balancer_speaks_http_alone(tmp_path: Path) -> None:
    template = filled(tmp_path, "service", aws_certificate_arn="", aws_clear_text=True)
    listener = template["Resources"]["Listener"]["Properties"]

    assert "Redirect" not in template["Resources"]
    assert (listener["Port"], listener["Protocol"], "Certificates" in listener) == (80, "HTTP", False)


def test_tasks_are_scaled_between_the_least_and_the_most(properties: Any) -> None:
    changed = {"aws_min_tasks": 2, "aws_max_tasks": 9}
    target, policy = (properties("service", name, **changed) for name in ("Tasks", "Scaling"))

    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 9)
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 60
    assert "DesiredCount" not in properties("service", "Service", **changed)


def test_machine_lets_ssh_in_from_its_network_alone_and_hides_its_credentials(properties: Any) -> None:
    ingress = properties("host", "SecurityGroup")["SecurityGroupIngress"]
    machine = properties("host", "Machine")

    assert [(each["FromPort"], each["CidrIp"]) for each in ingress] == [
        (22, "203.0.113.0/24"),
        (80, "0.0.0.0/0"),
        (443, "0.0.0.0/0"),
    ]
    assert machine["MetadataOptions"] == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}
    assert [each["Ebs"]["Encrypted"] for each in machine["BlockDeviceMappings"]] == [True]
