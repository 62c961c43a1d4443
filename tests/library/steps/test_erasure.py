"""Erased, somebody is in no version of any table and in no object, and all else is as it was."""

from __future__ import annotations

import contextlib
import io
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError
from include.specification.sections.sources import ROW_ID
from include.steps import erasure
from include.steps.erasure import Found, erase, ids_uri
from include.steps.maintenance import AirflowRuns, Maintenance
from include.steps.retirement import follow, renew_archive, retire
from include.steps.retirement_archive import demand_archive
from include.steps.stale import find_stale
from include.storage import ledger
from include.storage.connections import from_environment
from include.storage.inventory import take_inventory
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from tests.library.steps.world import HISTORY, ROWS, SCORED, World

ORIGIN = Origin("platform_erase", "manual__1", "erase")
# Trained on, quarantined as landed (3) and as features (5), scored; the last one is nowhere.
PEOPLE = ("2004-Q2/7", "2004-Q3/3", "2004-Q2/5", "2005-Q1/9", "2004-Q1/58", "9999-Q1/1")

pytestmark = pytest.mark.usefixtures("surroundings")


@pytest.fixture
def world(scored_world: World) -> World:
    """A world with a correction, so that its tables have versions that hold more than the last."""
    made = scored_world
    made.land(4, SCORED, loans=ROWS - 2)
    for _, step in made.scoring(SCORED):
        step()
    store = ObjectStore(made.lake.settings)
    page = f"s3://reports/{made.lake.pipeline}/data_docs/2004-Q2/loans/index.html"
    store.write(page, b"<td>2004-Q2/7</td><td>2004-Q2/77</td>")
    store.write(ids_uri(made.lake.pipeline, "letter_1"), "\n".join(PEOPLE).encode())
    return made


def run(world: World, name: str = "letter_1", origin: Origin = ORIGIN) -> Found:
    found = erase(
        *(world.lake, world.registry, world.pipeline, name, "a letter", "Ada", origin),
        connections=from_environment,
    )
    erasure.forget_ids(world.lake, name)
    return found


def versions(world: World) -> dict[tuple[str, int], pa.Table]:
    """Read every version of every table, and what the log says of its rows."""
    found = {}
    for table in take_inventory(world.lake).tables:
        for number in range(world.lake.open(table).version() + 1):
            rows = world.lake.read(table, version=number)
            counted = world.lake.open(table, number).count()
            assert counted == rows.num_rows
            found[table, number] = rows.sort_by([(rows.column_names[0], "ascending")])
    return found


def objects(world: World) -> dict[str, bytes]:
    """Read everything of the pipeline that is on the store."""
    store = ObjectStore(world.lake.settings)
    return {
        item.uri: store.read(item.uri)
        for bucket in ("lake", "landing", "reports")
        for item in store.list(f"s3://{bucket}/{world.lake.pipeline}")
    }


def holding(world: World, text: str) -> list[str]:
    """Name the objects that hold a text, also packed in Parquet."""
    found = []
    for uri, data in objects(world).items():
        plain = data.decode("utf-8", "replace")
        if uri.endswith(".parquet"):
            plain = repr(pq.read_table(io.BytesIO(data)).to_pylist())
            plain += repr(pq.ParquetFile(io.BytesIO(data)).metadata.to_dict())
        if f"{text}'" in plain or f'{text}"' in plain or f"{text}<" in plain:
            found.append(uri)
    return found


def without(rows: pa.Table) -> pa.Table:
    if "row" in rows.column_names:
        texts = rows["row"].to_pylist()
        kept = [not any(f'"id": "{one}"' in text for one in PEOPLE) for text in texts]
        return rows.filter(pa.array(kept, pa.bool_()))
    if "id" in rows.column_names:
        return rows.filter(pc.invert(pc.is_in(rows["id"], value_set=pa.array(PEOPLE))))
    return rows


def test_every_version_is_as_it_was_but_for_their_rows(world: World) -> None:
    before, kept = versions(world), find_stale(world.lake, world.pipeline)
    assert all(holding(world, one) for one in PEOPLE[:-1])

    found = run(world)

    assert not [one for one in PEOPLE if holding(world, one)]
    after = versions(world)
    assert {name for name, _ in after} == {name for name, _ in before}
    for key, rows in before.items():
        if key[0] != "ledger":
            assert after[key].equals(without(rows)), key
    assert find_stale(world.lake, world.pipeline) == kept
    assert kept.is_nothing
    assert (found.people, found.versions, found.unknown) == (6, (1,), ())
    assert (found.files, found.landed) == (7, 9)
    begun, done = ledger.entries(world.lake, "erasure")
    assert (begun.decision, done.decision) == ("begun", "done")
    assert done.reason == f"Ada: a letter. {found}"
    assert str(found).endswith(" landed files. Trained on them: versions 1.")
    page = ObjectStore(world.lake.settings).read(
        f"s3://reports/{world.lake.pipeline}/data_docs/2004-Q2/loans/index.html"
    )
    assert page == b"<td>[erased]</td><td>2004-Q2/77</td>"


def tables(world: World) -> dict[str, pa.Table]:
    """Read what is made from landed data, but for the place where a row stood in its file."""
    found = {}
    for table in ("raw_loans", "raw_outcomes", "features", "labels", "training_sets"):
        rows = world.lake.read(table)
        own = [name for name in rows.column_names if name != "_row"]
        found[table] = rows.select(own).sort_by([(name, "ascending") for name in own])
    return found


def test_what_landed_can_be_ingested_again_and_is_no_correction(world: World) -> None:
    run(world)
    expected = tables(world)
    for _, step in [*world.training(), *world.scoring(SCORED)]:
        step()
    assert tables(world) == expected
    assert find_stale(world.lake, world.pipeline).is_nothing


class KilledError(Exception):
    """Stands for SIGKILL."""


def test_killed_at_any_write_it_is_finished_by_the_same_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try is killed some writes later than the one before."""
    write, left = ObjectStore.write, 0

    def killed(self: ObjectStore, uri: str, *rest: Any) -> None:
        nonlocal left
        if left == 0:
            raise KilledError
        left -= 1
        write(self, uri, *rest)

    before, found, tries = versions(world), None, 0
    monkeypatch.setattr(ObjectStore, "write", killed)
    while found is None:
        left = tries = tries + 1
        with contextlib.suppress(KilledError):
            found = run(world)
    assert tries > 5
    after = versions(world)
    for key, rows in before.items():
        if key[0] != "ledger":
            assert after[key].equals(without(rows)), key
    assert found.versions == (1,)
    assert find_stale(world.lake, world.pipeline).is_nothing
    assert not [one for one in PEOPLE if holding(world, one)]
    begun, done = ledger.entries(world.lake, "erasure")
    assert begun.evidence == done.evidence
    # Airflow may run it again although it has ended.
    assert run(world) == found


def test_a_draft_of_before_is_validated_without_them(world: World) -> None:
    (_, ingest), (_, validate), *_ = world.scoring(SCORED)
    world.land(4, SCORED, loans=ROWS - 1)
    ingest()
    run(world)
    validate()
    rows = world.lake.read("raw_loans", partitions=[str(SCORED)])
    assert rows.num_rows == ROWS - 1 - 1 - 1  # without the impossible loan, and one of them
    assert "2005-Q1/9" not in rows["id"].to_pylist()


def test_what_a_trial_run_left_and_earlier_requests_brought_goes_too(world: World) -> None:
    name, store = world.lake.pipeline, ObjectStore(world.lake.settings)
    trials = [f"s3://lake/{name}_dev/raw_loans/1.parquet", f"s3://reports/{name}_dev/a/index.html"]
    others = f"s3://lake/{name}_devices/raw_loans/1.parquet"
    for uri in (*trials, others):
        store.write(uri, b"2004-Q2/7")
    store.write(ids_uri(name, "refused"), PEOPLE[0].encode())
    store.write(ids_uri(name, "another"), f"{PEOPLE[0]}\n2004-Q2/8".encode())
    run(world)
    assert [store.exists(uri) for uri in trials] == [False, False]
    assert store.exists(others)
    assert not store.exists(ids_uri(name, "refused"))
    assert store.exists(ids_uri(name, "another"))


def test_of_nobody_it_says_so(world: World) -> None:
    uri = ids_uri(world.lake.pipeline, "typo")
    ObjectStore(world.lake.settings).write(uri, b"2004-Q2/7,2004-Q2/8")
    assert "1 id, of whom nobody is in any table or landed file" in str(run(world, "typo"))


def test_ids_that_are_missing(world: World) -> None:
    with pytest.raises(SourceError, match="must hold the ids, one a line, got no such object"):
        run(world, "another")
    ObjectStore(world.lake.settings).write(ids_uri(world.lake.pipeline, "empty"), b"\n \n")
    with pytest.raises(SourceError, match="must hold one id a line, got none"):
        run(world, "empty")
    assert not ledger.entries(world.lake, "erasure")


def test_a_landed_file_that_cannot_be_read_stops_it_before_anything_changes(world: World) -> None:
    uri = f"s3://landing/{world.lake.pipeline}/loans/{HISTORY[0]}/rows.parquet"
    ObjectStore(world.lake.settings).write(uri, b"PAR1 cut off")
    before = objects(world)
    with pytest.raises(SourceError, match="source loans: file s3://landing/"):
        run(world)
    assert objects(world) == before


def test_landed_files_that_tasks_may_not_write(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who may writes them, and the same run goes on."""
    before = versions(world)
    with monkeypatch.context() as refused:

        def write(self: ObjectStore, uri: str, *rest: Any) -> None:
            if uri.startswith("s3://landing/"):
                raise SourceError(f"object {uri}: the store must allow it, got AccessDenied.")
            real(self, uri, *rest)

        real = ObjectStore.write
        refused.setattr(ObjectStore, "write", write)
        with pytest.raises(SourceError, match=r"AccessDenied.*--landed-only`; then clear"):
            run(world)
    assert {name: rows for name, rows in versions(world).items() if name[0] != "ledger"} == {
        name: rows for name, rows in before.items() if name[0] != "ledger"
    }
    assert erasure.erase_landed(world.lake, world.pipeline, PEOPLE) == 7
    run(world)
    assert not [one for one in PEOPLE if holding(world, one)]
    assert find_stale(world.lake, world.pipeline).is_nothing


def test_rows_that_are_numbered_are_nobodys(world: World) -> None:
    numbered = world.pipeline.model_copy(update={"entity": ROW_ID})
    with pytest.raises(SourceError, match="must have an entity for somebody to be found"):
        erasure.erase_landed(world.lake, numbered, PEOPLE)


def test_a_correction_that_comes_meanwhile_is_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a kill and the clear, of a file that was written already and of one that was not."""
    left = 0

    def write(self: ObjectStore, uri: str, *rest: Any) -> None:
        nonlocal left
        left += uri.startswith("s3://landing/")
        if left > 1:
            raise KilledError
        real(self, uri, *rest)

    real = ObjectStore.write
    with monkeypatch.context() as killed:
        killed.setattr(ObjectStore, "write", write)
        with pytest.raises(KilledError):
            run(world)
    world.land(0, HISTORY[0], loans=ROWS - 5)
    world.land(1, HISTORY[1], loans=ROWS - 5)
    run(world, origin=Origin("platform_erase", "manual__2", "erase"))
    corrected = find_stale(world.lake, world.pipeline).corrections
    assert {item.partition for item in corrected} >= {str(HISTORY[0]), str(HISTORY[1])}
    assert not [one for one in PEOPLE if holding(world, one)]
    # Whoever takes a request up knows what was found before the first row went.
    begun, done = ledger.entries(world.lake, "erasure")
    assert begun.evidence["found"] == done.evidence["found"]
    assert done.evidence["found"]["versions"] == [1]


def test_one_request_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(erasure, "remove_rows", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(world)
    other = erasure.hand_in(world.lake, world.pipeline, ["2004-Q1/1"], "a letter")
    with pytest.raises(SourceError, match="got request letter_1 of run manual__1, which is not"):
        run(world, other)
    run(world)
    assert run(world, other).tables


def test_what_people_said_is_clean_too(world: World) -> None:
    ledger.record(world.lake, "snapshot", "x", "taken", f"{PEOPLE[0]} complained", origin=ORIGIN)
    run(world)
    (said,) = ledger.entries(world.lake, "snapshot")
    assert said.reason == "[erased] complained"
    assert not holding(world, f"{PEOPLE[0]} complained")


def test_of_a_retired_pipeline_as_long_as_its_tables_are_there(world: World) -> None:
    lake, store = world.lake, ObjectStore(world.lake.settings)
    now = datetime.now(UTC).replace(tzinfo=None)
    asked = Origin("platform_retire", "manual__1", "retire")
    retire(lake, world.registry, 1, f"as {PEOPLE[0]} wished", "Ada", now, asked)
    follow(lake, world.registry)

    found = run(world)
    told = renew_archive(lake, found.versions)

    assert not [one for one in PEOPLE if holding(world, one)]
    assert (found.versions, found.unknown) == ((1,), ())
    assert (
        told == f"The archive in s3://lake/{lake.pipeline}/retired keeps the models of versions 1."
    )
    with zipfile.ZipFile(io.BytesIO(store.read(demand_archive(lake).uri))) as held:
        for name in held.namelist():
            assert PEOPLE[0].encode() not in held.read(name)
        assert b"as [erased] wished" in held.read("ledger.jsonl")

    nobody = AirflowRuns(lambda dag_ids: None, lambda dag_id, run_id: False)
    maintenance = Maintenance(lake, nobody, timedelta(days=90))
    later = datetime.now(UTC) + timedelta(days=1)
    maintenance.plan("night", later)
    assert not maintenance.carry_out("night", later).left
    store.write(ids_uri(lake.pipeline, "letter_2"), b"2004-Q2/8")
    found = run(world, "letter_2", Origin("platform_erase", "manual__2", "erase"))
    assert (dict(found.tables), found.landed > 0) == ({}, True)
    archived = f"models in s3://lake/{lake.pipeline}/retired, whose training sets are removed"
    assert found.unknown == (archived,)
    assert f"Not looked through: {archived}." in str(found)


def test_a_reason_does_not_say_who(world: World) -> None:
    before = objects(world)
    with pytest.raises(SourceError, match=r"reason: must not name who is erased, got one of"):
        erase(
            *(world.lake, world.registry, world.pipeline, "letter_1"),
            *(f"a letter of {PEOPLE[0]}", "Ada", ORIGIN),
            connections=from_environment,
        )
    with pytest.raises(SourceError, match=r"reason: must not name who is erased"):
        erasure.hand_in(world.lake, world.pipeline, PEOPLE, f"{PEOPLE[1]} wrote")
    assert objects(world) == before
