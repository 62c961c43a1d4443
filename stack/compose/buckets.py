"""Make the buckets of a deployment, where they are missing."""

from __future__ import annotations

from collections.abc import Sequence

from include.settings import BUCKETS, StoreSettings


def ensure(settings: StoreSettings, buckets: Sequence[str]) -> list[str]:
    """Make the missing buckets; returns their names at the store."""
    import boto3

    access_key, secret_key = settings.keys
    client = boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=settings.region,
    )
    present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    wanted = [settings.bucket(name) for name in buckets]
    missing = [bucket for bucket in wanted if bucket not in present]
    for bucket in missing:
        client.create_bucket(Bucket=bucket)
    return missing


if __name__ == "__main__":
    made = ensure(StoreSettings.from_environment(), BUCKETS)
    print(f"buckets made: {', '.join(made) or 'none'}")
