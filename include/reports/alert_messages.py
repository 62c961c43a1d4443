"""Alerts as people and programs read them: a subject, plain text, HTML, and a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from include.monitoring.alerts import Alert, Message
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import AlertKind
from include.templates import render
from include.wording import some

Links = Callable[[Alert], Mapping[str, str]]
# Of more alerts the text tells how many there are; the document has them all.
_SHOWN = 20
_TITLES: Mapping[AlertKind, str] = {
    "failure": "a task failed",
    "gate": "a gate closed",
    "deadline": "a deadline was missed",
    "quarantine": "quarantine is more than half full",
    "drift": "drift",
    "performance": "performance dropped",
    "refused": "a challenger was refused",
    "approval": "an approval is waiting",
    "stale": "landed data was corrected",
}
_REPEATED = "This was sent before, and it is not known whether it arrived."


@dataclass(frozen=True)
class Letter:
    """A message in every form.

    Args:
        message_id: Name of the message; the same if it is sent again.
        kind: Kind of its alerts.
        subject: One line.
        text: Plain text without markup.
        html: The same as a page.
        document: The same as plain JSON values; docs/alerts.md names the fields.
    """

    message_id: str
    kind: AlertKind
    subject: str
    text: str
    html: str
    document: Mapping[str, Any]


def write(pipeline: Pipeline, message: Message, links: Links, *, is_test: bool = False) -> Letter:
    """Write a message.

    Args:
        pipeline: The pipeline that it is about.
        message: What is told.
        links: Names the addresses that people would open, by what is found there.
        is_test: Whether nothing happened, and somebody only tries whether it arrives.
    """
    alerts = [(alert, dict(links(alert))) for alert in message.alerts]
    partitions = dict.fromkeys(alert.partition for alert in message.alerts if alert.partition)
    about = f" {some(partitions, 3)}" if partitions else ""
    title = "only a test" if is_test else _TITLES[message.kind]
    subject = f"{pipeline.name}{about}: {title}"
    repeated = _REPEATED if message.is_repeated else ""
    shown, more = alerts[:_SHOWN], max(len(alerts) - _SHOWN, 0)
    return Letter(
        message_id=message.message_id,
        kind=message.kind,
        subject=subject,
        text=_text(subject, repeated, shown, more),
        html=render("alert", title=subject, repeated=repeated, alerts=shown, more=more),
        document={
            "format": 1,
            "id": message.message_id,
            "pipeline": pipeline.name,
            "owner": pipeline.owner,
            "kind": message.kind,
            "subject": subject,
            "test": is_test,
            "repeated": message.is_repeated,
            "alerts": [
                {
                    "key": alert.key,
                    "partition": alert.partition,
                    "reason": alert.reason,
                    "links": found,
                }
                for alert, found in alerts
            ],
        },
    )


def _text(subject: str, repeated: str, shown: list[tuple[Alert, dict[str, str]]], more: int) -> str:
    blocks = [subject, *([repeated] if repeated else [])]
    for alert, links in shown:
        head = f"{alert.partition}: {alert.reason}" if alert.partition else alert.reason
        blocks.append("\n".join([head, *(f"- {name}: {link}" for name, link in links.items())]))
    if more:
        blocks.append(f"And {more} more.")
    return "\n\n".join(blocks)
