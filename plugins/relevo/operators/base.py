"""What every operator of a pipeline shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.calendar import partitions
from include.calendar.partitions import Partition
from include.errors import RelevoError, UnavailableError
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.storage.lineage import Origin
from relevo import metrics
from relevo.hooks import RelevoHook

PARTITION_TEMPLATE = "{{ macros.relevo.partition_of(task.pipeline, dag_run, params) }}"


class PipelineOperator(BaseOperator):
    """One step of a pipeline, about one partition.

    A :class:`~include.errors.RelevoError` says that the input or the state is wrong: trying again
    gives the same, so the task fails at once. Everything else is retried, a store or a database
    that does not answer too.

    Args:
        pipeline: Name of the pipeline.
        partition: Name of the partition; by default the one that the run is about.
    """

    template_fields: Sequence[str] = ("partition",)
    ui_color = "#eef4fb"

    def __init__(
        self, *, pipeline: str, partition: str = PARTITION_TEMPLATE, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.partition = partition

    @abstractmethod
    def run(self, context: Any) -> Any:
        """Do the step; returns a small JSON-serialisable value for XCom."""

    def execute(self, context: Any) -> Any:
        """Run the step and turn an error of the library into a failure without retries."""
        try:
            summary = self.run(context)
        except UnavailableError:
            raise
        except RelevoError as error:
            raise AirflowFailException(str(error)) from error
        metrics.emit(self, summary)
        return summary

    @property
    def hook(self) -> RelevoHook:
        """Resolve connections."""
        return RelevoHook()

    def specification(self) -> Pipeline:
        """Read the pipeline file."""
        return pipeline_file.load(self.pipeline)

    def slice_of_time(self) -> Partition:
        """Parse the partition that the run is about."""
        return partitions.parse(self.partition, self.specification().partition)

    def origin(self, context: Any) -> Origin:
        """Name this task as the writer of what it writes."""
        return origin_of(context)


def origin_of(context: Any) -> Origin:
    """Name the running task as the writer of what it writes."""
    ti = context["ti"]
    return Origin(dag_id=ti.dag_id, dag_run_id=ti.run_id, task_id=ti.task_id)
