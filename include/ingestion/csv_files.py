"""CSV files as tables of text, in pieces: nothing here knows a column's type."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from include.errors import SourceError
from include.ingestion.storable_columns import check_names
from include.ingestion.text_encoding import HEAD_BYTES, check_encoding, check_letters, decoder
from include.ingestion.text_pieces import TextPiece
from include.specification.sections.sources import CsvDialect

# No row may be longer than this.
_BLOCK_BYTES = 8 * 1024 * 1024
_SHOWN = 80
_NAMED_DELIMITER = re.compile(r"sep=.?", re.IGNORECASE)
_SCANNED_BYTES = 256 * 1024
_OVERLAP = 64
# Opens the decompressed file from its start, as often as it is called.
OpenFile = Callable[[], Any]


def read_csv(open_file: OpenFile, what: str, dialect: CsvDialect) -> Iterator[TextPiece]:
    """Read a CSV file; cells are stripped of spaces around them, and null where nothing is left.

    Args, returned pieces and errors are those of :func:`read_verbatim`.
    """
    for piece in read_verbatim(open_file, what, dialect):
        cells = [pc.utf8_trim_whitespace(column) for column in piece.columns]
        held = [pc.if_else(pc.equal(column, ""), None, column) for column in cells]
        names = [name.strip() for name in piece.column_names]
        yield TextPiece(pa.table(held, names=names))


def read_verbatim(open_file: OpenFile, what: str, dialect: CsvDialect) -> Iterator[pa.Table]:
    """Read a CSV file exactly as its cells stand there.

    Args:
        open_file: Opens the file.
        what: The file, for messages.
        dialect: How it is written.

    Returns:
        At least one table; every column is string, without nulls.

    Raises:
        SourceError: If it has no header, a line has another number of cells, a quote is never
            closed, a row is too long, a column is refused, or the encoding is another one.
    """
    head = _checked_head(open_file, what, dialect)
    if head is not None:
        open_file = partial(pa.BufferReader, head)
    invalid: list[str] = []

    def remember(row: Any) -> str:
        invalid.append(row.text)
        return "skip"

    # A quote that is not closed swallows lines into one cell, and no count of cells shows it.
    spans_lines = False
    try:
        with open_file() as stream:
            watched = _Watched(stream, what, dialect)
            reader = _open(watched, dialect, remember)
            names = reader.schema.names
            names[0] = names[0].removeprefix("\ufeff")  # utf-16-le and -be do not skip the mark
            _check_header(what, [name.strip() for name in names])
            schema = pa.schema([(name, pa.string()) for name in names])
            yield schema.empty_table()
            for batch in reader:
                spans_lines = spans_lines or any(
                    pc.any(pc.match_substring_regex(column, "[\r\n]")).as_py() for column in batch
                )
                yield pa.Table.from_arrays(batch.columns, schema=schema)
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
        _check_lines(open_file, what, dialect, len(names))
        raise SourceError(
            f"{what}: a row must have at most {_BLOCK_BYTES:,} bytes, got more. Shorten its "
            "cells, or close the quote that makes it so long, and land it again."
        ) from error
    if invalid or spans_lines or watched.is_suspicious:
        _check_lines(open_file, what, dialect, len(names))
    if invalid:
        raise _wrong_line(what, len(names), f"{invalid[0][:_SHOWN]!r}")


def _open(stream: Any, dialect: CsvDialect, remember: Callable[[Any], str]) -> Any:
    encoding = codecs.lookup(dialect.encoding).name
    return arrow_csv.open_csv(
        stream,
        read_options=arrow_csv.ReadOptions(
            # Only under this name does Arrow read it without Python.
            encoding="utf8" if encoding == "utf-8" else encoding,
            block_size=_BLOCK_BYTES,
            use_threads=False,
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char=dialect.quote,
            newlines_in_values=True,
            invalid_row_handler=remember,
        ),
        convert_options=arrow_csv.ConvertOptions(
            default_column_type=pa.string(), strings_can_be_null=False
        ),
    )


def _checked_head(open_file: OpenFile, what: str, dialect: CsvDialect) -> bytes | None:
    """Check how a file begins; gives a file of one line with an end to it, which Arrow wants."""
    with open_file() as stream:
        head = stream.read(HEAD_BYTES)
    check_encoding(what, head, dialect.encoding)
    with open_file() as stream:
        check_letters(what, stream, dialect.encoding)
    if len(head) == HEAD_BYTES:
        return None
    text = head.decode(decoder(dialect.encoding), errors="replace")
    if not text.strip("\0\r\n\ufeff"):
        raise SourceError(
            f"{what} must begin with the names of its columns, got nothing. Make it again: the "
            "upload was cut off."
        )
    if "\n" in text or "\r" in text:
        return None
    return f"{head.decode(decoder(dialect.encoding))}\n".encode(dialect.encoding)


def _check_header(what: str, names: Sequence[str]) -> None:
    first, *others = names
    if _NAMED_DELIMITER.fullmatch(first) and not any(others):
        raise SourceError(
            f"{what} must begin with the names of its columns, got {first!r}, by which Excel is "
            "told the delimiter. Remove that line, and name the delimiter as csv.delimiter in the "
            "pipeline file."
        )
    check_names(what, names)


class _Watched(io.RawIOBase):
    """A stream that looks at what is read from it, so that nothing is fetched a second time.

    A NUL character is refused. A quote that stands elsewhere than around a cell makes the file
    suspicious: Arrow reads ``"Smith" Jr`` as ``Smith Jr``, and a last quote that is not closed as
    a cell; but ``5" pipe`` is written so.
    """

    def __init__(self, stream: Any, what: str, dialect: CsvDialect) -> None:
        self._stream, self._what, self._quote = stream, what, dialect.quote
        decode = codecs.getincrementaldecoder(decoder(dialect.encoding))
        self._decoder = decode(errors="replace")
        # What is quoted is taken out, with a NUL in its place: beside that must end a cell.
        ends = f"{re.escape(dialect.delimiter)}\\r\\n"
        self._beside = re.compile(rf"\0(?:(?<![{ends}\ufeff\0]\0)|(?!\0| *(?:[{ends}]|\Z)))")
        self._is_found = self._is_quoted = False
        self._before, self._lines = "\n", 0

    @property
    def is_suspicious(self) -> bool:
        """Whether quotes of what was read are not all around whole cells."""
        return self._is_found or self._is_quoted

    def readable(self) -> bool:
        """Say that it can be read, for Arrow."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read as the stream does.

        Raises:
            SourceError: If there is a NUL character.
        """
        data: bytes = self._stream.read(size)
        for start in range(0, max(1, len(data)), _SCANNED_BYTES):  # small pieces stay in the cache
            piece = data[start : start + _SCANNED_BYTES]
            self._see(self._decoder.decode(piece, final=not data))
        return data

    def _see(self, text: str) -> None:
        if "\0" in text:
            line = self._lines + text.partition("\0")[0].count("\n") + 1
            raise SourceError(
                f"{self._what} must hold text, got a NUL character in line {line}, as in a file "
                "that was cut off while it was written. Write it again."
            )
        self._lines += text.count("\n")
        pieces = text.split(self._quote)
        plain = pieces[self._is_quoted :: 2]
        self._is_quoted ^= len(pieces) % 2 == 0
        held = self._before + "\0".join(plain) + ("\0" if self._is_quoted and plain else "")
        # What comes first was looked at before, and has lost what stands before it.
        self._is_found = self._is_found or self._beside.search(held, 1) is not None
        self._before = held[-_OVERLAP:]


def _check_lines(open_file: OpenFile, what: str, dialect: CsvDialect, width: int) -> None:
    """Go over a suspicious file with a strict and slow reader that knows the lines."""
    # The limit is one for the whole process, and another thread may be reading: only raise it.
    csv.field_size_limit(max(csv.field_size_limit(), _BLOCK_BYTES))
    with open_file() as stream:
        text = io.TextIOWrapper(
            io.BufferedReader(stream), encoding=decoder(dialect.encoding), newline=""
        )
        reader = csv.reader(text, delimiter=dialect.delimiter, quotechar=dialect.quote, strict=True)
        line = 1
        try:
            for cells in reader:
                if cells and len(cells) != width:
                    raise _wrong_line(what, width, f"{len(cells)} in line {line}")
                line = reader.line_num + 1
        except csv.Error as error:
            raise SourceError(
                f"{what}: every quote must be closed, at the end of its cell, got {error} in the "
                f"row that begins in line {line}. Correct that line, or csv.quote in the pipeline "
                "file, and land it again."
            ) from error


def _wrong_line(what: str, width: int, found: str) -> SourceError:
    return SourceError(
        f"{what}: every line must have {width} cells as the first one has, got {found}. Correct "
        "that line, or csv.delimiter and csv.quote in the pipeline file, and land it again."
    )
