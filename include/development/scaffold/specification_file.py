"""The proposed pipeline file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from include.calendar.partitions import Frequency
from include.development.scaffold.proposal import SOURCE, Proposal
from include.development.scaffold.rendering import description, double_quoted, rendered, seen
from include.development.scaffold.text_columns import TextColumns
from include.specification.metric_names import DEFAULT
from include.specification.sections.sources import PLACEHOLDER, ROW_ID

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_YAML_WORDS = {"y", "n", "yes", "no", "true", "false", "on", "off", "null", "nan", "inf"}
_NOTE = 39  # column of the comments
_TRIALS = 8
_LONG_KEY = 1000
_WIDTH = 92


def pipeline_file(proposal: Proposal) -> str:
    """Render the pipeline file, with comments on what to review."""
    wish, target, calendar = proposal.wish, proposal.target, proposal.calendar
    require, require_note = _required(proposal)
    max_drop, max_drop_note = _max_drop(proposal)
    when = ["drift", "performance", *(["new_class"] if target.task == "multiclass" else [])]
    holdout = calendar.holdout if calendar else 0.2
    cooldown = calendar.holdout if calendar else 0
    return rendered(
        "pipeline.yaml",
        seen=seen(proposal),
        name=wish.name,
        quote=_yaml,
        noted=_noted,
        description=description(proposal),
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
        lines = [f"connection: {_yaml(place.connection)}", f"query: {double_quoted(place.query)}"]
    else:
        lines = [f"uri: {double_quoted(str(place.uri))}"]
        if sample.format != "parquet":
            lines.append(f"format: {sample.format}")
    if sample.text is not None:
        lines += _text_lines(sample.text, sample.format)
    if proposal.types:
        lines += _wrapped("types", proposal.types)
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


def _text_lines(text: TextColumns, form: str | None) -> Iterator[str]:
    """Say how text is read, so that no default of ingestion decides it."""
    dialect = text.dialect.model_dump(exclude_defaults=True)
    if dialect:
        yield f"csv: {_flow(dialect)}"
    if form == "csv" or text.null_values:
        yield f"null_values: {_list(text.null_values)}"
    if text.null_values_by_column:
        by_column = [
            f"{_key(name)}: {_list(words)}" for name, words in text.null_values_by_column.items()
        ]
        yield f"null_values_by_column: {{{', '.join(by_column)}}}"


def _wrapped(key: str, values: Mapping[str, Any]) -> list[str]:
    """Write a section on one line, or on as few as it needs."""
    items = [f"{_key(name)}: {_yaml(value)}" for name, value in values.items()]
    lines = [f"{key}: {{{items[0]}"]
    for item in items[1:]:
        if len(lines[-1]) + len(item) > _WIDTH:
            lines[-1] += ","
            lines.append(f"  {item}")
        else:
            lines[-1] += f", {item}"
    lines[-1] += "}"
    return lines


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(double_quoted, values))}]"


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


def _noted(line: str, note: str, indent: int = 0) -> str:
    """Add a comment to a line of the pipeline file."""
    return f"{line:<{_NOTE - indent - 2}}  # {note}" if note else line


def _flow(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{_key(key)}: {_yaml(value)}" for key, value in values.items()) + "}"


def _key(key: str) -> str:
    """Write a key; a long one must be announced."""
    text = _yaml(key)
    return text if len(text) < _LONG_KEY else f"? {text} "


def _yaml(value: Any) -> str:
    """Write a scalar; strings that YAML could take for something else are quoted."""
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS
        return value if is_plain else double_quoted(value)
    return json.dumps(value)
