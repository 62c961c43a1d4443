"""Whether the columns of a write are those of the table."""

from __future__ import annotations

import pyarrow as pa

from include.errors import TableError


def check_schema(subject: str, held: pa.Schema, schema: pa.Schema) -> None:
    """Refuse other columns than the table has; kinds of strings and their order do not matter.

    Args:
        subject: Names the table, for messages.
        held: Columns of the table.
        schema: Columns of the write.

    Raises:
        TableError: If a column is missing, new, or of another type.
    """
    missing = [name for name in held.names if name not in schema.names]
    extra = [name for name in schema.names if name not in held.names]
    changed = [
        f"{name} {held.field(name).type} -> {schema.field(name).type}"
        for name in held.names
        if name in schema.names and not _same_type(held.field(name).type, schema.field(name).type)
    ]
    if missing or extra or changed:
        raise TableError(
            f"{subject}: columns must stay as they are, got missing "
            f"{missing or 'none'}, new {extra or 'none'}, changed {changed or 'none'}. "
            "Undo the change, or give the pipeline a new name, which begins new tables."
        )


def _same_type(left: pa.DataType, right: pa.DataType) -> bool:
    strings = (pa.string(), pa.large_string(), pa.string_view())
    return bool(left == right) or (left in strings and right in strings)
