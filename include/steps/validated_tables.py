"""Writing what was validated: quarantine and labels first, and last of all the table itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from include.errors import UnavailableError
from include.specification.pipeline import Pipeline
from include.storage.data_files import DataFile, write_files
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin, TableReference


@dataclass(frozen=True)
class Good:
    """What is written of some partitions of a data set.

    Args:
        files: Files of the rows that passed, below the table.
        schema: Their columns, and ``partition``.
        details: What the log of the table is to say besides.
        quarantined: The other rows, with ``partition``.
        labels: What the rows that passed say of labels, with ``partition``; of the data set with
            the labels only.
    """

    files: Sequence[DataFile]
    schema: pa.Schema
    details: Mapping[str, str]
    quarantined: pa.Table
    labels: pa.Table


def write_validated(
    lake: Lake,
    pipeline: Pipeline,
    dataset: str,
    table: str,
    names: Sequence[str],
    origin: Origin,
    good: Good,
    replacing: Mapping[str, frozenset[str]] | None,
) -> TableReference:
    """Replace partitions of a data set's table, its quarantine and its labels.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file.
        dataset: Name of the source, or ``features``.
        table: Its table, which is committed last.
        names: The partitions.
        origin: Who writes.
        good: What is written.
        replacing: By table, the files that the partitions must still consist of; by default
            whatever they hold is replaced.

    Returns:
        The new version of the table.

    Raises:
        UnavailableError: If another run wrote one of the tables since.
    """

    def commit(
        of: str,
        files: Sequence[DataFile],
        schema: pa.Schema,
        details: Mapping[str, str] | None = None,
    ) -> TableReference:
        held = None if replacing is None else replacing[of]
        reference = lake.commit(
            of,
            files,
            schema,
            partitions=names,
            origin=origin,
            details=details,
            replacing=held,
        )
        if held is not None:
            _refuse_change(lake, of, names, frozenset(file.path for file in files))
        return reference

    def write(of: str, rows: pa.Table, details: Mapping[str, str] | None = None) -> None:
        commit(of, write_files(lake.settings, lake.uri(of), rows), rows.schema, details)

    if replacing is not None:
        _refuse_change(lake, table, names, replacing[table])
    write(pipeline.quarantine_table(dataset), good.quarantined)
    if dataset == pipeline.label_source:
        write(pipeline.labels_table, good.labels, good.details)
    return commit(table, good.files, good.schema, good.details)


def _refuse_change(lake: Lake, table: str, names: Sequence[str], expected: frozenset[str]) -> None:
    if lake.paths(table, *names) != expected:
        raise UnavailableError(
            f"table {lake.pipeline}.{table}: {names[0]} to {names[-1]} must not change while "
            "they are prepared, got rows of another run. Try again when that has ended."
        )
