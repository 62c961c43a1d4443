"""What no single key of a pipeline file can tell: whether its parts fit together."""

from __future__ import annotations

from collections.abc import Iterator

from include.specification import candidate_defaults, metric_names
from include.specification.candidate_defaults import PRESETS
from include.specification.generations import FEATURES, generation_of
from include.specification.located_yaml import Problem
from include.specification.metric_names import CALIBRATION_ERROR, METRICS
from include.specification.own_columns import BESIDE_KEYS, may_be_key
from include.specification.pipeline import Pipeline
from include.specification.sections.features import Features
from include.specification.sections.sources import PLACEHOLDER, ROW_ID, Source
from include.specification.trial_names import SUFFIX
from include.wording import nearest


def problems(pipeline: Pipeline) -> tuple[Problem, ...]:
    """List what does not fit together, in the order of the file's sections."""
    found = _of_one(pipeline)
    to_be = None if pipeline.next is None else pipeline.to_be()
    if to_be is not None:
        wrong = [*_next(pipeline)]
        known = {*found, *wrong}
        # What only the sections to be bring about is at fault there.
        late = [item for item in _of_one(to_be) if item not in known] if not wrong else []
        found += [*wrong, *((in_next(pipeline, at), rule) for at, rule in late)]
    return tuple(Problem(location, rule) for location, rule in [*found, *_tables(pipeline)])


def _of_one(pipeline: Pipeline) -> list[tuple[tuple[str, ...], str]]:
    return [
        *_name(pipeline),
        *_keys(pipeline),
        *_time(pipeline),
        *_sources(pipeline),
        *_labels(pipeline),
        *_metrics(pipeline),
        *_training(pipeline),
        *_decision(pipeline),
        *_retraining(pipeline),
    ]


def _name(pipeline: Pipeline) -> _Found:
    if pipeline.name.endswith(SUFFIX):
        other = pipeline.name.removesuffix(SUFFIX)
        yield (
            (),
            f"must not be called {pipeline.name}: `./relevo run {other}` writes its trials there, "
            "and removes what it finds. Rename the file.",
        )


def in_next(pipeline: Pipeline, at: tuple[str, ...]) -> tuple[str, ...]:
    """Find where a section to be stands in the file."""
    if pipeline.next is None:
        return at
    is_source = at[:1] == ("sources",) and at[1:2] and at[1] in pipeline.next.sources
    is_features = at[:1] == (FEATURES,) and pipeline.next.features is not None
    return ("next", *at) if is_source or is_features else at


def _next(pipeline: Pipeline) -> _Found:
    following = pipeline.next
    if following is None:
        return
    if following.features is None and not following.sources:
        yield ("next",), "must name features or sources that change, got neither. Remove it."
    if following.features is not None:
        yield from _generation(("next", FEATURES), pipeline.features, following.features)
    for name, source in following.sources.items():
        at = ("next", "sources", name)
        held = pipeline.sources.get(name)
        if held is None:
            yield at, f"must be a source of the pipeline{nearest(name, tuple(pipeline.sources))}"
            continue
        yield from _generation(at, held, source)
        if (source.labels is None) != (held.labels is None):
            yield (
                (*at, "labels"),
                f"must stay with {pipeline.label_source}, which brings the labels. A pipeline of "
                "another name may take them from elsewhere.",
            )
        elif name in pipeline.feature_sources and following.features is None:
            yield (
                ("next",),
                f"must name features as well, because those are computed from {name}. Write them "
                f"with generation: {pipeline.features.generation + 1}, also if the function stays.",
            )


def _generation(
    at: tuple[str, ...], held: Features | Source, following: Features | Source
) -> _Found:
    least = held.generation + 1
    if following.generation < least:
        yield (
            (*at, "generation"),
            f"must be at least {least}, because {held.generation} is in use, got "
            f"{following.generation}. Write generation: {least}.",
        )


def _tables(pipeline: Pipeline) -> _Found:
    """Refuse names of sources by which two of their tables would be called the same."""
    highest = {FEATURES: 1} | dict.fromkeys(pipeline.sources, 1)
    for one in pipeline.described():
        for dataset, number in one.generations.items():
            highest[dataset] = max(highest[dataset], number)
    for dataset, number in highest.items():
        for other in pipeline.sources:
            found = generation_of(other, dataset)
            if found is not None and 1 < found <= number:
                yield (
                    ("sources", other),
                    f"must be called otherwise: generation {found} of {dataset} has tables of that "
                    "name. Rename it.",
                )


# Of data with a time: two partitions to learn and search on, one that only judges.
LEAST_WINDOW = 3
_Found = Iterator[tuple[tuple[str, ...], str]]


def _time(pipeline: Pipeline) -> _Found:
    if pipeline.has_time and pipeline.event_time is None:
        yield (
            ("event_time",),
            f"required, because partition is {pipeline.partition}. Name the column with the time "
            "of the row, or write `partition: none`.",
        )
    if not pipeline.has_time and pipeline.event_time is not None:
        yield (
            ("event_time",),
            f"must be left out with `partition: none`, got {pipeline.event_time!r}. Remove it, or "
            "choose a partition such as monthly.",
        )
    if not pipeline.has_time and pipeline.schedule is not None:
        yield (
            ("schedule",),
            "must be left out with `partition: none`: a snapshot is scored when somebody, or an "
            "event, triggers it. Remove it.",
        )


def _keys(pipeline: Pipeline) -> _Found:
    for key in ("entity", "event_time"):
        column = getattr(pipeline, key)
        if column is not None and not may_be_key(column):
            yield (
                (key,),
                f"must not be a column that Relevo adds beside it ({', '.join(BESIDE_KEYS)}, "
                f"partition, or a name that begins with '_'), got {column!r}. Rename the column "
                "before it lands, or in the query and the feature function.",
            )


def _sources(pipeline: Pipeline) -> _Found:
    primary = pipeline.sources[pipeline.primary_source]
    at = ("sources", pipeline.primary_source)
    if pipeline.has_time and not _has_slices(primary):
        yield (
            at,
            f"the first source must bring one partition at a time: write {PLACEHOLDER} into its "
            "uri, name its time, or use :start and :end in its query.",
        )
    if primary.query is not None and pipeline.entity == ROW_ID:
        yield (
            ("entity",),
            f"required, because rows of the query of {pipeline.primary_source} come in no order. "
            "Name the column that identifies a row.",
        )
    for name, source in pipeline.sources.items():
        at = ("sources", name)
        # Their tasks and tables are called so.
        is_beside = source.labels is not None and name != pipeline.primary_source
        if name == "features" or (name == "labels" and not is_beside):
            yield at, f"must be called otherwise: {name} is what Relevo makes itself. Rename it."
        if source.history and not pipeline.has_time:
            yield (
                (*at, "history"),
                "must be left out with `partition: none`: snapshots stand alone.",
            )
        elif source.history and not _has_slices(source):
            yield (
                (*at, "history"),
                f"needs a source with partitions: {PLACEHOLDER} in its uri, its time, or :start "
                "and :end in its query.",
            )
        if source.time and not pipeline.has_time:
            yield (*at, "time"), "must be left out with `partition: none`."
        # Labels of another source land when they become known.
        labels = source.labels if name != pipeline.primary_source else None
        known_at = labels.known_at if labels else None
        if pipeline.has_time and _is_sliced(source.query) and not (source.time or known_at):
            yield (
                (*at, "time"),
                "required, because the query gives one partition at a time: without it nobody can "
                "tell which partitions there are. Name its column with the time of the row.",
            )
        if _is_sliced(source.query) and not pipeline.has_time:
            yield (*at, "query"), "must not use :start or :end with `partition: none`."


def _labels(pipeline: Pipeline) -> _Found:
    labelled = [name for name, source in pipeline.sources.items() if source.labels]
    if len(labelled) != 1:
        yield (
            ("sources",),
            f"exactly one source must have labels, got {', '.join(labelled) or 'none'}.",
        )
        return
    labels, at = pipeline.labels, ("sources", pipeline.label_source, "labels")
    if labels.positive is not None and pipeline.task != "binary":
        yield (*at, "positive"), f"is for a binary task, got task {pipeline.task}. Remove it."
    if not pipeline.has_time:
        for key in ("known_at", "event_time"):
            if getattr(labels, key) is not None:
                yield (*at, key), "must be left out with `partition: none`."
    if pipeline.labels_in_row and labels.event_time is not None:
        yield (
            (*at, "event_time"),
            "must be left out where the label is in the row itself. Remove it.",
        )
    if not pipeline.labels_in_row and pipeline.entity == ROW_ID:
        yield (
            ("entity",),
            f"required, because the labels come from another source ({pipeline.label_source}). "
            "Name the column that identifies a row in both.",
        )


def _metrics(pipeline: Pipeline) -> _Found:
    known = (*metric_names.names_for(pipeline.task), *pipeline.metrics)
    for name, own in pipeline.metrics.items():
        if name in METRICS:
            yield ("metrics", name), f"{name!r} is scikit-learn's. Choose another name."
        if name == CALIBRATION_ERROR:
            yield ("metrics", name), f"{name!r} is Relevo's own. Choose another name."
        if (own.takes == "values") != (pipeline.task == "regression"):
            kinds = "values" if pipeline.task == "regression" else "scores or classes"
            yield (
                ("metrics", name, "takes"),
                f"must be {kinds} for task {pipeline.task}, got {own.takes!r}.",
            )
    named = [
        (("training", "metric"), pipeline.training.metric),
        (("monitoring", "performance", "metric"), pipeline.monitoring.performance.metric),
    ]
    for at, name in named:
        if name not in known:
            yield (
                at,
                f"{name!r} is not a metric for task {pipeline.task}{nearest(name, known)}",
            )
    known = (*metric_names.requirable(pipeline.task), *pipeline.metrics)
    for name, limit in pipeline.promotion.require.items():
        at = ("promotion", "require", name)
        if name not in known:
            yield at, f"{name!r} is not a metric for task {pipeline.task}{nearest(name, known)}"
            continue
        low, high = (0, 1) if name == CALIBRATION_ERROR else pipeline.metric(name).bounds
        if not low <= limit <= high:
            yield at, f"must {_bounds(low, high)}, got {limit:g}."


def _training(pipeline: Pipeline) -> _Found:
    rules = pipeline.training
    yield from _holdout(pipeline)
    for name, candidate in rules.candidates.items():
        preset = PRESETS.get(name)
        if preset and candidate.estimator is None and preset.estimator(pipeline.task) is None:
            known = candidate_defaults.names_for(pipeline.task)
            yield (
                ("training", "candidates", name),
                f"cannot do task {pipeline.task}{nearest(name, known)}",
            )
        elif candidate.trials and not pipeline.candidate(name).search:
            yield (
                ("training", "candidates", name, "trials"),
                f"needs something to search, got {candidate.trials} trials without a search. Add "
                "search, or set trials to 0.",
            )
    for key in ("imbalance", "calibration"):
        value = getattr(rules, key)
        if pipeline.task == "regression" and value != "none":
            yield ("training", key), f"is for classification, got {value!r}. Remove it."
    if pipeline.task == "regression" and "calibration" in pipeline.promotion.guard.model_fields_set:
        yield ("promotion", "guard", "calibration"), "is for classification. Remove it."


def _holdout(pipeline: Pipeline) -> _Found:
    rules, at = pipeline.training, ("training", "holdout")
    if not pipeline.has_time:
        if not 0 < rules.holdout <= 0.5:
            yield (
                at,
                "must be a share of the entities in (0, 0.5] with `partition: none`, got "
                f"{rules.holdout:g}.",
            )
    elif rules.window < LEAST_WINDOW:
        yield (
            ("training", "window"),
            f"must be at least {LEAST_WINDOW} for data with a time (two partitions to learn from "
            f"and one that only judges), got {rules.window}. Lengthen it; with a shorter history "
            "choose shorter partitions, or leave the time out (`partition: none`).",
        )
    elif rules.holdout != int(rules.holdout):
        yield at, f"must be a whole number of partitions, got {rules.holdout:g}."
    elif rules.holdout >= rules.window - 1:
        yield (
            at,
            f"must leave at least two of the {rules.window} partitions of the window, got "
            f"{rules.holdout:g}.",
        )


def _decision(pipeline: Pipeline) -> _Found:
    if pipeline.decision is None:
        return
    if pipeline.task != "binary":
        instead = (
            "several classes are decided by the likeliest one"
            if pipeline.task == "multiclass"
            else "a number is its own prediction"
        )
        yield (
            ("decision",),
            f"is for a binary task, got task {pipeline.task}: {instead}. Remove it.",
        )
        return
    name, at = pipeline.decision.maximize, ("decision", "maximize")
    if name is None:
        return
    known = (*metric_names.names_for("binary"), *pipeline.metrics)
    of_classes = [item for item in known if pipeline.metric(item).takes == "classes"]
    if name not in known:
        yield at, f"{name!r} is not a metric for task binary{nearest(name, of_classes)}"
    elif name not in of_classes:
        yield (
            at,
            f"must be a metric of classes, got {name!r}, which no threshold changes"
            f"{nearest(name, of_classes)}",
        )
    elif not pipeline.metric(name).higher_is_better:
        yield (
            at,
            f"must be a metric of which more is better, got {name!r}. Name another one, or write "
            "`costs`.",
        )


def _retraining(pipeline: Pipeline) -> _Found:
    if "new_class" in pipeline.retraining.when and pipeline.task != "multiclass":
        yield (
            ("retraining", "when"),
            f"new_class is for a multiclass task, got task {pipeline.task}. Remove it.",
        )


def _bounds(low: float, high: float) -> str:
    if high == float("inf"):
        return f"be at least {low:g}"
    return f"be at most {high:g}" if low == float("-inf") else f"lie between {low:g} and {high:g}"


def _is_sliced(query: str | None) -> bool:
    """Tell whether a query gives one partition's rows only."""
    return query is not None and (":start" in query or ":end" in query)


def _has_slices(source: Source) -> bool:
    """Tell whether a source can bring one partition's rows."""
    query = source.query or ""
    if _is_sliced(query):
        return ":start" in query and ":end" in query
    return source.is_partitioned or source.time is not None
