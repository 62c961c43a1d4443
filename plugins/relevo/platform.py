"""DAGs that work on whatever pipeline a person names.

See also :mod:`relevo.interventions`, and :mod:`relevo.upkeep` for what goes by itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.bases.operator import chain

from include.specification import pipeline_file
from include.storage.settings import KEEP_DAYS, MOST_DAYS
from include.wording import LONGEST_REASON
from relevo.operators.erasure import EraseOperator
from relevo.operators.migration import MigrateOperator
from relevo.operators.release import ReleaseOperator
from relevo.operators.reprocessing import (
    AskReprocessingOperator,
    FinishReprocessingOperator,
    PrepareHistoryOperator,
    RepeatRunsOperator,
)
from relevo.operators.retirement import RetireOperator

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

_ERASE_DOC = """
# Erase

Takes somebody's rows out of everything that is kept: every version of every table, drafts, landed
files, pages and logs. All else stays readable as it was. Models stay too; the ledger says which of
them were trained on the rows.

Hand the ids in with `./relevo erase <pipeline> <file> --reason ...`, which triggers this DAG too.
It knows them by the name of the `request` alone, and they are deleted at the end. No run of the
pipeline may be active meanwhile: pause its DAGs.
"""

_MIGRATE_DOC = """
# Migrate

Puts in use what a pipeline file names under `next:`: a changed feature function, a new or dropped
column of a source, another label. New tables are filled beside those in use, a model is trained on
them, and takes over from the next partition on if the gate passes; else everything stays as it is.
The champion scores meanwhile.

`./relevo plan <pipeline>` tells what will be made anew. Trigger it with the name of the `pipeline`,
the `first` partition to carry over (left empty: all of them), and the `reason`, which goes into the
ledger with your name. If there is nothing to migrate, it is skipped. After the switch put the
content of `next:` in its place.

If its training fails, clear what failed there, and then this task: it goes on from there.
"""

_RETIRE_DOC = """
# Retire

Ends a pipeline: its tasks refuse to work, no version of its model is in use any more, and an
archive of its models, its ledger and its file is made. Its tables stay readable for `keep_days`;
then `platform_maintain` removes them, with drafts, models and pages. Archive, ledger and registry
stay.

Trigger it with the name of the `pipeline` and the `reason`, which goes into the ledger with your
name. No run of the pipeline may be active: pause its DAGs first, which `./relevo retire` does
itself. With `undo`, the pipeline is as it was before, as long as its tables are there; its DAGs
stay paused until you unpause them. If it is so already, the task is skipped.
"""

_RELEASE_DOC = """
# Release

Puts rows of quarantine that somebody has repaired back into their partition, if the suite of now
lets them pass; the others stay, and the answer names them. The ledger says who, why and how many,
never a value. Whatever was made from the partition is stale afterwards, until it is reprocessed.

List and export the rows with `./relevo quarantine <pipeline>`, and hand them in with
`./relevo release <pipeline> --dataset ... --partition ... --file ... --reason ...`, which triggers
this DAG too. It knows them by the name of the `request` alone, and they are deleted at the end. No
run of the pipeline that is about the partition may be active meanwhile.
"""

# Queries, and places that hold every partition, are read for each of them.
_LOOKING = timedelta(hours=2)
_USUAL = timedelta(minutes=15)


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
    with declare(
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


def declare_migrate() -> DAG:
    """Make ``platform_migrate``; Airflow finds it by itself."""
    first = Param(
        None,
        type=["null", "string"],
        title="First",
        description="First partition to carry over, such as 2005-Q1; leave it empty for all.",
    )
    return declare_step(
        "platform_migrate",
        MigrateOperator,
        "migrate",
        "Fills the new tables, has them trained on, and tells what the gate said.",
        timeout=timedelta(hours=12),
        max_active_runs=16,  # one a pipeline
        description="Puts in use what a pipeline file names under next.",
        doc_md=_MIGRATE_DOC,
        whose="Whose file changes.",
        first=first,
    )


def declare_erase() -> DAG:
    """Make ``platform_erase``; Airflow finds it by itself."""
    return declare_step(
        "platform_erase",
        EraseOperator,
        "erase",
        "Looks where they are, puts that on record, and removes them; tried again or cleared, it "
        "finishes what it began.",
        timeout=timedelta(hours=6),
        description="Takes somebody's rows out of everything that is kept.",
        doc_md=_ERASE_DOC,
        whose="Whose data it is about.",
        request=_handed_in("the ids were"),
    )


def declare_release() -> DAG:
    """Make ``platform_release``; Airflow finds it by itself."""
    dataset = Param(
        type="string",
        minLength=1,
        title="Data set",
        description="The source whose rows they are.",
    )
    partition = Param(
        type="string",
        minLength=1,
        title="Partition",
        description="In which partition they landed, such as 2005-Q1.",
    )
    return declare_step(
        "platform_release",
        ReleaseOperator,
        "release",
        "Runs the suite on the partition with the repaired rows, puts on record which pass, and "
        "writes them; tried again or cleared, it finishes what it began.",
        timeout=timedelta(hours=2),
        description="Puts repaired rows of quarantine back into their partition.",
        doc_md=_RELEASE_DOC,
        whose="Whose rows they are.",
        dataset=dataset,
        partition=partition,
        request=_handed_in("the rows were"),
    )


def _handed_in(what: str) -> Param:
    return Param(
        type="string",
        pattern="^[A-Za-z0-9_][A-Za-z0-9_.-]*$",
        title="Request",
        description=f"Under which name {what} handed in.",
    )


def declare_retire() -> DAG:
    """Make ``platform_retire``; Airflow finds it by itself."""
    whose = "What is retired; its file may be gone."
    return declare_step(
        "platform_retire",
        RetireOperator,
        "retire",
        "Adds the event to the registry and writes the ledger and the archive; skipped if it is so "
        "already.",
        timeout=timedelta(hours=2),
        description="Ends a pipeline, or undoes that while its tables are there.",
        doc_md=_RETIRE_DOC,
        whose=whose,
        # Not one of those that have a file: one that has none any more is retired as well.
        pipeline=Param(
            type="string",
            pattern="^[a-z][a-z0-9_]{0,62}$",
            examples=list(pipeline_file.names()),
            title="Pipeline",
            description=whose,
        ),
        keep_days=Param(
            KEEP_DAYS,
            type="integer",
            minimum=1,
            maximum=MOST_DAYS,
            title="Keep days",
            description="How long its tables stay, and the retirement can be undone.",
        ),
        undo=Param(
            False,
            type="boolean",
            title="Undo",
            description="Take it back into service instead.",
        ),
    )


def declare_step(
    dag_id: str,
    operator: type[BaseOperator],
    task_id: str,
    task_doc: str,
    *,
    timeout: timedelta = _USUAL,
    max_active_runs: int = 1,
    **about: Any,
) -> DAG:
    """Make a DAG of one task; what it is about is that of :func:`declare`."""
    with declare(dag_id, max_active_runs=max_active_runs, **about) as dag:
        operator(task_id=task_id, doc_md=task_doc, execution_timeout=timeout)
    return dag


def defaults(timeout: timedelta) -> dict[str, Any]:
    """Say who owns the tasks, and how often and how long they try."""
    return {
        "owner": "platform",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timeout,
    }


def declare(
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
        catchup=False,
        # There is no schedule to hold back, and a paused DAG would leave what is asked for queued.
        is_paused_upon_creation=False,
        max_active_runs=max_active_runs,
        description=description,
        doc_md=doc_md,
        tags=["relevo", "platform"],
        params={
            "pipeline": Param(
                type="string",
                enum=list(pipeline_file.names()),
                title="Pipeline",
                description=whose,
            ),
            **params,
            "reason": Param(
                type="string",
                minLength=1,
                maxLength=LONGEST_REASON,
                title="Reason",
                description="Why, for the ledger.",
            ),
        },
        default_args=defaults(_USUAL),
    )
