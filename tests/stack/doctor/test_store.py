"""The doctor on a real object store: as it should be, and spoiled in one way after the other."""

from __future__ import annotations

import json
import secrets
import uuid
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from pydantic import SecretStr

from stack.compose import buckets
from stack.doctor import store
from stack.doctor.checkup import Verdict, examine
from tests.stack.proxy import Answer, in_front_of

POLICIES = Path(__file__).parents[3] / "docs" / "production" / "aws"
READ = {"s3:GetObject"}
WRITE = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"}
# What each identity may do with the objects of each bucket.
ALLOWED = {
    "tasks": {"landing": READ, "lake": WRITE, "reports": WRITE, "logs": WRITE},
    "mlflow": {"mlflow": WRITE},
    "reader": {"lake": READ, "reports": READ, "logs": READ},
    "landing": {"landing": WRITE - {"s3:DeleteObject"}},
}


def client(service, settings):
    access_key, secret_key = settings.keys
    return boto3.client(
        service,
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=settings.region,
    )


@pytest.fixture(scope="module")
def identity(store_settings):
    """A user of the store with one of the policies that the docs ship."""
    iam = client("iam", store_settings)

    def make(name, prefix=""):
        document = (POLICIES / f"{name}-policy.json").read_text()
        user = f"{name}-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=user)
        policy = iam.create_policy(
            PolicyName=user, PolicyDocument=document.replace(":::", f":::{prefix}")
        )
        iam.attach_user_policy(UserName=user, PolicyArn=policy["Policy"]["Arn"])
        key = iam.create_access_key(UserName=user)["AccessKey"]
        return store_settings.model_copy(
            update={
                "access_key": key["AccessKeyId"],
                "secret_key": SecretStr(key["SecretAccessKey"]),
                "bucket_prefix": prefix,
            }
        )

    return make


def visit(settings, *wanted):
    """Run the checks, or those that are wanted and the gates before them."""
    found = store.visit(settings)
    gates = ("reachable", "credentials")
    checks = tuple(c for c in found.checks if not wanted or c.name in (*gates, *wanted))
    visited = type(found)(found.part, checks)
    return {f.check: f for f in examine(visited, {settings.secret_key.get_secret_value()})}


def probes_left(settings):
    s3 = client("s3", settings)
    return [
        item["Key"]
        for bucket in ("landing", "lake", "reports")
        for item in s3.list_objects_v2(Bucket=bucket, Prefix="_doctor/").get("Contents", ())
    ]


def test_a_good_store_passes_every_check_and_is_left_clean(store_settings, identity):
    found = visit(identity("tasks"))
    assert {f.check: f.found for f in found.values() if f.verdict is not Verdict.OK} == {}
    assert len(found) == 12
    assert probes_left(store_settings) == []


def test_buckets_with_a_prefix(store_settings, identity, monkeypatch):
    prefix = f"p{secrets.token_hex(4)}-"
    logs = f"s3://{prefix}logs/airflow"  # an address of Airflow's, which knows no prefix
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", logs)
    prefixed = store_settings.model_copy(update={"bucket_prefix": prefix})
    made = buckets.ensure(prefixed, ("landing", "lake", "reports", "logs"))
    found = visit(identity("tasks", prefix))
    assert {f.check: f.found for f in found.values() if f.verdict is not Verdict.OK} == {}
    assert set(found) >= {f"bucket {name}" for name in made}
    for name in made:  # fails on one that is not empty
        client("s3", store_settings).delete_bucket(Bucket=name)


def test_remote_logs_add_their_bucket(store_settings, monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOGGING", "True")
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER", "s3://no-such-logs/airflow")
    found = visit(store_settings, "bucket no-such-logs")["bucket no-such-logs"]
    assert found.verdict is Verdict.FAILED
    assert "NoSuchBucket" in found.found
    assert found.remedy.startswith("Create the bucket")


@pytest.mark.parametrize(
    ("change", "found", "remedy"),
    [
        ({"access_key": "stranger"}, "InvalidAccessKeyId", "Check the access key."),
        (
            {"secret_key": SecretStr("not-the-secret")},
            "SignatureDoesNotMatch",
            "Check the secret key.",
        ),
    ],
)
def test_a_wrong_key_is_told_and_ends_the_visit(store_settings, change, found, remedy):
    visited = visit(store_settings.model_copy(update=change))
    assert (visited["credentials"].found, visited["credentials"].remedy) == (found, remedy)
    assert visited["the rest"].verdict is Verdict.NOT_CHECKED
    assert "not-the-secret" not in str(visited)


def test_no_key_at_all(store_settings, monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers credentials
    settings = store_settings.model_copy(update={"access_key": None, "secret_key": None})
    found = [f for f in examine(store.visit(settings), ()) if f.check == "credentials"]
    assert found[0].found == "no key is set and this machine has no role"


def test_a_store_that_is_down(store_settings):
    settings = store_settings.model_copy(update={"endpoint_url": "http://127.0.0.1:9"})
    found = visit(settings)
    assert list(found) == ["reachable", "the rest"]
    assert "Connection refused" in found["reachable"].found


def test_a_key_that_may_only_read(identity):
    found = visit(identity("reader"), "bucket landing", "bucket lake", "conditional PUT")
    verdicts = {name: (f.verdict, "AccessDenied" in f.found) for name, f in found.items()}
    assert verdicts["bucket landing"] == (Verdict.FAILED, True)
    assert verdicts["bucket lake"] == (Verdict.FAILED, True)
    assert verdicts["conditional PUT"] == (Verdict.FAILED, True)
    assert verdicts["credentials"] == (Verdict.OK, False)


def test_a_store_that_ignores_if_none_match(store_settings):
    upstream = client("s3", store_settings)

    def replace(request):
        if "If-None-Match" not in request.headers:
            return None
        bucket, _, key = urlsplit(request.path).path.lstrip("/").partition("/")
        answer = upstream.put_object(Bucket=bucket, Key=key, Body=request.body)
        return Answer(200, headers={"ETag": answer["ETag"]})

    with in_front_of(store_settings.endpoint_url, intercept=replace) as address:
        settings = store_settings.model_copy(update={"endpoint_url": address})
        found = visit(settings, "conditional PUT", "8 writers at once", "multipart upload")
    assert found["conditional PUT"].verdict is Verdict.FAILED
    assert "If-None-Match is ignored" in found["conditional PUT"].found
    assert found["8 writers at once"].found.startswith("8 of 8 writers were told")
    assert found["multipart upload"].verdict is Verdict.OK
    assert probes_left(store_settings) == []


def test_a_store_that_changes_bytes(store_settings):
    def spoil(request):
        if request.method == "GET" and "_doctor/" in urlsplit(request.path).path:
            return Answer(200, b"other")
        return None

    with in_front_of(store_settings.endpoint_url, intercept=spoil) as address:
        settings = store_settings.model_copy(update={"endpoint_url": address})
        found = visit(settings, "bucket lake", "multipart upload", "8 writers at once")
    assert found["bucket lake"].found == "an object just written reads otherwise"
    assert found["multipart upload"].verdict is Verdict.FAILED
    assert found["8 writers at once"].verdict is Verdict.FAILED


def test_a_bucket_that_is_open_to_everybody(store_settings):
    s3 = client("s3", store_settings)
    everybody = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": "*",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::reports"],
            }
        ],
    }
    s3.put_bucket_policy(Bucket="reports", Policy=json.dumps(everybody))
    try:
        found = visit(store_settings, "anonymous access")["anonymous access"]
    finally:
        s3.delete_bucket_policy(Bucket="reports")
    assert (found.verdict, found.found) == (Verdict.FAILED, "public bucket: reports")
    assert visit(store_settings, "anonymous access")["anonymous access"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("skew", "verdict", "found"),
    [
        (0, Verdict.OK, "within 1 s"),
        (120, Verdict.WARNING, "ahead of this machine"),
        (-900, Verdict.FAILED, "behind this machine"),
    ],
)
def test_the_clock_of_the_store(store_settings, skew, verdict, found):
    spoiled = in_front_of(store_settings.endpoint_url, skew_seconds=skew)
    with spoiled if skew else nullcontext(store_settings.endpoint_url) as address:
        settings = store_settings.model_copy(update={"endpoint_url": address})
        clock = visit(settings, "clock")["clock"]
    assert clock.verdict is verdict
    assert found in clock.found


DELETING = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 3}}


@pytest.mark.parametrize(
    ("rules", "verdict", "found"),
    [
        ([DELETING], Verdict.WARNING, "lake expires current objects: old"),
        (
            json.loads((POLICIES / "lifecycle.json").read_text())["Rules"],
            Verdict.OK,
            "none on lake deletes current objects",
        ),
    ],
)
def test_rules_that_delete_tables_and_rules_that_do_not(store_settings, rules, verdict, found):
    s3 = client("s3", store_settings)
    s3.put_bucket_lifecycle_configuration(Bucket="lake", LifecycleConfiguration={"Rules": rules})
    try:
        told = visit(store_settings, "lifecycle rules")["lifecycle rules"]
    finally:
        s3.delete_bucket_lifecycle(Bucket="lake")
    assert (told.verdict, told.found) == (verdict, found)


@pytest.mark.parametrize("name", ALLOWED)
def test_the_policies_name_these_buckets_and_actions(name):
    policy = json.loads((POLICIES / f"{name}-policy.json").read_text())
    granted = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        for resource in statement["Resource"]:
            bucket, _, objects = resource.removeprefix("arn:aws:s3:::").partition("/")
            assert "*" not in bucket
            if objects:
                granted.setdefault(bucket, set()).update(statement["Action"])
    assert granted == ALLOWED[name]


@pytest.mark.parametrize("name", ALLOWED)
def test_the_store_keeps_to_the_policies(name, identity, store_settings):
    theirs, admin = client("s3", identity(name)), client("s3", store_settings)
    for bucket in ("landing", "lake", "mlflow", "reports"):
        key = f"_policies/{secrets.token_hex(4)}"
        admin.put_object(Bucket=bucket, Key=key, Body=b"old")
        attempts = {
            "s3:GetObject": lambda b=bucket, k=key: theirs.get_object(Bucket=b, Key=k),
            "s3:PutObject": lambda b=bucket, k=key: theirs.put_object(Bucket=b, Key=k, Body=b"new"),
            "s3:DeleteObject": lambda b=bucket, k=key: theirs.delete_object(Bucket=b, Key=k),
        }
        for action, attempt in attempts.items():
            is_allowed = action in ALLOWED[name].get(bucket, ())
            refusal = pytest.raises(theirs.exceptions.ClientError, match="AccessDenied")
            with nullcontext() if is_allowed else refusal:
                attempt()
        admin.delete_object(Bucket=bucket, Key=key)
