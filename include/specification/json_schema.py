"""The JSON Schema of the pipeline file, by which editors complete, explain and check it.

``python -m include.specification.json_schema`` writes it to ``docs/pipeline.schema.json``.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from include.specification import candidate_defaults, metric_names
from include.specification.candidate_defaults import PRESETS
from include.specification.error_messages import sections_below
from include.specification.metric_names import METRICS, Task
from include.specification.pipeline import Pipeline

PATH = Path(__file__).parents[2] / "docs" / "pipeline.schema.json"


def schema() -> dict[str, Any]:
    """Make the schema from the models: structure from their fields, help from their docstrings."""
    found = Pipeline.model_json_schema()
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["title"] = "Relevo pipeline"
    definitions = found["$defs"]
    _explain(found, Pipeline)
    for section in sections():
        _explain(definitions[section.__name__], section)
    training = definitions["Training"]["properties"]
    training["candidates"] = _candidates(training["candidates"])
    training["metric"].update(_names(sorted(METRICS)))
    decision = definitions["Decision"]
    decision.update(minProperties=1, maxProperties=1)
    of_classes = metric_names.names_for("binary", takes="classes")
    decision["properties"]["maximize"].update(_names(list(of_classes)))
    definitions["PerformanceMonitoring"]["properties"]["metric"].update(_names(sorted(METRICS)))
    found["allOf"] = [_metrics_of(task) for task in get_args(Task)]
    return found


def sections() -> tuple[type[BaseModel], ...]:
    """List the models of all sections below the pipeline, each once, in the file's order."""
    return tuple(dict.fromkeys(sections_below(Pipeline)))


def documentation(section: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Read a section's docstring: what it is about, and by key what that means."""
    about, _, arguments = (inspect.getdoc(section) or "").partition("\n\nArgs:\n")
    found: dict[str, str] = {}
    key = ""
    for line in arguments.splitlines():
        match = re.fullmatch(r" {4}(\w+): (.*)", line)
        if match:
            key = match[1]
            found[key] = match[2]
        elif key and line.strip():
            found[key] += f" {line.strip()}"
    return _plain(about), {key: _plain(text) for key, text in found.items()}


def text() -> str:
    """Render the schema as its file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _plain(docstring: str) -> str:
    return " ".join(docstring.replace("``", "`").split())


def _explain(definition: dict[str, Any], section: type[BaseModel]) -> None:
    definition["description"], meanings = documentation(section)
    for key, value in definition["properties"].items():
        value.pop("title", None)
        value["description"] = meanings[key]
        if "$ref" in value:
            value.pop("default", None)  # those of a section stand at its keys
        if "patternProperties" in value:
            value["additionalProperties"] = False


def _names(known: list[str]) -> dict[str, Any]:
    """Offer known names and allow others: a metric of one's own has a name of its own."""
    return {"anyOf": [{"enum": known}, {"type": "string"}]}


def _candidates(definition: dict[str, Any]) -> dict[str, Any]:
    """Offer the presets; under any other name an estimator is needed."""
    ((pattern, candidate),) = definition["patternProperties"].items()
    return {
        "type": "object",
        "description": definition["description"],
        "minProperties": definition["minProperties"],
        "propertyNames": {"pattern": pattern},
        "properties": {
            name: {**candidate, "description": ", ".join(_estimators(name))} for name in PRESETS
        },
        "additionalProperties": {"allOf": [candidate, {"required": ["estimator"]}]},
    }


def _estimators(name: str) -> Iterator[str]:
    for path in (PRESETS[name].classifier, PRESETS[name].regressor):
        if path is not None:
            yield path


def _metrics_of(task: Task) -> dict[str, Any]:
    """Restrict metrics, presets and sections to a task; metrics only if the file has no own."""
    known = list(metric_names.names_for(task))
    requirable = list(metric_names.requirable(task))
    named = {"properties": {"metric": {"enum": known}}}
    unfit = [name for name in PRESETS if name not in candidate_defaults.names_for(task)]
    return {
        "if": {"properties": {"task": {"const": task}}, "required": ["task"]},
        "then": {
            "properties": {
                "training": {
                    "properties": {
                        "candidates": {
                            "properties": {name: {"required": ["estimator"]} for name in unfit}
                        }
                    }
                },
                **({} if task == "binary" else {"decision": False}),
            },
            "if": {"not": {"required": ["metrics"]}},
            "then": {
                "properties": {
                    "training": named,
                    "promotion": {
                        "properties": {"require": {"propertyNames": {"enum": requirable}}}
                    },
                    "monitoring": {"properties": {"performance": named}},
                }
            },
        },
    }


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
