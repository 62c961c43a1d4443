"""How a receiver of the pipeline file is reached: by the notifier of its Airflow provider.

Notifiers take their values for Jinja templates. What landed may be quoted in a message, so they
are asked to notify without rendering anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from airflow.sdk.exceptions import AirflowException
from airflow.sdk.log import mask_secret

from include.errors import SettingsError
from include.specification.sections.alerts import AlertKind, Channel, Receiver

if TYPE_CHECKING:
    from airflow.sdk import BaseNotifier

    from include.reports.alert_messages import Letter

_TIMEOUT_SECONDS = 30
# Each wait has a limit, but somebody may answer a byte at a time, or a name not be resolved.
_DEADLINE_SECONDS = 60
_LONGEST_SLACK = 30_000
_SLACK = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SEVERITIES: Mapping[AlertKind, str] = {
    "failure": "error",
    "gate": "error",
    "deadline": "error",
    "performance": "error",
    "approval": "info",
}


def tell(receiver: Receiver, letter: Letter, context: Any) -> None:
    """Send a message, once.

    Raises:
        SettingsError: If the provider is not installed.
        TimeoutError: If the receiver has not taken it in time; it still may.
        Exception: Whatever the notifier raises if the message does not arrive.
    """
    try:
        notifier = _NOTIFIERS[receiver.channel](receiver, letter)
    except ModuleNotFoundError as error:
        package = f"apache-airflow-providers-{receiver.channel}"
        raise SettingsError(
            f"provider {package}: must be installed to tell anybody by {receiver.channel}, got no "
            f"module {error.name}. Add it to requirements.in, run ./relevo lock, and install."
        ) from error
    done: Future[None] = Future()

    def notify() -> None:
        try:
            notifier.notify(context)
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)

    # Not by a signal: Airflow has its own on the timeout of the task, and there is only one.
    Thread(target=notify, daemon=True).start()
    done.result(_DEADLINE_SECONDS)


def why_not_told(error: Exception) -> str:
    """Say why a message did not arrive, without what an address or an answer may hold."""
    if isinstance(error, AirflowException | SettingsError):
        return str(error)
    return type(error).__name__


def _webhook(receiver: Receiver, letter: Letter) -> BaseNotifier:
    from airflow.providers.http.notifications import HttpNotifier

    notifier = HttpNotifier(
        http_conn_id=str(receiver.webhook),
        json=dict(letter.document),
        headers={"Idempotency-Key": letter.message_id},
        extra_options={"timeout": _TIMEOUT_SECONDS},
    )
    notifier.hook.get_conn()  # puts the address together
    _mask(notifier.hook.base_url)
    return notifier


def _mask(url: str) -> None:
    """Keep out of the log what lets one in by an address: the hook logs it if nobody answers."""
    from requests import Request

    # As it was given, and as it is sent.
    for parts in map(urlsplit, (url, str(Request("POST", url).prepare().url))):
        values = [pair.partition("=")[2] for pair in parts.query.split("&")]
        values += [value for _, value in parse_qsl(parts.query)]
        for secret in (parts.path, parts.query, parts.fragment, parts.password, *values):
            mask_secret(secret)


def _email(receiver: Receiver, letter: Letter) -> BaseNotifier:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    return SmtpNotifier(
        to=list(receiver.email or ()),
        subject=f"[Relevo] {letter.subject}",
        html_content=letter.html,
        custom_headers={
            "Message-ID": f"<{letter.message_id}@relevo>",
            "Auto-Submitted": "auto-generated",
        },
    )


def _slack(receiver: Receiver, letter: Letter) -> BaseNotifier:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier

    return SlackWebhookNotifier(
        slack_webhook_conn_id=str(receiver.slack),
        text=letter.text.translate(_SLACK)[:_LONGEST_SLACK],
        unfurl_links=False,
        timeout=_TIMEOUT_SECONDS,
    )


def _pagerduty(receiver: Receiver, letter: Letter) -> BaseNotifier:
    from airflow.providers.pagerduty.notifications.pagerduty import PagerdutyNotifier

    return PagerdutyNotifier(
        pagerduty_events_conn_id=str(receiver.pagerduty),
        summary=letter.subject,
        severity=_SEVERITIES.get(letter.kind, "warning"),
        source=str(letter.document["pipeline"]),
        dedup_key=letter.message_id,
        custom_details={"id": letter.message_id, "text": letter.text},
    )


_NOTIFIERS: Mapping[Channel, Callable[[Receiver, Letter], BaseNotifier]] = {
    "webhook": _webhook,
    "email": _email,
    "slack": _slack,
    "pagerduty": _pagerduty,
}
