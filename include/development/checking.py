"""Check a pipeline before anything runs: its file, and everything that the file names.

Heavy libraries are imported inside the functions: reading a wrong file should answer at once.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

from include.calendar import partitions
from include.development.candidate_checks import check_candidates
from include.development.checked_file import Checked
from include.development.function_checks import (
    check_feature_function,
    check_own_metrics,
    check_returned_columns,
)
from include.development.landed_checks import check_landed
from include.development.run_dates import run_dates
from include.development.suite_checks import check_suites
from include.quality.suites import EXPECTATIONS
from include.specification import pipeline_file
from include.specification.pipeline_file import PIPELINES, Finding
from include.storage.settings import StoreSettings

DAGS = Path(__file__).parents[2] / "dags"
_RUNS = 40
_DECLARATION = '''\
"""{description}"""

from relevo.dags import declare

declare("{name}")'''


def check(
    name: str,
    *,
    pipelines: Path = PIPELINES,
    expectations: Path = EXPECTATIONS,
    dags: Path = DAGS,
    store: StoreSettings | None = None,
) -> tuple[Finding, ...]:
    """List what keeps a pipeline from running and what its owner should know.

    Runs the modules that the file names, as importing them does, but none of their functions. Of
    the data one landed partition is read, if there is a store.

    Args:
        name: Name of the pipeline: ``<name>.yaml``.
        pipelines: Folder of the pipeline files.
        expectations: Folder of the suites.
        dags: Folder of the DAG files.
        store: A store that answers; None to look at no data.

    Returns:
        Findings, those of the pipeline file first, by line; none if all is well. Of a file that is
        wrong in itself those alone, as loading it tells them.

    Raises:
        SpecificationError: If there is no such pipeline file.
    """
    file = pipeline_file.read(name, pipelines)
    if file.pipeline is None or file.findings:
        # What it names can be told only once its parts fit together.
        return file.findings
    checked = Checked(f"{name}.yaml", file.document, file.pipeline)
    found = [
        *_of_sections(checked, pipelines, expectations, store),
        *check_own_metrics(checked),
        *check_candidates(checked),
        *_schedule(checked),
        *_declaration(checked, dags),
    ]
    if (to_be := checked.to_be()) is not None:
        found += _of_sections(to_be, pipelines, expectations, store)
        found += [] if store is None else _is_migrated(checked, store)
    once = dict.fromkeys(found)
    return tuple(sorted(once, key=lambda item: (item.file != checked.file, item.file, item.line)))


def _of_sections(
    checked: Checked, pipelines: Path, expectations: Path, store: StoreSettings | None
) -> Iterator[Finding]:
    """Check what a migration may change: features and sources."""
    yield from check_feature_function(checked)
    yield from check_returned_columns(checked, expectations)
    yield from check_suites(checked, expectations)
    yield from _expression(checked)
    yield from _sources_without_time(checked)
    yield from _shared_landings(checked, pipelines)
    if store is not None:
        yield from check_landed(checked, expectations, store)


def _is_migrated(checked: Checked, store: StoreSettings) -> Iterator[Finding]:
    """Tell that the migration is over."""
    from include.steps.migration import already_in_use
    from include.storage.lake_tables import Lake

    if told := already_in_use(Lake(store, checked.pipeline.name), checked.pipeline):
        yield checked.warning(("next",), told)


def _expression(checked: Checked) -> Iterator[Finding]:
    expression = checked.pipeline.labels.expression
    if expression is None:
        return
    import duckdb

    from include.features.labels import as_label

    location = ("sources", checked.pipeline.label_source, "labels", "expression")
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        try:
            # Parsed only: the columns that it names are not known before data land.
            statements = connection.extract_statements(f"select {as_label(expression)}")
        except duckdb.Error as error:
            yield checked.error(
                location,
                f"must be an SQL expression, got {expression!r}: {str(error).splitlines()[0]}. "
                "Correct it.",
            )
            return
    if len(statements) != 1:
        yield checked.error(
            location, f"must be one SQL expression, got {len(statements)} statements. Keep one."
        )


def _schedule(checked: Checked) -> Iterator[Finding]:
    schedule, frequency = checked.pipeline.schedule, checked.pipeline.partition
    if schedule is None or not checked.pipeline.has_time:
        return
    location = ("schedule", "cron")
    runs = list(islice(run_dates(checked.pipeline), _RUNS))
    if not runs:
        yield checked.warning(
            location,
            f"never falls between {schedule.start} and {schedule.end}, got {schedule.cron!r}. "
            "Correct it, or the days.",
        )
    for earlier, later in pairwise(runs):
        before = partitions.latest_closed(earlier, frequency)
        left_out = before.shift(1)
        if partitions.latest_closed(later, frequency) > left_out:
            yield checked.warning(
                location,
                f"runs more rarely than {frequency}, got {schedule.cron!r}: {left_out} is left "
                f"out between the runs of {earlier:%Y-%m-%d} and {later:%Y-%m-%d}. Run at least "
                "once a partition, or choose longer ones.",
            )
            return


def _sources_without_time(checked: Checked) -> Iterator[Finding]:
    pipeline = checked.pipeline
    if not pipeline.has_time:
        return
    for name in pipeline.feature_sources:
        source = pipeline.sources[name]
        if source.is_partitioned or source.time or (source.query and ":end" in source.query):
            continue
        yield checked.warning(
            ("sources", name),
            "has no time, so that a backfill of a past partition sees today's rows. Name its time, "
            "or bring one partition at a time, if its rows change.",
        )


def _shared_landings(checked: Checked, folder: Path) -> Iterator[Finding]:
    uris = {source.uri: name for name, source in checked.pipeline.sources.items() if source.uri}
    for other in pipeline_file.names(folder):
        if other == checked.pipeline.name:
            continue
        path = folder / f"{other}.yaml"
        if not path.is_file():
            continue
        for uri in _uris(path, path.stat().st_mtime_ns):
            if uri in uris:
                yield checked.warning(
                    ("sources", uris[uri], "uri"),
                    f"is read by pipeline {other} as well, got {uri!r}. What lands there must "
                    "serve both.",
                )


@functools.lru_cache(maxsize=1024)
def _uris(path: Path, modified: int) -> tuple[str, ...]:
    """List what another pipeline reads; its own mistakes are told when it is checked itself."""
    file = pipeline_file.read(path.stem, path.parent)
    if file.pipeline is None:
        return ()
    return tuple(source.uri for source in file.pipeline.sources.values() if source.uri)


def _declaration(checked: Checked, folder: Path) -> Iterator[Finding]:
    name = checked.pipeline.name
    if any(name in _declared(path) for path in sorted(folder.glob("*.py"))):
        return
    lines = _DECLARATION.format(description=checked.pipeline.description, name=name)
    yield checked.warning(
        (),
        f"no file of {folder.name}/ declares {name}, so that Airflow does not show it. Write "
        f"{folder.name}/{name}.py:\n{lines}",
    )


def _declared(path: Path) -> set[str]:
    """Name the pipelines that a DAG file declares."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return set()  # Airflow shows it as an import error of that file
    return {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name | ast.Attribute)
        and (call.func.id if isinstance(call.func, ast.Name) else call.func.attr) == "declare"
        for argument in call.args[:1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
