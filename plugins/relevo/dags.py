"""The factory: one pipeline file in, ``<pipeline>_score`` and ``<pipeline>_train`` out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    BaseOperator,
    Param,
    PartitionedAssetTimetable,
)
from airflow.sdk.bases.operator import chain

from include.calendar.partitions import example
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.specification.sections.schedule import Schedule
from relevo.assets import retraining_asset
from relevo.operators.approval import ApprovePromotionOperator
from relevo.operators.exploration import ExploreTrainingSetOperator
from relevo.operators.monitoring import (
    AwaitTrainingOperator,
    DecideRetrainingOperator,
    DetectDriftOperator,
    MeasurePerformanceOperator,
    RequestRetrainingOperator,
    ScoreBatchOperator,
)
from relevo.operators.preparation import (
    ComputeFeaturesOperator,
    IngestLabelsOperator,
    IngestSourceOperator,
    ValidateFeaturesOperator,
    ValidateLabelsOperator,
    ValidateSourceOperator,
)
from relevo.operators.training import (
    BuildTrainingSetOperator,
    CloseTrainingOperator,
    EvaluateChallengerOperator,
    PromoteChallengerOperator,
    SelectChallengerOperator,
    TrainCandidateOperator,
    ValidateTrainingSetOperator,
)
from relevo.timetables import DueDatesTimetable

_SCORE_DOC = """
# {name}: score

{description}

One run is about one partition, the latest that had closed at the run's date, or the one named by
the parameter `partition`. Good rows go on, bad rows go to quarantine with their reasons; the batch
is scored by the champion as of the partition and watched for drift; predictions whose labels have
matured are judged; `decide_retraining` writes its answer and the reason into the ledger.

**When it fails**, the message of the failed task names file, column, rule, count and what to do.
Correct the cause and clear the task with downstream: every step replaces what it wrote before, and
nothing else.
"""
_TRAIN_DOC = """
# {name}: train

{description}

Started by `decide_retraining`, one run for each partition, or by hand with the parameter
`partition`. It trains as of the partition (only what was known when the partition closed), judges
the best candidate against the champion on held-out partitions, and promotes it from the next
partition on, or refuses it. The verdict and its evidence are in the ledger either way.
"""

# How long a person may think.
_APPROVAL = timedelta(days=7)
# Runs wait for those about earlier partitions, in whatever order they were triggered: more places
# than work at a time (relevo.operators.preparation says how many do), lest those that wait keep
# those that they wait for from beginning.
_PLACES = 16


def declare(name: str) -> tuple[DAG, DAG]:
    """Make the two DAGs of a pipeline from its file.

    Args:
        name: Name of the pipeline: ``include/pipelines/<name>.yaml``.

    Returns:
        The scoring DAG and the training DAG; Airflow finds both by itself.

    Raises:
        SpecificationError: If the file is wrong; Airflow shows the message as an import error.
    """
    pipeline = pipeline_file.load(name)
    return _score(pipeline), _train(pipeline)


def _score(pipeline: Pipeline) -> DAG:
    with DAG(
        f"{pipeline.name}_score",
        schedule=_timetable(pipeline.schedule),
        start_date=_start(pipeline),
        max_active_runs=_PLACES,
        doc_md=_SCORE_DOC.format(name=pipeline.name, description=pipeline.description),
        **_common(pipeline, "score"),
    ) as dag:
        validated = {}
        for source in pipeline.feature_sources:
            ingest = IngestSourceOperator(
                pipeline=pipeline.name,
                task_id=f"ingest_{source}",
                source=source,
                doc_md=f"Copies the landed files of `{source}` as a draft of `raw_{source}`.",
            )
            validated[source] = ValidateSourceOperator(
                pipeline=pipeline.name,
                task_id=f"validate_{source}",
                source=source,
                batch=ingest.output,
                doc_md=f"Runs `{pipeline.sources[source].suite}`; bad rows go to quarantine.",
            )
        compute = ComputeFeaturesOperator(
            pipeline=pipeline.name,
            task_id="compute_features",
            batches={source: task.output for source, task in validated.items()},
            doc_md=f"Runs `{pipeline.features.function}` on Spark.",
        )
        check = ValidateFeaturesOperator(
            pipeline=pipeline.name,
            task_id="validate_features",
            batch=compute.output,
            doc_md=f"Runs `{pipeline.features.suite}`; bad rows go to quarantine.",
        )
        asks = pipeline.promotion.approval == "required"
        deadline = timedelta(hours=pipeline.execution.training_deadline)
        deadline += _APPROVAL if asks else timedelta()
        wait = AwaitTrainingOperator(
            pipeline=pipeline.name,
            task_id="await_training",
            execution_timeout=None,
            deadline=deadline,
            doc_md="Waits until earlier partitions have decided and retrainings have ended.",
        )
        score = ScoreBatchOperator(
            pipeline=pipeline.name,
            task_id="score_batch",
            batch=check.output,
            doc_md="Scores and profiles the batch in one pass with the champion as of now.",
        )
        drift = DetectDriftOperator(
            pipeline=pipeline.name,
            task_id="detect_drift",
            scored=score.output,
            batch=check.output,
            doc_md="Compares the batch with the data that the champion was trained on.",
        )
        # Labels in the row have been validated with it.
        check_labels: BaseOperator = validated[pipeline.primary_source]
        if not pipeline.labels_in_row:
            check_labels = _labels(pipeline)
        measure = MeasurePerformanceOperator(
            pipeline=pipeline.name,
            task_id="measure_performance",
            doc_md="Judges predictions whose labels matured; scores them now if nobody did.",
        )
        decide = DecideRetrainingOperator(
            pipeline=pipeline.name,
            task_id="decide_retraining",
            deadline=deadline,
            trigger_rule="none_failed",
            doc_md="Applies the retraining policy and writes the answer into the ledger.",
        )
        request = RequestRetrainingOperator(
            pipeline=pipeline.name,
            task_id="request_retraining",
            doc_md="Starts the training DAG for this partition; skipped on a no. Fails if a task "
            "before it has not done its work.",
        )
        chain(check, wait, score)
        # A partition whose labels come with its rows is judged by what was just predicted.
        chain([check_labels, score], measure)
        chain([drift, measure], decide, request)
    return dag


def _labels(pipeline: Pipeline) -> BaseOperator:
    ingest = IngestLabelsOperator(
        pipeline=pipeline.name,
        task_id="ingest_labels",
        source=pipeline.label_source,
        doc_md="Copies the labels that became known in the partition.",
    )
    return ValidateLabelsOperator(
        pipeline=pipeline.name,
        task_id="validate_labels",
        source=pipeline.label_source,
        batch=ingest.output,
        doc_md=f"Runs `{pipeline.sources[pipeline.label_source].suite}`.",
    )


def _train(pipeline: Pipeline) -> DAG:
    with DAG(
        f"{pipeline.name}_train",
        schedule=PartitionedAssetTimetable(assets=retraining_asset(pipeline.name)),
        start_date=_start(pipeline),
        max_active_runs=1,
        doc_md=_TRAIN_DOC.format(name=pipeline.name, description=pipeline.description),
        **_common(pipeline, "train"),
    ) as dag:
        build = BuildTrainingSetOperator(
            pipeline=pipeline.name,
            task_id="build_training_set",
            doc_md="Completes the history and joins mature partitions with their labels.",
        )
        check = ValidateTrainingSetOperator(
            pipeline=pipeline.name,
            task_id="validate_training_set",
            training_set=build.output,
            doc_md=f"Runs `{pipeline.features.suite}` on the training set.",
        )
        explore = ExploreTrainingSetOperator(
            pipeline=pipeline.name,
            task_id="explore_training_set",
            training_set=build.output,
            retries=0,
            execution_timeout=timedelta(minutes=min(15, pipeline.execution.timeout)),
            doc_md="Reports on every feature and the target; the training does not depend on it.",
        )
        train = TrainCandidateOperator.partial(
            pipeline=pipeline.name,
            task_id="train_candidate",
            training_set=check.output,
            map_index_template="{{ task.candidate }}",
            doc_md="Searches and fits one candidate; one box a candidate.",
        ).expand(candidate=sorted(pipeline.training.candidates))
        select = SelectChallengerOperator(
            pipeline=pipeline.name,
            task_id="select_challenger",
            candidates=train.output,
            training_set=check.output,
            doc_md="Registers the candidate that validated best.",
        )
        evaluate = EvaluateChallengerOperator(
            pipeline=pipeline.name,
            task_id="evaluate_challenger",
            challenger=select.output,
            doc_md="Judges the challenger against the champion on the same held-out rows.",
        )
        promote = PromoteChallengerOperator(
            pipeline=pipeline.name,
            task_id="promote_challenger",
            trigger_rule="none_failed",
            doc_md="Puts the challenger in use from the next partition on; skipped if refused.",
        )
        chain(evaluate, promote)
        if pipeline.promotion.approval == "required":
            approve = ApprovePromotionOperator(
                pipeline=pipeline.name,
                task_id="approve_promotion",
                subject="May the challenger take over?",
                execution_timeout=None,
                response_timeout=_APPROVAL,
                doc_md="Waits for a person's yes; a no ends the training without a promotion.",
            )
            chain(evaluate, approve, promote)
        close = CloseTrainingOperator(
            pipeline=pipeline.name,
            task_id="close_training",
            doc_md="Records how the training ended and ends the MLflow runs.",
        )
        # A failed candidate lets its siblings run on; closing waits for them as well.
        chain([explore, train, promote], close)
    return dag


def _timetable(schedule: Schedule | None) -> DueDatesTimetable | None:
    """Follow the schedule of the pipeline file; without one, runs are made by hand.

    Its end is not the DAG's ``end_date``: Airflow makes no task after that, so a run that a person
    triggers today for a past partition would be empty, and green.
    """
    if schedule is None:
        return None
    return DueDatesTimetable(schedule.cron, end=schedule.end, catch_up=schedule.catch_up)


def _start(pipeline: Pipeline) -> datetime | None:
    return None if pipeline.schedule is None else _midnight(pipeline.schedule.start)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC)


def _common(pipeline: Pipeline, kind: str) -> dict[str, Any]:
    return {
        # The timetable makes up for the latest missed runs; Airflow would for all since the start.
        "catchup": False,
        "tags": ["relevo", pipeline.name, kind],
        "description": pipeline.description,
        "params": {
            "partition": Param(
                None,
                type=["null", "string"],
                title="Partition",
                description=f"Partition that the run is about, e.g. {example(pipeline.partition)}; "
                "leave it empty for the one that the run's date or event names"
                + ("." if pipeline.has_time else ", or the next snapshot."),
            )
        },
        "default_args": _default_args(pipeline),
    }


def _default_args(pipeline: Pipeline) -> dict[str, Any]:
    execution = pipeline.execution
    chosen: dict[str, Any] = {"queue": execution.queue, "executor": execution.executor}
    if execution.priority is not None:
        # As the file says it: Airflow would add up those of all tasks that come after.
        chosen |= {"priority_weight": execution.priority, "weight_rule": "absolute"}
    return {
        "owner": pipeline.owner,
        "retries": execution.retries,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(minutes=execution.timeout),
        "pool": execution.pool,
        **{name: value for name, value in chosen.items() if value is not None},
    }
