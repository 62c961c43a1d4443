"""The operator that asks a person whether a challenger may take over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import AirflowSkipException

from relevo import in_service
from relevo.failures import DeadlineMissedError, failing_at_once, reason_kept
from relevo.hooks import RelevoHook
from relevo.operators.base import PARTITION_TEMPLATE, origin_of

if TYPE_CHECKING:
    from include.storage.lake_tables import Lake

_OLD_QUESTION = (
    "If this task was cleared, Airflow shows the question as it was asked first: the verdict that "
    "counts is the latest one on the decisions page."
)


class ApprovePromotionOperator(HITLOperator):
    """Ask a person whether an accepted challenger may take over; skipped if it was refused.

    Nor is anybody asked while the champion is frozen, or if a person refused the challenger.

    The answer goes into the ledger and counts for the verdict that was asked about. Without one in
    time the task fails for good; cleared, it asks again, and an answer from before or in between
    counts no more. Airflow keeps the text of the first question.

    Args:
        pipeline: Name of the pipeline.
        partition: Name of the partition; by default the one that the run is about.
    """

    APPROVE = "Approve"
    REJECT = "Reject"
    template_fields: Sequence[str] = ("partition", *HITLOperator.template_fields)

    def __init__(
        self, *, pipeline: str, partition: str = PARTITION_TEMPLATE, **kwargs: Any
    ) -> None:
        super().__init__(options=[self.APPROVE, self.REJECT], **kwargs)
        self.pipeline = pipeline
        self.partition = partition

    def execute(self, context: Any) -> Any:
        """Wait for the answer."""
        from include.registry.champions import Registry
        from include.steps.promotion import ask, unasked, verdict_of

        with failing_at_once():
            in_service.demand(self.pipeline)
        lake = self.lake()
        verdict = verdict_of(lake, self.partition, context["ti"].run_id)
        against = unasked(Registry(lake), verdict)
        if verdict is None or against:
            raise AirflowSkipException(against)
        ask(lake, verdict, self.partition, origin_of(context))
        self.body = f"Version {verdict.version}: {verdict.reason}\n\n{_OLD_QUESTION}"
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Put the answer into the ledger; promote_challenger acts on it.

        Raises:
            DeadlineMissedError: If nobody answered in time.
        """
        with reason_kept(context):
            return self._complete(context, event)

    def _complete(self, context: Any, event: dict[str, Any]) -> Any:
        from include.steps.promotion import answer

        lake, origin = self.lake(), origin_of(context)
        if event.get("error_type") == "timeout":
            told = f"Nobody answered within {self.response_timeout}. Clear the task to ask again."
            answer(lake, self.partition, "expired", told, origin)
            raise DeadlineMissedError(told)
        result = super().execute_complete(context=context, event=event)
        person = (event["responded_by_user"] or {}).get("name", "nobody known")
        if result["chosen_options"] == [self.APPROVE]:
            answer(lake, self.partition, "approved", f"Approved by {person}.", origin)
        else:
            answer(lake, self.partition, "rejected", f"Rejected by {person}.", origin)
        return result

    def lake(self) -> Lake:
        """Open the pipeline's tables."""
        from include.storage.lake_tables import Lake

        return Lake(RelevoHook().store(), self.pipeline)
