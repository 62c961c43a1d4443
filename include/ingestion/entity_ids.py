"""Ids of entities that a person lists, found again as any file may write them."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceError

# Ids beyond this are told apart by no float.
_LARGEST_FLOAT = 2.0**62
_WHOLE = r"^\+?(-?)0*([0-9]+)(\.0*)?$"


class EntityIds:
    """Some ids.

    Args:
        texts: The ids as text.
        are_numbers: Whether 7, 007 and 7.0 are the same id.
    """

    def __init__(self, texts: Collection[str], *, are_numbers: bool) -> None:
        self.are_numbers = are_numbers
        plain = self._plain(pa.chunked_array([pa.array(sorted(texts), pa.string())]))
        self._held = pc.unique(plain)
        self.texts = frozenset(texts) | frozenset(self._held.to_pylist())

    def __len__(self) -> int:
        """Count them."""
        return len(self._held)

    def mask(self, column: pa.ChunkedArray) -> pa.Array:
        """Tell which values are among them, bool, one per value; a null is not."""
        return pc.is_in(self._plain(column), value_set=self._held).combine_chunks()

    def _plain(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        if pa.types.is_floating(column.type):
            # As text, a large one would be written with an exponent.
            is_whole = pc.and_(
                pc.equal(pc.floor(column), column), pc.less(pc.abs(column), _LARGEST_FLOAT)
            )
            column = pc.if_else(is_whole, column, None).cast(pa.int64())
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
        if not self.are_numbers:
            return texts
        return pc.replace_substring_regex(texts, _WHOLE, r"\1\2")


def read_ids(data: bytes, what: str) -> list[str]:
    """Read ids from a text, one a line; blank lines do not count.

    Raises:
        SourceError: If it is not UTF-8, or holds none.
    """
    try:
        lines = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SourceError(f"{what}: must be UTF-8, got {error}. Save it again.") from error
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise SourceError(f"{what}: must hold one id a line, got none. Write them into it.")
    return found
