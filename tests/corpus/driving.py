"""Send a case through the steps, and look at every table from outside.

Tables are read with deltalake alone: what a step returns proves nothing.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from deltalake import DeltaTable
from pyarrow.fs import SubTreeFileSystem

from include.calendar.partitions import Partition
from include.errors import RelevoError
from include.features.known_labels import known_labels
from include.features.point_in_time import join_labels
from include.specification.pipeline import Pipeline
from include.steps.preparation import ingest, validate_source
from include.storage.data_frames import to_pandas
from include.storage.drafts import Draft
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from tests.corpus.case import BEFORE, PARTITION, Files, Kept, Landed, Quarantined, Refused

ORIGIN = Origin("p_score", "run_1", "task_1", commit="abc1234")
UNIQUE, GIVEN = "expect_column_values_to_be_unique", "expect_column_values_to_not_be_null"
SUITES: Mapping[str, Sequence[tuple[str, str]]] = {
    "loans": ((UNIQUE, "id"), (GIVEN, "id")),
    "outcomes": ((GIVEN, "id"),),
    "gone": ((UNIQUE, "colour"),),
}
OWN = ("_file", "_row", "_unparsed", "partition")
Tables = dict[str, list[dict[str, Any]]]


# What lies beside the tables.
NO_TABLES = ("drafts", "lineage")


@dataclass(frozen=True)
class Ground:
    """Where one case happens: tables and a landing folder that no other case knows."""

    lake: Lake
    pipeline: Pipeline
    source: str

    def land(self, files: Files, partition: Partition) -> None:
        """Put files where the source expects those of a partition."""
        bucket, folder = f"landing/{self.lake.pipeline}/{self.source}/{partition}/".split("/", 1)
        for name, data in files.items():
            client(self.lake.settings).put_object(Bucket=bucket, Key=folder + name, Body=data)

    def tables(self) -> Tables:
        """Read the rows of every table that there is."""
        bucket, folder = "lake", f"{self.lake.pipeline}/"
        found = client(self.lake.settings).list_objects_v2(
            Bucket=bucket, Prefix=folder, Delimiter="/"
        )
        names = [item["Prefix"].split("/")[1] for item in found.get("CommonPrefixes", ())]
        return {name: self.rows(name) for name in names if name not in NO_TABLES}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Read a table."""
        options = self.lake.settings.storage_options()
        held = DeltaTable(f"s3://lake/{self.lake.pipeline}/{table}", storage_options=options)
        filesystem = SubTreeFileSystem(
            f"lake/{self.lake.pipeline}/{table}", self.lake.settings.filesystem()
        )
        return list(held.to_pyarrow_table(filesystem=filesystem).to_pylist())


@cache
def client(settings: StoreSettings) -> Any:
    """Connect to the store once."""
    return ObjectStore(settings).client


def write_suites(folder: Path) -> None:
    """Write the suites that the cases name."""
    for name, expectations in SUITES.items():
        listed = [{"type": kind, "kwargs": {"column": column}} for kind, column in expectations]
        document = {"name": name, "expectations": listed}
        (folder / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")


def ground(settings: StoreSettings, case: Landed) -> Ground:
    """Make the pipeline of a case."""
    name = f"p{uuid.uuid4().hex[:12]}"
    source = "outcomes" if "labels" in case.source else "loans"
    sections: dict[str, dict[str, Any]] = {
        "loans": {"suite": "loans"},
        "outcomes": {"suite": "outcomes", "labels": {"column": "bad", "known_at": "known"}},
    }
    for key, section in sections.items():
        section["uri"] = f"s3://landing/{name}/{key}/{{partition}}/"
    changes = dict(case.source)
    task = changes.pop("task", "binary")
    sections[source] |= {"max_quarantined": 0.5, **changes}
    pipeline = Pipeline.model_validate(
        {
            "name": name,
            "description": "Bad input.",
            "owner": "tests",
            "task": task,
            "entity": "id",
            "event_time": "at",
            "partition": "quarterly",
            "schedule": {"cron": "0 6 5 1,4,7,10 *", "start": "2004-01-01"},
            "sources": sections,
            "features": {"function": "include.pipelines.loan_default:features", "suite": "loans"},
            "training": {
                "window": 3,
                "candidates": {"ridge" if task == "regression" else "logistic_regression": {}},
            },
            "promotion": {"require": {"rmse" if task == "regression" else "roc_auc": 0.6}},
        }
    )
    return Ground(Lake(settings, name), pipeline, source)


class Steps(Protocol):
    """How the two steps of a source are called."""

    failure: type[Exception]

    def ingest(self, place: Ground, partition: Partition) -> Any:
        """Ingest what landed; returns a reference."""

    def validate(self, place: Ground, partition: Partition, ingested: Any) -> None:
        """Validate what was ingested."""


class ByTheLibrary:
    """Call the functions that the tasks call."""

    failure = RelevoError

    def ingest(self, place: Ground, partition: Partition) -> Any:
        """Ingest what landed; returns a reference as XCom hands it on."""
        draft = ingest(place.lake, place.pipeline, place.source, [partition], ORIGIN)
        return json.loads(json.dumps(draft.to_dict()))

    def validate(self, place: Ground, partition: Partition, ingested: Any) -> None:
        """Validate what was ingested."""
        draft = Draft.from_dict(ingested)
        validate_source(place.lake, place.pipeline, place.source, draft, partition, ORIGIN)


def drive(place: Ground, case: Landed, steps: Steps, caplog: Any) -> None:
    """Land a case, run it twice, and hold what is there afterwards against what must be.

    Raises:
        AssertionError: If a row is lost, doubled or another one, or a message says too little.
    """
    # What is refused must leave alone what the partition itself held, too.
    held_before = (BEFORE, PARTITION) if isinstance(case.outcome, Refused) else (BEFORE,)
    for partition in held_before if case.before is not None else ():
        place.land(case.before(), partition)
        steps.validate(place, partition, steps.ingest(place, partition))
    before = place.tables()
    place.land(case.files(), PARTITION)
    caplog.clear()
    held: list[Tables] = []
    # Rows that all passed once pass again: only what is refused, moved or counted may differ.
    is_plain = isinstance(case.outcome, Kept) and case.counts is None
    for _ in range(1 if is_plain else 2):
        if isinstance(case.outcome, Refused):
            _assert_refused(place, case.outcome, steps)
        else:
            steps.validate(place, PARTITION, steps.ingest(place, PARTITION))
        held.append(place.tables())
    _assert_tables(place.source, case, before, held[0])
    assert _digest(held[0]) == _digest(held[-1]), "the second time gave other tables"
    if not isinstance(case.outcome, Refused):
        _assert_told(case.outcome, caplog)
    if case.counts is not None:
        assert _labels_that_count(place) == case.counts


def _digest(tables: Tables, *names: str) -> dict[str, Counter[str]]:
    """Count rows as texts, which hold every digit, in no order; a table without rows is none."""
    wanted = names or tables
    return {name: Counter(map(repr, tables[name])) for name in wanted if tables.get(name)}


def _assert_refused(place: Ground, outcome: Refused, steps: Steps) -> None:
    by = "ingest"
    try:
        ingested = steps.ingest(place, PARTITION)
        by = "validate"
        steps.validate(place, PARTITION, ingested)
    except steps.failure as error:
        message = str(error)
    else:
        raise AssertionError("it was not refused")
    assert by == outcome.by, message
    at = 0
    for words in outcome.says:
        found = message.find(words, at)
        assert found >= 0, (words, message)
        at = found + len(words)
    assert f"{place.source} {PARTITION}" in message, message
    assert "\n" not in message.partition(" Data Docs")[0], message


def _assert_told(outcome: Kept | Quarantined, caplog: Any) -> None:
    told = [r.getMessage() for r in caplog.records if r.name.startswith("include")]
    if outcome.told:
        assert any(outcome.told in line for line in told), told
    else:
        assert told == []


def _assert_tables(source: str, case: Landed, before: Tables, now: Tables) -> None:
    """Rows landed are rows kept and rows quarantined, each of them once."""
    raw, aside, outcome = f"raw_{source}", f"quarantine_{source}", case.outcome
    if isinstance(outcome, Refused):
        assert _digest(now) == _digest(before), "a refused batch changed a table"
        return
    assert set(now) <= {*before, raw, aside, "labels"}
    kept, moved = (_split(now, table)[0] for table in (raw, aside))
    for table in now:
        earlier = _split(before, table)[1]
        assert _digest({table: _split(now, table)[1]}) == _digest({table: earlier})
    assert len(kept) + len(moved) == case.landed, (len(kept), len(moved))
    places = {(row["_file"], row["_row"]) for row in (*kept, *moved)}
    assert len(places) == case.landed, "a row is there twice"
    plain = [{k: v for k, v in row.items() if k not in OWN} for row in kept]
    assert sorted(map(repr, plain)) == sorted(map(repr, outcome.rows))
    reasons = {row["_row"]: row["reasons"] for row in moved}
    expected = outcome.reasons if isinstance(outcome, Quarantined) else {}
    assert reasons.keys() == expected.keys(), reasons
    for at, words in expected.items():
        assert words in reasons[at], (words, reasons[at])


def _split(tables: Tables, table: str) -> tuple[list[Any], list[Any]]:
    """Part the rows of the case's partition from those of others."""
    held = tables.get(table, [])
    ours = [row for row in held if row["partition"] == str(PARTITION)]
    return ours, [row for row in held if row["partition"] != str(PARTITION)]


def _labels_that_count(place: Ground) -> dict[Any, Any]:
    """Join labels as a training would, with three rows that have ids 1 to 3."""
    frame = to_pandas(pa.table({"id": [1, 2, 3], "at": [PARTITION.start] * 3}))
    known = known_labels(place.lake, PARTITION)
    joined = join_labels(frame, known, place.pipeline, PARTITION.end)
    return dict(zip(joined["id"].tolist(), joined["_label"].tolist(), strict=True))
