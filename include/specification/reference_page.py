"""The reference of the pipeline file, made from the models.

``python -m include.reference`` writes it to ``docs/pipeline-file.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from include.specification import metric_names
from include.specification.candidate_defaults import PRESETS
from include.specification.json_schema import documentation, schema, sections
from include.specification.metric_names import METRICS
from include.specification.pipeline import Pipeline
from include.specification.sections.alerts import Receiver
from include.specification.sections.decision import Costs, Decision
from include.specification.sections.execution import Execution
from include.specification.sections.features import Features
from include.specification.sections.monitoring import (
    DriftMonitoring,
    Monitoring,
    PerformanceMonitoring,
)
from include.specification.sections.next import Next
from include.specification.sections.promotion import BeatChampion, Guard, Promotion
from include.specification.sections.retraining import Retraining
from include.specification.sections.schedule import Schedule
from include.specification.sections.sources import CsvDialect, Labels, Source
from include.specification.sections.training import Candidate, OwnMetric, SearchRange, Training

PATH = Path(__file__).parents[2] / "docs" / "pipeline-file.md"
# Where a section stands in the file; <name> is one that the file chooses.
PLACES: dict[type[BaseModel], str] = {
    Pipeline: "The file",
    Schedule: "schedule",
    Source: "sources.<name>",
    CsvDialect: "sources.<name>.csv",
    Labels: "sources.<name>.labels",
    Features: "features",
    OwnMetric: "metrics.<name>",
    Training: "training",
    Candidate: "training.candidates.<name>",
    SearchRange: "training.candidates.<name>.search.<argument>",
    Decision: "decision",
    Costs: "decision.costs",
    Promotion: "promotion",
    BeatChampion: "promotion.beat_champion",
    Guard: "promotion.guard",
    Monitoring: "monitoring",
    DriftMonitoring: "monitoring.drift",
    PerformanceMonitoring: "monitoring.performance",
    Retraining: "retraining",
    Execution: "execution",
    Receiver: "alerts.<name>",
    Next: "next",
}
# Of keys whose type does not show what to write, as the file spells it.
EXAMPLES: dict[tuple[type[BaseModel], str], str] = {
    (Execution, "pool"): "credit_risk",
    (Execution, "queue"): "large_machines",
    (Execution, "executor"): "KubernetesExecutor",
    (Pipeline, "description"): "Chance that a loan is charged off within 24 months.",
    (Pipeline, "owner"): "credit-risk",
    (Pipeline, "entity"): "loan_id",
    (Pipeline, "event_time"): "approved_at",
    (Schedule, "cron"): '"0 6 5 1,4,7,10 *"',
    (Schedule, "start"): "2005-01-01",
    (Schedule, "end"): "2009-01-31",
    (Source, "uri"): '"s3://landing/loans/{partition}/"',
    (Source, "null_values"): '["?", "unknown"]',
    (Source, "null_values_by_column"): "{severity: []}",
    (Source, "types"): "{amount: number, opened: date}",
    (Source, "connection"): "warehouse",
    (Source, "query"): "select * from loans where at >= :start and at < :end",
    (Source, "time"): "approved_at",
    (Source, "suite"): "loan_default_loans",
    (CsvDialect, "delimiter"): '";"',
    (CsvDialect, "quote"): '"\'"',
    (CsvDialect, "encoding"): "latin-1",
    (Labels, "column"): "charged_off",
    (Labels, "expression"): "arr_delay > 15",
    (Labels, "known_at"): "charged_off_at",
    (Labels, "positive"): '"yes"',
    (Labels, "event_time"): "approved_at",
    (Features, "function"): '"include.pipelines.loan_default:features"',
    (Features, "suite"): "loan_default_features",
    (OwnMetric, "function"): '"include.pipelines.loan_default:profit"',
    (Training, "metric"): "average_precision",
    (Training, "candidates"): "{logistic_regression: {}, xgboost: {trials: 20}}",
    (Candidate, "estimator"): "sklearn.ensemble.ExtraTreesClassifier",
    (Candidate, "parameters"): "{n_estimators: 300, class_weight: balanced}",
    (Candidate, "search"): "{max_depth: [4, 8, null], max_features: {low: 0.1, high: 1.0}}",
    (Decision, "threshold"): "0.35",
    (Decision, "maximize"): "f1",
    (Decision, "costs"): "{false_negative: 5, false_positive: 1}",
    (Costs, "false_negative"): "5",
    (Costs, "false_positive"): "1",
    (Promotion, "require"): "{roc_auc: 0.60}",
    (Guard, "slices"): "[State]",
    (PerformanceMonitoring, "metric"): "average_precision",
    (Retraining, "when"): "[drift, performance]",
    (Receiver, "webhook"): "alerts_webhook",
    (Receiver, "email"): "[risk@bank.example]",
    (Receiver, "slack"): "alerts_slack",
    (Receiver, "pagerduty"): "on_call",
    (Receiver, "about"): "[failure, gate, deadline]",
    (Retraining, "persist"): "2 of 3",
    (Retraining, "budget"): "4 in 8",
}
_BOOLEAN = "`true` or `false`"
_INTRODUCTION = """\
# The pipeline file

`include/pipelines/<name>.yaml` is a model's whole life. Its name is the pipeline's. This page is
made from the models that read the file (`python -m include.reference`), so it cannot lag behind.

`./relevo check <name>` tells everything that is wrong with a file and with what it names, each as
`file:line: key: rule, value found. What to do`, and what the DAGs will look like.

Editors that know JSON Schema complete and explain the keys if the file begins with

```yaml
# yaml-language-server: $schema=../../docs/pipeline.schema.json
```

Times are UTC without a zone. Keys whose type is "section" have a table of their own.
"""
_METRICS = """\
## Metrics

scikit-learn's, by these names. One of your own stands in `metrics` and may then be named as well.
`promotion.require` also knows `calibration_error`, of classification: the expected calibration
error on bins of equal frequency, lower is better.
"""
_PRESETS = """\
## Named candidates

What a candidate of these names does unless the file changes it. With `trials` the search space is
searched; `trials: 0` takes the parameters as they are. `search` of the file replaces the whole
search space; `parameters` adds to the parameters or replaces single ones.
"""


def text() -> str:
    """Render the reference as its file holds it."""
    parts = [_INTRODUCTION, *(_section(section) for section in _in_order())]
    parts += [_METRICS + "\n" + _metrics_table(), _PRESETS + "\n" + _presets_table()]
    return "\n".join(parts)


def _in_order() -> Iterator[type[BaseModel]]:
    """Take the sections in the order of the table of places; a new one must be put there."""
    missing = {section.__name__ for section in sections()} - {item.__name__ for item in PLACES}
    if missing:
        raise KeyError(f"PLACES: must name every section, got none for {missing}. Add it.")
    yield from PLACES


def _section(section: type[BaseModel]) -> str:
    whole = schema()
    definition = whole if section is Pipeline else whole["$defs"][section.__name__]
    about, meanings = documentation(section)
    required = definition.get("required", ())
    rows = [
        (
            f"`{key}`",
            _kind(value, whole["$defs"]),
            "**required**" if key in required else _default(value),
            meanings[key],
            _code(EXAMPLES.get((section, key), "")),
        )
        for key, value in definition["properties"].items()
    ]
    table = _table(("key", "type", "default", "meaning", "example"), rows)
    title = PLACES[section] if section is Pipeline else f"`{PLACES[section]}`"
    return f"## {title}\n\n{about}\n\n{table}"


def _kind(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Say in words what a key takes."""
    if "$ref" in value:
        name = str(value["$ref"]).rsplit("/", 1)[-1]
        definition = definitions[name]
        return _kind(definition, definitions) if "enum" in definition else "section"
    if "enum" in value:
        return "one of " + ", ".join(f"`{item}`" for item in value["enum"])
    members = value.get("anyOf") or value.get("oneOf")
    if members:
        kinds = [_kind(item, definitions) for item in members if item.get("type") != "null"]
        if "whole number" in kinds and "number" in kinds:
            kinds.remove("whole number")
        if {"text", "number", _BOOLEAN} <= set(kinds):
            kinds = ["value", *(kind for kind in kinds if kind.startswith("list"))]
        # Names that are offered are listed below; any text may be one.
        offered = any("enum" in item for item in members) and "text" in kinds
        return "name of a metric" if offered else " or ".join(dict.fromkeys(kinds))
    match value.get("type"):
        case "string":
            return "date" if value.get("format") == "date" else "text"
        case "boolean":
            return _BOOLEAN
        case "array":
            return f"list of {_kind(value['items'], definitions)}"
        case "object":
            below = value.get("additionalProperties") or next(
                iter(value["patternProperties"].values())
            )
            below = below["allOf"][0] if "allOf" in below else below
            return f"by name, {_kind(below, definitions)}"
        case "integer" | "number" as number:
            name = "whole number" if number == "integer" else "number"
            return f"{name} {_bounds(value)}".strip()
        case other:
            raise KeyError(f"type {other!r}: must be known to the reference, got {value}. Add it.")


def _bounds(value: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    return " and ".join(f"{word} {value[key]:g}" for key, word in words.items() if key in value)


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if "$ref" in value and default is None:
        return "that of its keys"
    if default is None:
        return "none"
    if default == "":
        return "by task"
    return _code(default if isinstance(default, str) else json.dumps(default))


def _metrics_table() -> str:
    defaults = {name: task for task, name in metric_names.DEFAULT.items()}
    rows = [
        (
            f"`{name}`",
            ", ".join(
                f"**{task}**" if defaults.get(name) == task else task for task in metric.tasks
            ),
            {"scores": "probabilities", "classes": "classes", "values": "numbers"}[metric.takes],
            "higher" if metric.higher_is_better else "lower",
            f"`{metric.function}`" + "".join(f", `{key}={value}`" for key, value in metric.options),
        )
        for name, metric in METRICS.items()
    ]
    header = ("name", "tasks (bold: the default)", "judges", "better", "scikit-learn")
    return _table(header, rows)


def _presets_table() -> str:
    rows = [
        (
            f"`{name}`",
            "<br>".join(f"`{path}`" for path in (preset.classifier, preset.regressor) if path),
            f"`{preset.encoding}`",
            "<br>".join(
                _code(f"{key}: {_yaml(value)}") for key, value in preset.parameters.items()
            ),
            "<br>".join(_code(f"{key}: {_yaml(value)}") for key, value in preset.search.items()),
        )
        for name, preset in PRESETS.items()
    ]
    return _table(("name", "estimator", "encoding", "parameters", "search space"), rows)


def _yaml(value: Any) -> str:
    """Spell a value as the pipeline file does, on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def _code(value: str) -> str:
    """Set a value in code type, also one that holds a bar, which would end the cell."""
    return f"`{value.replace('|', chr(92) + '|')}`" if value else ""


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
