"""What a step tells the dashboard, through Airflow's own metrics.

Gauges are about the latest batch. Counters count decisions; a task that is cleared counts again.
The names appear in Prometheus as ``airflow_relevo_...`` (docs/production/observability.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from airflow.sdk.observability import stats

from include.calendar.partitions import Frequency, Partition

_log = logging.getLogger(__name__)

GAUGES = frozenset(
    {
        "rows_ingested",
        "rows_kept",
        "rows_quarantined",
        "rows_scored",
        "scored_at_seconds",
        "partition_seconds",
        "champion_version",
        "drifted_share",
        "performance",
        "performance_promised",
    }
)
COUNTERS = frozenset(
    {"drift_verdicts", "performance_verdicts", "retraining_decisions", "trainings"}
)


@dataclass(frozen=True)
class Measurement:
    """One number for the dashboard.

    Args:
        name: One of ``GAUGES`` or ``COUNTERS``.
        value: The gauge's value, or what to add to the counter.
        tags: What it is about, besides the pipeline.
    """

    name: str
    value: float
    tags: Mapping[str, str] = field(default_factory=dict)


class Step(Protocol):
    """What is asked of an operator: a :class:`~relevo.operators.base.PipelineOperator`."""

    pipeline: str
    task_id: str

    def slice_of_time(self) -> Partition:
        """Parse the partition that the run is about."""
        ...


def measurements(
    step: str, summary: Any, *, partition: Partition, now: float
) -> tuple[Measurement, ...]:
    """Read the numbers from what a step returned.

    Args:
        step: Class name of its operator.
        summary: What the operator returned.
        partition: Partition that the run is about.
        now: Seconds since 1970.

    Returns:
        The numbers; none for a step that has nothing to tell.
    """
    if step == "ScoreBatchOperator":
        return tuple(_scored(summary, partition, now))
    read = _READERS.get(step)
    return () if read is None else tuple(read(summary))


def emit(operator: Step, summary: Any) -> None:
    """Hand a step's numbers to Airflow; a failure is logged and never fails the task.

    Args:
        operator: The operator that has just run.
        summary: What it returned.
    """
    # The step has done its work: whatever goes wrong here must not make Airflow run it again.
    try:
        found = measurements(
            type(operator).__name__, summary, partition=operator.slice_of_time(), now=time.time()
        )
        for item in found:
            tags = {"pipeline": operator.pipeline, **item.tags}
            if item.name in COUNTERS:
                stats.incr(f"relevo.{item.name}", int(item.value), tags=tags)
            else:
                stats.gauge(f"relevo.{item.name}", item.value, tags=tags)
    except Exception:
        _log.warning("The metrics of %s were not sent", operator.task_id, exc_info=True)


def _ingested(summary: Mapping[str, Any]) -> Iterator[Measurement]:
    yield Measurement("rows_ingested", summary["rows"], _dataset(summary))


def _validated(summary: Mapping[str, Any]) -> Iterator[Measurement]:
    tags = _dataset(summary["reference"])
    yield Measurement("rows_kept", summary["reference"]["rows"], tags)
    yield Measurement("rows_quarantined", summary["quarantined"], tags)


def _scored(summary: Mapping[str, Any], partition: Partition, now: float) -> Iterator[Measurement]:
    yield Measurement("rows_scored", summary["predictions"]["rows"])
    yield Measurement("champion_version", summary["model_version"])
    yield Measurement("scored_at_seconds", now)
    if partition.frequency is not Frequency.NONE:
        length = partition.end - partition.start
        yield Measurement("partition_seconds", length.total_seconds())


def _drift(summary: Mapping[str, Any]) -> Iterator[Measurement]:
    yield Measurement("drift_verdicts", 1, {"verdict": summary["verdict"]})
    if summary["verdict"] != "cannot tell":
        yield Measurement("drifted_share", summary["share"])


def _performance(records: list[Mapping[str, Any]]) -> Iterator[Measurement]:
    for record in records:
        tags = {"metric": record["metric"]}
        yield Measurement("performance_verdicts", 1, {"verdict": record["verdict"]})
        for name, key in (("performance", "value"), ("performance_promised", "held_out")):
            if record[key] is not None:
                yield Measurement(name, record[key], tags)


def _decision(summary: Mapping[str, Any]) -> Iterator[Measurement]:
    yield Measurement(
        "retraining_decisions", 1, {"decision": "yes" if summary["retrain"] else "no"}
    )


def _outcome(summary: Mapping[str, Any]) -> Iterator[Measurement]:
    yield Measurement("trainings", 1, {"outcome": summary["outcome"]})


def _dataset(reference: Mapping[str, Any]) -> dict[str, str]:
    return {"dataset": str(reference["table"]).removeprefix("raw_")}


_READERS: Mapping[str, Callable[[Any], Iterator[Measurement]]] = {
    "IngestSourceOperator": _ingested,
    "IngestLabelsOperator": _ingested,
    "ValidateSourceOperator": _validated,
    "ValidateLabelsOperator": _validated,
    "ValidateFeaturesOperator": _validated,
    "DetectDriftOperator": _drift,
    "MeasurePerformanceOperator": _performance,
    "DecideRetrainingOperator": _decision,
    "CloseTrainingOperator": _outcome,
}
