"""object_store.py, run as a host runs it, with the real clients: against moto, an emulator of Google's, and stand-ins
for answers that those can't give.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import mlflow_stack
from mlflow_stack.domain.object_store import ObjectStore
from tests.object_stores import BELOW, REGION, S3Server, gcs_emulator, s3_server
from tests.unit.domain.test_given_certificates import certificate, pem
from tests.unit.on_host.conftest import Answer, StandIn

SCRIPT = Path(mlflow_stack.__file__).parent / "on_host/object_store.py"
ANYBODY = ("anybody", "anything")
AZURE = "wasbs://container@account.blob.core.windows.net/mlflow"
NOT_THERE = "make it, or correct tracking_artifacts_destination"
UNREACHABLE = "it can't be reached; correct tracking_artifacts_{}, or the way there from this host"
NO_CREDENTIALS = "give the host an identity there, or set tracking_artifacts_credentials"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with gcs_emulator(tmp_path_factory.mktemp("gcs"), buckets=["bucket"]) as url:
        yield url


def tried(store: ObjectStore, given: str = "", *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Try a store with what is given on standard input, in an environment that has nothing else of a cloud."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AZURE_", "GOOGLE_"))}
    # Where there is no identity of a host, asking for one takes its time.
    absent = {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true"}
    told = {name: value for name, value in store.variables.items() if name not in ("TMPDIR", "AWS_CA_BUNDLE")}
    return subprocess.run(
        [sys.executable, "-I", "-W", "ignore", str(SCRIPT), store.uri, *options],
        env={**kept, **absent, **told, **variables},
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def at(server: S3Server, bucket: str, region: str = REGION) -> ObjectStore:
    return ObjectStore(f"s3://{bucket}/mlflow", endpoint=server.url, region=region)


def keys(key: tuple[str, str] = ANYBODY) -> str:
    return ObjectStore("s3://bucket/mlflow", access_key_id=key[0]).credentials_text(key[1])


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str]:
    """Return the exit status and what was said, without the words of the client, which are its own."""
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = [line.split(" (")[0] for line in done.stderr.splitlines()]
    return done.returncode, "\n".join(lines)


# --- S3 ---


def test_bucket_that_works_is_left_as_it_was_without_a_word(s3: S3Server) -> None:
    bucket = s3.bucket("works")

    assert outcome(tried(at(s3, bucket), keys())) == (0, "")
    assert s3.names(bucket) == []


def test_rights_of_the_how_to_are_enough(s3: S3Server) -> None:
    bucket = s3.bucket("rights")
    key = s3.user(bucket, "mlflow")

    with s3.closed():
        done = tried(at(s3, bucket), keys(key))

    assert outcome(done) == (0, "")


def test_nothing_is_written_in_a_plan(s3: S3Server) -> None:
    bucket = s3.bucket("read-only")
    s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    assert outcome(tried(at(s3, bucket), keys(), "--read-only")) == (0, "")
    assert "Versions" not in s3.client().list_object_versions(Bucket=bucket)


def test_bucket_that_does_not_exist_is_named(s3: S3Server) -> None:
    assert outcome(tried(at(s3, "none"), keys())) == (1, f"s3://none/mlflow: there is no bucket none; {NOT_THERE}")


def test_bucket_in_another_region_is_named_with_the_region(s3: S3Server) -> None:
    bucket = s3.bucket("elsewhere")

    assert outcome(tried(at(s3, bucket, region="us-west-2"), keys())) == (
        1,
        f"s3://elsewhere/mlflow: bucket elsewhere is in region {REGION}, and tracking_artifacts_region is 'us-west-2'; "
        f"set it to '{REGION}', or take a bucket there",
    )


@pytest.mark.parametrize(
    ("name", "below", "problem"),
    [
        ("unwritable", BELOW[1:], "the credentials don't let the server write below {uri}; they need s3:PutObject"),
        (
            "unreadable",
            (BELOW[0], BELOW[2]),
            "the credentials don't let the server read below {uri}; they need s3:GetObject",
        ),
        (
            "undeletable",
            BELOW[:2],
            "the credentials don't let the server delete below {uri}; they need s3:DeleteObject",
        ),
    ],
)
def test_right_that_is_missing_is_named(s3: S3Server, name: str, below: tuple[str, ...], problem: str) -> None:
    bucket = s3.bucket(name)
    key = s3.user(bucket, "mlflow", below)

    with s3.closed():
        done = tried(at(s3, bucket), keys(key))

    uri = f"s3://{bucket}/mlflow"
    assert outcome(done) == (1, f"{uri}: {problem.format(uri=uri)}")


def test_object_that_may_not_be_deleted_is_named(s3: S3Server) -> None:
    bucket = s3.bucket("undeleted")
    key = s3.user(bucket, "mlflow", BELOW[:2])

    with s3.closed():
        done = tried(at(s3, bucket), keys(key))

    (left,) = s3.names(bucket)
    assert done.stderr.endswith(f"; {left} is left there\n")


@pytest.mark.parametrize(("key_id", "secret"), [("AKIANOBODY", None), (None, "another")])
def test_key_that_the_store_does_not_know_is_refused(s3: S3Server, key_id: str | None, secret: str | None) -> None:
    bucket = s3.bucket(f"unknown-{key_id or secret}".lower())
    key = s3.user(bucket, "mlflow")

    with s3.closed():
        done = tried(at(s3, bucket), keys((key_id or key[0], secret or key[1])))

    assert outcome(done) == (
        1,
        f"s3://{bucket}/mlflow: the credentials are not known there; correct tracking_artifacts_credentials",
    )
    assert key[1] not in done.stderr


def test_host_without_an_identity_needs_credentials(s3: S3Server) -> None:
    bucket = s3.bucket("nobody")

    assert outcome(tried(at(s3, bucket))) == (
        1,
        f"s3://nobody/mlflow: there are no credentials for it; {NO_CREDENTIALS}",
    )


def test_identity_of_an_instance_lets_the_host_in(s3: S3Server, stand_in: StandIn) -> None:
    bucket, about = s3.bucket("identity"), "/latest/meta-data/iam/security-credentials/"
    keys = s3.role(bucket, "mlflow")
    document = {"AccessKeyId": keys["AccessKeyId"], "SecretAccessKey": keys["SecretAccessKey"]}
    document |= {"Code": "Success", "Token": keys["SessionToken"], "Expiration": "2099-01-01T00:00:00Z"}
    stand_in.answers |= {
        "PUT /latest/api/token": Answer(b"session"),
        f"GET {about}": Answer(b"mlflow"),
        f"GET {about}mlflow": Answer(json.dumps(document).encode()),
    }
    asked = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": stand_in.url}

    with s3.closed():
        done = tried(at(s3, bucket), **asked)

    assert outcome(done) == (0, "")


def test_credentials_that_are_none_are_refused_and_not_shown(s3: S3Server) -> None:
    done = tried(at(s3, "bucket"), "hunter2")

    assert done.stderr == (
        "s3://bucket/mlflow: tracking_artifacts_credentials are none for it (MissingSectionHeaderError); correct what "
        "it refers to\n"
    )


def _by_policy(s3: S3Server, bucket: str) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.client().put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def _by_acl(s3: S3Server, bucket: str) -> None:
    s3.client().put_bucket_acl(Bucket=bucket, ACL="public-read")


@pytest.mark.parametrize("options", [(), ("--read-only",)])
@pytest.mark.parametrize(("open_it", "by"), [(_by_policy, "its policy"), (_by_acl, "its ACL")])
def test_bucket_that_everybody_reads_is_refused_with_what_opens_it(
    s3: S3Server, open_it: object, by: str, options: tuple[str, ...]
) -> None:
    bucket = s3.bucket(f"public-{by[-3:].lower()}-{len(options)}")
    assert callable(open_it)
    open_it(s3, bucket)

    assert outcome(tried(at(s3, bucket), keys(), *options)) == (
        1,
        f"s3://{bucket}/mlflow: bucket {bucket} is public, {by} lets everybody in; block its public access",
    )


def test_artifact_that_everybody_reads_is_found_where_nothing_else_may_be_asked(s3: S3Server) -> None:
    """The ACL is that of an object, about which the bucket says nothing."""
    bucket = s3.bucket("open-object")
    s3.client().put_object(Bucket=bucket, Key="mlflow/1/model.pkl", Body=b"1", ACL="public-read")

    assert outcome(tried(at(s3, bucket), keys(), "--read-only")) == (
        1,
        f"s3://{bucket}/mlflow: bucket {bucket} is public, a rule lets everybody in; block its public access",
    )


def test_bucket_whose_public_access_is_blocked_is_well_whatever_its_policy_says(s3: S3Server) -> None:
    bucket = s3.bucket("blocked")
    _by_policy(s3, bucket)
    block = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    s3.client().put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=dict.fromkeys(block, True))

    assert outcome(tried(at(s3, bucket), keys())) == (0, "")


def test_server_with_tls_is_trusted_by_its_authority_and_not_without(tmp_path: Path) -> None:
    own = certificate("127.0.0.1", begins=-1000, ends=10_000)

    with s3_server(tmp_path, certificate=(own, pem())) as server:
        store = at(server, server.bucket("encrypted"))
        trusted, stranger = tried(store, own + keys()), tried(store, keys())

    assert outcome(trusted) == (0, "")
    assert outcome(stranger) == (
        1,
        "s3://encrypted/mlflow: its certificate is not trusted; set tracking_artifacts_ca_file to the authority that "
        "it is from",
    )


def test_server_that_does_not_answer_is_named() -> None:
    store = ObjectStore("s3://bucket/mlflow", endpoint="http://127.0.0.1:1")

    assert outcome(tried(store, keys())) == (1, f"s3://bucket/mlflow: {UNREACHABLE.format('endpoint')}")


def test_amazon_s_server_of_a_region_that_does_not_answer_is_named() -> None:
    """Nobody listens there, which is what is asked instead of Amazon's."""
    store = ObjectStore("s3://bucket/mlflow", region="eu-central-9")

    done = tried(store, keys(), AWS_ENDPOINT_URL_S3="http://127.0.0.1:1")

    assert outcome(done) == (1, f"s3://bucket/mlflow: {UNREACHABLE.format('region')}")


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        ("ExpiredToken", 400, "the credentials have expired; renew what tracking_artifacts_credentials refers to"),
        ("PermanentRedirect", 301, "bucket bucket is in another region; set tracking_artifacts_region to that"),
        ("SlowDown", 503, "it can't list below s3://bucket/mlflow; look at tracking_artifacts_destination"),
    ],
)
def test_answer_of_amazon_s_is_a_sentence(stand_in: StandIn, code: str, status: int, problem: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode()
    query = "list-type=2&prefix=mlflow%2F&max-keys=10&encoding-type=url"
    stand_in.answers[f"GET /bucket?{query}"] = Answer(body, status)

    done = tried(ObjectStore("s3://bucket/mlflow", endpoint=stand_in.url), keys())

    assert outcome(done) == (1, f"s3://bucket/mlflow: {problem}")


# --- Google Cloud Storage ---


def google(url: str, bucket: str = "bucket") -> ObjectStore:
    return ObjectStore(f"gs://{bucket}/mlflow", endpoint=url)


def service_account(token_server: str) -> str:
    """Return a service account's key that gets its tokens from a server."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {"type": "service_account", "project_id": "tests", "client_email": "mlflow@tests.iam.example.com"}
    return json.dumps({**account, "private_key": key.decode(), "token_uri": f"{token_server}/token"})


def test_google_bucket_that_works_is_left_without_a_word(gcs: str) -> None:
    assert outcome(tried(google(gcs))) == (0, "")
    assert outcome(tried(google(gcs), "", "--read-only")) == (0, "")


def test_google_bucket_that_does_not_exist_is_named(gcs: str) -> None:
    assert outcome(tried(google(gcs, "none"))) == (1, f"gs://none/mlflow: there is no bucket none; {NOT_THERE}")


def test_google_bucket_that_everybody_reads_is_refused(gcs: str, stand_in: StandIn) -> None:
    """The emulator lets everybody in; to who has credentials that is a bucket which is public."""
    stand_in.answers["POST /token"] = Answer(TOKEN)

    assert outcome(tried(google(gcs), service_account(stand_in.url))) == (
        1,
        "gs://bucket/mlflow: bucket bucket is public, a rule lets everybody in; enforce the prevention of public "
        "access",
    )


TOKEN = b'{"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}'
ABOUT = "/storage/v1/b/bucket"
READ_BY_ALL = b'{"bindings": [{"role": "roles/storage.objectViewer", "members": ["allUsers"]}]}'


@pytest.mark.parametrize(("prevention", "problem"), [("inherited", True), ("enforced", False)])
def test_google_bucket_that_a_policy_opens_is_refused_unless_public_access_is_prevented(
    stand_in: StandIn, prevention: str, problem: bool
) -> None:
    about = {"iamConfiguration": {"publicAccessPrevention": prevention}}
    stand_in.answers |= {
        "POST /token": Answer(TOKEN),
        f"GET {ABOUT}/o?maxResults=10&projection=noAcl&prefix=mlflow%2F&prettyPrint=false": Answer(b"{}"),
        f"GET {ABOUT}/iam?optionsRequestedPolicyVersion=3&prettyPrint=false": Answer(READ_BY_ALL),
        f"GET {ABOUT}?projection=noAcl&prettyPrint=false": Answer(json.dumps(about).encode()),
    }

    said = (
        "gs://bucket/mlflow: bucket bucket is public, its policy lets everybody in; enforce the prevention of public "
        "access"
    )
    done = tried(google(stand_in.url), service_account(stand_in.url), "--read-only")

    assert outcome(done) == ((1, said) if problem else (0, ""))


def test_virtual_machine_at_google_without_a_service_account_needs_credentials(stand_in: StandIn) -> None:
    """What its metadata server answers then."""
    host = stand_in.url.removeprefix("http://")
    flavour = {"Metadata-Flavor": "Google", "Content-Type": "application/text"}
    stand_in.answers |= {
        "GET /": Answer(headers=flavour),
        "GET /computeMetadata/v1/project/project-id": Answer(b"tests", headers=flavour),
    }

    done = tried(ObjectStore("gs://bucket/mlflow"), NO_GCE_CHECK="false", GCE_METADATA_HOST=host, GCE_METADATA_IP=host)

    assert outcome(done) == (1, f"gs://bucket/mlflow: there are no credentials for it; {NO_CREDENTIALS}")


def test_key_that_google_does_not_know_is_refused(gcs: str, stand_in: StandIn) -> None:
    stand_in.answers["POST /token"] = Answer(b'{"error": "invalid_grant", "error_description": "Invalid JWT"}', 400)

    assert outcome(tried(google(gcs), service_account(stand_in.url))) == (
        1,
        "gs://bucket/mlflow: the credentials are not known there; correct tracking_artifacts_credentials",
    )


def test_right_that_google_does_not_give_is_named(stand_in: StandIn) -> None:
    query = "maxResults=10&projection=noAcl&prefix=mlflow%2F&prettyPrint=false"
    stand_in.answers[f"GET /storage/v1/b/bucket/o?{query}"] = Answer(b'{"error": {"message": "no"}}', 403)

    assert outcome(tried(google(stand_in.url))) == (
        1,
        "gs://bucket/mlflow: the credentials don't let the server list below gs://bucket/mlflow; they need "
        "storage.objects.list",
    )


def test_google_that_does_not_answer_and_a_host_without_an_identity_are_named() -> None:
    unreachable, unknown = tried(google("http://127.0.0.1:1")), tried(ObjectStore("gs://bucket/mlflow"))

    assert outcome(unreachable) == (1, f"gs://bucket/mlflow: {UNREACHABLE.format('endpoint')}")
    assert outcome(unknown) == (1, f"gs://bucket/mlflow: there are no credentials for it; {NO_CREDENTIALS}")


# --- Azure Blob Storage: against stand-ins, since its emulator needs Node.js (docs/adr/0020-artifact-stores.md) ---


def connection(url: str) -> str:
    text = f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey=aHVudGVyMg==;BlobEndpoint={url}/account"
    return ObjectStore(AZURE, has_credentials=True).credentials_text(text)


LIST = "GET /account/container?restype=container&comp=list&prefix=mlflow%2F&maxresults=10"
PROPERTIES, XML = "GET /account/container?restype=container", {"Content-Type": "application/xml"}
EMPTY = b"<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>"


@pytest.mark.parametrize(
    ("code", "status", "problem"),
    [
        ("ContainerNotFound", 404, f"there is no container container; {NOT_THERE}"),
        ("AuthenticationFailed", 403, "the credentials are not known there; correct tracking_artifacts_credentials"),
        (
            "AuthorizationPermissionMismatch",
            403,
            f"the credentials don't let the server list below {AZURE}; they need the role Storage Blob Data "
            "Contributor",
        ),
    ],
)
def test_answer_of_azure_s_is_a_sentence(stand_in: StandIn, code: str, status: int, problem: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>said so</Message></Error>".encode()
    stand_in.answers[LIST] = Answer(body, status, headers=XML)

    done = tried(ObjectStore(AZURE), connection(stand_in.url))

    assert outcome(done) == (1, f"{AZURE}: {problem}")
    assert "aHVudGVyMg" not in done.stderr


def test_azure_container_that_can_be_listed_is_well_in_a_plan(stand_in: StandIn) -> None:
    stand_in.answers |= {LIST: Answer(EMPTY, headers=XML), PROPERTIES: Answer()}

    assert outcome(tried(ObjectStore(AZURE), connection(stand_in.url), "--read-only")) == (0, "")


def test_azure_that_does_not_answer_is_named() -> None:
    assert outcome(tried(ObjectStore(AZURE), connection("http://127.0.0.1:1"))) == (
        1,
        f"{AZURE}: {UNREACHABLE.format('destination')}",
    )


def test_shared_access_signature_whose_time_is_over_is_named_and_not_shown(stand_in: StandIn) -> None:
    detail = "Signature not valid in the specified time frame: Start [then] - Expiry [then] - Current [now]"
    body = f"<Code>AuthenticationFailed</Code><Message>no</Message><AuthenticationErrorDetail>{detail}"
    text = f"BlobEndpoint={stand_in.url}/account;SharedAccessSignature=se=then&sig=aHVudGVyMg"
    stand_in.answers[f"{LIST}&se=then&sig=aHVudGVyMg"] = Answer(
        f"<Error>{body}</AuthenticationErrorDetail></Error>".encode(), 403, headers=XML
    )

    done = tried(ObjectStore(AZURE), ObjectStore(AZURE, has_credentials=True).credentials_text(text))

    assert outcome(done) == (
        1,
        f"{AZURE}: the credentials have expired; renew what tracking_artifacts_credentials refers to",
    )
    assert "aHVudGVyMg" not in done.stderr
