"""Data Docs: the result of a validation as a page that people open.

The sections are rendered by Great Expectations. The page around them is ours, because theirs loads
scripts and styles from five other hosts, links to pages that are not there, and puts landed values
into the page as they come. Ours is one file without scripts that can be read offline.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from include.quality.report import Failure, ValidationReport
from include.storage.object_store import ObjectStore, join
from include.templates import without_markup

PAGE = "index.html"
RESULT = "result.json"


def build_data_docs(report: ValidationReport, folder: Path) -> Path:
    """Write ``index.html`` and ``result.json`` of one validation into a folder.

    Returns:
        Path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(
        json.dumps(report.result, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8"
    )
    page = folder / PAGE
    page.write_text(_render(report), encoding="utf-8")
    return page


def publish_data_docs(store: ObjectStore, report: ValidationReport, uri: str) -> str:
    """Write the page and the result below a folder of the store, replacing what was there.

    Returns:
        Address of the page.

    Raises:
        SourceError: If the store does not take them.
    """
    with tempfile.TemporaryDirectory() as folder:
        build_data_docs(report, Path(folder))
        store.upload_folder(Path(folder), uri)
    return join(uri, PAGE)


def _render(report: ValidationReport) -> str:
    from great_expectations.core.expectation_validation_result import (
        expectationSuiteValidationResultSchema,
    )
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView
    from jinja2 import ChoiceLoader, PackageLoader

    # Through JSON, because the renderer cannot print NumPy numbers.
    result = expectationSuiteValidationResultSchema.load(_harmless(report.result))
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(result)
    view = DefaultJinjaPageView()
    ours = PackageLoader("include", "templates/data_docs")
    view.env.loader = ChoiceLoader([ours, view.env.loader])
    overview = document.sections[0].content_blocks
    overview[:] = overview[1:]  # a header with a link to a page that we do not publish
    verdict, verdict_class = _verdict(report)
    html: str = view.render(
        document,
        title=f"{report.source} {report.partition}: {report.suite}",
        verdict=verdict,
        verdict_class=verdict_class,
        counts=_counts(report),
        failures=[{**asdict(item), "effect": _effect(item)} for item in report.failures],
    )
    return html


def _verdict(report: ValidationReport) -> tuple[str, str]:
    if report.stopping:
        return f"Stopped: {len(report.stopping)} expectation(s) stop the batch.", "stops"
    if report.quarantined:
        return (
            f"{report.quarantined:,} of {report.rows:,} rows ({report.quarantined_share:.2%}) are "
            "for quarantine.",
            "moves",
        )
    return "Passed: nothing critical failed.", "passes"


def _counts(report: ValidationReport) -> str:
    counts = report.statistics
    files = f" from {len(report.files)} file(s)" if report.files else ""
    return (
        f"{report.rows:,} rows{files}; {counts['successful']} of {counts['evaluated']} "
        "expectations met."
    )


def _effect(failure: Failure) -> str:
    if failure.stops:
        return "stops the batch"
    if failure.severity == "critical":
        return "rows go to quarantine"
    return "none, for information"


def _harmless(value: Any) -> Any:
    """Copy a result with angle brackets replaced by look-alikes.

    Great Expectations escapes the arguments of an expectation but not the values it found:
    a landed ``<script>`` would become part of the page. Nor does it escape names of columns in its
    headings. The other arguments are left as they are, because it also reads them again.
    """
    if isinstance(value, str):
        return without_markup(value)
    if isinstance(value, Mapping):
        return {
            _harmless(key): _with_harmless_columns(item)
            if key == "expectation_config"
            else _harmless(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    return value


def _with_harmless_columns(configuration: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {
        key: _harmless(item) if key.startswith("column") else item
        for key, item in configuration["kwargs"].items()
    }
    return {**configuration, "kwargs": arguments}
