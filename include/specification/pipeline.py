"""A pipeline as frozen, validated models; ``pipeline_file`` beside it reads them from its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from include.calendar.partitions import Frequency
from include.specification import generations, metric_names
from include.specification.candidate_defaults import PRESETS, Preset
from include.specification.generations import FEATURES, LABELS, TRAINING_SETS, of_generation
from include.specification.metric_names import METRICS, Metric, Task
from include.specification.sections.alerts import Receiver
from include.specification.sections.decision import Decision
from include.specification.sections.execution import Execution
from include.specification.sections.features import Features
from include.specification.sections.monitoring import Monitoring
from include.specification.sections.next import Next
from include.specification.sections.promotion import Promotion
from include.specification.sections.retraining import Retraining
from include.specification.sections.schedule import Schedule
from include.specification.sections.section import Name, Section
from include.specification.sections.sources import ROW_ID, Labels, Source
from include.specification.sections.training import OwnMetric, SearchRange, Training


class Pipeline(Section):
    """One model's whole life, as its file tells it.

    Args:
        name: Name of the file; also the prefix of DAGs, tables and the registered model.
        description: One sentence for people.
        owner: Airflow owner of every task.
        task: Kind of target.
        entity: Column that identifies a row; without one, Relevo numbers the landed rows in a
            column ``row_id``. Every source that has it must have it as one kind: numbers or text.
        event_time: Column of the features with the time of the row, naive UTC; none for
            ``partition: none``.
        partition: Length of a partition; ``none`` for data without a time, whose runs are
            numbered snapshots. Partitions have the years 1000 to 9998: `new` and `land` refuse a
            file with a row of another time and name it; in a file or query that holds every
            partition such a row is in none, which is told as a warning. Other columns may hold
            any time of the years 1 to 9999, to the microsecond.
        schedule: When scoring runs; without it, only by hand.
        sources: The first has one row per entity; labels may be in its rows or come from
            another source.
        features: The feature function and its suite.
        metrics: Metrics of your own, by name.
        training: What a training run sees and tries.
        decision: Binary: from which score on a row is decided as 1; without it predictions are
            scores alone, and metrics of classes take 0.5.
        promotion: What a challenger has to show.
        monitoring: How the champion is watched.
        retraining: When the champion is challenged.
        execution: How Airflow runs the tasks.
        alerts: Who is told what, by a name for each receiver.
        next: What a migration puts in place of features and sources.
    """

    name: SkipJsonSchema[Name]
    description: str
    owner: str
    task: Task
    entity: str = ROW_ID
    event_time: str | None = None
    partition: Frequency
    schedule: Schedule | None = None
    sources: Annotated[Mapping[Name, Source], Field(min_length=1)]
    features: Features
    metrics: Mapping[Name, OwnMetric] = {}
    training: Training
    decision: Decision | None = None
    promotion: Promotion
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()
    execution: Execution = Execution()
    alerts: Mapping[Name, Receiver] = {}
    next: Next | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns of the features that are no features: the entity and, if any, the event time."""
        return (self.entity,) if self.event_time is None else (self.entity, self.event_time)

    @property
    def label_source(self) -> str:
        """Name of the source that brings the labels."""
        return next(name for name, source in self.sources.items() if source.labels)

    @property
    def primary_source(self) -> str:
        """Name of the source with one row per entity."""
        return next(iter(self.sources))

    @property
    def labels_in_row(self) -> bool:
        """Whether the rows to score bring their own labels."""
        return self.label_source == self.primary_source

    @property
    def feature_sources(self) -> tuple[str, ...]:
        """Names of the sources that the feature function gets, in the file's order."""
        return tuple(
            name
            for name, source in self.sources.items()
            if not source.labels or name == self.primary_source
        )

    @property
    def labels(self) -> Labels:
        """Label columns of the label source."""
        return next(source.labels for source in self.sources.values() if source.labels)

    @property
    def has_time(self) -> bool:
        """Whether partitions are slices of time, not numbered snapshots."""
        return self.partition is not Frequency.NONE

    @property
    def generations(self) -> dict[str, int]:
        """Tell by data set, ``features`` or the name of a source, which generation it fills.

        Those of the first generation are left out.
        """
        numbers = {FEATURES: self.features.generation}
        numbers |= {name: source.generation for name, source in self.sources.items()}
        return {name: number for name, number in numbers.items() if number > 1}

    @property
    def features_table(self) -> str:
        """Name the table of the features."""
        return of_generation(FEATURES, self.features.generation)

    @property
    def labels_table(self) -> str:
        """Name the table of the labels, which is of the generation of their source."""
        return of_generation(LABELS, self.sources[self.label_source].generation)

    @property
    def training_sets_table(self) -> str:
        """Name the table of the training sets, which is of the generation of the features."""
        return of_generation(TRAINING_SETS, self.features.generation)

    def raw_table(self, source: str) -> str:
        """Name the table that a source is ingested into."""
        return of_generation(generations.raw_table(source), self.sources[source].generation)

    def quarantine_table(self, dataset: str) -> str:
        """Name the table that the bad rows of ``features`` or of a source are moved to."""
        section = self.features if dataset == FEATURES else self.sources[dataset]
        return of_generation(generations.quarantine_table(dataset), section.generation)

    def repairs_table(self, source: str) -> str:
        """Name the table that repaired rows of a source are kept in."""
        return of_generation(generations.repairs_table(source), self.sources[source].generation)

    def of_now(self) -> Pipeline:
        """Leave out what a migration is to put in place."""
        return self if self.next is None else self.model_copy(update={"next": None})

    def to_be(self) -> Pipeline | None:
        """Put in place what a migration is to; None if the file names nothing."""
        if self.next is None:
            return None
        changed = {
            "features": self.next.features or self.features,
            "sources": {
                name: self.next.sources.get(name, source) for name, source in self.sources.items()
            },
        }
        return self.model_copy(update={**changed, "next": None})

    def described(self) -> tuple[Pipeline, ...]:
        """List the pipeline of now and, if there is one, that of after the migration."""
        to_be = self.to_be()
        return (self.of_now(),) if to_be is None else (self.of_now(), to_be)

    def metric(self, name: str) -> Metric:
        """Look a metric up, the file's own ones first."""
        own = self.metrics.get(name)
        if own is None:
            return METRICS[name]
        return Metric(
            own.function,
            (self.task,),
            own.takes,
            own.higher_is_better,
            (float("-inf"), float("inf")),
        )

    def candidate(self, name: str) -> Preset:
        """Complete a candidate of the file with what its preset says."""
        changed = self.training.candidates[name]
        preset = PRESETS.get(name, Preset(None, None, "one_hot"))
        estimator = changed.estimator or preset.estimator(self.task)
        same = changed.estimator in (None, preset.estimator(self.task))
        search = {
            argument: values.model_dump() if isinstance(values, SearchRange) else list(values)
            for argument, values in changed.search.items()
        }
        return Preset(
            estimator,
            estimator,
            changed.encoding or preset.encoding,
            {**(preset.parameters if same else {}), **changed.parameters},
            search or (preset.search if same else {}),
        )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_metrics(cls, document: Any) -> Any:
        """Judge by the task's usual metric and watch what is trained for, unless told."""
        if not isinstance(document, Mapping):
            return document
        training = document.get("training")
        task = document.get("task")
        default = next((name for kind, name in metric_names.DEFAULT.items() if kind == task), "")
        chosen = default
        if isinstance(training, Mapping):
            chosen = training.get("metric") or default
            document = {**document, "training": {**training, "metric": chosen}}
        monitoring = document.get("monitoring") or {}
        performance = (
            monitoring.get("performance") or {} if isinstance(monitoring, Mapping) else None
        )
        if isinstance(performance, Mapping):
            performance = {"metric": chosen, **performance}
            document = {**document, "monitoring": {**monitoring, "performance": performance}}
        return document
