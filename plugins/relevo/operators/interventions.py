"""The operators behind what people do by hand, for one pipeline that they name.

Each is one task of a DAG of its own, so that Airflow's right to trigger it and its audit log are
those of the deed.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.errors import RelevoError
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.storage.lineage import Origin
from include.wording import take_reason
from relevo import in_service
from relevo.failures import failing_at_once
from relevo.hooks import RelevoHook
from relevo.links import LedgerLink, ModelVersionLink, StoredLink, ledger_path
from relevo.operators.base import origin_of

if TYPE_CHECKING:
    from include.registry.champions import Registry
    from include.steps.interventions import Done
    from include.steps.rollback import Handover
    from include.storage.lake_tables import Lake

# XCom key of the sentence that says what came of it, for whoever triggered the run.
TOLD = "relevo_told"


def reason_of(context: Any) -> str:
    """Read why a person triggered the run, as it goes on record.

    Raises:
        AirflowFailException: If that is not said, or too long.
    """
    try:
        return take_reason(context["params"]["reason"])
    except ValueError as error:
        raise AirflowFailException(f"Parameter reason: {error}") from error


@dataclass(frozen=True)
class Asked:
    """What a person asked for by triggering the run.

    Args:
        name: Name of the pipeline.
        why: The reason.
        who: Name of the user.
        at: When, naive UTC.
        origin: The run.
    """

    name: str
    why: str
    who: str
    at: datetime
    origin: Origin

    @classmethod
    def of(cls, context: Any) -> Asked:
        """Read the parameters that every such run has: ``pipeline`` and ``reason``."""
        run = context["dag_run"]
        return cls(
            context["params"]["pipeline"],
            reason_of(context),
            run.triggering_user_name or "Nobody known",
            run.run_after.astimezone(UTC).replace(tzinfo=None),
            origin_of(context),
        )

    @property
    def pipeline(self) -> Pipeline:
        """Read the pipeline file."""
        return pipeline_file.load(self.name)


class InterventionOperator(BaseOperator):
    """Something that a person does by hand, as the parameters of the run say.

    Skipped if that changes nothing. What came of it, also an error, is told in one sentence.
    """

    # Whether it may be done to a pipeline that is retired.
    of_retired = False
    operator_extra_links: tuple[StoredLink, ...] = (LedgerLink(),)

    @abstractmethod
    def run(self, context: Any, asked: Asked, lake: Lake) -> Done | Handover:
        """Do it; returns what came of it."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Return what is otherwise now."""
        from include.storage.lake_tables import Lake

        ti = context["ti"]
        try:
            with failing_at_once():
                asked = Asked.of(context)
                if not self.of_retired:
                    in_service.demand(asked.name)
                lake = Lake(RelevoHook().store(), asked.name)
                done = self.run(context, asked, lake)
        except (AirflowFailException, RelevoError) as error:
            ti.xcom_push(key=TOLD, value=str(error))
            raise
        LedgerLink.persist(context, ledger_path(asked.name))
        ti.xcom_push(key=TOLD, value=done.told)
        if not done.changed:
            raise AirflowSkipException(done.told)
        self.log.info("%s", done.told)
        return {name: value for name, value in asdict(done).items() if name != "told"}


class FreezeOperator(InterventionOperator):
    """Let nothing take the champion's place until it is unfrozen."""

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Freeze it."""
        from include.registry.champions import Registry
        from include.steps.interventions import freeze

        return freeze(lake, Registry(lake), asked.why, asked.who, asked.at, asked.origin)


class UnfreezeOperator(InterventionOperator):
    """Let the gate decide again who is champion."""

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Unfreeze it."""
        from include.registry.champions import Registry
        from include.steps.interventions import unfreeze

        return unfreeze(lake, Registry(lake), asked.why, asked.who, asked.at, asked.origin)


class RefuseOperator(InterventionOperator):
    """Keep the ``version`` of the run's parameters out of use for good."""

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Refuse it."""
        from include.registry.champions import Registry
        from include.steps.interventions import refuse

        # JSON takes 2.0 for a whole number.
        version = int(context["params"]["version"])
        return refuse(lake, Registry(lake), version, asked.why, asked.who, asked.at, asked.origin)


class WithdrawOperator(InterventionOperator):
    """Take back the request for a training as of the ``partition`` of the run's parameters."""

    def run(self, context: Any, asked: Asked, lake: Lake) -> Done:
        """Withdraw it."""
        from include.calendar import partitions
        from include.steps.training_course import withdraw

        partition = partitions.parse(context["params"]["partition"], asked.pipeline.partition)
        return withdraw(lake, partition, asked.why, asked.who, asked.at, asked.origin)


class HandoverOperator(InterventionOperator):
    """Put another version in use, as the parameters of the run say."""

    operator_extra_links = (ModelVersionLink(), LedgerLink())

    @abstractmethod
    def hand_over(
        self, version: int | None, asked: Asked, lake: Lake, registry: Registry
    ) -> Handover:
        """Do it; returns what came of it."""

    def run(self, context: Any, asked: Asked, lake: Lake) -> Handover:
        """Do it, and link the version that is in use then."""
        from include.registry.champions import Registry
        from include.registry.mlflow_runs import Tracking

        version, name = context["params"]["version"], lake.pipeline
        tracking = Tracking(RelevoHook().mlflow(), name)
        # JSON takes 2.0 for a whole number.
        number = None if version is None else int(version)
        done = self.hand_over(number, asked, lake, Registry(lake, tracking))
        page = f"{tracking.settings.page_url}/#/models/{name}/versions/{done.version}"
        ModelVersionLink.persist(context, page)
        return done


class PromoteOperator(HandoverOperator):
    """Put the ``version`` in use from the next partition on, whatever its verdict was."""

    def hand_over(
        self, version: int | None, asked: Asked, lake: Lake, registry: Registry
    ) -> Handover:
        """Promote it by hand."""
        from include.steps.rollback import promote

        if version is None:
            raise AirflowFailException("Parameter version: must name one, got nothing.")
        return promote(
            lake, registry, asked.pipeline, version, asked.why, asked.who, asked.at, asked.origin
        )
