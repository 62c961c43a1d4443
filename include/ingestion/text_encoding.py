"""Which encoding a text file has, by the byte order mark at its start, and whether that is said."""

from __future__ import annotations

import codecs
import io
import itertools
from collections.abc import Iterator
from typing import Any

from charset_normalizer import from_bytes

from include.errors import SourceError

# How much of a file is looked at.
HEAD_BYTES = 64 * 1024
# UTF-32 first: its mark begins as that of UTF-16 does. The decoders of these names skip the mark.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8"),
)
_WIDE = ("utf-16", "utf-32")
# How files begin that hold no text, and what to do with them.
_BINARY = (
    (b"\x1f\x8b", "gzip", "Let its name end in .gz"),
    (b"PK\x03\x04", "a zip archive, as spreadsheets are", "Land what is in it, saved as text"),
    (b"PAR1", "Parquet", "Let its name end in .parquet, with format: parquet"),
    (b"\x28\xb5\x2f\xfd", "zstd", "Land it decompressed, or as gzip"),
)
_READ_BYTES = 1024 * 1024
# Of other scripts a guess can be made; of the many for Europe's accents this is the usual one.
_LATIN = "cp1252"
_SCRIPTS = (
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
    *("cp1251", "koi8_r", "cp1253", "cp1255", "cp1256"),
)
_GUESSED_LINES = 2_000
_FEWEST_LETTERS = 8


def marked_encoding(head: bytes) -> str | None:
    """Name the encoding that a file's byte order mark says; None without one.

    Args:
        head: The first bytes of the file.
    """
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def decoder(encoding: str) -> str:
    """Name the codec that reads an encoding and skips its byte order mark."""
    name = codecs.lookup(encoding).name
    return "utf-8-sig" if name == "utf-8" else name


def guessed_encoding(data: bytes) -> str:
    """Guess the encoding of a file without a byte order mark.

    Any bytes are letters of some encoding, so a person has to be told of any but UTF-8.

    Args:
        data: The file.
    """
    if _fits(data, "utf-8"):
        return "utf-8"
    sample = b"".join(itertools.islice(lines_beyond_ascii(data), _GUESSED_LINES))
    best = from_bytes(sample, cp_isolation=[_LATIN, *_SCRIPTS]).best()
    if best is not None and best.encoding in _SCRIPTS and _fits(data, best.encoding):
        letters = [c for c in sample.decode(best.encoding) if not c.isascii() or c.isalpha()]
        others = [c for c in letters if not c.isascii()]
        if len(set(others)) >= _FEWEST_LETTERS and 2 * len(others) >= len(letters):
            return best.encoding
    return _LATIN if _fits(data, _LATIN) else "latin-1"


def lines_beyond_ascii(data: bytes) -> Iterator[bytes]:
    """Give the lines of a file, with their ends, that have a letter beyond ASCII."""
    return (line for line in io.BytesIO(data) if not line.isascii())


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def check_encoding(what: str, head: bytes, encoding: str) -> None:
    """Refuse a file whose first bytes contradict its encoding; it would be read as other letters.

    Args:
        what: The file, for messages.
        head: Its first bytes.
        encoding: What ``csv.encoding`` says, or UTF-8.

    Raises:
        SourceError: If it begins as no text does, has the mark of another encoding, UTF-16 and
            UTF-32 have none, or NUL bytes tell that its characters are wider.
    """
    for begins, found, advice in _BINARY:
        if head.startswith(begins):
            raise SourceError(f"{what} must hold text, got {found}. {advice}, and land it again.")
    name, marked = codecs.lookup(encoding).name, marked_encoding(head)
    family = name.removesuffix("-le").removesuffix("-be").removesuffix("-sig")
    if marked is not None and marked != family:
        raise SourceError(
            f"{what} must be {encoding}, got the byte order mark of {marked}. Write "
            f"csv: {{encoding: {marked}}} in the pipeline file, or save the file as {encoding}."
        )
    if name in _WIDE and marked is None:
        raise SourceError(
            f"{what} must begin with the byte order mark of {name}, got none. Write "
            f"csv: {{encoding: {name}-le}}, or the encoding that it has, in the pipeline file."
        )
    if family not in _WIDE and b"\0" in head:
        raise SourceError(
            f"{what} must be {encoding}, got NUL bytes, as files of utf-16 have. Save it as UTF-8 "
            "or with a byte order mark; or, of a CSV file, name its encoding, such as csv: "
            "{encoding: utf-16-le}, in the pipeline file."
        )


def check_letters(what: str, stream: Any, encoding: str) -> None:
    """Refuse UTF-8 under the name of an encoding of single bytes, which reads any bytes as letters.

    Text of such an encoding with a letter beyond ASCII is next to never valid UTF-8.

    Args:
        what: The file, for messages.
        stream: The decompressed file from its start.
        encoding: What ``csv.encoding`` says.

    Raises:
        SourceError: If every letter beyond ASCII in the file is one of UTF-8.
    """
    if not _is_single_byte(encoding):
        return
    reader, beyond = codecs.getincrementaldecoder("utf-8")(), False
    try:
        while data := stream.read(_READ_BYTES):
            beyond = beyond or not data.isascii()
            reader.decode(data)
        reader.decode(b"", final=True)
    except UnicodeDecodeError:
        return
    if beyond:
        raise SourceError(
            f"{what} must be {encoding}, got UTF-8, whose letters would be read as others. Save "
            f"the file as {encoding}, or write csv: {{encoding: utf-8}} in the pipeline file."
        )


def _is_single_byte(encoding: str) -> bool:
    """Tell whether each byte beyond ASCII is a letter of its own."""
    name = codecs.lookup(encoding).name
    return (
        name != "ascii"
        and all(len(bytes([byte]).decode(name, errors="replace")) == 1 for byte in range(128, 256))
        and len(b"\xc3\xb6".decode(name, errors="replace")) == 2
    )
