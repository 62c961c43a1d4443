"""What is stale, as a list: what was corrected, what has to be made anew, and by which runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from include.steps.corrections import Correction

RunKind = Literal["score", "train"]


@dataclass(frozen=True)
class StaleRun:
    """A run that made something of data of before, and makes it anew when it is repeated.

    Args:
        partition: What it is about.
        kind: Whether it scores or trains.
        dag_id: Its DAG.
        run_id: Its id.
        tables: What it made that is stale; may be none.
    """

    partition: str
    kind: RunKind
    dag_id: str
    run_id: str
    tables: tuple[str, ...]


@dataclass(frozen=True)
class Stale:
    """What is stale.

    Args:
        corrections: Partitions that were corrected since they were ingested.
        history: Partitions that no run of their own scored, and which of their tables are stale;
            what was predicted of them is made anew by the run that judges it.
        runs: Runs that make the rest anew, in the order in which they are to be repeated.
        versions: Model versions that were trained on data of before, and as of when: those that
            may still predict, or did.
        expired: Landed partitions that are there no more, as (source, first, last); not stale.
    """

    corrections: tuple[Correction, ...]
    history: Mapping[str, tuple[str, ...]]
    runs: tuple[StaleRun, ...]
    versions: Mapping[int, str]
    expired: tuple[tuple[str, str, str], ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Tell whether nothing is stale."""
        return not (self.corrections or self.history or self.runs)

    @property
    def partitions(self) -> tuple[str, ...]:
        """Name the partitions that have something stale, sorted."""
        corrected = {item.partition for item in self.corrections}
        return tuple(sorted(corrected | {run.partition for run in self.runs} | set(self.history)))


def together(parts: Iterable[Stale]) -> Stale:
    """Put together what is stale in several generations of the tables."""
    corrections: dict[tuple[str, str], Correction] = {}
    history: dict[str, dict[str, None]] = {}
    runs: dict[tuple[str, RunKind, str, str], dict[str, None]] = {}
    versions: dict[int, str] = {}
    expired: dict[tuple[str, str, str], None] = {}
    for part in parts:
        for item in part.corrections:
            corrections.setdefault((item.source, item.partition), item)
        versions |= part.versions
        expired |= dict.fromkeys(part.expired)
        for name, tables in part.history.items():
            history.setdefault(name, {}).update(dict.fromkeys(tables))
        for run in part.runs:
            key = (run.partition, run.kind, run.dag_id, run.run_id)
            runs.setdefault(key, {}).update(dict.fromkeys(run.tables))
    found = [
        StaleRun(partition, kind, dag_id, run_id, tuple(tables))
        for (partition, kind, dag_id, run_id), tables in runs.items()
    ]
    return Stale(
        corrections=tuple(corrections.values()),
        history={name: tuple(tables) for name, tables in sorted(history.items())},
        runs=tuple(sorted(found, key=lambda run: (run.partition, run.kind))),
        versions=versions,
        expired=tuple(expired),
    )
