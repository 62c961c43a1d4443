"""One look at a pipeline: what is new is told to whom it concerns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.errors import RelevoError
from include.monitoring.alerts import Alert
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import AlertKind
from include.wording import some
from relevo.hooks import RelevoHook
from relevo.links import absolute, ledger_path, report_path, task_path
from relevo.operators.base import origin_of

if TYPE_CHECKING:
    from include.steps.alert_outbox import Attempt

_log = logging.getLogger(__name__)
_EACH_HOUR = 5  # rounds of the first minutes of an hour
_AGAIN = "It is tried again; correct the connection if that is what is wrong."
_GIVEN_UP = "It is not tried any more."


class AlertRound:
    """One look at a pipeline.

    Args:
        context: Context of the task.
        pipeline: The pipeline.
        trouble: Takes what the task fails for in the end.
    """

    def __init__(self, context: Any, pipeline: Pipeline, trouble: list[str]) -> None:
        from include.steps.alert_outbox import Outbox
        from include.storage.lake_tables import Lake

        self.context, self.pipeline, self.trouble = context, pipeline, trouble
        self.now = datetime.now(UTC).replace(tzinfo=None)
        self.lake = Lake(RelevoHook().store(), pipeline.name)
        self.outbox = Outbox(self.lake, origin_of(context))

    def tell(self) -> int:
        """Return how many messages were sent."""
        from include.registry.champions import PROFILES

        alerts, unseen = self._search()
        scored, sent = self.lake.partitions(PROFILES), 0
        self.outbox.end_others(self.pipeline.alerts)
        due: list[Attempt] = []
        for name, receiver in self.pipeline.alerts.items():
            self.outbox.begin(name, receiver, alerts, scored, unseen)
            due += self.outbox.due(name, receiver, alerts, self.now)
        # Who does not answer takes a minute: once in a round, and after everybody else.
        failing, silent = self.outbox.failing(), set[str]()
        for attempt in sorted(due, key=lambda it: (it.message.receiver in failing, it.before)):
            name = attempt.message.receiver
            if name in silent or not self.outbox.claim(attempt):
                continue
            if self._send(attempt):
                sent += 1
            else:
                silent.add(name)
        for item in self.outbox.waiting(self.now):
            self.trouble.append(
                f"pipeline {self.pipeline.name}: receiver {item.message.receiver} must be told of "
                f"{item.message.kind} ({some(item.keys)}), got after {item.attempts} "
                f"attempt{'' if item.attempts == 1 else 's'}: {item.why}. "
                + (_GIVEN_UP if item.is_given_up else _AGAIN)
            )
        return sent

    def _send(self, attempt: Attempt) -> bool:
        """Send what was claimed, and put on record how that went."""
        from include.reports.alert_messages import write
        from relevo.notifiers import tell, why_not_told

        message = attempt.message
        try:
            letter = write(self.pipeline, message, links_of(self.pipeline))
            tell(self.pipeline.alerts[message.receiver], letter, self.context)
        except Exception as error:
            self.outbox.settle(attempt, "not told", why_not_told(error))
            return False
        self.outbox.settle(attempt, "told")
        return True

    def _search(self) -> tuple[list[Alert], set[AlertKind]]:
        """Find what is on record, and which kinds could not all be looked for."""
        from include.reports.alert_search import LOOK_BACK, Search, searches
        from relevo.failed_tasks import KINDS, failed_tasks

        since = self.outbox.since or self.now
        run = self.context["dag_run"]
        on_record = searches(self.lake, self.pipeline, since=since, now=self.now)
        if run.logical_date is not None and run.logical_date.minute >= _EACH_HOUR:
            del on_record["stale"]
        looks: list[tuple[tuple[AlertKind, ...], Search]] = [
            (KINDS, lambda: failed_tasks(self.pipeline, self.now, LOOK_BACK)),
            *(((kind,), search) for kind, search in on_record.items()),
        ]
        alerts: list[Alert] = []
        unseen: set[AlertKind] = set()
        for kinds, search in looks:
            try:
                alerts += search()
            except Exception as error:
                unseen.update(kinds)
                why = str(error)
                if not isinstance(error, RelevoError):
                    _log.exception("Alerts about %s were not looked for", some(kinds))
                    why = f"{type(error).__name__}, see above."
                self.trouble.append(
                    f"pipeline {self.pipeline.name}: {some(kinds)} must be looked for, got {why}"
                )
        return alerts, unseen


def links_of(pipeline: Pipeline) -> Callable[[Alert], Mapping[str, str]]:
    """Make what names the pages that people would open from an alert."""

    def links(alert: Alert) -> dict[str, str]:
        found = {}
        if alert.dag_id:
            page = task_path(alert.dag_id, alert.run_id, alert.task_id, alert.map_index)
            found["task" if alert.task_id else "runs"] = page
            if alert.kind == "approval":
                found = {"answer": f"{page}/required_actions"}
        if alert.report:
            found["report"] = report_path(alert.report)
        found["decisions"] = ledger_path(pipeline.name)
        return {name: absolute(path) for name, path in found.items()}

    return links
