"""Tables of events: rows are only added, each with a key of its own and its place in the order.

The place is given by the table: one more than the latest, inside the commit that adds the row. So
whoever comes later is later, whatever the clocks of the workers say. Rows that an earlier release
stored have none and come first, by their time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

Event = dict[str, Any]
# What every event has beside its own columns.
_COMMON = (("recorded_at", pa.timestamp("us")), ("sequence", pa.int64()))


class EventTable:
    """One table of events.

    Args:
        lake: The pipeline's tables.
        name: Name of the table.
        columns: Names and types of the columns of an event, ``key`` among them. ``recorded_at``
            (naive UTC) and ``sequence`` (>= 1; null in rows of earlier releases) are added.
    """

    def __init__(self, lake: Lake, name: str, columns: Sequence[tuple[str, pa.DataType]]) -> None:
        self.lake = lake
        self.name = name
        self.schema = pa.schema([*columns, *_COMMON])

    def events(self, where: pc.Expression | None = None) -> list[Event]:
        """Read all events, or those that a condition picks, in their order.

        Each event is a file, so that only those are read. None if the table was never written.
        """
        return _in_order(self.lake.read_held(self.name, where=where))

    def append(self, make: Callable[[list[Event]], Event | None], *, origin: Origin) -> bool:
        """Add an event that follows from those that are held.

        Of two writers at once, the second is asked again, and sees the event of the first.

        Args:
            make: Given all events in their order, makes the next one, or none.
            origin: Who adds it.

        Returns:
            Whether an event was added.
        """

        def rows(held: pa.Table) -> pa.Table:
            events = _in_order(held)
            event = make(events)
            if event is None:
                return self.schema.empty_table()
            added = {
                **event,
                "recorded_at": datetime.now(UTC).replace(tzinfo=None),
                "sequence": max((item["sequence"] or 0 for item in events), default=0) + 1,
            }
            return pa.Table.from_pylist([added], schema=self.schema)

        return bool(self.lake.append(self.name, self.schema, rows, origin=origin))


def attempt_key(base: str, earlier: int) -> str:
    """Name an event that has happened before: ``base``, then ``base#2``, ``base#3``, ..."""
    return f"{base}#{earlier + 1}" if earlier else base


def _in_order(rows: pa.Table) -> list[Event]:
    events = [{"sequence": None, **row} for row in rows.to_pylist()]
    return sorted(events, key=_place)


def _place(event: Mapping[str, Any]) -> tuple[int, datetime, str]:
    number = event["sequence"] or 0
    return (number, datetime.min if number else event["recorded_at"], event["key"])
