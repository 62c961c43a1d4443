"""What maintenance of a pipeline is to do, and what came of it: values that go on record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "table",
    "data file",
    "draft",
    "model file",
    "report",
    "old checkpoint",
    "compaction",
    "MLflow run",
    "retired table",
    "retired object",
]


@dataclass(frozen=True)
class Item:
    """One thing to do.

    Args:
        kind: What it is.
        name: Address of the object, name of the table, or id of the MLflow run.
        size: Bytes of the object; 0 of what is not deleted.
        why: The reason.
    """

    kind: Kind
    name: str
    size: int
    why: str


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        pipeline: Whose.
        made_at: When, aware, ISO 8601.
        cutoff: What was replaced before this is needed by nobody, aware, ISO 8601.
        held_back: Why that is earlier than the retention says, or what is left for now; '' if
            nothing is.
        items: What is to be done.
        usage: By kind of object, files and bytes in the lake before.
    """

    pipeline: str
    made_at: str
    cutoff: str
    held_back: str
    items: Sequence[Item]
    usage: dict[str, tuple[int, int]]

    def of(self, kind: Kind) -> list[Item]:
        """List what is to be done of a kind."""
        return [item for item in self.items if item.kind == kind]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Plan:
        """Read what ``asdict`` gave."""
        items = [Item(**item) for item in values["items"]]
        usage = {kind: (files, size) for kind, (files, size) in values["usage"].items()}
        return cls(**{**values, "items": items, "usage": usage})


@dataclass(frozen=True)
class Outcome:
    """What came of a plan.

    Args:
        plan: The plan.
        done: What was done of it.
        left: What was not: somebody needs it by now, or a writer came first.
        usage: By kind of object, files and bytes in the lake afterwards.
        done_at: When, aware, ISO 8601.
    """

    plan: Plan
    done: Sequence[Item]
    left: Sequence[Item]
    usage: dict[str, tuple[int, int]]
    done_at: str

    def won(self) -> dict[str, tuple[int, int]]:
        """Count what was done, and add up the bytes, by kind."""
        return tally(self.done)


def tally(items: Iterable[Item]) -> dict[str, tuple[int, int]]:
    """Count items, and add up their bytes, by kind."""
    found: dict[str, tuple[int, int]] = {}
    for item in items:
        count, size = found.get(item.kind, (0, 0))
        found[item.kind] = (count + 1, size + item.size)
    return found
