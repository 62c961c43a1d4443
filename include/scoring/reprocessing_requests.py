"""What a person asked to be made anew, and which runs are to do it: told by the ledger.

A request names its runs. What one of them predicts takes the place of what was predicted then, also
where performance is judged, which stays readable at its version. A run that somebody clears without
such a request leaves what was predicted then in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.ledger import Entry
from include.storage.lineage import Origin


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
    """

    partition: str
    kind: str
    dag_id: str
    run_id: str
    clear_number: int | None


@dataclass(frozen=True)
class Request:
    """A request.

    Args:
        who: Who asked.
        why: The reason.
        corrections: What was corrected, in words.
        history: By partition without a run of its own, the tables to prepare anew.
        runs: The runs, in the order in which they are to be repeated.
        versions: Model versions that were trained on data of before, and as of when.
        predictions: By partition, the version of the table ``predictions`` that held its
            predictions when this was asked for.
    """

    who: str
    why: str
    corrections: Sequence[str]
    history: Mapping[str, Sequence[str]]
    runs: Sequence[RunToRepeat]
    versions: Mapping[str, str]
    predictions: Mapping[str, int]

    @property
    def partitions(self) -> list[str]:
        """Name the partitions that it is about, sorted."""
        return sorted({*self.history, *(run.partition for run in self.runs)})

    @property
    def trainings(self) -> set[str]:
        """Name the partitions as of which is trained anew."""
        return {run.partition for run in self.runs if run.kind == "train"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Request:
        """Read the evidence of its entry; other keys are ignored."""
        found = {name: values[name] for name in cls.__dataclass_fields__}
        return cls(**{**found, "runs": [RunToRepeat(**run) for run in values["runs"]]})


def ask(lake: Lake, request: Request, origin: Origin) -> None:
    """Put a request on record, once for each run that asks."""
    ledger.record(
        lake,
        "reprocessing",
        request.partitions[0],
        "asked",
        f"{request.who}: {request.why} ({'; '.join(request.corrections) or 'left half done'})",
        origin=origin,
        evidence={"by": request.who, **asdict(request)},
    )


def asked_by(lake: Lake, origin: Origin) -> Request | None:
    """Find what a run asked for."""
    for entry in ledger.entries(lake, "reprocessing"):
        if (entry.decision, _run(entry)) == ("asked", (origin.dag_id, origin.dag_run_id)):
            return Request.from_dict(entry.evidence)
    return None


def finish(lake: Lake, request: Request, replaced: Mapping[str, Any], origin: Origin) -> None:
    """Put on record that a request was carried out, and which predictions were replaced."""
    ledger.record(
        lake,
        "reprocessing",
        request.partitions[0],
        "done",
        _told(request, replaced),
        origin=origin,
        evidence={"by": request.who, "replaced": dict(replaced)},
    )


def open_runs(lake: Lake) -> list[tuple[str, str]]:
    """Name the runs that asked for what was not carried out yet, as (DAG, run id)."""
    return [_run(entry) for entry in _open(lake)]


def open_request(lake: Lake, origin: Origin) -> tuple[str, Request] | None:
    """Find the latest request, not carried out yet, that a run is to be repeated for.

    Returns:
        (run that asked, the request).
    """
    for entry in reversed(_open(lake)):
        request = Request.from_dict(entry.evidence)
        if (origin.dag_id, origin.dag_run_id) in {(run.dag_id, run.run_id) for run in request.runs}:
            return entry.dag_run_id, request
    return None


def _open(lake: Lake) -> list[Entry]:
    entries = ledger.entries(lake, "reprocessing")
    done = {_run(entry) for entry in entries if entry.decision == "done"}
    return [item for item in entries if item.decision == "asked" and _run(item) not in done]


def _run(entry: Entry) -> tuple[str, str]:
    return entry.dag_id, entry.dag_run_id


def _told(request: Request, replaced: Mapping[str, Any]) -> str:
    runs = len(request.runs)
    return (
        f"{runs} run{'' if runs == 1 else 's'} repeated; predictions replaced of "
        f"{', '.join(sorted(replaced)) or 'no partition'}."
    )
