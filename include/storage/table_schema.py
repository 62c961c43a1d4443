"""Whether the columns of a write are those of the table."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from include.errors import TableError


def check_schema(
    subject: str, held: pa.Schema, schema: pa.Schema, optional: Collection[str] = ()
) -> None:
    """Refuse other columns than the table has; kinds of strings and their order do not matter.

    Args:
        subject: Names the table, for messages.
        held: Columns of the table.
        schema: Columns of the write.
        optional: Columns that may be missing or new.

    Raises:
        TableError: If a column is missing, new, or of another type.
    """
    before = dict(zip(held.names, held.types, strict=True))
    now = dict(zip(schema.names, schema.types, strict=True))
    missing = [name for name in before if name not in now and name not in optional]
    extra = [name for name in now if name not in before and name not in optional]
    both = [(name, before[name], now[name]) for name in before if name in now]
    changed = [f"{name} {a} -> {b}" for name, a, b in both if not _same_type(a, b)]
    if missing or extra or changed:
        raise TableError(
            f"{subject}: columns must stay as they are, got missing "
            f"{missing or 'none'}, new {extra or 'none'}, changed {changed or 'none'}. "
            "Undo the change, or write it under `next:` in the pipeline file with a higher "
            "generation, for new tables that `./relevo migrate` fills beside these."
        )


def widened(held: pa.Schema, schema: pa.Schema) -> pa.Schema:
    """Add to the columns of a table those of a write that it lacks.

    A commit gives the table just the columns that it names, so it must name them all.
    """
    return pa.schema([*held, *(field for field in schema if field.name not in held.names)])


def _same_type(left: pa.DataType, right: pa.DataType) -> bool:
    strings = (pa.string(), pa.large_string(), pa.string_view())
    return bool(left == right) or (left in strings and right in strings)
