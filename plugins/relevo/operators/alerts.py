"""The operator behind ``platform_alerts``."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.errors import RelevoError
from include.monitoring.alerts import Alert, Message
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from relevo import in_service
from relevo.alert_round import AlertRound, links_of

# Parameter that names a pipeline whose receivers get a message to try them.
TEST = "test"


class TellAlertsOperator(BaseOperator):
    """Tell the receivers of all pipelines what is new, and once.

    One receiver or pipeline that fails keeps nobody else from being told. The task fails in the
    end, without retries: the next round tries again. Nobody is told of a retired pipeline.
    """

    def execute(self, context: Any) -> dict[str, int]:
        """Return by pipeline how many messages were sent.

        Raises:
            AirflowFailException: If somebody was not told.
        """
        tried = context["params"].get(TEST)
        if tried:
            return {tried: self._try_out(context, pipeline_file.load(tried))}
        sent: dict[str, int] = {}
        trouble: list[str] = []
        for name in pipeline_file.names():
            try:
                pipeline = pipeline_file.load(name)
                if pipeline.alerts and not in_service.retired(name):
                    sent[name] = AlertRound(context, pipeline, trouble).tell()
            except RelevoError as error:
                trouble.append(f"pipeline {name}: {error}")
            except Exception as error:
                self.log.exception("The alerts of %s were not looked for", name)
                trouble.append(f"pipeline {name}: {type(error).__name__}, see above.")
        if trouble:
            raise AirflowFailException("\n".join(trouble))
        return sent

    def _try_out(self, context: Any, pipeline: Pipeline) -> int:
        """Send each receiver of a pipeline a message that nothing is recorded of."""
        from include.reports.alert_messages import write
        from relevo.notifiers import tell, why_not_told

        trouble = []
        for name, receiver in pipeline.alerts.items():
            alert = Alert(
                key=f"test/{context['dag_run'].run_id}",
                kind=receiver.about[0],
                partition="",
                reason=f"This is a test: receiver {name} of {pipeline.name} is reached.",
            )
            letter = write(pipeline, Message(name, (alert,)), links_of(pipeline), is_test=True)
            try:
                tell(receiver, letter, context)
            except Exception as error:
                trouble.append(
                    f"pipeline {pipeline.name}: receiver {name} must be reached, got "
                    f"{why_not_told(error)}. Correct its connection."
                )
        if trouble:
            raise AirflowFailException("\n".join(trouble))
        return len(pipeline.alerts)
