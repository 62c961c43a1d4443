"""Whether a part answers. Each check returns None, or the reason why it is not healthy."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import datetime
from typing import Any

from stack.embedded.configuration import BUCKETS, REGION, Configuration

ANSWER_SECONDS = 5.0
# Requests to loopback must not be sent to the proxy of the shell's environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def fetch(url: str, timeout_seconds: float = ANSWER_SECONDS) -> str:
    """Return the body of a successful GET.

    Raises:
        OSError: There was no answer, or an error status.
    """
    with _opener.open(url, timeout=timeout_seconds) as answer:
        body: bytes = answer.read()
    return body.decode("utf-8", errors="replace")


def check_page(url: str, timeout_seconds: float = ANSWER_SECONDS) -> str | None:
    """Check that an address answers a GET with success."""
    try:
        fetch(url, timeout_seconds)
    except OSError as error:
        return f"{url}: {error}"
    return None


def check_store(configuration: Configuration) -> str | None:
    """Check that the store accepts the credentials and has every bucket."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client(
        "s3",
        endpoint_url=configuration.store_url,
        aws_access_key_id=configuration.credentials.store_access_key,
        aws_secret_access_key=configuration.credentials.store_secret_key,
        region_name=REGION,
        config=Config(
            connect_timeout=2,
            read_timeout=ANSWER_SECONDS,
            retries={"max_attempts": 1, "mode": "standard"},
            proxies={},
        ),
    )
    try:
        present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    except (BotoCoreError, ClientError) as error:
        return f"{configuration.store_url}: {error}"
    missing = sorted(set(BUCKETS) - present)
    return f"buckets missing: {', '.join(missing)}" if missing else None


def check_spark(configuration: Configuration) -> str | None:
    """Check that the Spark Connect server speaks gRPC."""
    import grpc  # type: ignore[import-untyped, unused-ignore]

    address = f"localhost:{configuration.port('spark')}"
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=2)
        except grpc.FutureTimeoutError:
            return f"{address}: no gRPC answer"
    return None


def check_heartbeat(configuration: Configuration, component: str, started: float) -> str | None:
    """Check that an Airflow component has reported since its process started.

    Args:
        configuration: Where Airflow's API answers.
        component: `scheduler`, `dag_processor` or `triggerer`.
        started: When the process started, in seconds since the epoch. An older
            heartbeat is that of its predecessor.
    """
    url = f"{configuration.airflow_url}/api/v2/monitor/health"
    try:
        report: dict[str, Any] = json.loads(fetch(url)).get(component) or {}
    except (OSError, ValueError) as error:
        return f"{url}: {error}"
    beat = report.get(f"latest_{component}_heartbeat")
    if beat is None or datetime.fromisoformat(beat).timestamp() < started:
        return "no heartbeat yet"
    if report.get("status") != "healthy":
        return f"last heartbeat {beat}"
    return None
