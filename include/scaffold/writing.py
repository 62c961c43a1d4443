"""The files of a proposed pipeline."""

from __future__ import annotations

import json
import keyword
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.errors import SpecificationError
from include.metrics import DEFAULT
from include.partitions import Frequency
from include.scaffold.expectations import features_suite, source_suite
from include.scaffold.inspection import Column
from include.scaffold.proposal import SOURCE, Feature, Proposal
from include.specification import PLACEHOLDER, ROW_ID

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_YAML_WORDS = {"y", "n", "yes", "no", "true", "false", "on", "off", "null", "nan", "inf"}
_NOTE = 39  # column of the comments in the pipeline file
_CODE = 92
_TRIALS = 8
_ROWS = 3
_SPARK_TYPES = {"boolean": "boolean", "string": "string", "moment": "timestamp_ntz"}


def check_name(name: str) -> None:
    """Refuse names that cannot be those of a pipeline and of its module.

    Raises:
        SpecificationError: If it is one.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise SpecificationError(
            f"pipeline {name!r}: a name must be lower-case letters, digits and underscores, begin "
            "with a letter and be no word of Python. Choose another, e.g. 'telco_churn'."
        )


def render(proposal: Proposal) -> dict[Path, str]:
    """Render every file of the pipeline.

    Returns:
        Text by path relative to the project.
    """
    name = proposal.wish.name
    lines, columns = _selected(proposal)
    return {
        Path(f"include/pipelines/{name}.yaml"): _pipeline_file(proposal),
        Path(f"include/pipelines/{name}.py"): _feature_module(proposal, lines, columns),
        Path(f"expectations/{name}_{SOURCE}.json"): source_suite(proposal),
        Path(f"expectations/{name}_features.json"): features_suite(proposal, columns),
        Path(f"dags/{name}.py"): _rendered("dag.py", name=name, description=_description(proposal)),
        Path(f"tests/pipelines/test_{name}.py"): _test(proposal),
    }


def write(files: Mapping[Path, str], root: Path, *, force: bool = False) -> tuple[Path, ...]:
    """Write files below a project; all of them or, if one exists already, none.

    Args:
        files: Text by path relative to the root.
        root: The project.
        force: Whether to overwrite.

    Returns:
        The paths written, relative to the root.

    Raises:
        SpecificationError: If a file exists and ``force`` is not set.
    """
    there = [str(path) for path in files if (root / path).exists()]
    if there and not force:
        raise SpecificationError(
            f"files: must not exist yet, got {', '.join(there)}. Choose another name, or add "
            "--force to overwrite them."
        )
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return tuple(files)


def default_uri(name: str) -> str:
    """Name the folder where a local file lands, a partition or snapshot at a time."""
    return f"s3://landing/{name}/{SOURCE}/{PLACEHOLDER}/"


def _rendered(template: str, **values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Python and YAML are written, which have quotes of their own
    )
    return environment.get_template(f"{template}.j2").render(**values)


def _pipeline_file(proposal: Proposal) -> str:
    wish, target, calendar = proposal.wish, proposal.target, proposal.calendar
    require, require_note = _required(proposal)
    max_drop, max_drop_note = _max_drop(proposal)
    when = ["drift", "performance", *(["new_class"] if target.task == "multiclass" else [])]
    holdout = calendar.holdout if calendar else 0.2
    cooldown = calendar.holdout if calendar else 0
    return _rendered(
        "pipeline.yaml",
        seen=_seen(proposal),
        name=wish.name,
        quote=_yaml,
        noted=_noted,
        description=_description(proposal),
        task=target.task,
        entity=proposal.entity,
        entity_note="Relevo numbers the rows" if proposal.entity == ROW_ID else "",
        event_time=wish.time,
        partition=calendar.frequency if calendar else Frequency.NONE,
        partition_note=_partition_note(proposal),
        schedule=_schedule(proposal),
        source=SOURCE,
        source_lines=_source_lines(proposal),
        window=calendar.window if calendar else 1,
        window_note="partitions with mature labels" if calendar else "a snapshot holds all rows",
        holdout=holdout,
        holdout_note="the latest of them only judge"
        if calendar
        else "share of entities that only judge",
        coverage=calendar.coverage if calendar else _coverage(proposal),
        metric=DEFAULT[target.task],
        candidates=_candidates(proposal),
        is_imbalanced=proposal.is_imbalanced,
        rarest=f"{target.rarest:.1%}",
        require=_flow(require),
        require_note=require_note,
        minimum_rows=_minimum_rows(proposal),
        max_drop=max_drop,
        max_drop_note=max_drop_note,
        when=f"[{', '.join(when)}]",
        persist="2 of 3" if calendar else "1 of 1",
        cooldown=cooldown,
        budget=f"2 in {max(4, calendar.window)}" if calendar else "1 in 1",
    )


def _source_lines(proposal: Proposal) -> list[str]:
    place, sample, wish = proposal.place, proposal.sample, proposal.wish
    if place.query is not None:
        lines = [f"connection: {_yaml(place.connection)}", f"query: {json.dumps(place.query)}"]
    else:
        lines = [f"uri: {json.dumps(place.uri)}"]
        if sample.format != "parquet":
            lines.append(f"format: {sample.format}")
    if sample.dialect is not None:
        dialect = sample.dialect.model_dump(exclude_defaults=True)
        if dialect:
            lines.append(f"csv: {_flow(dialect)}")
        lines.append(f"null_values: {json.dumps(list(proposal.null_values))}")
    if proposal.types:
        lines.append(f"types: {_flow(proposal.types)}")
    is_whole = place.query is not None or PLACEHOLDER not in (place.uri or "")
    if wish.time is not None and is_whole:
        lines.append(f"time: {_yaml(wish.time)}")
    lines.append(f"suite: {wish.name}_{SOURCE}")
    lines.append("on_failure: quarantine")
    limit = max(0.05, math.ceil(proposal.quarantined * 200) / 100)
    found = f"review: {proposal.quarantined:.1%} of the sample" if proposal.quarantined else ""
    lines.append(_noted(f"max_quarantined: {min(limit, 0.5)}", found, 4))
    labels: dict[str, Any] = {"column": wish.target}
    if proposal.target.positive is not None:
        labels["positive"] = proposal.target.positive
    if wish.known_at is not None:
        labels["known_at"] = wish.known_at
    note = "" if wish.known_at or not wish.time else "review: known with the row, or known_at?"
    lines.append(_noted(f"labels: {_flow(labels)}", note, 4))
    return lines


def _schedule(proposal: Proposal) -> str | None:
    if proposal.calendar is None:
        return None
    schedule = proposal.calendar.schedule
    if schedule.end is None:
        return f'{{cron: "{schedule.cron}", start: {schedule.start}}}'
    text = f'{{cron: "{schedule.cron}", start: {schedule.start}, end: {schedule.end}}}'
    return f"{text}  # the data end here"


def _partition_note(proposal: Proposal) -> str:
    calendar = proposal.calendar
    if calendar is None:
        return "numbered snapshots"
    return f"{calendar.partitions} of them, {calendar.median_rows:,} rows in the median one"


def _candidates(proposal: Proposal) -> str:
    linear = "ridge" if proposal.target.task == "regression" else "logistic_regression"
    names = [linear, "hist_gradient_boosting", *(["random_forest"] if proposal.is_small else [])]
    return "{" + ", ".join(f"{name}: {{trials: {_TRIALS}}}" for name in names) + "}"


def _required(proposal: Proposal) -> tuple[dict[str, float], str]:
    """Ask for a little more than guessing."""
    target = proposal.target
    match target.task:
        case "binary":
            return {"roc_auc": 0.55}, "review: guessing has 0.5"
        case "multiclass":
            chance = 1 / len(target.classes)
            value = float(f"{1.2 * chance:.2g}")
            return {"balanced_accuracy": value}, f"review: guessing has {chance:.3f}"
        case "regression":
            value = float(f"{_median_error(proposal):.3g}")
            note = "review: always predicting the median has this"
            return {"mean_absolute_error": value}, note


def _max_drop(proposal: Proposal) -> tuple[float, str]:
    if proposal.target.task != "regression":
        return 0.05, ""
    value = float(f"{0.1 * _median_error(proposal):.2g}")
    return value, "review: in units of the target"


def _median_error(proposal: Proposal) -> float:
    numbers = proposal.target.labels.dropna()
    return float((numbers - numbers.median()).abs().mean())


def _coverage(proposal: Proposal) -> float | None:
    share = float(proposal.target.labels.notna().mean())
    return max(0.05, round(share * 0.9, 2)) if share < 0.99 else None


def _minimum_rows(proposal: Proposal) -> str:
    calendar = proposal.calendar
    rows = calendar.median_rows if calendar else proposal.sample.rows
    return f", minimum_rows: {max(30, rows // 2)}" if rows < 1000 else ""


def _feature_module(proposal: Proposal, lines: Sequence[str], columns: Sequence[str]) -> str:
    keys = [f"``{name}``" for name in _keys(proposal)]
    count = len(columns) - len(keys)
    left_out = [f"{item.name}: {item.reason}" for item in proposal.left_out]
    return _rendered(
        "features.py",
        name=proposal.wish.name,
        seen=_seen(proposal),
        uses_functions=any("f." in line for line in lines),
        source=SOURCE,
        count=count,
        entity=f"``{proposal.entity}``",
        returned=f"{', '.join(keys)} and {count} feature{'' if count == 1 else 's'}",
        lines=lines,
        left_out=[line for text in left_out for line in textwrap.wrap(text, _CODE)],
    )


def _keys(proposal: Proposal) -> list[str]:
    return [name for name in (proposal.entity, proposal.wish.time) if name is not None]


def _selected(proposal: Proposal) -> tuple[list[str], list[str]]:
    """Write the columns of the feature function; returns its lines and the names it returns."""
    entity, time = proposal.entity, proposal.wish.time
    lines, columns = [f"{_column(entity)},"], [entity]
    if time is not None:
        lines.append(f"{_moment(proposal, time)},")
        columns.append(time)
    for feature in proposal.features:
        line = f"{_feature(feature)},"
        if feature.review and len(f"{line}  # {feature.review}") > _CODE:
            lines.append(f"# {feature.review}")
        elif feature.review:
            line = f"{line}  # {feature.review}"
        lines.append(line)
        columns.append(feature.column.name)
    for part, function in _parts(proposal):
        name = f"{time}_{part}"
        if name not in proposal.frame:
            lines.append(f"f.{function}({_as_moment(proposal)}).alias({_quoted(name)}),")
            columns.append(name)
    return lines, columns


def _column(name: str) -> str:
    """Name a column in a select; one with a dot would be taken for a structure."""
    return _quoted(name) if _PLAIN.fullmatch(name) else f"f.col({_quoted(f'`{name}`')})"


def _feature(feature: Feature) -> str:
    name, kind = feature.column.name, feature.column.kind
    reference = _column(name)
    column = reference if reference.startswith("f.") else f"f.col({reference})"
    match kind:
        case "string":
            return f"f.trim({reference}).alias({_quoted(name)})"
        case "boolean":
            return f'{column}.cast("int").alias({_quoted(name)})'
        case _:
            return reference


def _moment(proposal: Proposal, name: str) -> str:
    is_raw = proposal.time == "moment"
    return _column(name) if is_raw else f"{_as_moment(proposal)}.alias({_quoted(name)})"


def _as_moment(proposal: Proposal) -> str:
    reference = _column(str(proposal.wish.time))
    match proposal.time:
        case "text":
            # Through a moment with a zone, so that an offset in the text counts.
            return f'f.to_timestamp({reference}).cast("timestamp_ntz")'
        case "year":
            return f'f.make_date({reference}, f.lit(1), f.lit(1)).cast("timestamp_ntz")'
        case "date":
            column = reference if reference.startswith("f.") else f"f.col({reference})"
            return f'{column}.cast("timestamp_ntz")'
        case _:
            return reference


def _parts(proposal: Proposal) -> list[tuple[str, str]]:
    """List the parts of the event time that differ within and between partitions."""
    if proposal.calendar is None or proposal.time == "year":
        return []
    parts = [("hour", "hour")] if proposal.has_hours else []
    parts.append(("weekday", "dayofweek"))
    parts.append(("month", "month"))
    return parts


def _test(proposal: Proposal) -> str:
    names = [name for name in _keys(proposal) if name in proposal.frame]
    names += [feature.column.name for feature in proposal.features]
    columns = {column.name: column for column in proposal.columns}
    schema = [f"`{name}` {_spark_type(proposal, columns[name])}" for name in names]
    if proposal.entity == ROW_ID:
        names, schema = [ROW_ID, *names], [f"`{ROW_ID}` string", *schema]
    schema = [f"{item}, " for item in schema[:-1]] + schema[-1:]
    rows = [
        _tuple([_value(proposal, columns, name, row) for name in names]) for row in range(_ROWS)
    ]
    return _rendered(
        "test.py",
        name=proposal.wish.name,
        source=SOURCE,
        schema=[_quoted(line) for line in schema],
        rows=rows,
        key=names.index(proposal.entity),
        moment={"date": "date", "moment": "datetime"}.get(str(proposal.time)),
    )


def _tuple(values: Sequence[str]) -> list[str]:
    """Write a tuple, on one line if it fits."""
    if len(values) > 1 and len(", ".join(values)) < _CODE:
        return [f"({', '.join(values)}),"]
    return ["(", *(f"    {value}," for value in values), "),"]


def _spark_type(proposal: Proposal, column: Column) -> str:
    if column.name == proposal.wish.time:
        return {"year": "int", "text": "string", "date": "date"}.get(
            str(proposal.time), "timestamp_ntz"
        )
    if column.kind == "number":
        is_fraction = proposal.types.get(column.name) == "number" or not column.whole
        return "double" if is_fraction or column.missing else "bigint"
    return _SPARK_TYPES.get(column.kind, "string")


def _value(proposal: Proposal, columns: Mapping[str, Column], name: str, row: int) -> str:
    """Write a usual value of a column as Python; keys differ from row to row."""
    if name == proposal.entity:
        is_number = name in columns and columns[name].kind == "number"
        return str(row + 1) if is_number else _quoted(f"row {row + 1}")
    column = columns[name]
    if name == proposal.wish.time:
        return _time_value(proposal)
    match column.kind:
        case "boolean":
            return "True"
        case "string":
            return _quoted(column.levels[0])
        case _:
            value = float(np.median(proposal.frame[name].dropna().astype("float64")))
            is_whole = _spark_type(proposal, column) == "bigint"
            return str(int(value)) if is_whole else repr(float(f"{value:.6g}"))


def _time_value(proposal: Proposal) -> str:
    value = proposal.frame[proposal.wish.time].iloc[0]
    match proposal.time:
        case "year":
            return str(int(value))
        case "text":
            return _quoted(str(value))
        case "date":
            return f"date({value.year}, {value.month}, {value.day})"
        case _:
            moment = pd.Timestamp(value)
            return f"datetime({moment.year}, {moment.month}, {moment.day}, {moment.hour})"


def _description(proposal: Proposal) -> str:
    wish, target = proposal.wish, proposal.target
    if target.task == "binary":
        positive = target.positive if target.positive is not None else "1"
        return f"Chance that {wish.target} is {positive}."
    return f"{'Class' if target.task == 'multiclass' else 'Value'} of {wish.target}."


def _seen(proposal: Proposal) -> str:
    looked, rows = len(proposal.frame), proposal.sample.rows
    return f"{rows:,} rows" if looked == rows else f"{looked:,} of {rows:,} rows"


def _noted(line: str, note: str, indent: int = 0) -> str:
    """Add a comment to a line of the pipeline file."""
    return f"{line:<{_NOTE - indent - 2}}  # {note}" if note else line


def _flow(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{_yaml(key)}: {_yaml(value)}" for key, value in values.items()) + "}"


def _yaml(value: Any) -> str:
    """Write a scalar; strings that YAML could take for something else are quoted."""
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
