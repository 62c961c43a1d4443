"""Columns of text files as `new` proposes them: number marks, words for missing, types.

What a cell means is decided where ingestion decides it; here is only chosen what the pipeline file
will tell ingestion.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.arrow_types import rounding_warnings
from include.ingestion.cell_types import Inference, mask_missing
from include.ingestion.text_files import typed, without_missing
from include.ingestion.text_pieces import TextPiece
from include.specification.sections.section import ColumnType
from include.specification.sections.sources import CsvDialect

# What people and programs write for "missing" or for no number, where numbers are expected.
NULL_CODES = frozenset(
    (
        *("", "?", "-", ".", "n/a", "na", "nan", "null", "none", "nil", "error", "invalid"),
        *("unknown", "missing", "undefined", "#n/a", "#value!", "#div/0!"),
        *("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"),
    )
)
# Share of a column's cells that its type may leave unread: their rows go to quarantine.
TOLERANCE = 0.1
# Decimal sign and mark between thousands, the plainest first.
_MARKS = tuple(
    (decimal, thousands)
    for thousands, decimal in product((None, ",", ".", "'", " "), (".", ","))
    if thousands != decimal
)
_AMOUNT = (
    r"^[-+(]?\s?[$€£¥]?\s?(\d{1,3}([.,' \x{a0}\x{202f}\x{2019}]\d{3})+|\d+)([.,]\d+)?"
    r"\s?[%$€£¥)]?$"
)
_DIGITS = r"^[-+]?\d+$"
# Dates that are not ISO 8601: which number is the day and which the month, only people know.
_DATE = r"^\d{1,2}([./-])\d{1,2}([./-])(\d{4}|\d{2})\b|^\d{4}[./]\d{1,2}[./]\d{1,2}\b"
_MOST_LEVELS = 200
_FREQUENT = 0.01


@dataclass(frozen=True)
class TextColumns:
    """Columns of text files, and how ingestion is told to read them.

    Args:
        table: The rows in their types, null where a cell is missing or cannot be read.
        dialect: How CSV files are written, with the marks of numbers.
        types: Type by column, every one.
        null_values: Cells that mean "missing", besides the empty one.
        null_values_by_column: The same for columns in which some of these words are values.
        unparsed: Whether a row holds a cell that its type cannot hold, bool, shape (n_rows,).
        notes: What a person should know of all this.
    """

    table: pa.Table
    dialect: CsvDialect
    types: Mapping[str, ColumnType]
    null_values: tuple[str, ...]
    null_values_by_column: Mapping[str, tuple[str, ...]]
    unparsed: pa.Array
    notes: tuple[str, ...] = field(default=())


def choose(
    piece: TextPiece, dialect: CsvDialect, usual: Sequence[str], missing: Collection[str] = ()
) -> TextColumns:
    """Choose types and words for missing, so that nearly all cells can be read.

    A word that is spelt like "missing" means it in columns of numbers, times and flags. Among
    texts it is taken for a value where it is in 1 % of the cells or as frequent as other values
    are, unless a person said that it means missing.

    Args:
        piece: All rows of the data.
        dialect: How CSV files are written, but for the marks of numbers.
        usual: Words that mean "missing" without anybody saying so.
        missing: Words that a person said mean "missing".
    """
    cells = piece.cells.combine_chunks()
    columns = {name: cells[name].combine_chunks() for name in cells.column_names}
    said = {word.strip().lower() for word in missing}
    spelt = NULL_CODES | said | {word.lower() for word in usual}
    held = {name: mask_missing(column, spelt) for name, column in columns.items()}
    dialect, notes = _with_marks(held, piece.quoted, dialect)
    types: dict[str, ColumnType] = {
        name: _type(column, piece.quoted.get(name), dialect) for name, column in held.items()
    }
    words = {name: _counted(columns[name], spelt) for name in columns}
    texts = {name for name, kind in types.items() if kind == "string"}
    found = said | {word for name in words if name not in texts for word in words[name]}
    null_values = (*usual, *sorted(found - {word.lower() for word in usual}))
    by_column: dict[str, tuple[str, ...]] = {}
    for name in sorted(texts & set(columns), key=list(columns).index):
        kept = _values_among(words[name], held[name], null_values) - said
        if kept:
            by_column[name] = tuple(word for word in null_values if word.lower() not in kept)
    read = without_missing(piece, lambda name: by_column.get(name, null_values))
    rows = typed(read.cells, types, dialect)
    table = rows.rows
    notes += list(_told(words, types, null_values, by_column, cells.num_rows))
    notes += list(_amounts(table))
    notes += list(_dates(table))
    notes += rounding_warnings("data", rows.rounded)
    return TextColumns(
        table, dialect, types, null_values, by_column, rows.unparsed.is_valid(), tuple(notes)
    )


def is_amount(texts: pa.Array) -> pa.Array:
    """Tell which strings are numbers with marks or a unit, such as ``$1,000.50``.

    Args:
        texts: string.
    """
    numeric = pc.match_substring_regex(texts, _AMOUNT)
    return pc.and_not(numeric, pc.match_substring_regex(texts, _DIGITS))


def _type(cells: pa.Array, quoted: pa.Array | None, dialect: CsvDialect) -> ColumnType:
    inference = Inference(dialect, TOLERANCE)
    inference.see(cells, quoted)
    return inference.kind or "string"


def _with_marks(
    held: Mapping[str, pa.Array], quoted: Mapping[str, pa.Array], dialect: CsvDialect
) -> tuple[CsvDialect, list[str]]:
    """Find the decimal sign and the mark between thousands that make most columns numbers."""
    marked = {
        name: cells.drop_null()
        for name, cells in held.items()
        if name not in quoted and _holds_amounts(cells)
    }
    if not marked:
        return dialect, []
    best, most = [dialect], 0
    for decimal, thousands in _MARKS:
        tried = dialect.model_copy(update={"decimal": decimal, "thousands": thousands})
        count = sum(_type(cells, None, tried) in ("integer", "number") for cells in marked.values())
        if count > most:
            best, most = [tried], count
        elif count == most and count:
            best.append(tried)
    # 1,234 is ambiguous; those who write a decimal comma put semicolons between cells.
    chosen = best[0]
    commas = [item for item in best if (item.decimal, item.thousands) == (".", ",")]
    if commas and chosen.decimal == "," and dialect.delimiter != ";":
        chosen = commas[0]
    notes = []
    if chosen.decimal == "," and commas:
        notes.append(
            "numbers such as 1,234 are read with a decimal comma. If the comma stands between "
            'thousands, write csv: {thousands: ","} in the pipeline file.'
        )
    if chosen.thousands is not None:
        notes.append(
            f"numbers are written with {chosen.thousands!r} between thousands and "
            f"{chosen.decimal!r} before decimals, and are read so (csv.thousands, csv.decimal)."
        )
    return chosen, notes


def _holds_amounts(cells: pa.Array) -> bool:
    """Tell whether nearly all strings are numbers, and some have marks or a unit."""
    numeric = float(pc.mean(pc.match_substring_regex(cells, _AMOUNT)).as_py() or 0.0)
    return numeric >= 1 - TOLERANCE and bool(pc.any(is_amount(cells)).as_py())


def _counted(cells: pa.Array, spelt: Collection[str]) -> dict[str, int]:
    """Count the words that are spelt like "missing"."""
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(cells))
    words = folded.filter(pc.is_in(folded, pa.array(sorted(spelt), pa.string())))
    return {item["values"]: item["counts"] for item in words.value_counts().to_pylist()}


def _values_among(
    words: Mapping[str, int], others: pa.Array, null_values: Sequence[str]
) -> set[str]:
    """Name the words that are values of a column of texts."""
    counts = sorted(item["counts"] for item in others.drop_null().value_counts().to_pylist())
    if len(counts) > _MOST_LEVELS:
        return set()
    filled = sum(counts) + sum(words.values())
    usual = counts[len(counts) // 2] if counts else filled
    masked = {word.lower() for word in null_values}
    return {
        word
        for word, count in words.items()
        if word in masked and (count >= _FREQUENT * filled or count >= usual) and counts
    }


def _told(
    words: Mapping[str, Mapping[str, int]],
    types: Mapping[str, ColumnType],
    null_values: Sequence[str],
    by_column: Mapping[str, Sequence[str]],
    rows: int,
) -> Iterator[str]:
    """Tell of every word that is spelt like "missing" what it is taken for."""
    masked: dict[str, list[str]] = {}
    for name, counts in words.items():
        meant = {word.lower() for word in by_column.get(name, null_values)}
        for word, count in counts.items():
            if word in meant:
                masked.setdefault(word, []).append(f"{name} ({count:,})")
            elif types[name] == "string" and name in by_column:
                yield (
                    f"{name}: {word!r} in {count:,} of {rows:,} rows is taken for a value. If it "
                    f"means missing, begin again with --missing {word!r}."
                )
    for word, places in masked.items():
        shown = ", ".join(places[:5]) + (f" and {len(places) - 5} more" if places[5:] else "")
        yield f"{word!r} means missing in {shown}; see null_values."


def _amounts(table: pa.Table) -> Iterator[str]:
    """Tell of columns that stay text although people would call them numbers."""
    for name in table.column_names:
        cells = table[name].combine_chunks()
        if pa.types.is_string(cells.type) and _holds_amounts(cells):
            example = cells.filter(is_amount(cells))[0].as_py()
            yield (
                f"{name}: such as {example!r} it reads like a number with marks or a unit, and is "
                "kept as text. Land plain numbers to use it as one."
            )


def _dates(table: pa.Table) -> Iterator[str]:
    """Tell of columns that stay text although people would call them dates."""
    for name in table.column_names:
        cells = table[name].combine_chunks().drop_null()
        if not pa.types.is_string(cells.type) or not len(cells):
            continue
        reads = pc.match_substring_regex(cells, _DATE)
        if pc.mean(reads).as_py() >= 1 - TOLERANCE:
            yield (
                f"{name}: such as {cells.filter(reads)[0].as_py()!r} it reads like a date, and is "
                "kept as text. Write dates like 2005-07-14 to use it as a time."
            )
