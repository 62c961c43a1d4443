"""What a person asked to be made anew, and which runs are to do it: told by the ledger.

A request names its runs. What one of them predicts takes the place of what was predicted then, also
where performance is judged, which stays readable at its version. A run that somebody clears without
such a request leaves what was predicted then in its place. The latest request of a pipeline is open
until it was carried out; earlier ones are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.ledger import Entry
from include.storage.lineage import Origin
from include.wording import some

_KIND: ledger.Kind = "reprocessing"


@dataclass(frozen=True)
class RunToRepeat:
    """A run that makes something anew.

    Args:
        partition: What it is about.
        kind: ``score`` or ``train``.
        dag_id: Its DAG.
        run_id: Its id.
        clear_number: How often it had been cleared when this was asked for; None if Airflow knew
            no such run, and another one is to be made.
        had_failed: Whether it had failed by then, so that it may fail again.
    """

    partition: str
    kind: str
    dag_id: str
    run_id: str
    clear_number: int | None
    had_failed: bool


@dataclass(frozen=True)
class Request:
    """A request.

    Args:
        run_id: Run of ``platform_reprocess`` that asks.
        who: Who asked.
        why: The reason.
        corrected: Names of sources and partitions that were corrected.
        told: What was corrected, in words.
        history: By partition without a run of its own, the tables to prepare anew.
        runs: The runs, in the order in which they are to be repeated.
        versions: Model versions that were trained on data of before.
        forgotten: Runs that trained, and that Airflow knows no more: they are not repeated, and
            what came of them counts as it is.
        predictions: By partition, the version of the table ``predictions`` that held its
            predictions when this was asked for.
    """

    run_id: str
    who: str
    why: str
    corrected: Sequence[tuple[str, str]]
    told: Sequence[str]
    history: Mapping[str, Sequence[str]]
    runs: Sequence[RunToRepeat]
    versions: Sequence[int]
    forgotten: Sequence[str]
    predictions: Mapping[str, int]

    @property
    def partitions(self) -> list[str]:
        """Name the partitions that it is about, sorted."""
        return sorted({*self.history, *(run.partition for run in self.runs)})

    def is_about(self, origin: Origin) -> bool:
        """Tell whether a run is to be repeated."""
        run = (origin.dag_id, origin.dag_run_id)
        return run in {(item.dag_id, item.run_id) for item in self.runs}

    def is_corrected(self, source: str, partition: str) -> bool:
        """Tell whether a partition of a source is to be ingested anew."""
        return (source, partition) in {(name, part) for name, part in self.corrected}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Request:
        """Read the evidence of its entry; other keys are ignored."""
        found = {name: values[name] for name in cls.__dataclass_fields__}
        runs = [RunToRepeat(**run) for run in values["runs"]]
        corrected = [(source, name) for source, name in values["corrected"]]
        return cls(**{**found, "runs": runs, "corrected": corrected})


def record(lake: Lake, request: Request, origin: Origin) -> None:
    """Put a request on record, once for each run that asks."""
    ledger.record(
        lake,
        _KIND,
        request.partitions[0],
        "asked",
        f"{request.who}: {request.why} ({some(request.told) or 'left half done'})",
        origin=origin,
        evidence={"by": request.who, **asdict(request)},
    )


def close(lake: Lake, request: Request, replaced: Mapping[str, Any], origin: Origin) -> None:
    """Put on record that a request was carried out, and which predictions were replaced."""
    runs = len(request.runs)
    ledger.record(
        lake,
        _KIND,
        request.partitions[0],
        "done",
        f"{runs} run{'' if runs == 1 else 's'} repeated; predictions replaced of "
        f"{some(sorted(replaced)) or 'no partition'}.",
        origin=origin,
        evidence={"by": request.who, "replaced": dict(replaced)},
    )


def asked_by(lake: Lake, origin: Origin, why: str) -> Request | None:
    """Find what a run asked for; one of the same name that asked for something else did not."""
    for entry in reversed(ledger.entries(lake, _KIND)):
        if (entry.decision, *_run(entry)) == ("asked", origin.dag_id, origin.dag_run_id):
            request = Request.from_dict(entry.evidence)
            return request if request.why == why else None
    return None


def open_run(lake: Lake) -> tuple[str, str] | None:
    """Name the run whose request was not carried out yet, as (DAG, run id)."""
    entry = _open(lake)
    return None if entry is None else _run(entry)


def open_request(lake: Lake, origin: Origin) -> Request | None:
    """Find the request, not carried out yet, for which a run is to be repeated."""
    entry = _open(lake)
    request = None if entry is None else Request.from_dict(entry.evidence)
    return request if request is not None and request.is_about(origin) else None


def give_up(lake: Lake) -> None:
    """Close what is open although it was not carried out: nothing is stale any more."""
    entry = _open(lake)
    if entry is not None:
        ledger.record(
            lake,
            _KIND,
            entry.partition,
            "done",
            "Nothing is left to do: what it was to repeat was done otherwise.",
            origin=Origin(entry.dag_id, entry.dag_run_id, "ask"),
            evidence={"replaced": {}},
        )


def _open(lake: Lake) -> Entry | None:
    """Find the latest request, unless the run that asked has carried it out since."""
    found: Entry | None = None
    for entry in ledger.entries(lake, _KIND):
        if entry.decision == "asked":
            found = entry
        elif found is not None and _run(entry) == _run(found):
            found = None
    return found


def _run(entry: Entry) -> tuple[str, str]:
    return entry.dag_id, entry.dag_run_id
