"""Where data and labels come from, and how their files are written."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from include.specification.sections.section import (
    ColumnType,
    Count,
    Name,
    Scalar,
    Section,
    SectionError,
    Share,
)

ROW_ID = "row_id"
NULL_VALUES = ("NA", "N/A", "NULL", "NaN", "None")
PLACEHOLDER = "{partition}"


class Labels(Section):
    """Where a source's labels are. Those of the first source are in the row itself.

    Of several labels of one row, the one known last counts; of those known at the same moment, the
    one that landed in the latest partition, as a correction. Different labels of one row that are
    known at the same moment and land in one partition contradict each other: all of their rows go
    to quarantine, as if a critical expectation had said so.

    Args:
        column: Column that holds the label; a row without a value has no label yet.
        expression: SQL expression (DuckDB) over the source's columns that gives the label, in
            place of a column, e.g. ``arr_delay > 15``; a window in it sees the rows of the
            partition. The feature function sees none of the columns that it names, but for the
            entity and the event time.
        known_at: Column with the time at which the label became known, naive UTC. Without it, a
            label in the row is known with the row, and one of another source when it lands.
        positive: The value of the column that means 1; needed by a binary label that is neither
            0 and 1 nor true and false.
        event_time: Column of a label source that holds the event time of the row it is about,
            for entities that come back; without it the entity alone names the row.
    """

    column: str | None = None
    expression: str | None = None
    known_at: str | None = None
    positive: Scalar = None
    event_time: str | None = None

    @model_validator(mode="after")
    def _name_the_label(self) -> Self:
        if (self.column is None) == (self.expression is None):
            raise ValueError("needs either column or expression, and not both")
        if self.positive is not None and self.column is None:
            raise SectionError({"positive": "needs column; an expression says itself what 1 means"})
        return self


class CsvDialect(Section):
    """How a CSV source is written.

    Args:
        delimiter: Character between cells.
        quote: Character around a cell that holds the delimiter.
        encoding: Encoding of the text, as Python names it.
        decimal: Decimal mark of numbers.
        thousands: Mark between thousands, e.g. ``","`` where numbers are written 1,000.50; a
            number without it is read as well.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", "'", " "] | None = None

    @field_validator("encoding")
    @classmethod
    def _is_known(cls, encoding: str) -> str:

        try:
            codecs.lookup(encoding)
        except LookupError as error:
            raise ValueError(
                "must be an encoding that Python knows, such as utf-8 or latin-1"
            ) from error
        return encoding

    @model_validator(mode="after")
    def _tells_marks_apart(self) -> Self:
        if self.thousands == self.decimal:
            raise SectionError(
                {"thousands": f"must differ from decimal, got {self.thousands!r} for both"}
            )
        return self


class Source(Section):
    """One data set: objects on the store, or a query over an Airflow connection.

    Args:
        uri: Folder of one partition's files, where ``{partition}`` stands for its name; or,
            without it, one file or folder that holds every partition: its rows are picked by
            ``time``, or taken whole if there is none. Left aside with a warning are folders that
            are no partition, and what writers and editors leave behind: a part of the path below
            begins with `_`, `.`, `~` or `#`, ends in `~`, `.tmp`, `.part`, `.crdownload` and the
            like, or is a file manager's own, such as `Thumbs.db` or `$RECYCLE.BIN`.
        format: Of the files. A name that ends in ``.gz`` is decompressed.
        csv: How CSV files are written.
        null_values: Cells of CSV files that mean "missing", whatever their case; the empty cell
            and spaces always do. JSON lines have null, so of their strings only those that are
            named here do.
        null_values_by_column: The same for single columns, in place of ``null_values``; an empty
            list keeps every word, e.g. a class None.
        types: Type by column. Of text files, others are inferred when the source first lands,
            and a cell that cannot be read as its type, such as `01014` as a number, moves its row
            to quarantine. Parquet files and queries bring types: name one only where it differs
            between files, or where a column may hold nothing but nulls.
        connection: Airflow connection of a SQL source.
        query: ``select`` of a SQL source; ``:start`` and ``:end`` stand for the partition's first
            moment and the first moment after it, in UTC as the session is, ``:partition`` for its
            name. Decimals stay decimals; those without a declared scale (an average) become
            floating-point numbers, unless all are whole.
        time: Column with the time of the row, naive UTC; needed where a query or a single file
            holds every partition.
        history: How many earlier partitions the feature function sees as well.
        suite: Name of the expectation suite (``expectations/<suite>.json``).
        on_failure: What critical row-level failures do: move the rows to quarantine, or fail.
        max_quarantined: Largest share of rows that may be quarantined, in [0, 1].
        allow_empty: Whether a partition may come without rows.
        labels: Set for the source that brings the labels.
        generation: Which generation of its tables it fills; a higher one begins new tables.
    """

    uri: str | None = None
    format: Literal["parquet", "csv", "json_lines"] = "parquet"
    csv: CsvDialect = CsvDialect()
    null_values: tuple[str, ...] = NULL_VALUES
    null_values_by_column: Mapping[str, tuple[str, ...]] = {}
    types: Mapping[str, ColumnType] = {}
    connection: str | None = None
    query: str | None = None
    time: str | None = None
    history: Annotated[int, Field(ge=0)] = 0
    suite: Name
    on_failure: Literal["quarantine", "fail"] = "quarantine"
    max_quarantined: Share = 0.05
    allow_empty: bool = False
    labels: Labels | None = None
    generation: Count = 1

    @field_validator("uri")
    @classmethod
    def _is_on_the_store(cls, uri: str | None) -> str | None:
        if uri is not None and not re.match(r"^s3://[a-z0-9][a-z0-9.-]+/.+$", uri):
            raise ValueError(
                "must be an address on the store such as s3://landing/loans/{partition}/"
            )
        if uri is not None and "{" in uri.replace(PLACEHOLDER, "", 1):
            raise ValueError("must hold {partition} at most once, and no other placeholder")
        return uri

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.uri is None) == (self.query is None):
            raise ValueError("needs either uri or query, and not both")
        if (self.connection is None) != (self.query is None):
            missing, given = (
                ("connection", "query") if self.query is not None else ("query", "connection")
            )
            raise SectionError({given: f"needs {missing} beside it"})
        if self.query is not None and not re.match(r"(?is)^\s*(select|with)\b", self.query):
            raise SectionError({"query": f"must be one select, got {self.query[:40]!r}"})
        if self.null_values_by_column and (self.query is not None or self.format == "parquet"):
            raise SectionError(
                {"null_values_by_column": "are for format csv or json_lines; remove them"}
            )
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise SectionError({"csv": "says how CSV files are written, so it needs format csv"})
        return self

    @property
    def is_partitioned(self) -> bool:
        """Whether each partition has a folder of its own."""
        return self.uri is not None and PLACEHOLDER in self.uri

    def missing_words(self, column: str) -> tuple[str, ...]:
        """Name the cells of a column of text that mean "missing"."""
        is_said = self.format == "csv" or "null_values" in self.model_fields_set
        return self.null_values_by_column.get(column, self.null_values if is_said else ())

    def location(self, partition: str) -> str:
        """Name the folder of one partition."""
        return (self.uri or "").replace(PLACEHOLDER, partition)
