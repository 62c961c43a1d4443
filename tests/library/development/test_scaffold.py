"""What `./relevo new` reads out of data: types, task, keys, time, features and disguises."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.calendar.partitions import Frequency, containing, parse
from include.development.scaffold import calendar, sampling, writing
from include.development.scaffold.calendar import choose_calendar
from include.development.scaffold.expectations import WIDE
from include.development.scaffold.feature_module import selected
from include.development.scaffold.inspection import inspect, to_frame
from include.development.scaffold.proposal import Place, Proposal, Wish, propose
from include.development.scaffold.sampling import (
    Sample,
    format_of,
    read_file,
    read_objects,
    read_query,
    sniff,
)
from include.development.scaffold.target import choose_target
from include.errors import SourceError, SpecificationError
from include.ingestion.landed_batch import read_landed
from include.specification.pipeline_file import load
from include.specification.sections.sources import Source
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

DAY = date(2020, 1, 1)
ROWS = 1000
GENERATOR = np.random.default_rng(0)


def customers(**columns: Any) -> pd.DataFrame:
    """Make a thousand rows with a noisy target; columns can be changed or added."""
    generator = np.random.default_rng(1)
    score = generator.normal(size=ROWS)
    frame = {
        "amount": generator.lognormal(size=ROWS).round(3),
        "score": score.round(4),
        "region": generator.choice(["north ", "south", "east"], ROWS),
        "churn": np.where(score + generator.normal(size=ROWS) > 1.2, "yes", "no"),
    }
    return pd.DataFrame({**frame, **columns})


def proposal_of(frame: pd.DataFrame, **wish: Any) -> Proposal:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return propose(
        Wish("p", **{"target": "churn", **wish}),
        Place(uri=writing.default_uri("p")),
        Sample(table, len(frame), "parquet"),
    )


def put_parquet(settings: StoreSettings, uri: str, **columns: Any) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    ObjectStore(settings).write(uri, buffer.getvalue())


def reasons(proposal: Proposal) -> dict[str, str]:
    return {item.name: item.reason for item in proposal.left_out}


def kept(proposal: Proposal) -> list[str]:
    return [feature.column.name for feature in proposal.features]


class TestReading:
    def test_parquet_csv_json_lines_and_gzip(self, tmp_path: Path) -> None:
        frame = customers()
        frame.to_parquet(tmp_path / "a.parquet")
        frame.to_csv(tmp_path / "a.csv.gz", index=False)
        lines = frame.to_json(orient="records", lines=True)
        (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        for name in ("a.parquet", "a.csv.gz", "a.jsonl.gz"):
            sample = read_file(tmp_path / name)
            assert sample.rows == ROWS
            assert sample.table.column_names == list(frame.columns)

    def test_a_large_file_is_thinned_evenly_and_its_size_is_kept(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"n": range(250_000)}), tmp_path / "a.parquet")
        sample = read_file(tmp_path / "a.parquet")
        numbers = sample.table["n"].to_numpy()
        assert (sample.rows, len(numbers)) == (250_000, 200_000)
        assert (np.diff(numbers) > 0).all()
        assert abs(numbers.mean() - 125_000) < 1_000

    @pytest.mark.parametrize(
        ("text", "encoding", "expected"),
        [
            ("a,b\n1,2.5\n3,4.5\n", "utf-8", (",", "utf-8")),
            ("a;größe\n1;2,5\n3;4,5\n", "latin-1", (";", "cp1252")),
            ("a\tb\n1\t2\n3\t4\n", "utf-8", ("\t", "utf-8")),
            ("a|b\n1|x, y\n3|z, y\n", "utf-8", ("|", "utf-8")),
            ("a;b\n1;x\n3;z\n", "utf-16", (";", "utf-16")),
            ("a;b\n1;x\n3;z\n", "utf-8-sig", (";", "utf-8")),
            ("a;b\n1;x\u2028,\x85,\n3;z\n", "utf-8", (";", "utf-8")),
            ("名前,市\n山田太郎,千代田区\n鈴木花子,大阪市\n", "shift_jis", (",", "cp932")),
            ("имя;город\nИван;Москва\nАнна;Киев\n", "cp1251", (";", "cp1251")),
        ],
    )
    def test_a_dialect_is_sniffed(
        self, text: str, encoding: str, expected: tuple[str, str]
    ) -> None:
        dialect = sniff(text.encode(encoding))
        assert (dialect.delimiter, dialect.encoding) == expected

    @pytest.mark.parametrize("name", ["a.xlsx", "a", "a.parquet.gz"])
    def test_other_endings_are_refused(self, name: str) -> None:
        with pytest.raises(SourceError, match="must end in"):
            format_of(name)

    def test_a_line_with_more_cells_is_an_error_with_its_number(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3\n")
        with pytest.raises(
            SourceError, match=r"file a\.csv: every line must have 2 cells .* in line 3"
        ):
            read_file(tmp_path / "a.csv")

    @pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
    def test_names_that_no_table_tells_apart_are_refused_at_first_sight(
        self, tmp_path: Path, ending: str
    ) -> None:
        path = tmp_path / f"a{ending}"
        if ending == ".parquet":
            pq.write_table(pa.table({"x": [1], "X": [2]}), path)
        else:
            path.write_text("x,X\n1,2\n" if ending == ".csv" else '{"x": 1, "X": 2}\n')
        with pytest.raises(SourceError, match=r"tables do not tell apart, got 'x' and 'X'\."):
            read_file(path)

    def test_a_folder_on_the_store(self, store_settings: StoreSettings, tmp_path: Path) -> None:
        store = ObjectStore(store_settings)
        for part in ("1", "2"):
            store.write(f"s3://landing/scaffold/x/{part}.csv", b"a,b\n1,2\n")
        store.write("s3://landing/scaffold/x/_SUCCESS", b"")
        assert read_objects(store_settings, "s3://landing/scaffold/x/").rows == 2
        assert read_objects(store_settings, "s3://landing/scaffold/x/1.csv").rows == 1
        with pytest.raises(SourceError, match="must hold at least one object"):
            read_objects(store_settings, "s3://landing/scaffold/nothing/")

    def test_a_folder_too_large_to_read_is_read_in_part(
        self, store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sampling, "_MOST_BYTES", 20)
        store = ObjectStore(store_settings)
        for part in range(10):
            store.write(f"s3://landing/scaffold/many/{part}.csv", f"a\n{part}\n".encode())
        sample = read_objects(store_settings, "s3://landing/scaffold/many/")
        assert sample.table["a"].to_pylist() == [0, 2, 4, 6, 8]
        assert sample.rows == 10

    def test_types_are_stated_where_parquet_files_differ(
        self, store_settings: StoreSettings
    ) -> None:
        store, uri = ObjectStore(store_settings), "s3://landing/scaffold/my data (copy)/"
        for name, promo in (("1", pa.nulls(2)), ("2", pa.array(["a", "b"]))):
            buffer = io.BytesIO()
            pq.write_table(pa.table({"n": [1, 2], "promo": promo}), buffer)
            store.write(f"{uri}{name}+v1.parquet", buffer.getvalue())
        assert read_objects(store_settings, uri).types == {"promo": "string"}
        # Alone it does not differ, but a later one may hold numbers.
        assert read_objects(store_settings, f"{uri}2+v1.parquet").types == {"promo": "string"}

    def test_a_query_states_its_types(self, tmp_path: Path) -> None:
        import sqlite3

        with sqlite3.connect(tmp_path / "a.db") as database:
            database.execute("create table t (id integer, x real, promo text)")
            database.execute(f"insert into t values ({2**53 + 1}, 0.5, null), (null, 1, null)")
        sample = read_query(f"sqlite:///{tmp_path / 'a.db'}", "select * from t")
        assert sample.table["id"].to_pylist() == [2**53 + 1, None]
        assert sample.types == {"id": "integer", "x": "number", "promo": "string"}

    def test_a_query_with_the_partitions_ends(self, tmp_path: Path) -> None:
        import sqlite3

        with sqlite3.connect(tmp_path / "a.db") as database:
            customers().assign(at="2020-01-01").to_sql("customers", database, index=False)
        url = f"sqlite:///{tmp_path / 'a.db'}"
        query = "select * from customers where at >= :start and at < :end"
        assert read_query(url, query).rows == ROWS
        numbers = read_query(url, "select 9007199254740993 as a union all select null").table
        assert numbers["a"].to_pylist() == [2**53 + 1, None]
        assert to_frame(numbers)["a"].tolist() == [2**53 + 1, pd.NA]
        with pytest.raises(SourceError, match="no such table: nowhere"):
            read_query(url, "select * from nowhere")

    def test_a_database_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="query: connection behind it must be reachable"):
            read_query(f"sqlite:///{tmp_path / 'b.db'}", "select 1")
        assert list(tmp_path.iterdir()) == []


class TestTarget:
    @pytest.mark.parametrize(
        ("values", "positive", "task", "written"),
        [
            (["no"] * 8 + ["yes"] * 2, None, "binary", "yes"),
            (["no"] * 8 + ["yes"] * 2, "no", "binary", "no"),
            ([0] * 2 + [1] * 8, None, "binary", None),
            ([0] * 2 + [1] * 8, "0", "binary", 0),
            ([True] * 8 + [False] * 2, None, "binary", None),
            ([1.0] * 8 + [2.0] * 2, None, "binary", 2),
            (["a", "b", "c"] * 4, None, "multiclass", None),
            ([1, 2, 3] * 4, None, "multiclass", None),
            (list(range(21)), None, "regression", None),
            ([0.5, 1.5, 2.5], None, "regression", None),
        ],
    )
    def test_the_task(
        self, values: list[Any], positive: str | None, task: str, written: Any
    ) -> None:
        series = pd.Series(values, name="y")
        target = choose_target(series, inspect(series), positive)
        assert (target.task, target.positive) == (task, written)

    def test_two_classes_with_strays(self) -> None:
        series = pd.Series([0.0] * 500 + [1.0] * 490 + [7.0, 99.0], name="y")
        target = choose_target(series, inspect(series), "0")
        assert (target.task, target.positive, target.strays) == ("binary", 0, (7.0, 99.0))
        assert target.labels.isna().sum() == 2
        assert target.labels.iloc[0] == 1.0

    def test_a_rare_third_class_is_a_class(self) -> None:
        series = pd.Series(["a"] * 900 + ["b"] * 60 + ["c"] * 40, name="y")
        assert choose_target(series, inspect(series), None).task == "multiclass"

    @pytest.mark.parametrize(
        ("values", "positive", "message"),
        [
            ([None, None], None, "must have values"),
            (["a", "a"], None, "must have at least two values, got only one: 'a'"),
            ([f"class {n}" for n in range(101)], None, "at most 100 classes, got 101"),
            ([datetime(2020, 1, 1), datetime(2020, 1, 2)], None, "got times"),
            (["no", "yes"], "yess", "did you mean 'yes'"),
            ([1, 2, 3], "1", "--positive is for two classes, got 3 values"),
        ],
    )
    def test_what_cannot_be_learned(
        self, values: list[Any], positive: str | None, message: str
    ) -> None:
        series = pd.Series(values, name="y")
        with pytest.raises(SourceError, match=message):
            choose_target(series, inspect(series), positive)


class TestCalendar:
    TODAY = date(2024, 1, 1)

    def calendar(self, moments: list[datetime], **options: Any) -> Any:
        series = pd.Series(pd.to_datetime(moments), name="at")
        labels = pd.Series(np.arange(len(series)) % 3, dtype=float)
        known_at = options.pop("known_at", None)
        return choose_calendar(
            series,
            options.pop("labels", labels),
            known_at,
            **{"finest": Frequency.HOURLY, "rows": len(series), "today": self.TODAY, **options},
        )

    def spread(self, rows: int, days: float) -> list[datetime]:
        step = timedelta(days=days) / rows
        return [datetime(2020, 1, 1) + n * step for n in range(rows)]

    @pytest.mark.parametrize(
        ("rows", "days", "expected"),
        [
            (6_000, 0.5, "hourly"),
            (6_000, 10, "daily"),
            (6_000, 70, "weekly"),
            (6_000, 365, "monthly"),
            (6_000, 365 * 3, "quarterly"),
            (6_000, 365 * 10, "yearly"),
            (100, 365 * 2, "quarterly"),  # nothing holds 500 rows: the coarsest with six
        ],
    )
    def test_the_finest_with_enough_rows(self, rows: int, days: float, expected: str) -> None:
        assert self.calendar(self.spread(rows, days)).frequency == expected

    def test_rows_that_were_not_sampled_count(self) -> None:
        moments = self.spread(6_000, 365)
        assert self.calendar(moments, rows=60_000).frequency == "weekly"

    def test_not_finer_than_the_times_are(self) -> None:
        moments = self.spread(6_000, 10)
        assert (
            self.calendar(moments, finest=Frequency.YEARLY, wanted=Frequency.DAILY).partitions == 10
        )
        with pytest.raises(SourceError, match="got 1 yearly"):
            self.calendar(moments, finest=Frequency.YEARLY)

    def test_rare_classes_make_partitions_longer(self) -> None:
        moments = self.spread(60_000, 730)
        labels = pd.Series(np.arange(60_000) % 50 == 0, dtype=float)  # 11 a week, 50 a month
        assert self.calendar(moments, labels=labels).frequency == "monthly"

    def test_strays_before_and_after_are_no_partitions(self) -> None:
        moments = [datetime(2009, 1, 1), *self.spread(6_000, 365), datetime(2031, 1, 1)]
        calendar = self.calendar(moments, wanted=Frequency.MONTHLY)
        assert calendar.partitions == 12
        assert str(calendar.schedule.end) == "2021-01-02"

    def test_the_window_and_the_first_run(self) -> None:
        calendar = self.calendar(self.spread(12_000, 366), wanted=Frequency.MONTHLY)
        assert (calendar.window, calendar.holdout) == (6, 1)
        assert str(calendar.first) == "2020-07"  # trained as of 2020-06
        assert str(calendar.schedule.start) == "2020-08-01"

    def test_late_labels_put_the_first_run_off(self) -> None:
        moments = self.spread(12_000, 366)
        known_at = pd.Series(pd.to_datetime(moments)) + pd.Timedelta(days=90)
        calendar = self.calendar(moments, wanted=Frequency.MONTHLY, known_at=known_at)
        assert str(calendar.first) > "2020-09"

    def test_labels_that_come_after_the_end_are_an_error(self) -> None:
        moments = self.spread(12_000, 366)
        known_at = pd.Series(pd.to_datetime(moments)) + pd.Timedelta(days=900)
        with pytest.raises(SourceError, match="labels of at least 3 partitions must be known"):
            self.calendar(moments, wanted=Frequency.MONTHLY, known_at=known_at)

    def test_labels_that_are_still_to_come_change_neither_coverage_nor_length(self) -> None:
        at = pd.Series(pd.to_datetime(self.spread(12_000, 366)))
        known_at = at + pd.Timedelta(days=90)
        come = known_at <= datetime(2020, 12, 31)
        labels = pd.Series(np.arange(12_000) % 3 == 0, dtype=float)
        calendar = self.calendar(list(at), labels=labels.where(come), known_at=known_at.where(come))
        told = self.calendar(list(at), labels=labels, known_at=known_at)
        assert (calendar.frequency, calendar.coverage) == (told.frequency, None)
        assert calendar.first == told.first
        # The same file with the outcome in the row: its last months have none.
        assert self.calendar(list(at), labels=labels.where(come)).coverage is None

    @pytest.mark.parametrize(("days", "first"), [(29, "2020-07"), (30, "2020-08")])
    def test_a_label_that_comes_as_the_partition_closes_comes_too_late(
        self, days: int, first: str
    ) -> None:
        moments = [datetime(2020, month, 1) for month in range(1, 13) for _ in range(100)]
        at = pd.Series(pd.to_datetime(moments))
        # All of June are known on the 30th of June, or as June closes.
        known_at = at + pd.Timedelta(days=days)
        calendar = self.calendar(moments, wanted=Frequency.MONTHLY, known_at=known_at)
        assert str(calendar.first) == first

    def test_live_data_get_no_end(self) -> None:
        moments = self.spread(12_000, 366)
        assert self.calendar(moments).schedule.end is not None
        assert self.calendar(moments, today=date(2021, 1, 5)).schedule.end is None

    def test_missing_labels_lower_the_coverage(self) -> None:
        moments = self.spread(12_000, 366)
        labels = pd.Series(np.where(np.arange(12_000) % 10 == 0, np.nan, 1.5))
        assert self.calendar(moments, labels=labels).coverage == pytest.approx(0.81, abs=0.01)
        assert self.calendar(moments).coverage is None

    def test_too_few_partitions(self) -> None:
        with pytest.raises(
            SourceError,
            match=r"at least 4 monthly partitions .* got 2\. Choose --partition weekly, or leave",
        ):
            self.calendar(self.spread(1_000, 50), wanted=Frequency.MONTHLY)


class TestProposal:
    def test_snapshots_of_numbered_rows(self) -> None:
        proposal = proposal_of(customers())
        assert proposal.entity == "row_id"
        assert proposal.calendar is None
        assert kept(proposal) == ["amount", "score", "region"]

    @pytest.mark.parametrize(
        ("column", "values"),
        [
            ("customer_id", range(ROWS)),
            ("number", range(5, 5 + ROWS)),
            ("code", [f"C-{n}" for n in range(ROWS)]),
        ],
    )
    def test_a_key_is_found(self, column: str, values: Any) -> None:
        proposal = proposal_of(customers(**{column: list(values)}))
        assert proposal.entity == column
        assert column not in kept(proposal)

    @pytest.mark.parametrize(
        "values",
        [
            np.random.default_rng(2).normal(size=ROWS),
            [f"a sentence {n}" for n in range(ROWS)],
            np.random.default_rng(3).permutation(10**7)[:ROWS],
        ],
    )
    def test_a_unique_measure_or_text_is_no_key(self, values: Any) -> None:
        assert proposal_of(customers(other=values)).entity == "row_id"

    def test_what_is_left_out_and_why(self) -> None:
        frame = customers(
            one=1,
            none=None,
            key=[f"C-{n}" for n in range(ROWS)],
            other_key=[f"D-{n}" for n in range(ROWS)],
            remark=[f"some words {n % 300}" for n in range(ROWS)],
            seen=pd.date_range("2020-01-01", periods=ROWS, freq="h"),
        )
        frame["left"] = frame["churn"].map({"yes": 17, "no": 3})
        found = reasons(proposal_of(frame, entity="key"))
        assert found["one"] == "constant"
        assert found["none"] == "empty"
        assert found["other_key"] == "a key: every row has its own value"
        assert found["remark"] == "free text: 300 different values in 1,000 rows"
        assert found["seen"].startswith("a time")
        assert found["left"] == (
            "looks like the target in disguise: review (it is a function of churn: each class has "
            "one value)"
        )
        assert sorted(found) == ["left", "none", "one", "other_key", "remark", "seen"]

    def test_the_same_name_but_for_digits_is_a_disguise(self) -> None:
        generator = np.random.default_rng(4)
        frame = customers(
            bad24=generator.integers(0, 2, ROWS), bad36=generator.integers(0, 2, ROWS)
        )
        found = reasons(proposal_of(frame, target="bad24"))
        assert "its name is that of bad24, but for digits" in found["bad36"]

    @pytest.mark.parametrize("pattern", ["{}", "x{}"])
    def test_where_all_columns_are_numbered_no_name_gives_the_target_away(
        self, pattern: str
    ) -> None:
        generator = np.random.default_rng(4)
        names = [pattern.format(number) for number in range(5)]
        frame = pd.DataFrame({name: generator.integers(0, 2, ROWS) for name in names})
        assert kept(proposal_of(frame, target=names[4])) == names[:4]

    def test_a_number_that_gives_the_target_away(self) -> None:
        frame = customers()
        frame["minutes"] = GENERATOR.uniform(0, 100, ROWS)
        frame["seconds"] = frame["minutes"] * 60
        frame["nearly"] = frame["minutes"] + GENERATOR.normal(0, 7, ROWS)
        proposal = proposal_of(frame, target="minutes")
        assert list(reasons(proposal)) == ["seconds"]
        review = {feature.column.name: feature.review for feature in proposal.features}
        assert "alone it reaches R2 0.9" in review["nearly"]
        assert review["amount"] == ""

    def test_a_name_with_the_targets_is_told(self) -> None:
        proposal = proposal_of(customers(churn_call=GENERATOR.integers(0, 9, ROWS)))
        review = {feature.column.name: feature.review for feature in proposal.features}
        assert review["churn_call"].startswith("review: its name holds churn")

    def test_names_of_times_are_left_out(self) -> None:
        at = pd.Series(pd.date_range("2020-01-01", periods=ROWS, freq="12h"))
        frame = customers(at=at, month=at.dt.strftime("%Y-%m"), weekday=at.dt.day_name())
        proposal = proposal_of(frame, time="at", partition=Frequency.MONTHLY)
        assert reasons(proposal) == {"month": "follows the calendar: new times bring new values"}
        assert "weekday" in kept(proposal)

    @pytest.mark.parametrize(
        ("wish", "message"),
        [
            ({"target": "chrun"}, "--target chrun: must be a column of the data.*'churn'"),
            ({"time": "when"}, "--time when: must be a column"),
            ({"known_at": "score"}, "--known-at: needs --time"),
            ({"partition": Frequency.DAILY}, "--partition daily: needs --time"),
            ({"entity": "churn"}, "column churn: must have one role only"),
            ({"entity": "region"}, "--entity region: must identify a row, got 1000 of 1000"),
            ({"time": "region"}, "--time region: must hold times"),
            ({"entity": "score"}, "--entity score: must not be a column that Relevo adds beside"),
        ],
    )
    def test_wrong_wishes(self, wish: dict[str, Any], message: str) -> None:
        with pytest.raises(SourceError, match=message):
            proposal_of(customers(), **wish)

    def test_no_key_is_proposed_that_predictions_could_not_hold(self) -> None:
        assert proposal_of(customers(label=range(ROWS))).entity == "row_id"
        with pytest.raises(SourceError, match="column row_id: must identify a row"):
            proposal_of(customers(row_id=GENERATOR.integers(0, 9, ROWS)))

    def test_a_query_needs_a_key(self) -> None:
        table = pa.Table.from_pandas(customers(), preserve_index=False)
        with pytest.raises(SourceError, match="--entity: is needed for a query"):
            propose(
                Wish("p", "churn"),
                Place(connection="c", query="select 1"),
                Sample(table, ROWS, None),
            )


class TestLongNumbers:
    """Whole numbers of more digits than a float has stay what they are."""

    IDS = tuple(2**53 + 1 + 7919 * n for n in range(ROWS))

    def test_with_a_null_they_are_read_exactly(self) -> None:
        table = pa.table({"id": pa.array([*self.IDS, None], pa.int64())})
        assert to_frame(table)["id"].tolist()[:-1] == list(self.IDS)
        whole = pa.array([Decimal(number) for number in self.IDS], pa.decimal128(38, 0))
        assert to_frame(pa.table({"id": whole}))["id"].tolist() == list(self.IDS)

    @pytest.mark.parametrize("scale", [0, 2, 10])
    def test_whole_decimals_are_exact_whatever_their_scale(self, scale: int) -> None:
        whole = pa.array([Decimal(-number) for number in self.IDS], pa.decimal128(38, scale))
        parts = pa.array([Decimal("0.5"), *[None] * (ROWS - 1)], pa.decimal128(38, 2))
        frame = to_frame(pa.table({"id": whole, "part": parts}))
        assert frame["id"].tolist() == [-number for number in self.IDS]
        assert frame["part"][0] == 0.5

    def test_they_are_keys(self) -> None:
        proposal = proposal_of(customers(number_of_it=list(self.IDS)))
        assert proposal.entity == "number_of_it"

    def test_classes_are_told_apart(self) -> None:
        first = 2**53
        codes = np.where(customers()["churn"] == "yes", first + 1, first)
        target = proposal_of(customers(churn=codes)).target
        assert (target.task, sorted(target.classes)) == ("binary", [first, first + 1])
        assert target.positive == first + 1

    def test_bounds_are_whole(self) -> None:
        proposal = proposal_of(customers(churn=[2**60 + n for n in range(ROWS)]), target="churn")
        suite = json.loads(writing.render(proposal)[Path("expectations/p_records.json")])
        (bounds,) = (
            item["kwargs"]
            for item in suite["expectations"]
            if item["type"].endswith("be_between") and item["kwargs"].get("column") == "churn"
        )
        assert (bounds["min_value"], bounds["max_value"]) == (2**60 - 499, 2**60 + 999 + 499)


class TestFiles:
    def test_nothing_is_overwritten_unless_forced(self, tmp_path: Path) -> None:
        files = writing.render(proposal_of(customers()))
        assert sorted(map(str, files)) == [
            "dags/p.py",
            "expectations/p_features.json",
            "expectations/p_records.json",
            "include/pipelines/p.py",
            "include/pipelines/p.yaml",
            "tests/pipelines/test_p.py",
        ]
        writing.write(files, tmp_path)
        (tmp_path / "dags/p.py").write_text("mine")
        with pytest.raises(SpecificationError, match=r"must not exist yet, got include/pipelines"):
            writing.write(files, tmp_path)
        assert (tmp_path / "dags/p.py").read_text() == "mine"
        writing.write(files, tmp_path, force=True)
        assert "declare" in (tmp_path / "dags/p.py").read_text()

    @pytest.mark.parametrize("name", ["Loan", "2nd", "class", "a-b", "", "a" * 64])
    def test_names_that_no_module_can_have(self, name: str) -> None:
        with pytest.raises(SpecificationError, match="Choose another"):
            writing.check_name(name)

    def test_odd_names_are_quoted(self, tmp_path: Path) -> None:
        odd = ["a b", "x.y", 'say "no"', "tick`", "größe", "yes"]
        frame = customers(**dict.fromkeys(odd, GENERATOR.integers(0, 99, ROWS)))
        files = writing.render(
            proposal_of(frame.rename(columns={"churn": "is it?"}), target="is it?")
        )
        writing.write(files, tmp_path)
        for path in ("include/pipelines/p.py", "tests/pipelines/test_p.py", "dags/p.py"):
            compile(files[Path(path)], path, "exec")
        code = files[Path("include/pipelines/p.py")]
        for line in ('f.col("`a b`")', 'f.col("`x.y`")', 'f.col("`tick```")', '"yes",'):
            assert line in code
        pipeline = load("p", tmp_path / "include" / "pipelines")
        assert pipeline.labels.column == "is it?"
        expected = json.loads(files[Path("expectations/p_features.json")])["expectations"][0]
        assert set(odd) < set(expected["kwargs"]["column_set"])

    @pytest.mark.parametrize(
        ("partition", "parts"),
        [
            (Frequency.HOURLY, []),
            (Frequency.DAILY, ["at_hour"]),
            (Frequency.WEEKLY, ["at_hour", "at_weekday"]),
            (Frequency.YEARLY, ["at_hour", "at_weekday", "at_month"]),
        ],
    )
    def test_parts_of_the_time_that_vary_within_a_partition(
        self, partition: Frequency, parts: list[str]
    ) -> None:
        days = 3000 if partition is Frequency.YEARLY else 40
        at = pd.date_range("2020-01-01", periods=ROWS, freq=f"{days * 86_400 // ROWS + 61}s")
        proposal = proposal_of(customers(at=at), time="at", partition=partition)
        _, columns = selected(proposal)
        assert [name for name in columns if name.startswith("at_")] == parts

    def test_a_part_of_the_time_is_left_out_where_a_column_is_called_alike(self) -> None:
        at = pd.date_range("2020-01-01", periods=ROWS, freq="2h")
        frame = customers(At=at, at_hour=GENERATOR.integers(0, 9, ROWS))
        _, columns = selected(proposal_of(frame, time="At", partition=Frequency.WEEKLY))
        assert [name for name in columns if name.lower().startswith("at_")] == [
            "at_hour",
            "At_weekday",
        ]

    @pytest.mark.parametrize("values", [["a", "b"], [True, False]])
    def test_long_names_are_written_as_ruff_formats_them(self, values: list[Any]) -> None:
        name = "Political affiliation (at the appointment)"
        proposal = proposal_of(customers(**{name: np.resize(values, ROWS)}))
        code = writing.render(proposal)[Path("include/pipelines/p.py")]
        assert f'"{name}"' in code
        done = subprocess.run(
            [str(Path(sys.executable).parent / "ruff"), "format", "--diff", "--no-cache", "-"],
            input=code,
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_text_with_slashes_becomes_a_time_that_spark_reads(self) -> None:
        days = pd.date_range("2021-01-01", periods=ROWS, freq="3h")
        for written, expected in (
            ("%Y/%m/%d", 'f.translate("at", "/", "-")'),
            ("%Y-%m-%d", '"at"'),
        ):
            frame = customers(at=days.strftime(written))
            code = writing.render(proposal_of(frame, time="at"))[Path("include/pipelines/p.py")]
            assert f"f.to_timestamp({expected})" in code

    def test_of_many_features_the_source_expects_one_thing_each(self) -> None:
        many = {f"c{number}": GENERATOR.normal(size=60) for number in range(WIDE)}
        frame = pd.DataFrame({**many, "churn": ["yes", "no"] * 30})
        for extra, expected in ({}, (403, WIDE + 3)), ({"more": many["c0"]}, (204, 3)):
            files = writing.render(proposal_of(frame.assign(**extra)))
            counts = tuple(
                len(json.loads(files[Path(f"expectations/p_{kind}.json")])["expectations"])
                for kind in ("records", "features")
            )
            assert counts == expected

    def test_a_suite_quarantines_keys_and_strays_only(self) -> None:
        frame = customers(key=range(ROWS), y=[0.0] * 500 + [1.0] * 495 + [5.0, 6.0, 7.0, 8.0, 9.0])
        files = writing.render(proposal_of(frame, target="y", entity="key"))
        suite = json.loads(files[Path("expectations/p_records.json")])
        by_row = [
            (item["type"], item["kwargs"]["column"])
            for item in suite["expectations"]
            if item["severity"] == "critical" and "column" in item["kwargs"]
        ]
        assert by_row == [
            ("expect_column_values_to_not_be_null", "key"),
            ("expect_column_values_to_be_unique", "key"),
            ("expect_column_values_to_be_in_set", "y"),
        ]

    def test_rare_classes_are_weighed_and_scores_calibrated(self) -> None:
        frame = customers(churn=["yes"] * 60 + ["no"] * 940)
        text = writing.render(proposal_of(frame))[Path("include/pipelines/p.yaml")]
        assert "imbalance: class_weight" in text
        assert "calibration: sigmoid" in text


class TestEdges:
    """Odd types, dates and files are seen as ingest sees them."""

    def test_leftovers_are_left_aside_and_told(self, store_settings: StoreSettings) -> None:
        store, root = ObjectStore(store_settings), "s3://landing/scaffold/leftovers"
        for name in ("day=1/a.csv", "_temporary/0/a.csv", ".ipynb_checkpoints/a.csv", "a.csv.tmp"):
            store.client.put_object(
                Bucket=store_settings.bucket("landing"),
                Key=f"scaffold/leftovers/{name}",
                Body=b"a,b\n1,2\n",
            )
        sample = read_objects(store_settings, f"{root}/")
        assert sample.rows == 1
        warning, lost = sample.warnings
        assert lost.startswith("data: folder day=1 names a value that is no column of its files")
        assert ".ipynb_checkpoints/a.csv, _temporary/0/a.csv, a.csv.tmp. Rename" in warning

    def test_files_that_differ_in_what_holds_the_same_values(
        self, store_settings: StoreSettings, tmp_path: Path
    ) -> None:
        store = ObjectStore(store_settings)
        for number, columns in enumerate(
            [
                {"n": pa.array([1], pa.int32()), "c": pa.nulls(1), "v": pa.array(["a"])},
                {"v": pa.array(["b"], pa.string_view()), "n": [2**40], "c": ["x"]},
            ]
        ):
            pq.write_table(pa.table(columns), tmp_path / "a.parquet")
            store.write(
                f"s3://landing/scaffold/differ/{number}.parquet",
                (tmp_path / "a.parquet").read_bytes(),
            )
        sample = read_objects(store_settings, "s3://landing/scaffold/differ/")
        assert sample.table.to_pydict() == {"n": [1, 2**40], "c": [None, "x"], "v": ["a", "b"]}
        assert sample.types == {"n": "integer", "c": "string", "v": "string"}

    @pytest.mark.parametrize(
        ("first", "second", "stated"),
        [
            (pa.array([1], pa.int16()), pa.array([2.5]), "number"),
            (pa.array([0.5], pa.float32()), pa.array([0.1]), "number"),
            (pa.array([DAY]), pa.array([datetime(2020, 1, 2, 3)]), "timestamp"),
            (pa.array(["a"]).dictionary_encode(), pa.array(["b"]), "string"),
        ],
    )
    def test_ingestion_takes_the_stated_type_whichever_file_lands_first(
        self, store_settings: StoreSettings, first: pa.Array, second: pa.Array, stated: str
    ) -> None:
        uri = f"s3://landing/scaffold/widen_{first.type.id}/"
        for number, column in enumerate((first, second)):
            put_parquet(store_settings, f"{uri}snapshot-000{number + 1}/a.parquet", x=column)
        sample = read_objects(store_settings, uri)
        assert sample.types == {"x": stated}
        source = Source(uri=f"{uri}{{partition}}/", suite="s", types=sample.types)
        for number in (1, 2):
            partition = parse(f"snapshot-000{number}", Frequency.NONE)
            landed = read_landed(store_settings, "records", source, partition).table
            assert landed.schema.field("x").type == sample.table.schema.field("x").type

    def test_files_without_a_common_type_are_refused(self, store_settings: StoreSettings) -> None:
        uri = "s3://landing/scaffold/no_common_type/"
        put_parquet(store_settings, f"{uri}a.parquet", code=[1], n=[1])
        put_parquet(store_settings, f"{uri}b.parquet", code=["01"], n=[2.5])
        with pytest.raises(SourceError) as caught:
            read_objects(store_settings, uri)
        assert str(caught.value) == (
            "files: column code must have one type in all of them, got int64 in file a.parquet, "
            "string in file b.parquet. Write them with one layout."
        )

    def test_a_type_that_holds_only_nulls_is_named_in_the_pipeline_file(
        self, tmp_path: Path
    ) -> None:
        table = pa.Table.from_pandas(customers(), preserve_index=False)
        pq.write_table(table.append_column("promo", pa.nulls(ROWS)), tmp_path / "a.parquet")
        sample = read_file(tmp_path / "a.parquet")
        proposal = propose(Wish("p", "churn"), Place(uri=writing.default_uri("p")), sample)
        assert proposal.types == {"region": "string", "churn": "string", "promo": "string"}

    def test_codes_that_a_null_made_floats_are_whole_again(self, tmp_path: Path) -> None:
        codes = np.tile([1.0, 2.0, np.nan], ROWS)[:ROWS]
        many = np.where(np.arange(ROWS) == 0, np.nan, np.arange(ROWS) % 13)
        frame = customers(
            code=codes,
            narrow=codes.astype("float32"),
            full=codes.round() == 1,
            measured=np.where(codes == 2, 2.5, codes),
            endless=np.where(codes == 2, np.inf, codes),
            many=many,
            nothing_missing=np.nan_to_num(codes),
        )
        frame.to_parquet(tmp_path / "a.parquet")
        sample = read_file(tmp_path / "a.parquet")
        assert sample.types == {
            **{"region": "string", "churn": "string", "full": "boolean"},
            **{"code": "integer", "narrow": "integer"},
        }
        assert sample.table["code"].to_pylist()[:3] == [1, 2, None]
        assert str(sample.table["many"].type) == "double"

    def test_a_column_without_values_is_no_code(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"empty": pa.nulls(3, pa.float64())}), tmp_path / "a.parquet")
        assert read_file(tmp_path / "a.parquet").types == {}

    @pytest.mark.parametrize("cut", [4, -1])
    def test_a_parquet_file_that_is_cut_off(self, tmp_path: Path, cut: int) -> None:
        customers().to_parquet(tmp_path / "a.parquet")
        (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:cut])
        with pytest.raises(SourceError, match=r"file b\.parquet must be readable as Parquet, got"):
            read_file(tmp_path / "b.parquet")

    @pytest.mark.parametrize("moment", ["9999-12-31", "0001-01-01"])
    def test_a_time_in_no_partition_is_refused_by_row_and_value(self, moment: str) -> None:
        at = np.datetime64("2024-01-01", "us") + np.arange(ROWS) * np.timedelta64(9, "h")
        at[7] = np.datetime64(moment, "us")
        with pytest.raises(
            SourceError, match=rf"--time at: times by which .* 9998, got {moment} 00:00:00 in row 8"
        ):
            proposal_of(customers(at=at), time="at")

    def test_sentinels_in_other_times_are_no_trouble(self) -> None:
        at = np.datetime64("2024-01-01", "us") + np.arange(ROWS) * np.timedelta64(9, "h")
        known = at + np.timedelta64(1, "D")
        known[::50] = np.datetime64("9999-12-31", "us")
        since = np.full(ROWS, np.datetime64("0001-01-01", "us"))
        since[::3] = np.datetime64("2020-02-02", "us")
        frame = customers(at=at, known=known, since=since)
        plain = proposal_of(customers(at=at), time="at")
        proposal = proposal_of(frame, time="at", known_at="known")
        assert proposal.calendar is not None
        assert plain.calendar is not None
        assert proposal.calendar.frequency == plain.calendar.frequency
        assert plain.calendar.coverage is None
        assert proposal.calendar.coverage == pytest.approx(0.87, abs=0.02)

    @pytest.mark.parametrize("frequency", [f for f in Frequency if f is not Frequency.NONE])
    def test_partitions_are_counted_as_the_calendar_names_them(self, frequency: Frequency) -> None:
        moments = pd.Series(
            [
                datetime(1000, 1, 1),
                datetime(1969, 12, 28, 23),
                datetime(1969, 12, 29),
                datetime(1970, 1, 1),
                datetime(2024, 2, 29, 5, 59),
                datetime(9998, 12, 31, 23, 59),
            ],
            dtype="datetime64[us]",
        )
        starts = calendar._starts(moments, frequency)
        expected = [containing(m.to_pydatetime(), frequency).start for m in moments]
        assert [start.to_pydatetime() for start in starts] == expected
