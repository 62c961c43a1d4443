"""Where the store is and who asks: from variables, with keys or with the machine's own role."""

from __future__ import annotations

import uuid
from datetime import timedelta

import boto3
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from include.errors import SettingsError
from include.storage.object_store import ObjectStore
from include.storage.settings import RETENTION_DAYS, StoreSettings, retention

NAMES = ("ENDPOINT_URL", "ACCESS_KEY", "SECRET_KEY", "REGION", "BUCKET_PREFIX")


@pytest.fixture(autouse=True)
def empty(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(f"RELEVO_STORE_{name}", raising=False)


def test_without_keys_every_client_takes_the_credentials_of_aws(store_settings, monkeypatch):
    access_key, secret_key = store_settings.keys
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret_key)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers credentials
    keyless = StoreSettings(endpoint_url=store_settings.endpoint_url)
    assert keyless.keys == (None, None)
    folder = f"s3://lake/{uuid.uuid4().hex}"

    ObjectStore(keyless).write(f"{folder}/a.txt", b"boto3")
    with keyless.filesystem().open_output_stream(f"{folder[5:]}/b.txt") as stream:
        stream.write(b"pyarrow")
    options = keyless.storage_options()
    write_deltalake(f"{folder}/t", pa.table({"x": [1]}), storage_options=options)

    keyed = ObjectStore(store_settings)
    assert keyed.read(f"{folder}/a.txt") == b"boto3"
    assert keyed.read(f"{folder}/b.txt") == b"pyarrow"
    with_keys = DeltaTable(f"{folder}/t", storage_options=store_settings.storage_options())
    assert with_keys.to_pyarrow_table()["x"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("given", "missing"), [("ACCESS_KEY", "SECRET_KEY"), ("SECRET_KEY", "ACCESS_KEY")]
)
def test_one_key_alone_is_an_error_without_its_value(monkeypatch, given, missing):
    monkeypatch.setenv(f"RELEVO_STORE_{given}", "hidden-value")
    with pytest.raises(SettingsError, match=f"RELEVO_STORE_{missing} must be set") as caught:
        StoreSettings.from_environment()
    assert "hidden-value" not in str(caught.value)


def test_an_empty_environment_is_not_taken_for_aws():
    with pytest.raises(SettingsError, match=r"RELEVO_STORE_REGION for AWS, must be set.*relevo up"):
        StoreSettings.from_environment()


def test_aws_needs_no_more_than_its_region(monkeypatch):
    monkeypatch.setenv("RELEVO_STORE_REGION", "eu-west-1")
    monkeypatch.setenv("RELEVO_STORE_ENDPOINT_URL", "")
    assert StoreSettings.from_environment() == StoreSettings(region="eu-west-1")


def test_the_prefix_is_put_in_front_of_our_buckets_alone(monkeypatch):
    monkeypatch.setenv("RELEVO_STORE_BUCKET_PREFIX", "acme-")
    store = StoreSettings.from_environment()
    assert store.path("s3://lake/a/lake/b") == "acme-lake/a/lake/b"
    assert store.path("s3://logs") == "acme-logs"
    for foreign in ("theirs", "acme-lake", "lake2", "my-lake"):
        assert store.path(f"s3://{foreign}/a") == f"{foreign}/a"
    monkeypatch.setenv("RELEVO_STORE_BUCKET_PREFIX", "")
    monkeypatch.setenv("RELEVO_STORE_REGION", "eu-west-1")
    assert StoreSettings.from_environment().path("s3://lake/a") == "lake/a"


@pytest.mark.parametrize("prefix", ["a", "1-", "a" * 56])
def test_prefixes_that_every_bucket_can_have(prefix):
    assert len(StoreSettings(bucket_prefix=prefix).bucket("landing")) == len(prefix) + 7 <= 63


@pytest.mark.parametrize("prefix", ["-a", "A", "a_", "a.", "a/", "a\n", "é", "a" * 57])
def test_a_prefix_that_no_bucket_can_have_is_refused(monkeypatch, prefix):
    monkeypatch.setenv("RELEVO_STORE_BUCKET_PREFIX", prefix)
    rule = r"must be at most 56 of a-z, 0-9 and '-', .* Correct RELEVO_STORE_BUCKET_PREFIX"
    with pytest.raises(SettingsError, match=rule):
        StoreSettings.from_environment()


def test_the_retention_is_a_number_of_days():
    assert retention(RETENTION_DAYS) == timedelta(days=90)
    assert retention("14") == timedelta(days=14)  # as an Airflow variable tells it


@pytest.mark.parametrize("wrong", ["", "90 days", "1.5", 13, "-90", 36_501])
def test_a_retention_that_would_remove_what_waits(wrong):
    with pytest.raises(SettingsError, match=r"must be a whole number of days from 14 to 36500"):
        retention(wrong)
