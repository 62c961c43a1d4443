"""The pipeline file as frozen, validated models.

A wrong file is one :class:`~include.errors.SpecificationError` that lists every problem with its
line, the rule, the value and the nearest valid spelling.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from include.errors import SpecificationError
from include.partitions import Frequency

PIPELINES = Path(__file__).parent / "pipelines"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

METRICS = ("average_precision", "brier_score", "log_loss", "roc_auc")
LOWER_IS_BETTER = frozenset({"brier_score", "log_loss"})
TRIGGERS = ("drift", "performance")
# The builders of include.candidates, named here so that reading a file needs no scikit-learn.
CANDIDATES = ("hist_gradient_boosting", "logistic_regression")


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
            raise ValueError("must be a cron expression of five fields")
        return cron

    @model_validator(mode="after")
    def _ends_after_start(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end must be later than start {self.start}")
        return self


class Labels(_Section):
    """Where a source's labels are: ``column`` in {0, 1}, known from ``known_at`` on."""

    column: str
    known_at: str


class Source(_Section):
    """One landed data set.

    Args:
        uri: Folder of one partition's Parquet files; ``{partition}`` stands for its name.
        suite: Name of the expectation suite (``expectations/<suite>.json``).
        on_failure: What critical row-level failures do: move the rows to quarantine, or fail.
        max_quarantined: Largest share of rows that may be quarantined, in [0, 1].
        labels: Set for the source that brings the labels.
    """

    uri: Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]+/.*\{partition\}.*$")]
    suite: Name
    on_failure: Literal["quarantine", "fail"] = "quarantine"
    max_quarantined: Share = 0.05
    labels: Labels | None = None

    def location(self, partition: str) -> str:
        """Name the folder of one partition."""
        return self.uri.replace("{partition}", partition)


class Features(_Section):
    """The feature function (``module:function``) and the suite of what it returns."""

    function: Annotated[str, Field(pattern=r"^include\.[A-Za-z0-9_.]+:[A-Za-z_][A-Za-z0-9_]*$")]
    suite: Name
    max_quarantined: Share = 0.05


class Candidate(_Section):
    """How hard to search one candidate: the number of Optuna trials (0 takes the defaults)."""

    trials: Annotated[int, Field(ge=0, le=1000)] = 0


class Training(_Section):
    """What a training run sees and tries.

    Args:
        window: Number of latest mature partitions.
        holdout: How many of them, the latest, only judge; the search never sees them.
        metric: Metric that the search and the gate maximise (or minimise).
        candidates: Named builders of ``include.candidates``.
        seed: Seed of everything random.
        coverage: Share of a partition's rows whose label must be known for it to be mature.
    """

    window: Annotated[int, Field(ge=2)]
    holdout: Count = 1
    metric: Literal["average_precision", "brier_score", "log_loss", "roc_auc"] = "roc_auc"
    candidates: Annotated[Mapping[str, Candidate], Field(min_length=1)]
    seed: int = 7
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.99

    @field_validator("candidates")
    @classmethod
    def _are_known(cls, candidates: Mapping[str, Candidate]) -> Mapping[str, Candidate]:
        for name in candidates:
            if name not in CANDIDATES:
                raise ValueError(f"{name!r} is not a candidate{nearest(name, CANDIDATES)}")
        return candidates

    @model_validator(mode="after")
    def _leaves_training_data(self) -> Self:
        if self.holdout >= self.window - 1:
            raise ValueError(
                f"holdout must leave at least two of the {self.window} partitions of the window"
            )
        return self


class BeatChampion(_Section):
    """The lower bound of the paired bootstrap must exceed ``margin`` at ``confidence``."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    margin: Annotated[float, Field(ge=0)] = 0.0


class Guard(_Section):
    """What must not get worse.

    Args:
        slices: Feature columns whose values cut the held-out rows into slices.
        max_drop: Largest loss of the metric on any slice that is large enough to judge.
        calibration: Largest expected calibration error, in [0, 1].
    """

    slices: tuple[str, ...] = ()
    max_drop: Annotated[float, Field(ge=0)] = 0.05
    calibration: Share = 0.10


class Promotion(_Section):
    """What a challenger has to show before it takes the baton."""

    require: Annotated[Mapping[str, float], Field(min_length=1)]
    beat_champion: BeatChampion = BeatChampion()
    guard: Guard = Guard()
    approval: Literal["none", "required"] = "none"

    @field_validator("require")
    @classmethod
    def _are_metrics(cls, require: Mapping[str, float]) -> Mapping[str, float]:
        for name in require:
            if name not in METRICS:
                raise ValueError(f"{name!r} is not a metric{nearest(name, METRICS)}")
        return require


class DriftMonitoring(_Section):
    """A batch drifts when ``share_of_features`` of them do, or (``prediction``) the scores do."""

    share_of_features: Annotated[float, Field(gt=0, le=1)] = 0.3
    prediction: bool = True
    minimum_rows: Count = 500


class PerformanceMonitoring(_Section):
    """Performance drops when ``metric`` is surely more than ``max_drop`` below the held-out one."""

    metric: Literal["average_precision", "brier_score", "log_loss", "roc_auc"] = "roc_auc"
    max_drop: Annotated[float, Field(ge=0)] = 0.05


class Monitoring(_Section):
    """How the champion is watched."""

    drift: DriftMonitoring = DriftMonitoring()
    performance: PerformanceMonitoring = PerformanceMonitoring()


class Retraining(_Section):
    """When the champion is challenged; every number counts partitions.

    Args:
        when: Triggers that count.
        every: Also retrain when so many partitions have passed since the last training.
        persist: ``k of n``: a trigger must have fired in k of the latest n partitions.
        cooldown: Partitions that must pass after a training before the next.
        budget: ``k in n``: at most k retrainings in any n partitions.
    """

    when: tuple[Literal["drift", "performance"], ...] = ()
    every: Count | None = None
    persist: Annotated[str, Field(pattern=r"^[1-9]\d* of [1-9]\d*$")] = "1 of 1"
    cooldown: Annotated[int, Field(ge=0)] = 0
    budget: Annotated[str, Field(pattern=r"^[1-9]\d* in [1-9]\d*$")] = "1 in 1"

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
            raise ValueError("the first number must not exceed the second")
        return rule


class Pipeline(_Section):
    """One model's whole life, as its file tells it.

    Args:
        name: Name of the file; also the prefix of DAGs, tables and the registered model.
        description: One sentence for people.
        owner: Airflow owner of every task.
        task: Kind of target.
        entity: Column that identifies a row.
        event_time: Column with the time of the row, naive UTC.
        partition: Length of a partition.
    """

    name: Name
    description: str
    owner: str
    task: Literal["binary"]
    entity: str
    event_time: str
    partition: Frequency
    schedule: Schedule
    sources: Annotated[Mapping[Name, Source], Field(min_length=1)]
    features: Features
    training: Training
    promotion: Promotion
    monitoring: Monitoring = Monitoring()
    retraining: Retraining = Retraining()

    @property
    def label_source(self) -> str:
        """Name of the source that brings the labels."""
        return next(name for name, source in self.sources.items() if source.labels)

    @property
    def feature_sources(self) -> tuple[str, ...]:
        """Names of the sources that the feature function gets, in the file's order."""
        return tuple(name for name, source in self.sources.items() if not source.labels)

    @property
    def labels(self) -> Labels:
        """Label columns of the label source."""
        labels = self.sources[self.label_source].labels
        if labels is None:
            raise SpecificationError(f"pipeline {self.name}: no source brings labels")
        return labels

    @field_validator("sources")
    @classmethod
    def _have_one_label_source(cls, sources: Mapping[str, Source]) -> Mapping[str, Source]:
        labelled = [name for name, source in sources.items() if source.labels]
        if len(labelled) != 1:
            raise ValueError(f"exactly one source must have labels, got {labelled or 'none'}")
        if len(sources) < 2:
            raise ValueError("at least one source without labels must feed the features")
        return sources


def nearest(value: str, choices: Sequence[str]) -> str:
    """Suggest the nearest valid spelling, as the end of a sentence ('' if nothing is near)."""
    near = difflib.get_close_matches(value, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; choose from {', '.join(sorted(choices))}"


def names(folder: Path = PIPELINES) -> tuple[str, ...]:
    """List the pipelines of a folder, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def load(name: str, folder: Path = PIPELINES) -> Pipeline:
    """Read and validate ``<name>.yaml``.

    Raises:
        SpecificationError: If the file is missing, is no YAML, or breaks a rule.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise SpecificationError(
            f"pipeline {name}: its file must be {path.name} in {folder}, got none"
            f"{nearest(name, names(folder))}"
        )
    try:
        document = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpecificationError(
            f"{path.name}:{line}: must be YAML, got {error.problem}. Correct the line."
        ) from error
    if not isinstance(document, CommentedMap):
        raise SpecificationError(f"{path.name}:1: must be a mapping, got {type(document).__name__}")
    if "name" in document:
        raise SpecificationError(
            f"{path.name}:{_line(document, ['name'])}: name: the file's name is the pipeline's, "
            f"got {str(document['name'])!r}. Remove the key, or rename the file."
        )
    try:
        return Pipeline.model_validate({**_plain(document), "name": name})
    except ValidationError as error:
        lines = [_render(path.name, document, item) for item in error.errors()]
        raise SpecificationError("\n".join(lines)) from error


def _plain(node: Any) -> Any:
    if isinstance(node, CommentedMap):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, CommentedSeq):
        return [_plain(value) for value in node]
    return node


def _render(file: str, document: CommentedMap, error: ErrorDetails) -> str:
    location = [part for part in error["loc"] if part != "[key]"]
    where = ".".join(str(part) for part in location) or "file"
    line = _line(document, location)
    value = error["input"]
    got = f", got {value!r}" if isinstance(value, str | int | float | bool) else ""
    match error["type"]:
        case "extra_forbidden":
            field = str(location[-1])
            return f"{file}:{line}: {where}: unknown key{nearest(field, _keys(location[:-1]))}"
        case "missing":
            return f"{file}:{line}: {where}: required. Add it."
        case "literal_error" | "enum":
            choices = re.findall(r"'([^']+)'", str(error.get("ctx", {}).get("expected", "")))
            return f"{file}:{line}: {where}: not a valid value{got}{nearest(str(value), choices)}"
        case "value_error":
            return f"{file}:{line}: {where}: {error['ctx']['error']}{got}"
        case _:
            return f"{file}:{line}: {where}: {error['msg'][0].lower()}{error['msg'][1:]}{got}"


def _line(document: CommentedMap, location: Sequence[str | int]) -> int:
    node: Any = document
    line = 1
    for part in location:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return int(line)


def _keys(location: Sequence[str | int]) -> list[str]:
    """List the keys that are valid at a location of the file."""
    models: list[Any] = [Pipeline]
    for part in location:
        following: list[Any] = []
        for model in models:
            field = model.model_fields.get(str(part))
            following += list(_models(field.annotation)) if field else [model]
        models = following
    return [key for model in models for key in model.model_fields if key != "name"]


def _models(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)
