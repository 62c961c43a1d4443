"""DAGs that run by themselves, for all pipelines: alerts, and maintenance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param, TaskGroup
from airflow.sdk.bases.operator import chain

from include.errors import SpecificationError
from include.specification import pipeline_file
from relevo.operators.alerts import TEST, TellAlertsOperator
from relevo.operators.maintenance import CarryOutMaintenanceOperator, PlanMaintenanceOperator
from relevo.platform import defaults

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

_MAINTAIN_DOC = """
# Maintain

Removes what nobody needs any more, every night, of each pipeline by itself: data files of versions
that were replaced longer ago than the retention (the Airflow variable `relevo_retention_days`; 90
without it) and that nothing on record refers to; drafts that were never committed; files of models
that were never registered; old pages. Puts the small files of ledger and registry together, writes
checkpoints, and ends MLflow runs whose DAG run is gone. Logs, lineage, decisions and whatever a
registered model or a prediction refers to stay. Of a retired pipeline everything but archive,
ledger and registry goes once its waiting time is over; `no-file` sees to those whose pipeline file
is gone.

First it plans, then it carries the plan out as far as that still holds. With `dry_run` it only
plans; `pipeline` limits it to one. The link of each task is the page that says what, why, and how
many bytes.

**It is made paused**, because it deletes: look at `./relevo maintain`, which lists what it would
remove, and then unpause it.
"""

_SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


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
        catchup=False,
        # A DAG that is paused would tell nobody.
        is_paused_upon_creation=False,
        tags=["relevo", "platform"],
        default_args=defaults(timedelta(minutes=10)),
    ) as dag:
        TellAlertsOperator(
            task_id="tell",
            doc_md="Looks what is new, and sends each receiver a message for each kind.",
        )
    return dag


def _has_receivers(name: str) -> bool:
    """Tell whether a pipeline names somebody to tell; a wrong file breaks its own DAGs only."""
    try:
        return bool(pipeline_file.load(name).alerts)
    except SpecificationError:
        return False


def declare_maintain() -> DAG:
    """Make ``platform_maintain``; Airflow finds it by itself."""
    with DAG(
        "platform_maintain",
        schedule="30 3 * * *",
        start_date=_SOME_DAY,
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        # Each lists what its pipeline has on the store, which need not all be at once.
        max_active_tasks=4,
        description="Removes what nobody needs any more, by the retention and what is on record.",
        doc_md=_MAINTAIN_DOC,
        tags=["relevo", "platform"],
        params={
            "dry_run": Param(
                False, type="boolean", title="Dry run", description="Plan only, remove nothing."
            ),
            "pipeline": Param(
                None,
                type=["null", "string"],
                enum=[None, *pipeline_file.names()],
                title="Pipeline",
                description="The only one to maintain; leave it empty for all.",
            ),
        },
        default_args=defaults(timedelta(hours=6)),
    ) as dag:
        for name in pipeline_file.names():
            _maintain(name, name)
        # No pipeline has a name like this one.
        _maintain("no-file", None)
    return dag


def _maintain(group: str, pipeline: str | None) -> None:
    """Make the two tasks for a pipeline, or for those that are retired and have no file."""
    with TaskGroup(group):
        plan = PlanMaintenanceOperator(
            task_id="plan",
            pipeline=pipeline,
            doc_md="Puts on record what is to be done, and why; changes nothing else.",
        )
        carry_out = CarryOutMaintenanceOperator(
            task_id="carry_out",
            pipeline=pipeline,
            doc_md="Does what was planned and still holds; skipped in a dry run.",
        )
        chain(plan, carry_out)
