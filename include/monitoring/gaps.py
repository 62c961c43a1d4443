"""Partitions that scoring, labels, decisions, trainings or judgement passed over, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from include.calendar.partitions import Partition

Missing = Literal["scores", "labels", "decision", "performance", "training"]
Untrained = Literal["requested", "failed"]
_REASONS: dict[Missing, str] = {
    "scores": "no run has scored it: none was made, or it failed or is under way",
    "labels": "no run has validated the labels that landed in it",
    "decision": "no run has decided on a retraining",
    "performance": "nobody has judged its predictions, although its labels have matured",
}
_UNTRAINED: dict[Untrained, str] = {
    "requested": "a training as of it was asked for and has not begun",
    "failed": "the training as of it failed, and none as of a later partition came to a verdict",
}
_OUTDATED = "it was judged by predictions made later; since then its own have been made"


@dataclass(frozen=True)
class Lack:
    """What one partition lacks.

    Args:
        partition: The partition.
        missing: What is missing, in the order of the tasks.
        reason: Why that is a gap.
        judge: Partition whose run judges its predictions; None unless that is what is missing.
    """

    partition: Partition
    missing: tuple[Missing, ...]
    reason: str
    judge: Partition | None = None

    @property
    def is_of_training(self) -> bool:
        """Tell whether a training is missing, each of which has a run of its own."""
        return self.missing == ("training",)


@dataclass(frozen=True)
class Gap:
    """Partitions in a row that lack the same.

    Args:
        first: First of them.
        last: Last of them.
        missing: What is missing.
        reason: Why that is a gap.
        remedy: What to do, a command where there is one.
    """

    first: Partition
    last: Partition
    missing: tuple[Missing, ...]
    reason: str
    remedy: str

    @property
    def partitions(self) -> str:
        """Name them."""
        return str(self.first) if self.first == self.last else f"{self.first} to {self.last}"

    def is_unmeasured(self, partition: str) -> bool:
        """Tell whether a partition is one whose labels are mature and that no run has judged."""
        within = str(self.first) <= partition <= str(self.last)
        return within and "performance" in self.missing


def lacks(
    expected: Collection[Partition],
    *,
    scored: Collection[str],
    labelled: Collection[str],
    decided: Collection[str],
    unjudged: Mapping[Partition, Partition],
    outdated: Mapping[Partition, Partition],
    untrained: Mapping[Partition, Untrained],
) -> list[Lack]:
    """List what partitions lack, in time order.

    Args:
        expected: Partitions whose runs were due, or that were scored.
        scored: Names of those that were scored at their time.
        labelled: Names of those whose labels were validated.
        decided: Names of those that decided on a retraining, which comes after all else.
        unjudged: Mature partitions without a record, and who judges them.
        outdated: Partitions that were judged before they were scored, and who judged them.
        untrained: Partitions as of which a training was asked for that came to no verdict.
    """
    found = []
    for partition in sorted(expected):
        name = str(partition)
        if name in decided:  # by a run that had done all the rest
            continue
        missing: list[Missing] = []
        if name not in scored:
            missing.append("scores")
        if name not in labelled:
            missing.append("labels")
        missing = missing or ["decision"]
        reason = "; ".join(_REASONS[item] for item in missing)
        found.append(Lack(partition, tuple(missing), reason))
    for held, reason in ((unjudged, _REASONS["performance"]), (outdated, _OUTDATED)):
        found += [Lack(item, ("performance",), reason, held[item]) for item in sorted(held)]
    found += [
        Lack(item, ("training",), _UNTRAINED[state])
        for item, state in untrained.items()
        if item in expected
    ]
    return sorted(found, key=lambda lack: (lack.partition, lack.reason))


def gaps(pipeline: str, found: Collection[Lack], due: Mapping[Partition, datetime]) -> list[Gap]:
    """Put partitions in a row together, and say what to do about them.

    Args:
        pipeline: Name of the pipeline.
        found: What partitions lack.
        due: When the runs of partitions were due, naive UTC; others have no date.
    """
    result = []
    for row in _rows(found, due):
        first, last = row[0], row[-1]
        remedy = _remedy(pipeline, first, last, due)
        result.append(Gap(first.partition, last.partition, first.missing, first.reason, remedy))
    return sorted(result, key=lambda gap: (gap.first, gap.reason))


def _rows(found: Collection[Lack], due: Mapping[Partition, datetime]) -> Iterator[list[Lack]]:
    open_rows: dict[tuple[object, ...], list[Lack]] = {}
    for lack in found:
        kind = (lack.reason, lack.judge)
        row = open_rows.get(kind)
        # Without a date each has a command of its own.
        together = lack.judge is not None or (lack.partition in due and not lack.is_of_training)
        if row and together and row[-1].partition.shift(1) == lack.partition:
            row.append(lack)
            continue
        if row:
            yield row
        open_rows[kind] = [lack]
    yield from open_rows.values()


def _remedy(pipeline: str, first: Lack, last: Lack, due: Mapping[Partition, datetime]) -> str:
    if first.judge is not None:
        at = due.get(first.judge)
        if at is None:
            return f"clear measure_performance in the run about {first.judge}"
        return (
            f"./relevo airflow tasks clear {pipeline}_score -t measure_performance -d "
            f"-s {at.isoformat()} -e {at.isoformat()} -y"
        )
    if first.is_of_training or first.partition not in due:
        conf = f'{{"partition": "{first.partition}"}}'
        kind = "train" if first.is_of_training else "score"
        return f"./relevo airflow dags trigger {pipeline}_{kind} -c '{conf}'"
    return (
        f"./relevo airflow backfill create --dag-id {pipeline}_score "
        f"--from-date {due[first.partition].isoformat()} "
        f"--to-date {due[last.partition].isoformat()} --reprocess-behavior completed "
        "--max-active-runs 1"
    )
