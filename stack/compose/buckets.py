"""Make the buckets of a deployment, where they are missing."""

from __future__ import annotations

from collections.abc import Sequence

from include.storage.object_store import ObjectStore
from include.storage.settings import BUCKETS, StoreSettings


def ensure(settings: StoreSettings, buckets: Sequence[str]) -> list[str]:
    """Make the missing buckets; returns their names at the store."""
    client = ObjectStore(settings).client
    present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    wanted = [settings.bucket(name) for name in buckets]
    missing = [bucket for bucket in wanted if bucket not in present]
    for bucket in missing:
        client.create_bucket(Bucket=bucket)
    return missing


if __name__ == "__main__":
    made = ensure(StoreSettings.from_environment(), BUCKETS)
    print(f"buckets made: {', '.join(made) or 'none'}")
