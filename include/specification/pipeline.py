"""A pipeline as frozen, validated models; ``pipeline_file`` beside it reads them from its file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from include.calendar.partitions import Frequency
from include.specification import metric_names
from include.specification.candidate_defaults import PRESETS, Encoding, Preset
from include.specification.metric_names import METRICS, Metric, Takes, Task

ROW_ID = "row_id"
NULL_VALUES = ("NA", "N/A", "NULL", "NaN", "None")
PLACEHOLDER = "{partition}"

_NAME = r"^[a-z][a-z0-9_]{0,62}$"
_FUNCTION_PATH = r"^include(\.[A-Za-z_][A-Za-z0-9_]*)+:[A-Za-z_][A-Za-z0-9_]*$"
_CLASS_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"
_K_OF_N = r"^[1-9]\d* of [1-9]\d*$"
_K_IN_N = r"^[1-9]\d* in [1-9]\d*$"


class SectionError(ValueError):
    """Rules that keys of a section break together with their neighbours.

    Args:
        rules: By key at fault, what must hold.
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{key} {rule}" for key, rule in rules.items()))
        self.rules = rules


def _matches(pattern: str, rule: str) -> AfterValidator:
    """Check a text by a pattern and tell people the rule instead of it."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(rule)
        return text

    return AfterValidator(check)


def _is_scalar(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Tell the rule once, not once for each member of the union."""
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError("must be text, a number, true, false or null") from error


def _kind_of_search(value: Any) -> str | None:
    if isinstance(value, Mapping | SearchRange):
        return "range"
    return "choices" if isinstance(value, list | tuple) else None


Name = Annotated[
    str,
    _matches(
        _NAME,
        "must be lower-case letters, digits and underscores after a first letter, such as "
        "loan_default",
    ),
    WithJsonSchema({"type": "string", "pattern": _NAME}),
]
FunctionPath = Annotated[
    str,
    _matches(
        _FUNCTION_PATH,
        "must be module:function below include, such as include.pipelines.loan_default:features",
    ),
    WithJsonSchema({"type": "string", "pattern": _FUNCTION_PATH}),
]
ClassPath = Annotated[
    str,
    _matches(
        _CLASS_PATH,
        "must be the import path of a class, such as sklearn.ensemble.ExtraTreesClassifier",
    ),
    WithJsonSchema({"type": "string", "pattern": _CLASS_PATH}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Scalar = Annotated[str | bool | int | float | None, WrapValidator(_is_scalar)]
ColumnType = Literal["integer", "number", "string", "boolean", "date", "timestamp"]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )


class Schedule(_Section):
    """When ``<pipeline>_score`` runs.

    Args:
        cron: Cron expression, UTC; each run is about the latest partition closed before it.
        start: First day on which a run may be due.
        end: Last day on which a run may be due; None for a live pipeline.
    """

    cron: str
    start: date
    end: date | None = None

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, cron: str) -> str:
        from croniter import croniter

        # croniter also takes seconds, years and names such as @daily.
        if len(cron.split()) != 5 or not croniter.is_valid(cron):
            raise ValueError("must be a cron expression of five fields such as 0 6 1 * *")
        return cron

    @field_validator("end")
    @classmethod
    def _is_after_start(cls, end: date | None, info: ValidationInfo) -> date | None:
        start = info.data.get("start")
        if end is not None and start is not None and end <= start:
            raise ValueError(f"must be later than start {start}")
        return end


class Labels(_Section):
    """Where a source's labels are. Those of the first source are in the row itself.

    Args:
        column: Column that holds the label; a row without a value has no label yet.
        expression: SQL expression (DuckDB) over the source's columns that gives the label, in
            place of a column, e.g. ``arr_delay > 15``.
        known_at: Column with the time at which the label became known, naive UTC. Without it, a
            label in the row is known with the row, and one of another source when it lands.
        positive: The value of the column that means 1; needed by a binary label that is neither
            0 and 1 nor true and false.
        event_time: Column of a label source that holds the event time of the row it is about,
            for entities that come back; without it the entity alone names the row.
    """

    column: str | None = None
    expression: str | None = None
    known_at: str | None = None
    positive: Scalar = None
    event_time: str | None = None

    @model_validator(mode="after")
    def _name_the_label(self) -> Self:
        if (self.column is None) == (self.expression is None):
            raise ValueError("needs either column or expression, and not both")
        if self.positive is not None and self.column is None:
            raise SectionError({"positive": "needs column; an expression says itself what 1 means"})
        return self


class CsvDialect(_Section):
    """How a CSV source is written.

    Args:
        delimiter: Character between cells.
        quote: Character around a cell that holds the delimiter.
        encoding: Encoding of the text, as Python names it.
        decimal: Decimal mark of numbers.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:
        import codecs

        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise ValueError(
                "must be an encoding that Python knows, such as utf-8 or latin-1"
            ) from error
        return encoding


class Source(_Section):
    """One data set: objects on the store, or a query over an Airflow connection.

    Args:
        uri: Folder of one partition's files, where ``{partition}`` stands for its name; or,
            without it, one file or folder that holds every partition: its rows are picked by
            ``time``, or taken whole if there is none.
        format: Of the files. A name that ends in ``.gz`` is decompressed.
        csv: How CSV files are written.
        null_values: Cells of CSV files that mean "missing", whatever their case; the empty cell
            and spaces always do.
        types: Type by column of CSV and JSON lines files; others are inferred when the source
            lands first. A cell that cannot be read as its type moves its row to quarantine.
        connection: Airflow connection of a SQL source.
        query: ``select`` of a SQL source; ``:start`` and ``:end`` stand for the partition's first
            moment and the first moment after it, ``:partition`` for its name.
        time: Column with the time of the row, naive UTC; needed where a query or a single file
            holds every partition.
        history: How many earlier partitions the feature function sees as well.
        suite: Name of the expectation suite (``expectations/<suite>.json``).
        on_failure: What critical row-level failures do: move the rows to quarantine, or fail.
        max_quarantined: Largest share of rows that may be quarantined, in [0, 1].
        allow_empty: Whether a partition may come without rows.
        labels: Set for the source that brings the labels.
    """

    uri: str | None = None
    format: Literal["parquet", "csv", "json_lines"] = "parquet"
    csv: CsvDialect = CsvDialect()
    null_values: tuple[str, ...] = NULL_VALUES
    types: Mapping[str, ColumnType] = {}
    connection: str | None = None
    query: str | None = None
    time: str | None = None
    history: Annotated[int, Field(ge=0)] = 0
    suite: Name
    on_failure: Literal["quarantine", "fail"] = "quarantine"
    max_quarantined: Share = 0.05
    allow_empty: bool = False
    labels: Labels | None = None

    @field_validator("uri")
    @classmethod
    def _is_on_the_store(cls, uri: str | None) -> str | None:
        if uri is not None and not re.match(r"^s3://[a-z0-9][a-z0-9.-]+/.+$", uri):
            raise ValueError(
                "must be an address on the store such as s3://landing/loans/{partition}/"
            )
        if uri is not None and "{" in uri.replace(PLACEHOLDER, "", 1):
            raise ValueError("must hold {partition} at most once, and no other placeholder")
        return uri

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.uri is None) == (self.query is None):
            raise ValueError("needs either uri or query, and not both")
        if (self.connection is None) != (self.query is None):
            missing, given = (
                ("connection", "query") if self.query is not None else ("query", "connection")
            )
            raise SectionError({given: f"needs {missing} beside it"})
        if self.query is not None and not re.match(r"(?is)^\s*(select|with)\b", self.query):
            raise SectionError({"query": f"must be one select, got {self.query[:40]!r}"})
        if self.types and (self.query is not None or self.format == "parquet"):
            raise SectionError({"types": "are for format csv or json_lines; remove them"})
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise SectionError({"csv": "says how CSV files are written, so it needs format csv"})
        return self

    @property
    def is_partitioned(self) -> bool:
        """Whether each partition has a folder of its own."""
        return self.uri is not None and PLACEHOLDER in self.uri

    def location(self, partition: str) -> str:
        """Name the folder of one partition."""
        return (self.uri or "").replace(PLACEHOLDER, partition)


class Features(_Section):
    """The feature function and the suite of what it returns.

    Args:
        function: ``module:function`` below ``include``; takes one frame per source, by name.
        suite: Name of the expectation suite (``expectations/<suite>.json``).
        max_quarantined: Largest share of rows that may be quarantined, in [0, 1].
    """

    function: FunctionPath
    suite: Name
    max_quarantined: Share = 0.05


class SearchRange(_Section):
    """Numbers between ``low`` and ``high``, whole ones if both are.

    Args:
        low: Least value.
        high: Largest value.
        log: Whether to draw on a logarithmic scale.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise SectionError({"low": f"must be less than high {self.high:g}, got {self.low:g}"})
        if self.log and self.low <= 0:
            raise SectionError({"low": f"must be positive when log is true, got {self.low:g}"})
        return self


def _is_parameter(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError("must be text, a number, true, false, null or a list of them") from error


Parameter = Annotated[Scalar | tuple[Scalar, ...], WrapValidator(_is_parameter)]
Search = Annotated[
    Annotated[SearchRange, Tag("range")]
    | Annotated[tuple[Scalar, ...], Field(min_length=1), Tag("choices")],
    Discriminator(
        _kind_of_search,
        custom_error_type="search",
        custom_error_message="must be a list of choices or a range such as {low: 0.01, high: 1.0}",
    ),
]


class Candidate(_Section):
    """What to fit and how hard to search; every part of a named candidate can be changed.

    Args:
        trials: Number of Optuna trials; 0 takes the parameters as they are.
        estimator: Import path of any scikit-learn-compatible estimator.
        parameters: Arguments of the estimator.
        search: By argument: a list of choices, or ``low``, ``high`` and perhaps ``log``.
        encoding: ``one_hot`` imputes, scales and encodes; ``ordinal`` keeps missing values and
            numbers the categories.
    """

    trials: Annotated[int, Field(ge=0, le=1000)] = 0
    estimator: ClassPath | None = None
    parameters: Mapping[str, Parameter] = {}
    search: Mapping[str, Search] = {}
    encoding: Encoding | None = None


class OwnMetric(_Section):
    """A metric of your own: a function of labels and predictions.

    Args:
        function: ``module:function`` below ``include``; takes labels and predictions, returns a
            number.
        takes: What it is given beside the labels: ``scores`` (probability of 1, or one column a
            class), ``classes`` (the predicted class) or ``values`` (the predicted number).
        higher_is_better: Direction of improvement.
    """

    function: FunctionPath
    takes: Takes
    higher_is_better: bool = True


class Training(_Section):
    """What a training run sees and tries.

    Args:
        window: Number of latest mature partitions.
        holdout: How many of them, the latest, only judge; the search never sees them. Without a
            time (``partition: none``): the share of entities that only judge, in (0, 0.5].
        metric: Metric that the search and the gate go by.
        candidates: Named candidates, or names of your own with an ``estimator``.
        imbalance: How rare classes are helped: not, by class weights, or by SMOTE.
        calibration: How scores are calibrated: not, by a sigmoid, or isotonic.
        seed: Seed of everything random.
        coverage: Share of a partition's rows whose label must be known for it to be mature.
    """

    window: Count
    holdout: Annotated[int | float, Field(gt=0)] = 1
    metric: str = ""
    candidates: Annotated[Mapping[Name, Candidate], Field(min_length=1)]
    imbalance: Literal["none", "class_weight", "smote"] = "none"
    calibration: Literal["none", "sigmoid", "isotonic"] = "none"
    seed: int = 7
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.99

    @field_validator("candidates")
    @classmethod
    def _are_known(cls, candidates: Mapping[str, Candidate]) -> Mapping[str, Candidate]:
        known = tuple(PRESETS)
        unknown = [
            name
            for name, candidate in candidates.items()
            if name not in known and candidate.estimator is None
        ]
        if unknown:
            rule = "is not a named candidate and has no estimator"
            raise SectionError({name: f"{rule}{nearest(name, known)}" for name in unknown})
        return candidates


class BeatChampion(_Section):
    """How sure the improvement on the champion must be, by a paired bootstrap.

    Args:
        confidence: Confidence of the interval of the difference, in (0.5, 1).
        margin: What the interval's lower bound must exceed, in units of the metric.
    """

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    margin: Annotated[float, Field(ge=0)] = 0.0


class Guard(_Section):
    """What must not get worse.

    Args:
        slices: Feature columns whose values cut the held-out rows into slices.
        max_drop: Largest loss of the metric on any slice that is large enough to judge.
        calibration: Largest expected calibration error, in [0, 1]; not for regression.
    """

    slices: tuple[str, ...] = ()
    max_drop: Annotated[float, Field(ge=0)] = 0.05
    calibration: Share = 0.10


class Promotion(_Section):
    """What a challenger has to show before it takes the baton.

    Args:
        require: By metric, the least (or, for an error, the largest) held-out value.
        beat_champion: How sure the improvement on the champion must be.
        guard: What must not get worse.
        approval: Whether a person must agree.
    """

    require: Annotated[Mapping[str, float], Field(min_length=1)]
    beat_champion: BeatChampion = BeatChampion()
    guard: Guard = Guard()
    approval: Literal["none", "required"] = "none"


class DriftMonitoring(_Section):
    """When a batch counts as drifted.

    Args:
        share_of_features: Share of the features that must have drifted, in (0, 1].
        prediction: Whether drifted scores alone are enough.
        minimum_rows: Fewer rows than this tell nothing.
    """

    share_of_features: Annotated[float, Field(gt=0, le=1)] = 0.3
    prediction: bool = True
    minimum_rows: Count = 500


class PerformanceMonitoring(_Section):
    """When performance counts as dropped.

    Args:
        metric: Metric that is watched; the one of training unless told.
        max_drop: How much worse than on the held-out rows it must surely be, in its own units.
    """

    metric: str = ""
    max_drop: Annotated[float, Field(ge=0)] = 0.05


class Monitoring(_Section):
    """How the champion is watched.

    Args:
        drift: When a batch counts as drifted.
        performance: When performance counts as dropped.
    """

    drift: DriftMonitoring = DriftMonitoring()
    performance: PerformanceMonitoring = PerformanceMonitoring()


class Retraining(_Section):
    """When the champion is challenged; every number counts partitions.

    Args:
        when: Triggers that count; ``new_class`` is a label that the champion has never seen.
        every: Also retrain when so many partitions have passed since the last training.
        persist: ``k of n``: a trigger must have fired in k of the latest n partitions.
        cooldown: Partitions that must pass after a training before the next.
        budget: ``k in n``: at most k retrainings in any n partitions.
    """

    when: tuple[Literal["drift", "performance", "new_class"], ...] = ()
    every: Count | None = None
    persist: Annotated[
        str,
        _matches(_K_OF_N, "must read k of n, such as 2 of 3"),
        WithJsonSchema({"type": "string", "pattern": _K_OF_N}),
    ] = "1 of 1"
    cooldown: Annotated[int, Field(ge=0)] = 0
    budget: Annotated[
        str,
        _matches(_K_IN_N, "must read k in n, such as 4 in 8"),
        WithJsonSchema({"type": "string", "pattern": _K_IN_N}),
    ] = "1 in 1"

    @property
    def persistence(self) -> tuple[int, int]:
        """(k, n) of ``persist``."""
        k, n = (int(part) for part in self.persist.split(" of "))
        return k, n

    @property
    def spending(self) -> tuple[int, int]:
        """(k, n) of ``budget``."""
        k, n = (int(part) for part in self.budget.split(" in "))
        return k, n

    @field_validator("persist", "budget")
    @classmethod
    def _is_possible(cls, rule: str) -> str:
        k, n = (int(part) for part in re.split(" of | in ", rule))
        if k > n:
            raise ValueError("must not have a first number above the second")
        return rule


class Pipeline(_Section):
    """One model's whole life, as its file tells it.

    Args:
        name: Name of the file; also the prefix of DAGs, tables and the registered model.
        description: One sentence for people.
        owner: Airflow owner of every task.
        task: Kind of target.
        entity: Column that identifies a row; without one, Relevo numbers the landed rows in a
            column ``row_id``.
        event_time: Column of the features with the time of the row, naive UTC; none for
            ``partition: none``.
        partition: Length of a partition; ``none`` for data without a time, whose runs are
            numbered snapshots.
        schedule: When scoring runs; without it, only by hand.
        sources: The first has one row per entity; labels may be in its rows or come from
            another source.
        features: The feature function and its suite.
        metrics: Metrics of your own, by name.
        training: What a training run sees and tries.
        promotion: What a challenger has to show.
        monitoring: How the champion is watched.
        retraining: When the champion is challenged.
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
    promotion: Promotion
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()

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


def nearest(value: str, choices: Sequence[str]) -> str:
    """Suggest the nearest valid spelling, as the end of a sentence ('' if nothing is near)."""
    near = difflib.get_close_matches(value, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(sorted(choices))}"
