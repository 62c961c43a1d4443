"""From landed files to validated tables, on a real store with the real Great Expectations."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.calendar.partitions import Frequency, Partition, parse
from include.errors import QualityError, SourceError, UnavailableError
from include.features import feature_function
from include.features.known_labels import known_labels
from include.quality import suites
from include.quality.suites import load_suite
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import Source
from include.steps import preparation
from include.steps.history_completion import complete_history
from include.steps.preparation import (
    ingest,
    validate_features,
    validate_source,
    validate_training_set,
)
from include.storage import drafts
from include.storage.drafts import Draft
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.training.training_sets import TrainingSet

MakePipeline = Callable[..., Pipeline]
COLUMN = "expect_column_values_to_"
SUITES = {
    "loans": [
        {"type": f"{COLUMN}be_unique", "kwargs": {"column": "id"}},
        {"type": f"{COLUMN}be_between", "kwargs": {"column": "amount", "min_value": 0}},
    ],
    "accounts": [{"type": f"{COLUMN}be_unique", "kwargs": {"column": "id"}}],
    "outcomes": [{"type": f"{COLUMN}be_in_set", "kwargs": {"column": "bad", "value_set": [0, 1]}}],
    "f": [{"type": f"{COLUMN}not_be_null", "kwargs": {"column": "x"}}],
}


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


Q1, Q2 = quarter("2005-Q1"), quarter("2005-Q2")


@pytest.fixture(autouse=True)
def own_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, expectations in SUITES.items():
        document = {"name": name, "expectations": expectations}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    monkeypatch.setattr(suites, "load_suite", functools.partial(load_suite, folder=tmp_path))


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> Pipeline:
    return make_pipeline()


def land(lake: Lake, uri: str, rows: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(rows, buffer)
    ObjectStore(lake.settings).write(uri, buffer.getvalue())


def land_loans(lake: Lake, partition: Partition, bad: int = 0, rows: int = 100) -> None:
    """Land loans of which the first ``bad`` have an impossible amount, in two files."""
    table = pa.table(
        {
            "id": [f"{partition}/{number}" for number in range(rows)],
            "at": pa.array([partition.start] * rows, pa.timestamp("us")),
            "amount": [-1.0] * bad + [10.0] * (rows - bad),
        }
    )
    folder = f"s3://landing/{lake.pipeline}/loans/{partition}"
    land(lake, f"{folder}/part-0.parquet", table.slice(0, rows // 2))
    land(lake, f"{folder}/part-1.parquet", table.slice(rows // 2))


def land_outcomes(lake: Lake, partition: Partition, *known: datetime) -> None:
    table = pa.table(
        {
            "id": [f"loan {number}" for number in range(len(known))],
            "bad": pa.array([number % 2 for number in range(len(known))], pa.int64()),
            "known": pa.array(known, pa.timestamp("us")),
        }
    )
    land(lake, f"s3://landing/{lake.pipeline}/outcomes/{partition}/part-0.parquet", table)


def come_before_a_commit(
    monkeypatch: pytest.MonkeyPatch, wanted: str, act: Callable[[], None]
) -> None:
    """Let another run act once, just before a table is committed to."""
    commit = Lake.commit

    def come_first(self: Lake, table: str, *asked: Any, **how: Any) -> Any:
        monkeypatch.setattr(Lake, "commit", commit)
        if table == wanted:
            act()
        else:
            monkeypatch.setattr(Lake, "commit", come_first)
        return commit(self, table, *asked, **how)

    monkeypatch.setattr(Lake, "commit", come_first)


class TestGoodBatch:
    def test_it_goes_on_as_it_came(self, lake: Lake, pipeline: Pipeline, origin: Origin) -> None:
        land_loans(lake, Q1)
        ingested = ingest(lake, pipeline, "loans", [Q1], origin)
        validated = validate_source(lake, pipeline, "loans", ingested, Q1, origin)

        assert (ingested.table, ingested.partition, ingested.rows) == ("raw_loans", "2005-Q1", 100)
        assert validated.reference == lake.reference("raw_loans", "2005-Q1")
        assert validated.reference.rows == 100
        assert validated.quarantined == 0
        assert validated.summary["rows"] == 100
        assert validated.summary["failures"] == []
        json.dumps(validated.to_dict())

        rows = lake.read("raw_loans").to_pylist()
        assert {row["_file"] for row in rows} == {"part-0.parquet", "part-1.parquet"}
        assert lake.row_counts("quarantine_loans") == {}

    def test_data_docs_are_where_the_task_links_to(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        ingested = ingest(lake, pipeline, "loans", [Q1], origin)
        validated = validate_source(lake, pipeline, "loans", ingested, Q1, origin)
        expected = f"s3://reports/{lake.pipeline}/data_docs/2005-Q1/loans/index.html"
        assert preparation.data_docs_uri(lake.pipeline, "2005-Q1", "loans") == expected
        assert validated.data_docs == expected
        assert b"<html" in ObjectStore(lake.settings).read(expected)

    def test_a_column_that_is_left_out_is_told(
        self,
        lake: Lake,
        pipeline: Pipeline,
        origin: Origin,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        land_loans(lake, Q1)
        first = ingest(lake, pipeline, "loans", [Q1], origin)
        validate_source(lake, pipeline, "loans", first, Q1, origin)
        wider = pa.table(
            {
                "id": ["a"],
                "at": pa.array([Q2.start], pa.timestamp("us")),
                "amount": [1.0],
                "colour": ["red"],
            }
        )
        land(lake, f"s3://landing/{lake.pipeline}/loans/{Q2}/part-0.parquet", wider)

        ingest(lake, pipeline, "loans", [Q2], origin)

        assert "colour" in caplog.text
        assert "colour" not in lake.read("raw_loans").column_names


class TestBadRows:
    def test_a_fifth_of_them_stops_the_batch_and_the_state_before_stays(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        good = ingest(lake, pipeline, "loans", [Q1], origin)
        validate_source(lake, pipeline, "loans", good, Q1, origin)
        land_loans(lake, Q2, bad=20)
        ingested = ingest(lake, pipeline, "loans", [Q2], origin)

        with pytest.raises(QualityError) as caught:
            validate_source(lake, pipeline, "loans", ingested, Q2, origin)

        docs = f"s3://reports/{lake.pipeline}/data_docs/2005-Q2/loans/index.html"
        assert str(caught.value) == (
            "source loans 2005-Q2: at most 5.00% of 100 rows may go to quarantine, got 20 "
            f"(20.00%): critical failed: amount: {COLUMN}be_between(min_value=0.0), got 20 of 100 "
            "rows unexpected in part-0.parquet. Correct the data, land it again and clear the task "
            "that ingests it, with downstream; or raise max_quarantined in the pipeline file and "
            f"clear this task with downstream. Data Docs: {docs}"
        )
        assert ObjectStore(lake.settings).exists(docs)
        assert lake.read("raw_loans", partitions=["2005-Q1"]).num_rows == 100
        assert lake.row_counts("quarantine_loans") == {}

    def test_two_of_a_hundred_go_to_quarantine_with_reasons(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1, bad=2)
        ingested = ingest(lake, pipeline, "loans", [Q1], origin)
        validated = validate_source(lake, pipeline, "loans", ingested, Q1, origin)

        assert (validated.quarantined, validated.reference.rows) == (2, 98)
        kept = lake.read("raw_loans", version=validated.reference.version).to_pylist()
        moved = lake.read("quarantine_loans").to_pylist()
        ids = [row["id"] for row in kept] + [json.loads(row["row"])["id"] for row in moved]
        assert sorted(ids) == sorted(f"2005-Q1/{number}" for number in range(100))
        assert [(row["_file"], row["_row"]) for row in moved] == [
            ("part-0.parquet", 0),
            ("part-0.parquet", 1),
        ]
        assert {row["reasons"] for row in moved} == {
            f"amount: {COLUMN}be_between(min_value=0.0), got -1.0"
        }
        assert min(row["amount"] for row in kept) == 10.0

    def test_again_from_the_same_reference_gives_the_same(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1, bad=2)
        ingested = ingest(lake, pipeline, "loans", [Q1], origin)
        first = validate_source(lake, pipeline, "loans", ingested, Q1, origin)
        second = validate_source(lake, pipeline, "loans", ingested, Q1, origin)
        assert first.quarantined == second.quarantined == 2
        assert first.summary == second.summary
        assert first.reference.rows == second.reference.rows == 98
        assert lake.row_counts("raw_loans") == {"2005-Q1": 98}
        assert lake.row_counts("quarantine_loans") == {"2005-Q1": 2}

    def test_corrected_data_empties_the_quarantine(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        for bad in (2, 0):
            land_loans(lake, Q1, bad=bad)
            ingested = ingest(lake, pipeline, "loans", [Q1], origin)
            validate_source(lake, pipeline, "loans", ingested, Q1, origin)
        assert lake.row_counts("raw_loans") == {"2005-Q1": 100}
        assert lake.row_counts("quarantine_loans") == {}

    def test_on_failure_fail_moves_nothing_away(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin
    ) -> None:
        uri = f"s3://landing/{lake.pipeline}/loans/{{partition}}/"
        loans = {"uri": uri, "suite": "loans", "on_failure": "fail"}
        pipeline = make_pipeline(sources={"loans": loans})
        land_loans(lake, Q1, bad=1)
        ingested = ingest(lake, pipeline, "loans", [Q1], origin)
        with pytest.raises(QualityError, match="got 1 that stop it: critical failed: amount"):
            validate_source(lake, pipeline, "loans", ingested, Q1, origin)
        assert not lake.exists("quarantine_loans")


class TestIngest:
    def test_another_shape_than_before_is_refused(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        draft = ingest(lake, pipeline, "loans", [Q1], origin)
        validate_source(lake, pipeline, "loans", draft, Q1, origin)
        folder = f"s3://landing/{lake.pipeline}/loans/2005-Q2"
        land(lake, f"{folder}/part-0.parquet", pa.table({"id": ["a"]}))
        with pytest.raises(SourceError, match=r"file part-0\.parquet must .* missing: at, amount"):
            ingest(lake, pipeline, "loans", [Q2], origin)

    def test_a_first_batch_that_was_refused_decides_no_columns(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        address = f"s3://landing/{lake.pipeline}/loans/{Q1}/part-0.parquet"
        odd = pa.table({"id": ["a"], "at": [Q1.start], "amount": [-1], "debug": ["x"]})
        land(lake, address, odd)
        draft = ingest(lake, pipeline, "loans", [Q1], origin)
        with pytest.raises(QualityError, match="clear the task that ingests it"):
            validate_source(lake, pipeline, "loans", draft, Q1, origin)
        land(lake, address, pa.table({"id": ["a"], "at": [Q1.start], "amount": [1.5]}))
        draft = ingest(lake, pipeline, "loans", [Q1], origin)
        validate_source(lake, pipeline, "loans", draft, Q1, origin)
        assert lake.read("raw_loans", columns=["id", "amount"]).to_pylist() == [
            {"id": "a", "amount": 1.5}
        ]
        # From the first row that is kept on they stay.
        narrow = odd.select(["id", "at"])
        land(lake, f"s3://landing/{lake.pipeline}/loans/{Q2}/part-0.parquet", narrow)
        with pytest.raises(SourceError, match="missing: amount"):
            ingest(lake, pipeline, "loans", [Q2], origin)

    def test_nobody_sees_rows_before_they_are_validated(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        before = validate_source(
            lake, pipeline, "loans", ingest(lake, pipeline, "loans", [Q1], origin), Q1, origin
        )
        land_loans(lake, Q1, rows=60)
        assert ingest(lake, pipeline, "loans", [Q1], origin).rows == 60
        ingest(lake, pipeline, "loans", [Q1], replace(origin, dag_run_id="run_2"))
        assert lake.reference("raw_loans", "2005-Q1") == before.reference

    def test_keys_of_another_kind_than_in_the_other_source_are_refused(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        ingest(lake, pipeline, "loans", [Q1], origin)
        outcomes = pa.table({"id": [1], "bad": [1], "known": [Q1.start]})
        land(lake, f"s3://landing/{lake.pipeline}/outcomes/{Q1}/part-0.parquet", outcomes)
        with pytest.raises(SourceError) as caught:
            ingest(lake, pipeline, "outcomes", [Q1], origin)
        assert str(caught.value) == (
            "source outcomes 2005-Q1: column id must be of one kind with id of source loans, "
            "because both are the entity by which rows are joined, got int64 here and string "
            "there. Land both with one type."
        )
        assert not lake.exists("raw_outcomes")

    def test_several_partitions_are_one_draft(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        for partition in (Q1, Q2):
            land_loans(lake, partition)
        draft = ingest(lake, pipeline, "loans", [Q1, Q2], origin)
        assert (draft.partition, draft.rows) == (None, 200)
        files = drafts.load(lake, draft).files
        assert [(file.partition, file.rows) for file in files] == [
            ("2005-Q1", 100),
            ("2005-Q2", 100),
        ]

    def test_if_one_is_missing_none_is_written(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        with pytest.raises(SourceError, match="source loans 2005-Q2: must have at least one"):
            ingest(lake, pipeline, "loans", [Q1, Q2], origin)
        assert not lake.exists("raw_loans")


class TestLabels:
    def test_they_are_written_by_their_usual_names(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        last = Q1.end - timedelta(microseconds=1)
        land_outcomes(lake, Q1, Q1.start, last)
        ingested = ingest(lake, pipeline, "outcomes", [Q1], origin)
        validate_source(lake, pipeline, "outcomes", ingested, Q1, origin)
        rows = sorted(lake.read("labels").to_pylist(), key=lambda row: str(row["id"]))
        assert rows == [
            {"id": "loan 0", "label": 0, "known_at": Q1.start, "partition": "2005-Q1"},
            {"id": "loan 1", "label": 1, "known_at": last, "partition": "2005-Q1"},
        ]

    def test_labels_from_the_future_are_refused(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_outcomes(lake, Q1, Q1.start, Q1.end, datetime(2006, 1, 1))
        ingested = ingest(lake, pipeline, "outcomes", [Q1], origin)
        with pytest.raises(SourceError) as caught:
            validate_source(lake, pipeline, "outcomes", ingested, Q1, origin)
        assert str(caught.value) == (
            "source outcomes 2005-Q1: known must lie before the partition closed (2005-04-01), "
            "got 2 rows known later. Land a label in the partition in which it became known."
        )
        assert not lake.exists("labels")

    def test_those_that_cannot_be_read_change_nothing(
        self,
        lake: Lake,
        pipeline: Pipeline,
        origin: Origin,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        uri = f"s3://landing/{lake.pipeline}/outcomes/{Q1}/part-0.parquet"
        known = pa.array([Q1.start] * 60, pa.timestamp("us"))
        table = pa.table({"id": range(60), "bad": [2, *[1] * 59], "known": known})
        land(lake, uri, table)
        ingested = ingest(lake, pipeline, "outcomes", [Q1], origin)
        validate_source(lake, pipeline, "outcomes", ingested, Q1, origin)
        land(lake, uri, table.slice(1))
        again = ingest(lake, pipeline, "outcomes", [Q1], origin)
        refuse = create_autospec(preparation.labels.derive, side_effect=SourceError("a label"))
        monkeypatch.setattr(preparation.labels, "derive", refuse)
        with pytest.raises(SourceError, match="a label"):
            validate_source(lake, pipeline, "outcomes", again, Q1, origin)
        assert lake.row_counts("quarantine_outcomes") == {"2005-Q1": 1}
        assert lake.row_counts("labels") == {"2005-Q1": 59}

    def test_those_that_contradict_each_other_go_to_quarantine(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        ids = [2**53 + number for number in range(60)]
        table = pa.table(
            {
                "id": pa.array([*ids, ids[1], ids[2]], pa.int64()),
                "bad": pa.array([number % 2 for number in range(60)] + [0, 0], pa.int64()),
                "known": pa.array([Q1.start] * 62, pa.timestamp("us")),
            }
        )
        land(lake, f"s3://landing/{lake.pipeline}/outcomes/{Q1}/part-0.parquet", table)
        ingested = ingest(lake, pipeline, "outcomes", [Q1], origin)
        validated = validate_source(lake, pipeline, "outcomes", ingested, Q1, origin)
        assert validated.quarantined == 2
        assert validated.summary["failures"][0]["expectation"] == "one_label"
        moved = lake.read("quarantine_outcomes").to_pylist()
        assert {json.loads(row["row"])["id"] for row in moved} == {ids[1]}
        assert {row["reasons"] for row in moved} == {
            "bad: one id must have one label at a moment, got 0, 1"
        }
        # The copy of a label stays.
        assert sorted(lake.read("labels")["id"].to_pylist()) == sorted(
            [name for name in ids if name != ids[1]] + [ids[2]]
        )


class TestEmptyBatch:
    @pytest.fixture
    def pipeline(self, make_pipeline: MakePipeline) -> Pipeline:
        """One in which both sources may come without rows."""
        pipeline = make_pipeline()
        sources = {
            name: source.model_copy(update={"allow_empty": True})
            for name, source in pipeline.sources.items()
        }
        return pipeline.model_copy(update={"sources": sources})

    def test_it_is_not_shown_to_a_suite(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        ingested = ingest(lake, pipeline, "loans", [Q1], origin)
        validate_source(lake, pipeline, "loans", ingested, Q1, origin)
        land_loans(lake, Q2, rows=0)
        ingested = ingest(lake, pipeline, "loans", [Q2], origin)
        validated = validate_source(lake, pipeline, "loans", ingested, Q2, origin)
        assert (validated.reference.partition, validated.reference.rows) == ("2005-Q2", 0)
        assert (validated.quarantined, validated.data_docs) == (0, None)
        assert lake.row_counts("raw_loans") == {"2005-Q1": 100}

    def test_nothing_of_what_landed_there_before_is_left(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        for rows in (100, 0):
            land_loans(lake, Q1, bad=rows // 50, rows=rows)
            ingested = ingest(lake, pipeline, "loans", [Q1], origin)
            validate_source(lake, pipeline, "loans", ingested, Q1, origin)
        assert lake.row_counts("raw_loans") == lake.row_counts("quarantine_loans") == {}

    def test_a_batch_without_labels_adds_none(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_outcomes(lake, Q1, Q1.start)
        land_outcomes(lake, Q2)
        for partition in (Q1, Q2):
            ingested = ingest(lake, pipeline, "outcomes", [partition], origin)
            validate_source(lake, pipeline, "outcomes", ingested, partition, origin)
        assert lake.row_counts("labels") == {"2005-Q1": 1}
        assert known_labels(lake, Q2)["label"].tolist() == [0]

    def test_without_leave_it_stops(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1, rows=0)
        with pytest.raises(SourceError, match="must hold at least one row, got an empty batch"):
            ingest(lake, make_pipeline(), "loans", [Q1], origin)


class TestSample:
    def test_rows_are_spread_over_the_batch(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1)
        draft = ingest(lake, pipeline, "loans", [Q1], origin, sample=4)
        assert draft.rows == 4
        drafted = drafts.read(lake, draft, drafts.load(lake, draft), "2005-Q1")
        found = sorted(drafted["id"].to_pylist())
        assert found == ["2005-Q1/0", "2005-Q1/25", "2005-Q1/50", "2005-Q1/75"]

    def test_a_batch_that_is_small_enough_is_taken_whole(
        self, lake: Lake, pipeline: Pipeline, origin: Origin
    ) -> None:
        land_loans(lake, Q1, rows=10)
        assert ingest(lake, pipeline, "loans", [Q1], origin, sample=10).rows == 10


def numbers(x: list[float | None]) -> pa.Table:
    rows = pa.table({"id": [str(i) for i in range(len(x))], "x": pa.array(x, pa.float64())})
    return with_partition(rows, "2005-Q1")


def drafted(lake: Lake, table: str, origin: Origin, x: list[float | None]) -> Draft:
    return drafts.write(lake, table, numbers(x), partitions=["2005-Q1"], origin=origin)


def test_features_are_quarantined_like_sources(
    lake: Lake, pipeline: Pipeline, origin: Origin
) -> None:
    computed = drafted(lake, "features", origin, [None, *range(99)])
    assert lake.partitions("features") == ()
    validated = validate_features(lake, pipeline, computed, Q1, origin)
    assert (validated.quarantined, validated.reference.rows) == (1, 99)
    assert lake.row_counts("features") == {"2005-Q1": 99}
    assert lake.row_counts("quarantine_features") == {"2005-Q1": 1}


def test_one_bad_row_in_a_training_set_stops_it(
    lake: Lake, pipeline: Pipeline, origin: Origin
) -> None:
    def made(x: list[float | None]) -> TrainingSet:
        reference = lake.write("training_sets", numbers(x), partitions=["2005-Q1"], origin=origin)
        return TrainingSet(reference, ("2004-Q4",), (), (1, 1), {"0": 1, "1": 1})

    assert validate_training_set(lake, pipeline, made([1.0, 2.0]))["failures"] == []
    with pytest.raises(QualityError, match=r"training_set 2005-Q1: .*1 of 100 rows unexpected"):
        validate_training_set(lake, pipeline, made([None, *range(99)]))


class TestHistory:
    @pytest.fixture
    def compute(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Feature functions need Spark; this one writes a row for each partition."""

        def write(
            spark: Any, lake: Lake, pipeline: Any, sources: Any, names: list[str], origin: Origin
        ) -> Draft:
            rows = pa.concat_tables(
                [with_partition(pa.table({"id": [name], "x": [1.0]}), name) for name in names]
            )
            return drafts.write(lake, "features", rows, partitions=names, origin=origin)

        compute = create_autospec(feature_function.compute, side_effect=write)
        monkeypatch.setattr(feature_function, "compute", compute)
        return compute

    def test_whatever_landed_until_then_and_is_missing(
        self, lake: Lake, pipeline: Pipeline, origin: Origin, compute: Any
    ) -> None:
        for name in ("2004-Q3", "2004-Q4", "2005-Q1", "2005-Q2"):
            land_loans(lake, quarter(name), rows=20)
        land_outcomes(lake, Q1, Q1.start)
        land_outcomes(lake, Q2, Q2.start)

        assert complete_history(None, lake, pipeline, quarter("2004-Q4"), origin) == (
            "2004-Q3",
            "2004-Q4",
        )
        assert complete_history(None, lake, pipeline, Q1, origin) == ("2005-Q1",)
        assert complete_history(None, lake, pipeline, Q1, origin) == ()

        assert [item.args[4] for item in compute.call_args_list] == [
            ["2004-Q3", "2004-Q4"],
            ["2005-Q1"],
        ]
        assert lake.partitions("features") == ("2004-Q3", "2004-Q4", "2005-Q1")
        assert lake.partitions("labels") == ("2005-Q1",)

    @pytest.mark.parametrize("when", ["computed", "committed"])
    def test_rows_that_another_run_wrote_meanwhile_stay(
        self,
        lake: Lake,
        pipeline: Pipeline,
        origin: Origin,
        compute: Any,
        monkeypatch: pytest.MonkeyPatch,
        when: str,
    ) -> None:
        """A scoring run takes a corrected file while a training completes history."""
        land_loans(lake, Q1, rows=20)
        corrected = with_partition(pa.table({"id": ["corrected"], "x": [2.0]}), str(Q1))

        def score(*held: Any) -> None:
            lake.write("features", corrected, partitions=[str(Q1)], origin=origin)

        if when == "computed":
            made = compute.side_effect
            compute.side_effect = lambda *asked: (made(*asked), score())[0]
        else:
            come_before_a_commit(monkeypatch, "features", score)
        with pytest.raises(UnavailableError, match=r"2005-Q1 to 2005-Q1 must not change while"):
            complete_history(None, lake, pipeline, Q1, origin)
        assert lake.read("features")["id"].to_pylist() == ["corrected"]
        assert complete_history(None, lake, pipeline, Q1, origin) == ()

    def test_nor_do_labels_of_a_run_that_comes_in_between_change(
        self,
        lake: Lake,
        pipeline: Pipeline,
        origin: Origin,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A scoring run takes corrected labels while a training writes those of before."""
        land_outcomes(lake, Q1, *[Q1.start] * 20)

        def score() -> None:
            land_outcomes(lake, Q1, *[Q1.start] * 8)
            draft = ingest(lake, pipeline, "outcomes", [Q1], origin)
            validate_source(lake, pipeline, "outcomes", draft, Q1, origin)

        come_before_a_commit(monkeypatch, "labels", score)
        with pytest.raises(UnavailableError, match=r"labels: 2005-Q1 to 2005-Q1 must not change"):
            complete_history(None, lake, pipeline, Q1, origin)
        assert [lake.row_counts(name) for name in ("labels", "raw_outcomes")] == [
            {"2005-Q1": 8}
        ] * 2

    def test_sources_may_share_the_folder_of_a_partition(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, compute: Any
    ) -> None:
        root = f"s3://landing/{lake.pipeline}/quarter={{partition}}"
        pipeline = make_pipeline(
            sources={
                "loans": {"uri": f"{root}/loans", "suite": "loans"},
                "outcomes": {
                    "uri": f"{root}/outcomes/",
                    "suite": "outcomes",
                    "labels": {"column": "bad", "known_at": "known"},
                },
            }
        )
        folder = f"s3://landing/{lake.pipeline}/quarter=2005-Q1"
        land(lake, f"{folder}/loans/a.parquet", pa.table({"id": ["a"], "amount": [1.0]}))
        known = pa.array([Q1.start], pa.timestamp("us"))
        outcomes = pa.table({"id": ["a"], "bad": [1], "known": known})
        land(lake, f"{folder}/outcomes/a.parquet", outcomes)
        land(lake, f"{folder}/loans_old/a.parquet", pa.table({"id": ["b"]}))

        assert complete_history(None, lake, pipeline, Q1, origin) == ("2005-Q1",)
        assert lake.partitions("labels") == ("2005-Q1",)

    def test_no_folder_that_is_a_partition_is_an_error_that_names_them(
        self, lake: Lake, pipeline: Pipeline, origin: Origin, compute: Any
    ) -> None:
        land(lake, f"s3://landing/{lake.pipeline}/loans/copy/a.parquet", pa.table({"id": ["a"]}))
        with pytest.raises(SourceError, match=r"such as '2005-Q3', got s3://.*/loans/copy and no"):
            complete_history(None, lake, pipeline, Q1, origin)

    def test_a_stray_folder_among_partitions_stops_nothing(
        self, lake: Lake, pipeline: Pipeline, origin: Origin, compute: Any
    ) -> None:
        land_loans(lake, quarter("2005-Q1"), rows=20)
        for stray in ("2005-Q0", "copy", "2005-Q1_old"):
            land(
                lake, f"s3://landing/{lake.pipeline}/loans/{stray}/a.parquet", pa.table({"id": []})
            )
        assert complete_history(None, lake, pipeline, Q1, origin) == ("2005-Q1",)

    def test_nothing_before_the_first_that_is_needed(
        self, lake: Lake, pipeline: Pipeline, origin: Origin, compute: Any
    ) -> None:
        for name in ("2004-Q4", "2005-Q1", "2005-Q2"):
            land_loans(lake, quarter(name), rows=20)
        land_outcomes(lake, quarter("2004-Q4"), datetime(2004, 11, 1))
        assert complete_history(None, lake, pipeline, Q2, origin, first=Q1) == (
            "2005-Q1",
            "2005-Q2",
        )
        assert lake.partitions("raw_loans") == ("2005-Q1", "2005-Q2")
        assert lake.partitions("labels") == ("2004-Q4",)

    def test_a_sample_of_the_rows_that_features_are_made_of(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, compute: Any
    ) -> None:
        pipeline = make_pipeline(sources={"accounts": described(lake, "accounts/{partition}/")})
        land_loans(lake, Q1, rows=20)
        land_outcomes(lake, Q1, *[Q1.start] * 9)
        land(lake, f"s3://landing/{lake.pipeline}/accounts/{Q1}/a.parquet", accounts(9))
        complete_history(None, lake, pipeline, Q1, origin, sample=5)
        assert lake.row_counts("raw_loans") == {"2005-Q1": 5}
        assert lake.row_counts("raw_accounts") == lake.row_counts("labels") == {"2005-Q1": 9}

    def test_one_object_that_holds_every_partition_is_cut_by_time(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, compute: Any
    ) -> None:
        loans = {
            "uri": f"s3://landing/{lake.pipeline}/loans.parquet",
            "suite": "loans",
            "time": "at",
            "labels": {"column": "bad"},
        }
        pipeline = make_pipeline().model_copy(update={"sources": {"loans": Source(**loans)}})
        at = [datetime(2004, 12, 31, 23), datetime(2005, 1, 1), datetime(2005, 7, 1)]
        rows = {"id": ["a", "b", "c"], "at": at, "amount": [1.0] * 3, "bad": [1, 0, 0]}
        land(lake, loans["uri"], pa.table(rows))
        # Nothing was lent in 2005-Q2, and 2005-Q3 has not come yet.
        assert complete_history(None, lake, pipeline, Q2, origin) == ("2004-Q4", "2005-Q1")
        assert lake.row_counts("raw_loans") == {"2004-Q4": 1, "2005-Q1": 1}
        labels = lake.read("labels").to_pylist()
        assert sorted((row["id"], row["label"], row["partition"]) for row in labels) == [
            ("a", 1, "2004-Q4"),
            ("b", 0, "2005-Q1"),
        ]

    def test_a_source_without_partitions_is_copied_for_each(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, compute: Any
    ) -> None:
        pipeline = make_pipeline(sources={"accounts": described(lake, "accounts.parquet")})
        land(lake, f"s3://landing/{lake.pipeline}/accounts.parquet", accounts(3))
        for name in ("2004-Q3", "2004-Q4"):
            land_loans(lake, quarter(name), rows=20)
        complete_history(None, lake, pipeline, quarter("2004-Q4"), origin)
        land_loans(lake, Q1, rows=20)
        complete_history(None, lake, pipeline, Q1, origin)
        assert lake.row_counts("raw_accounts") == {"2004-Q3": 3, "2004-Q4": 3, "2005-Q1": 3}
        sources = compute.call_args.args[3]
        assert sorted(sources) == ["accounts", "loans"]
        assert sources["accounts"] == lake.reference("raw_accounts")

    def test_a_second_source_that_a_killed_task_left_unvalidated_is_validated(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, compute: Any
    ) -> None:
        pipeline = make_pipeline(sources={"accounts": described(lake, "accounts.parquet")})
        land(lake, f"s3://landing/{lake.pipeline}/accounts.parquet", accounts(3))
        land_loans(lake, Q1, rows=20)
        # Killed between ingesting and validating: the table does not hold what no suite has seen.
        ingest(lake, pipeline, "accounts", [Q1], origin)
        assert lake.partitions("raw_accounts") == ()
        complete_history(None, lake, pipeline, Q1, origin)
        assert lake.exists("quarantine_accounts")
        assert lake.partitions("raw_accounts") == ("2005-Q1",)

    def test_partitions_that_a_source_looks_back_on(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, compute: Any
    ) -> None:
        accounts_by_quarter = {**described(lake, "accounts/{partition}/"), "history": 2}
        pipeline = make_pipeline(sources={"accounts": accounts_by_quarter})
        for name in ("2004-Q1", "2004-Q2", "2004-Q3", "2004-Q4", "2005-Q1"):
            folder = f"s3://landing/{lake.pipeline}/accounts/{name}"
            land(lake, f"{folder}/a.parquet", accounts(2))
        land_loans(lake, Q1, rows=20)
        complete_history(None, lake, pipeline, Q1, origin)
        # 2004-Q1 and Q2 are too far back for loans that begin in 2005-Q1.
        assert lake.partitions("raw_accounts") == ("2004-Q3", "2004-Q4", "2005-Q1")
        assert compute.call_args.args[4] == ["2005-Q1"]

    def test_a_source_that_begins_later_than_it_is_looked_back_on(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, compute: Any
    ) -> None:
        accounts_by_quarter = {**described(lake, "accounts/{partition}/"), "history": 2}
        pipeline = make_pipeline(sources={"accounts": accounts_by_quarter})
        folder = f"s3://landing/{lake.pipeline}/accounts/2005-Q1"
        land(lake, f"{folder}/a.parquet", accounts(2))
        land_loans(lake, Q1, rows=20)
        complete_history(None, lake, pipeline, Q1, origin)
        assert lake.partitions("raw_accounts") == ("2005-Q1",)

    def test_a_partition_without_rows_stops_no_history_that_may_have_one(
        self, lake: Lake, make_pipeline: MakePipeline, origin: Origin, monkeypatch: Any
    ) -> None:
        def write(_: Any, lake: Lake, pipeline: Any, sources: Any, names: Any, origin: Any) -> Any:
            rows = lake.read("raw_loans").select(["id", "at", "partition"])
            rows = rows.append_column("x", pa.array([1.0] * rows.num_rows))
            return drafts.write(lake, "features", rows, partitions=names, origin=origin)

        monkeypatch.setattr(
            feature_function,
            "compute",
            create_autospec(feature_function.compute, side_effect=write),
        )
        loans = {
            "uri": f"s3://landing/{lake.pipeline}/loans/{{partition}}/",
            "suite": "loans",
            "allow_empty": True,
            "labels": {"column": "amount"},
        }
        pipeline = make_pipeline(task="regression", promotion={"require": {"r2": 0.5}})
        pipeline = pipeline.model_copy(update={"sources": {"loans": Source(**loans)}})
        land_loans(lake, Q1, rows=20)
        land_loans(lake, Q2, rows=0)
        assert complete_history(None, lake, pipeline, Q2, origin) == ("2005-Q1", "2005-Q2")
        assert lake.row_counts("features") == lake.row_counts("labels") == {"2005-Q1": 20}


def described(lake: Lake, place: str) -> dict[str, Any]:
    """Describe a second source of features."""
    return {"uri": f"s3://landing/{lake.pipeline}/{place}", "suite": "accounts"}


def accounts(rows: int) -> pa.Table:
    return pa.table({"id": [f"a{number}" for number in range(rows)], "balance": [1.0] * rows})
