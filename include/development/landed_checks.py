"""Whether what has landed fits the pipeline file and its suites; one partition is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from include.calendar import partitions
from include.calendar.partitions import Partition
from include.development.checked_file import Checked
from include.development.suite_checks import Columns, check_columns
from include.errors import RelevoError
from include.ingestion.landed_partitions import landed_partitions
from include.specification.consistency import LEAST_WINDOW
from include.specification.located_yaml import Location
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import Finding
from include.specification.sections.sources import ROW_ID
from include.steps.landed_probe import probe
from include.storage.connections import from_environment
from include.storage.lake_tables import PARTITION, Lake
from include.storage.settings import StoreSettings
from include.wording import nearest


def check_landed(
    checked: Checked, expectations: Path, settings: StoreSettings
) -> Iterator[Finding]:
    """Look at the latest landed partition of every source of files.

    Args:
        checked: The pipeline.
        expectations: Folder of the suites.
        settings: A store that answers.
    """
    for source, definition in checked.pipeline.sources.items():
        if definition.query is None:
            try:
                yield from _source(checked, source, expectations, settings)
            except RelevoError as error:
                yield checked.warning(
                    ("sources", source), f"what has landed cannot be read. {error}"
                )


def latest(pipeline: Pipeline) -> Partition:
    """Name a partition after all that can have landed."""
    if not pipeline.has_time:
        return partitions.snapshot(9999)
    return partitions.containing(datetime.now(UTC), pipeline.partition)


def _source(
    checked: Checked, source: str, expectations: Path, settings: StoreSettings
) -> Iterator[Finding]:
    pipeline = checked.pipeline
    found = landed_partitions(settings, pipeline, source, latest(pipeline), from_environment)
    if not found:
        return
    if source == pipeline.primary_source and pipeline.sources[source].is_partitioned:
        # Of data with a time the latest is scored, and is not there to learn from.
        told = shortage(pipeline, found[:-1] if pipeline.has_time else found)
        if told:
            yield checked.warning(("training", "window"), told)
    partition = found[-1]
    held = probe(Lake(settings, pipeline.name), pipeline, source, partition).table.column_names
    columns = [*held, PARTITION]
    for location, name in _named(pipeline, source):
        if name not in columns:
            near = nearest(name, held)
            yield checked.error(
                location,
                f"must be a column of what landed in {partition}, got {name!r}{near}",
            )
    whose = f"landed in {partition} of {source}"
    advice = "Change the line, or land the column."
    suite = pipeline.sources[source].suite
    yield from check_columns(suite, expectations, Columns(columns, whose, advice))


def _named(pipeline: Pipeline, source: str) -> Iterator[tuple[Location, str]]:
    """Name the columns of a source that the file names, and where."""
    definition = pipeline.sources[source]
    if source == pipeline.primary_source and pipeline.entity != ROW_ID:
        yield ("entity",), pipeline.entity
    if definition.time is not None:
        yield ("sources", source, "time"), definition.time
    for key in ("column", "known_at", "event_time"):
        named = getattr(definition.labels, key, None)
        if named is not None:
            yield ("sources", source, "labels", key), named


def shortage(pipeline: Pipeline, usable: Sequence[Partition]) -> str:
    """Say that there are fewer partitions than a training needs, and what to do; '' if not.

    Args:
        pipeline: The pipeline file.
        usable: Landed partitions to learn from, in time order.
    """
    rules, count = pipeline.training, len(usable)
    if count >= rules.window:
        return ""
    least = LEAST_WINDOW if pipeline.has_time else 1
    if count < least:
        advice = f"Land older ones; the smallest window is {least}"
        advice += ", or choose shorter partitions." if pipeline.has_time else "."
    else:
        advice = f"Land older ones, or shorten window to {count}"
        if pipeline.has_time and rules.holdout > count - 2:
            advice += f" and holdout to {count - 2}"
        advice += "."
    before = " before the one to score" if pipeline.has_time else ""
    span = f" ({usable[0]} to {usable[-1]})" if usable else ""
    return f"needs {rules.window} partitions with labels{before}, got {count}{span}. {advice}"
