"""DAGs that work on whatever pipeline a person names: what is done by hand, on record."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from include.specification import pipeline_file
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


def declare_rollback() -> DAG:
    """Make ``platform_rollback``; Airflow finds it by itself."""
    with DAG(
        "platform_rollback",
        schedule=None,
        catchup=False,
        # There is no schedule to hold back, and a paused DAG would leave a rollback queued.
        is_paused_upon_creation=False,
        max_active_runs=1,
        description="Goes back to a model version that was in use before.",
        doc_md=_ROLLBACK_DOC,
        tags=["relevo", "platform"],
        params={
            "pipeline": Param(
                type="string",
                enum=list(pipeline_file.names()),
                title="Pipeline",
                description="Whose model is rolled back.",
            ),
            "version": Param(
                None,
                type=["null", "integer"],
                minimum=1,
                title="Version",
                description="What to go back to; leave it empty for the one that was in use "
                "before.",
            ),
            "reason": Param(
                type="string", minLength=1, title="Reason", description="Why, for the ledger."
            ),
        },
        default_args={
            "owner": "platform",
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "retry_exponential_backoff": True,
            "max_retry_delay": timedelta(minutes=10),
            "execution_timeout": timedelta(minutes=15),
        },
    ) as dag:
        RollBackOperator(
            task_id="roll_back",
            doc_md="Verifies the version's files, moves the alias, and writes the ledger; skipped "
            "if nothing changes.",
        )
    return dag
