"""DAGs that work on whatever pipeline a person names: what is done by hand, on record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param
from airflow.sdk.bases.operator import chain

from include.errors import SpecificationError
from include.specification import pipeline_file
from relevo.operators.alerts import TEST, TellAlertsOperator
from relevo.operators.reprocessing import (
    AskReprocessingOperator,
    FinishReprocessingOperator,
    PrepareHistoryOperator,
    RepeatRunsOperator,
)
from relevo.operators.rollback import RollBackOperator

_ROLLBACK_DOC = """
# Roll back

Puts a version in use again that was in use before, model and drift reference together, from the
next partition on. What was scored stays as it is, and keeps the champion that scored it.

Trigger it with the name of the `pipeline`, the `version` (left empty: the one that was in use
before), and the `reason`, which goes into the ledger with your name. Going back to what is in use
already changes nothing, and the task is skipped. A later training may take over again by the
gate of the pipeline file.

`./relevo history <pipeline>` and the decisions page tell what was in use when, and why.
"""


_REPROCESS_DOC = """
# Reprocess

Takes over corrections of landed data: a file that changed, came late or was taken away after its
partition was ingested. Whatever was made from the data of before is made anew, in order, and
nothing else: tables, training sets, models, and what those predicted. What was predicted then stays
readable at its version, and the ledger says which predictions were replaced.

`./relevo stale` and the decisions page tell what would be made anew. Trigger it with the name of
the `pipeline`, the `partitions` whose corrections are to be taken over (left empty: all of them),
and the `reason`, which goes into the ledger with your name. If nothing is stale, it is skipped.

If a repeated run fails, clear what failed there, and then `repeat_runs` here with what follows it.
"""

_ALERTS_DOC = """
# Alerts

Every five minutes, tells the receivers that pipeline files name under `alerts` what is new: failed
tasks, gates that closed, missed deadlines, quarantine that is more than half full, drift, dropped
performance, refused challengers, approvals that wait, and corrected data. Each is told once; the
table `alerts` of the pipeline says what was told to whom.

**When it fails**, somebody was not told, and the message of the task says who and why. The next
rounds try again, for three days.

Trigger it with the parameter `test` to send each receiver of a pipeline a test message.
"""

# Queries, and places that hold every partition, are read for each of them.
_LOOKING = timedelta(hours=2)
_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


def declare_rollback() -> DAG:
    """Make ``platform_rollback``; Airflow finds it by itself."""
    version = Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Version",
        description="What to go back to; leave it empty for the one that was in use before.",
    )
    with _declare(
        "platform_rollback",
        description="Goes back to a model version that was in use before.",
        doc_md=_ROLLBACK_DOC,
        whose="Whose model is rolled back.",
        max_active_runs=1,
        version=version,
    ) as dag:
        RollBackOperator(
            task_id="roll_back",
            doc_md="Verifies the version's files, moves the alias, and writes the ledger; skipped "
            "if nothing changes.",
        )
    return dag


def declare_reprocess() -> DAG:
    """Make ``platform_reprocess``; Airflow finds it by itself."""
    partitions = Param(
        None,
        type=["null", "array"],
        items={"type": "string", "minLength": 1},
        minItems=1,
        title="Partitions",
        description="Whose corrections are taken over, such as 2005-Q1, one a line; leave it empty "
        "for all.",
    )
    with _declare(
        "platform_reprocess",
        description="Makes anew what depends on landed data that was corrected.",
        doc_md=_REPROCESS_DOC,
        whose="Whose data was corrected.",
        max_active_runs=16,  # one a pipeline
        partitions=partitions,
    ) as dag:
        ask = AskReprocessingOperator(
            task_id="ask",
            doc_md="Looks what is stale and puts on record what is to be made anew; skipped if "
            "nothing is.",
            execution_timeout=_LOOKING,
        )
        history = PrepareHistoryOperator(
            task_id="prepare_history",
            doc_md="Ingests what was corrected, and computes anew what no run of its own had "
            "scored.",
            execution_timeout=timedelta(hours=6),
        )
        repeat = RepeatRunsOperator(
            task_id="repeat_runs",
            doc_md="Clears the runs that made something of the data of before, one by one.",
        )
        finish = FinishReprocessingOperator(
            task_id="finish",
            doc_md="Puts on record which predictions were replaced; fails if something is stale "
            "all the same.",
            execution_timeout=_LOOKING,
        )
        chain(ask, history, repeat, finish)
    return dag


def declare_alerts() -> DAG:
    """Make ``platform_alerts``; Airflow finds it by itself.

    It has a schedule if a pipeline names somebody to tell.
    """
    test = Param(
        None,
        type=["null", "string"],
        enum=[None, *pipeline_file.names()],
        title="Test",
        description="Pipeline whose receivers get a test message, and nothing else.",
    )
    with DAG(
        "platform_alerts",
        schedule="*/5 * * * *" if any(map(_has_receivers, pipeline_file.names())) else None,
        start_date=_SOME_DAY,
        description="Tells people what failed, closed, drifted, or waits for them.",
        doc_md=_ALERTS_DOC,
        max_active_runs=1,
        params={TEST: test},
        **_common(),
    ) as dag:
        TellAlertsOperator(
            task_id="tell",
            execution_timeout=timedelta(minutes=10),
            doc_md="Looks what is new, and sends each receiver a message for each kind.",
        )
    return dag


def _has_receivers(name: str) -> bool:
    """Tell whether a pipeline names somebody to tell; a wrong file breaks its own DAGs only."""
    try:
        return bool(pipeline_file.load(name).alerts)
    except SpecificationError:
        return False


def _declare(
    dag_id: str,
    *,
    description: str,
    doc_md: str,
    whose: str,
    max_active_runs: int,
    **params: Param,
) -> DAG:
    """Make a DAG that a person triggers for a pipeline, with a reason."""
    return DAG(
        dag_id,
        schedule=None,
        max_active_runs=max_active_runs,
        description=description,
        doc_md=doc_md,
        params={
            "pipeline": Param(
                type="string",
                enum=list(pipeline_file.names()),
                title="Pipeline",
                description=whose,
            ),
            **params,
            "reason": Param(
                type="string", minLength=1, title="Reason", description="Why, for the ledger."
            ),
        },
        **_common(),
    )


def _common() -> dict[str, Any]:
    return {
        "catchup": False,
        # A paused DAG would leave what is asked for queued, and nobody told.
        "is_paused_upon_creation": False,
        "tags": ["relevo", "platform"],
        "default_args": {
            "owner": "platform",
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=10),
            "execution_timeout": timedelta(minutes=15),
        },
    }
