"""JSON lines files as tables of text, in pieces: nothing here knows a column's type."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from include.errors import SourceError
from include.ingestion.arrow_types import not_plain
from include.ingestion.storable_columns import check_names
from include.ingestion.text_encoding import HEAD_BYTES, check_encoding, decoder, marked_encoding
from include.ingestion.text_pieces import TextPiece

_JSON_LINES = 50_000
_SHOWN = 80


def read_json_lines(open_file: Callable[[], Any], what: str) -> Iterator[TextPiece]:
    """Read a file with one JSON object a line; a key that a line does not have is null.

    Args:
        open_file: Opens the decompressed file from its start: UTF-8, or UTF-16 with its mark.
        what: The file, for messages.

    Returns:
        Pieces, whose columns are the keys that their lines have.

    Raises:
        SourceError: If a line is no JSON object, a value is nested, or a column is refused.
    """
    cells: dict[str, list[str | None]] = {}
    quoted: dict[str, list[int]] = {}
    rows = 0
    for number, line in lines(open_file, what):
        for key, value in parsed(what, number, line).items():
            if key not in cells:
                cells[key] = [None] * rows
            if isinstance(value, dict | list):
                raise not_plain(what, key, f"a nested value in line {number}")
            if type(value) is str:  # and not a number, which is kept as it is written
                quoted.setdefault(key, []).append(rows)
            elif isinstance(value, bool):
                value = str(value).lower()
            cells[key].append(value)
        rows += 1
        for column in cells.values():
            if len(column) < rows:
                column.append(None)
        if rows == _JSON_LINES:
            yield _json_piece(what, cells, quoted, rows)
            cells, quoted, rows = {}, {}, 0
    yield _json_piece(what, cells, quoted, rows)


def lines(open_file: Callable[[], Any], what: str) -> Iterator[tuple[int, str]]:
    """Give the lines that are not blank, with their numbers from 1; only a line feed ends one.

    Raises:
        SourceError: If the file is of another encoding.
    """
    with open_file() as stream:
        head = stream.read(HEAD_BYTES)
    encoding = marked_encoding(head) or "utf-8"
    check_encoding(what, head, encoding)
    with open_file() as stream:
        text = io.TextIOWrapper(io.BufferedReader(stream), encoding=decoder(encoding), newline="\n")
        for number, line in enumerate(text, 1):
            if not line.isspace():
                yield number, line.rstrip("\r\n")


class _Number(str):
    """A JSON number as it is written, so that no digit is lost."""


class _TwiceError(ValueError):
    """A key that an object has more than once: JSON would keep its last value only."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    held = dict(pairs)
    if len(held) < len(pairs):
        keys = [key for key, _ in pairs]
        raise _TwiceError(next(key for key in keys if keys.count(key) > 1))
    return held


# NaN, which some writers put where a number is missing, is no JSON. Neither are the infinities,
# but they are values: cells that no number can be read from.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_Number,
    parse_float=_Number,
    parse_constant=lambda name: None if name == "NaN" else _Number(name),
)


def parsed(what: str, number: int, line: str) -> Mapping[str, Any]:
    """Read one object; numbers are strings as they are written.

    Raises:
        SourceError: If the line is none, or has a key twice.
    """
    try:
        value = _DECODER.decode(line)
    except _TwiceError as error:
        raise SourceError(
            f"{what}: line {number} must have each key once, got {str(error)!r} more than once. "
            "Rename or remove one of them."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _no_object(what, number, line) from error
    if not isinstance(value, dict):
        raise _no_object(what, number, line)
    if "\\u" in line:
        _check_characters(what, number, value)
    return value


def _check_characters(what: str, number: int, value: Mapping[str, Any]) -> None:
    """Refuse what JSON can escape and no text holds: one half of a pair of surrogates."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"{what}: line {number} must hold whole characters, got half of one, "
            f"{error.object[error.start]!r}, as of a text that was cut. Write that text again."
        ) from error


def _no_object(what: str, number: int, line: str) -> SourceError:
    return SourceError(
        f"{what}: line {number} must be one JSON object, got {line.strip()[:_SHOWN]!r}. Land one "
        "object a line, as in JSON lines."
    )


def _json_piece(
    what: str, cells: Mapping[str, list[str | None]], quoted: Mapping[str, list[int]], rows: int
) -> TextPiece:
    check_names(what, list(cells))
    if rows and not cells:
        raise SourceError(
            f"{what}: objects must have keys, got {rows} without any. Land rows with columns."
        )
    return TextPiece(
        pa.table({key: pa.array(column, pa.string()) for key, column in cells.items()}),
        {key: _mask(positions, rows) for key, positions in quoted.items()},
    )


def _mask(positions: list[int], rows: int) -> pa.Array:
    mask = [False] * rows
    for position in positions:
        mask[position] = True
    return pa.array(mask, pa.bool_())
