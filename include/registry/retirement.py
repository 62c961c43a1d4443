"""Whether a person retired a pipeline, told by the registry's events alone.

A retired pipeline is worked on by nobody. Its tables stay readable for a waiting time, in which the
retirement can be undone; then maintenance removes them. What makes the events is
:mod:`include.registry.retiring`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.errors import RetiredError
from include.registry import succession
from include.registry.succession import REMOVED
from include.storage.event_tables import Event
from include.storage.settings import LAKE

# Detail of the event: from when on tables may go, naive UTC, ISO 8601.
UNTIL = "until"


@dataclass(frozen=True)
class Retirement:
    """A retirement that counts.

    Args:
        signed: When it was, who retired the pipeline, and why.
        until: From when on its tables may be removed, naive UTC.
        removed_at: When that began, naive UTC; None before.
    """

    signed: str
    until: datetime
    removed_at: datetime | None


def folder(pipeline: str) -> str:
    """Name the folder of the archive, which is kept beside ledger and registry."""
    return f"s3://{LAKE}/{pipeline}/retired"


def file_uri(pipeline: str) -> str:
    """Address of the pipeline file as of then.

    It is written before the pipeline is retired: where it is missing, nothing is.
    """
    return f"{folder(pipeline)}/pipeline.yaml"


def find(events: Sequence[Event]) -> Retirement | None:
    """Find the retirement that counts; None if the pipeline is in service."""
    event = succession.retirement(events)
    if event is None:
        return None
    removals = [row for row in events if row["event"] == REMOVED]
    return Retirement(
        signed=signed(event),
        until=datetime.fromisoformat(json.loads(event["details"])[UNTIL]),
        removed_at=removals[-1]["recorded_at"] if removals else None,
    )


def told(events: Sequence[Event]) -> str:
    """Say that the pipeline is retired, since when, by whom, why, until when; '' if it is not."""
    retirement = find(events)
    if retirement is None:
        return ""
    if retirement.removed_at is not None:
        return (
            f"retired since {retirement.signed} (its tables were removed on "
            f"{retirement.removed_at:%Y-%m-%d %H:%M} UTC)"
        )
    return (
        f"retired since {retirement.signed} (its tables stay until "
        f"{retirement.until:%Y-%m-%d %H:%M} UTC)"
    )


def remedy(events: Sequence[Event], pipeline: str) -> str:
    """Say what whoever needs the pipeline does."""
    retirement = find(events)
    if retirement is None or retirement.removed_at is None:
        return f"`./relevo retire {pipeline} --undo --reason ...` undoes that; or use another name."
    return (
        f"That cannot be undone any more: the archive in {folder(pipeline)} holds its models and "
        "what was decided. Use another name."
    )


def demand_in_service(events: Sequence[Event], pipeline: str) -> None:
    """Refuse to work on a pipeline that is retired.

    Raises:
        RetiredError: If it is.
    """
    if how := told(events):
        raise RetiredError(
            f"pipeline {pipeline}: must not be retired, got: {how}. {remedy(events, pipeline)}"
        )


def signed(event: Event) -> str:
    """Say when something was decided by hand, who decided it, and why."""
    details = json.loads(event["details"])
    return f"{event['recorded_at']:%Y-%m-%d %H:%M} UTC by {details['by']}: {details['why']}"
