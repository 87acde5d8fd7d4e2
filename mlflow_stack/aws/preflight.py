"""What is wrong with a stack, found before anything is made: all of it, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mlflow_stack import proxy_check
from mlflow_stack.aws import stacks
from mlflow_stack.aws.api import Aws, Failed, Refused
from mlflow_stack.aws.secret import Secret
from mlflow_stack.aws.stacks import Stack
from mlflow_stack.aws.values import CloudSettings
from mlflow_stack.aws_settings import ENGINES

# A task definition may have 64 KiB, a template 50.
AUTHORITY_BYTES = 30_000
# Of head_bucket, which has no body: the status is the code.
_NO_BUCKET, _NOT_OURS, _ELSEWHERE = "404", "403", "301"
# Everybody, and everybody who has an account of AWS (Amazon S3, "Amazon S3 predefined groups").
_PUBLIC = ("/global/AllUsers", "/global/AuthenticatedUsers")


def of_settings(settings: CloudSettings) -> Iterator[str]:
    """Yield what is wrong with the settings, without asking anybody."""
    aws, tracking = settings.aws, settings.tracking
    yield from _authority(settings)
    if not aws.service:
        return
    if not tracking.public_name:
        yield "tracking_public_name: required, but not set; it is the name that users type, as mlflow.example.com"
    if not aws.image_tag:
        yield "aws_image_tag: required, but not set; it is the tag of the image that `make image` made"
    if not aws.certificate_arn and not aws.clear_text:
        yield (
            "aws_certificate_arn is empty, so that passwords and data would cross the network in the clear; set it to "
            "a certificate for tracking_public_name, or say aws_clear_text = True"
        )
    if not settings.proxy.users and not tracking.open_to_everybody:
        yield (
            "proxy_users is empty, so that whoever reaches the load balancer may read, change and delete everything; "
            "name users, or say tracking_open_to_everybody = True"
        )
    if tracking.permissions:
        yield "tracking_permissions is for hosts behind a proxy; a container asks for a login alone: set it to False"
    if lacking := settings.image.lacking("s3", *(["mysql"] if aws.database_engine == "mysql" else [])):
        yield lacking
    yield from _certificate_place(settings)


def _authority(settings: CloudSettings) -> Iterator[str]:
    path, region = settings.aws.database_ca_file, settings.aws.region or "REGION"
    if not path:
        return
    if faults := list(proxy_check.authority_problems("aws_database_ca_file", path)):
        yield from faults
    elif settings.aws.service and (size := Path(path).expanduser().stat().st_size) > AUTHORITY_BYTES:
        yield (
            f"aws_database_ca_file: {path} has {size} bytes, and a task is told {AUTHORITY_BYTES} at most; take the "
            f"file of the region, https://truststore.pki.rds.amazonaws.com/{region}/{region}-bundle.pem"
        )


def _certificate_place(settings: CloudSettings) -> Iterator[str]:
    aws = settings.aws
    if aws.certificate_arn and aws.region:
        _, _, _, region, account, _ = aws.certificate_arn.split(":", 5)
        if region != aws.region:
            yield (
                f"aws_certificate_arn: the certificate is in {region}, and aws_region is {aws.region}; a load balancer "
                "takes those of its own region alone: ask for one there"
            )
        if aws.account_id and account != aws.account_id:
            yield f"aws_certificate_arn: the certificate is account {account}'s, and aws_account_id is {aws.account_id}"


def of_account(aws: Aws, settings: CloudSettings) -> list[str]:
    """Return why nobody can be asked: settings that are missing, or credentials that are not those of the account."""
    named = {"account_id": settings.aws.account_id, "region": settings.aws.region}
    missing = [f"aws_{name}: required, but not set; put it into group_data/aws.py" for name in named if not named[name]]
    if missing:
        return missing
    try:
        account, expected = aws.account(), settings.aws.account_id
    except Failed as error:
        return [str(error)]
    if account == expected:
        return []
    return [f"aws_account_id is {expected}, and the credentials are for account {account}; use those of {expected}"]


def check_account(aws: Aws, settings: CloudSettings) -> None:
    """Raise Refused unless the credentials are those of the settings' account."""
    if problems := of_account(aws, settings):
        raise Refused(problems)


def of_resources(
    aws: Aws, settings: CloudSettings, found: Mapping[str, Stack], database_secret: Secret
) -> Iterator[str]:
    """Yield what is wrong with what is there already, or is not."""
    yield from filter(None, (stacks.obstacle(stack) for stack in found.values()))
    yield from _fixed(settings, found["data"])
    yield from _bucket(aws, settings, found["data"])
    yield from _database(aws, settings)
    if found["data"].is_there and database_secret.is_new:
        yield (
            f"the secret {database_secret.name} is gone, and the database was made with it; take it back "
            f"(aws secretsmanager restore-secret --secret-id {database_secret.name})"
        )
    if settings.aws.service:
        yield from _certificate(aws, settings)
    if settings.aws.vpc_id:
        yield from _subnets(aws, settings)


def _fixed(settings: CloudSettings, data: Stack) -> Iterator[str]:
    """Yield the settings that would leave data behind: with another value there is another bucket or database."""
    wanted = {
        ("Bucket", "BucketName", "aws_bucket"): settings.aws.bucket_name,
        ("Database", "Engine", "aws_database_engine"): ENGINES[settings.aws.database_engine],
        ("Database", "DBName", "postgresql_database"): settings.postgresql.database,
        ("Database", "MasterUsername", "postgresql_role"): settings.postgresql.role,
    }
    for (resource, name, setting), value in wanted.items():
        present = data.template.get("Resources", {}).get(resource, {}).get("Properties", {}).get(name, value)
        if present != value:
            yield (
                f"{setting}: stack {data.name} was made with {present!r}, and with {value!r} there would be an empty "
                f"{resource.lower()} in its place; set it back"
            )


def _bucket(aws: Aws, settings: CloudSettings, data: Stack) -> Iterator[str]:
    name = data.outputs.get("Bucket") or settings.aws.bucket_name
    where = f"aws_bucket: {name}"
    try:
        is_there = aws.ask("s3", "head_bucket", absent=[_NO_BUCKET], Bucket=name)
    except Failed as error:
        others = {
            _NOT_OURS: "exists and is somebody else's, as names are shared by all of AWS; choose another name",
            _ELSEWHERE: f"exists in another region than aws_region, {settings.aws.region}; choose another name",
        }
        yield f"{where} {others[error.code]}" if error.code in others else f"{where}: {error}"
        return
    if not is_there:
        if data.is_there:
            yield f"{where} is gone, and stack {data.name} had made it; make it anew by hand, with that name"
        return
    region = aws.ask("s3", "get_bucket_location", Bucket=name).get("LocationConstraint") or "us-east-1"
    if region != settings.aws.region:
        yield f"{where} is in {region}, and aws_region is {settings.aws.region}; choose another name, or that region"
    elif not data.is_there:
        yield f"{where} exists already and is not this stack's; choose another name, or remove it"
    if _is_public(aws, name):
        yield (
            f"{where} is public: whoever knows its name may read it; block public access (aws s3api "
            "put-public-access-block), and look at who has read it"
        )


def _is_public(aws: Aws, bucket: str) -> bool:
    """Return whether a bucket lets the public in, by its policy or by its list of grants."""
    absent = ["NoSuchPublicAccessBlockConfiguration"]
    block = aws.ask("s3", "get_public_access_block", absent=absent, Bucket=bucket)
    if block and all(block["PublicAccessBlockConfiguration"].values()):
        return False
    status = aws.ask("s3", "get_bucket_policy_status", absent=["NoSuchBucketPolicy"], Bucket=bucket)
    grants = aws.ask("s3", "get_bucket_acl", Bucket=bucket)["Grants"]
    by_policy = bool(status and status["PolicyStatus"].get("IsPublic"))
    return by_policy or any(each["Grantee"].get("URI", "").endswith(_PUBLIC) for each in grants)


def _database(aws: Aws, settings: CloudSettings) -> Iterator[str]:
    engine, version = settings.aws.database_engine, settings.aws.database_version
    offered = aws.ask("rds", "describe_db_engine_versions", Engine=ENGINES[engine], EngineVersion=version)
    if not offered["DBEngineVersions"]:
        yield f"aws_database_version: RDS offers no {engine} {version} in {settings.aws.region}; choose one that it has"


def _certificate(aws: Aws, settings: CloudSettings) -> Iterator[str]:
    arn, name = settings.aws.certificate_arn, settings.tracking.public_name
    if not arn or arn.split(":")[3] != settings.aws.region:
        return
    answer = aws.ask("acm", "describe_certificate", absent=["ResourceNotFoundException"], CertificateArn=arn)
    if not answer:
        yield f"aws_certificate_arn: there is no certificate {arn}; look in the console of ACM"
        return
    certificate = answer["Certificate"]
    names = {certificate["DomainName"], *certificate.get("SubjectAlternativeNames", ())}
    if certificate["Status"] != "ISSUED":
        yield (
            f"aws_certificate_arn: the certificate for {certificate['DomainName']} is {certificate['Status']}, "
            "expected ISSUED; prove that the name is yours (the console of ACM says how)"
        )
    if name and not {name, f"*.{name.partition('.')[2]}"} & names:
        yield f"aws_certificate_arn: the certificate is for {', '.join(sorted(names))}, not for {name}"


def _subnets(aws: Aws, settings: CloudSettings) -> Iterator[str]:
    for kind in ("public", "task", "database"):
        ids = getattr(settings.aws, f"{kind}_subnet_ids")
        if not ids:
            continue
        where = f"aws_{kind}_subnet_ids"
        answer = aws.ask("ec2", "describe_subnets", absent=["InvalidSubnetID.NotFound"], SubnetIds=ids)
        if not answer:
            yield f"{where}: not all of {', '.join(ids)} are there"
            continue
        others = [each["SubnetId"] for each in answer["Subnets"] if each["VpcId"] != settings.aws.vpc_id]
        if others:
            yield f"{where}: {', '.join(others)} is not in aws_vpc_id, {settings.aws.vpc_id}"
        elif kind != "task" and len({each["AvailabilityZone"] for each in answer["Subnets"]}) < 2:
            yield f"{where}: all are in one availability zone; expected two zones or more"


def missing_image(aws: Aws, settings: CloudSettings, data: Stack) -> str:
    """Return what to do about an image that is not in the repository, "" when it is there."""
    tag = settings.aws.image_tag
    found = aws.ask(
        "ecr",
        "describe_images",
        absent=["ImageNotFoundException", "RepositoryNotFoundException"],
        repositoryName=settings.aws.name,
        imageIds=[{"imageTag": tag}],
    )
    if found:
        return ""
    where = data.outputs.get("RepositoryUri") or f"the repository that stack {data.name} makes"
    return f"aws_image_tag: no image {tag!r} in {where}; push it there (docs/how-to/aws.md)"
