"""Released, a repaired row is in its partition as if it had landed so, and stays there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include.errors import QualityError, SourceError
from include.quality import suites, validation
from include.registry.model_files import ModelVersion
from include.steps import erasure
from include.steps.erasure import ids_uri
from include.steps.maintenance import Maintenance
from include.steps.quarantined_rows import Cells, quarantined_rows
from include.steps.release import forget_rows, hand_in, release, releases, rows_uri
from include.steps.repairs import repair_draft
from include.steps.stale import find_stale
from include.storage import drafts, ledger
from include.storage.connections import from_environment
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from tests.library.steps.test_erasure import holding
from tests.library.steps.test_killed_steps import Killed, killing
from tests.library.steps.test_maintained_world import NOBODY
from tests.library.steps.test_reprocessing import ask, reprocess
from tests.library.steps.world import ROWS, SCORED, World, rows_of

ORIGIN = Origin("platform_release", "manual__1", "release")
REAL = validation.validate
REPORTS: dict[str, Any] = {}


def validate(rows: pa.Table, suite: Any, *, source: str, partition: str) -> Any:
    """Judge rows by a suite once; the worlds of these tests hold the same rows."""
    known = repr((source, partition, rows.to_pylist()))
    if known not in REPORTS:
        REPORTS[known] = REAL(rows, suite, source=source, partition=partition)
    return REPORTS[known]


@pytest.fixture
def landed(
    surroundings: None,
    monkeypatch: pytest.MonkeyPatch,
    store_settings: StoreSettings,
    make_pipeline: Any,
    version: ModelVersion,
) -> World:
    """A world whose suites look at every batch anew, for its rows change and not their number."""
    monkeypatch.setattr(validation, "validate", validate)
    return World(store_settings, make_pipeline, version)


@pytest.fixture
def scored(landed: World) -> World:
    """One that has trained and scored."""
    return landed.run()


@pytest.fixture
def world(landed: World) -> World:
    """One that has ingested the sources of one partition."""
    for source in ("loans", "outcomes"):
        ingest_again(landed, source)
    return landed


def moved(world: World, source: str = "loans") -> dict[str, Mapping[str, Any]]:
    """List what is in quarantine of the scored partition, by id of the row."""
    return {
        row.id: row.values
        for row in quarantined_rows(world.lake, f"quarantine_{source}", str(SCORED))
    }


def asked(world: World, cells: Cells, source: str = "loans") -> str:
    """Hand in all that is in quarantine, each with some cells repaired."""
    rows = dict.fromkeys(moved(world, source), cells)
    return hand_in(world.lake, world.pipeline, source, str(SCORED), rows)


def run(world: World, name: str, source: str = "loans", origin: Origin = ORIGIN) -> str:
    done = release(
        *(world.lake, world.pipeline, source, SCORED, name, "a typing error", "Ada", origin)
    )
    forget_rows(world.lake, name)
    return done.told


def killed_on_the_way(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    has_come: Callable[[], bool],
    source: str = "loans",
) -> None:
    """Kill a release at a later write each time, until it has come somewhere."""
    writes = 0
    while not has_come():
        writes += 1
        with killing(monkeypatch, writes), pytest.raises(Killed):
            run(world, name, source)


def ingest_again(world: World, source: str = "loans") -> None:
    for task, step in world.scoring(SCORED):
        if task.endswith(f"_{source}"):
            step()


def validate_again(world: World, source: str = "loans") -> None:
    """Clear the validating task alone, which finds the draft of before."""
    dict(world.scoring(SCORED))[f"validate_{source}"]()


def held(world: World, source: str = "loans") -> list[list[str]]:
    return [rows_of(world.lake, f"{kind}_{source}") for kind in ("raw", "quarantine")]


def test_a_repaired_row_comes_back_and_survives_ingesting_and_reprocessing(
    scored: World,
) -> None:
    before = moved(scored)
    assert [row["amount"] for row in before.values()] == [-1.0]

    told = run(scored, asked(scored, {"amount": "12.5"}))

    assert told == "1 of 1 rows of loans 2005-Q1 released."
    assert moved(scored) == {}
    rows = scored.lake.read("raw_loans", partitions=[str(SCORED)]).to_pylist()
    assert len(rows) == ROWS
    assert {row["id"]: row["amount"] for row in rows}["2005-Q1/3"] == 12.5
    released = held(scored)
    stale = find_stale(scored.lake, scored.pipeline)
    assert not stale.corrections
    assert [run.tables[0] for run in stale.runs] == ["features"]
    ingest_again(scored)
    assert held(scored) == released
    assert find_stale(scored.lake, scored.pipeline) == stale
    begun, done = ledger.entries(scored.lake, "release")
    assert (begun.decision, done.decision) == ("begun", "done")
    assert done.reason == f"Ada: a typing error. {told}"
    assert "12.5" not in json.dumps(done.evidence)

    request = ask(scored)
    assert request is not None
    reprocess(scored, request)
    assert find_stale(scored.lake, scored.pipeline).is_nothing
    assert held(scored) == released
    for table in ("features", "predictions"):
        ids = scored.lake.read(table, partitions=[str(SCORED)])["id"].to_pylist()
        assert "2005-Q1/3" in ids


def test_a_draft_of_before_is_validated_with_what_was_released_since(world: World) -> None:
    for source, cells in (("loans", {"amount": "12.5"}), ("outcomes", {"bad": "1"})):
        run(world, asked(world, cells, source), source)
        released, labels = held(world, source), rows_of(world.lake, "labels")
        stale = find_stale(world.lake, world.pipeline)
        # Alone twice, and once after the ingestion, whose draft has the repairs.
        for again in (validate_again, validate_again, ingest_again):
            again(world, source)
            assert held(world, source) == released
            assert rows_of(world.lake, "labels") == labels
            assert find_stale(world.lake, world.pipeline) == stale
    assert [e.decision for e in ledger.entries(world.lake, "release")] == ["begun", "done"] * 2


def test_a_draft_with_repairs_that_are_gone_is_ingested_again(world: World) -> None:
    draft = world.kept["ingest_loans"]
    rows = drafts.read(world.lake, draft, drafts.load(world.lake, draft), str(SCORED))
    run(world, asked(world, {"amount": "12.5"}))
    about = (world.lake, world.pipeline, "loans", str(SCORED), rows)
    with pytest.raises(SourceError, match=r"all repairs but those made since.* Clear the task"):
        repair_draft(*about, "1-0000000000000007")


def test_a_label_comes_back_as_label(world: World) -> None:
    key = "2004-Q4/3"
    assert key not in world.lake.read("labels", partitions=[str(SCORED)])["id"].to_pylist()
    run(world, asked(world, {"bad": "1"}, "outcomes"), "outcomes")
    rows = world.lake.read("labels", partitions=[str(SCORED)]).to_pylist()
    assert {row["id"]: row["label"] for row in rows}[key] == 1
    released = held(world, "outcomes")
    ingest_again(world, "outcomes")
    assert held(world, "outcomes") == released


def test_rows_that_fail_stay_and_are_told_without_their_values(world: World) -> None:
    before = held(world)
    (row_id,) = moved(world)
    with pytest.raises(QualityError, match=f"got none that does: row {row_id}") as told:
        run(world, asked(world, {"amount": "-77"}))
    assert "77" not in str(told.value).replace(row_id, "")
    assert held(world) == before
    assert ledger.entries(world.lake, "release") == []


def test_killed_after_any_write_it_is_finished_by_the_same_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, tries, ended = asked(world, {"bad": "0"}, "outcomes"), 0, False
    while not ended:
        tries += 1
        with killing(monkeypatch, tries):
            try:
                run(world, name, "outcomes")
                ended = True
            except Killed:
                continue
    assert tries >= 5
    rows = world.lake.read("raw_outcomes", partitions=[str(SCORED)]).to_pylist()
    assert sorted(row["id"] for row in rows) == sorted({row["id"] for row in rows})
    assert len(rows) == ROWS
    assert moved(world, "outcomes") == {}
    assert world.lake.row_counts("repairs_outcomes") == {str(SCORED): 1}
    released = held(world, "outcomes")
    # Airflow may run it again although it has ended.
    assert run(world, name, "outcomes") == "1 of 1 rows of outcomes 2005-Q1 released."
    assert held(world, "outcomes") == released
    decisions = [entry.decision for entry in ledger.entries(world.lake, "release")]
    assert decisions == ["begun", "done"]


def has_repairs(world: World) -> bool:
    return str(SCORED) in world.lake.row_counts("repairs_loans")


def test_killed_longer_ago_than_the_retention_it_is_finished_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = asked(world, {"bad": "0"}, "outcomes")

    def maintain() -> int:
        now = datetime.now(UTC) + timedelta(days=15)
        maintenance = Maintenance(world.lake, NOBODY, timedelta(days=14), pipeline=world.pipeline)
        maintenance.plan(now.isoformat(), now)
        done = maintenance.carry_out(now.isoformat(), now).won()
        return done.get("data file", (0, 0))[0]

    killed_on_the_way(world, monkeypatch, name, lambda: not moved(world, "outcomes"), "outcomes")
    assert world.lake.row_counts("raw_outcomes")[str(SCORED)] == ROWS - 1
    maintain()
    run(world, name, "outcomes")
    assert world.lake.row_counts("raw_outcomes")[str(SCORED)] == ROWS
    # What it was finished from is needed no more.
    assert maintain() > 0


def test_a_run_that_ingests_in_between_leaves_nothing_to_do(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = asked(world, {"amount": "12.5"})
    killed_on_the_way(world, monkeypatch, name, lambda: has_repairs(world))
    ingest_again(world)
    ingested = held(world)
    assert moved(world) == {}
    run(world, name)
    assert held(world) == ingested


def test_a_repair_is_void_while_its_row_does_not_land(world: World) -> None:
    run(world, asked(world, {"amount": "12.5"}))
    released = held(world)
    world.land(4, SCORED, loans=3)  # the fourth row was the one
    for _ in range(2):
        ingest_again(world)
    assert world.lake.row_counts("raw_loans")[str(SCORED)] == 3
    validate_again(world)
    assert world.lake.row_counts("raw_loans")[str(SCORED)] == 3
    (void,) = [e for e in ledger.entries(world.lake, "release") if e.decision == "void"]
    assert void.reason.startswith("1 of 1 repairs of loans are void")
    world.land(4, SCORED)
    ingest_again(world)
    assert held(world) == released


def test_a_repaired_row_that_a_stricter_suite_moves_away_is_repaired_further(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world, asked(world, {"amount": "200"}))
    load = suites.load_suite

    def stricter(name: str) -> Any:
        suite = load(name)
        (rule,) = suite["expectations"]
        if name != "loans":
            return suite
        kwargs = {**rule["kwargs"], "max_value": 100}
        return {**suite, "expectations": [{**rule, "kwargs": kwargs}]}

    monkeypatch.setattr(suites, "load_suite", stricter)
    REPORTS.clear()
    ingest_again(world)
    (row_id,) = moved(world)
    assert moved(world)[row_id]["amount"] == 200
    name = hand_in(world.lake, world.pipeline, "loans", str(SCORED), {row_id: {"amount": "20"}})
    run(world, name, origin=Origin("platform_release", "manual__2", "release"))
    released = held(world)
    assert moved(world) == {}
    validate_again(world)
    assert held(world) == released
    stale = find_stale(world.lake, world.pipeline)
    ingest_again(world)
    assert held(world) == released
    assert find_stale(world.lake, world.pipeline) == stale
    REPORTS.clear()


def test_one_release_of_a_partition_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = asked(world, {"amount": "1"}), asked(world, {"amount": "2"})
    killed_on_the_way(world, monkeypatch, first, lambda: has_repairs(world))
    other = Origin("platform_release", "manual__2", "release")
    with pytest.raises(SourceError, match=r"one release at a time, .* of run manual__1"):
        run(world, second, origin=other)
    run(world, first)
    with pytest.raises(SourceError, match="must be in quarantine"):
        run(world, second, origin=other)


def test_an_object_that_was_written_by_hand(world: World) -> None:
    about = b'{"dataset": "loans", "partition": "2005-Q1"'
    for data, message in (
        (None, "must hold the rows, got no such object"),
        (b"x", "must be JSON with dataset, partition and rows"),
        (about + b"}", "got KeyError"),
        (about + b', "rows": {"a": {"amount": 1}}}', "a cell that is no text"),
        (about + b', "rows": {}}', "must hold at least one row"),
        (
            b'{"dataset": "loans", "partition": "2005-Q2", "rows": {"a": {}}}',
            "must be about loans 2005-Q1, got loans 2005-Q2",
        ),
    ):
        if data is not None:
            ObjectStore(world.lake.settings).write(rows_uri(world.lake.pipeline, "mine"), data)
        with pytest.raises(SourceError, match=message):
            release(*(world.lake, world.pipeline, "loans", SCORED, "mine", "why", "Ada", ORIGIN))


def test_what_cannot_be_released_is_told_before_anything_is_handed_in(world: World) -> None:
    (row_id,) = moved(world)
    wrong: list[tuple[str, dict[str, Cells], str]] = [
        ("features", {}, "rows to release must be rows of a source, got features"),
        ("lones", {}, "got 'lones'; did you mean 'loans'"),
        ("loans", {"ab": {}}, "rows to release must be in quarantine, got ab"),
        ("loans", {row_id: {"amount": "1,5"}}, "column amount: must be double, got '1,5'"),
        ("loans", {row_id: {"amout": "1"}}, "must have the columns of the table, got amout"),
        ("loans", {row_id: {"id": "x"}}, "column id: the entity must stay as it landed"),
        ("loans", {row_id: {"at": "soon"}}, "column at: must be timestamp"),
        ("loans", {row_id: {"at": "2005-04-01T00:00:00"}}, "column at: must lie in the partition"),
    ]
    for source, rows, message in wrong:
        with pytest.raises(SourceError, match=message):
            hand_in(world.lake, world.pipeline, source, str(SCORED), rows)
    assert not ObjectStore(world.lake.settings).list(releases(world.lake.pipeline))


def test_who_is_erased_is_in_no_repair_and_no_request(world: World) -> None:
    run(world, asked(world, {"amount": "12.5"}))
    left = hand_in(
        *(world.lake, world.pipeline, "outcomes", str(SCORED)),
        {row_id: {"bad": "1"} for row_id in moved(world, "outcomes")},
    )
    store = ObjectStore(world.lake.settings)
    store.write(ids_uri(world.lake.pipeline, "letter"), b"2005-Q1/3")
    erasure.erase(
        *(world.lake, world.registry, world.pipeline, "letter", "a letter", "Ada"),
        Origin("platform_erase", "manual__1", "erase"),
        connections=from_environment,
    )
    assert world.lake.read("repairs_loans").num_rows == 0
    assert not store.exists(rows_uri(world.lake.pipeline, left))
    assert not holding(world, "2005-Q1/3")
    ingest_again(world)
    assert world.lake.row_counts("raw_loans")[str(SCORED)] == ROWS - 1
