"""Local files land where a pipeline looks for them: whole, once, cell by cell."""

from __future__ import annotations

import gzip
import io
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError
from include.ingestion.landing import land
from include.specification.pipeline import Pipeline
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

ROWS = pa.table(
    {
        "id": [1, 2, 3, 4],
        "at": [
            datetime(2005, 4, 1),
            datetime(2005, 1, 31),
            datetime(2005, 3, 31, 23, 59, 59),
            datetime(2005, 12, 1),
        ],
    }
)
TEXT = '"id";"at"; name\n1;2005-04-01;"a;b"\n2; 2005-01-31 ;007\n3;2005-03-31;?\n'


@pytest.fixture
def store(store_settings: StoreSettings) -> ObjectStore:
    return ObjectStore(store_settings)


def make(partition: str = "quarterly", **changes: Any) -> Pipeline:
    """Make a pipeline with a landing folder that no other test knows."""
    name = f"p{uuid.uuid4().hex[:12]}"
    has_time = partition != "none"
    document = {
        "name": name,
        "description": "Tests.",
        "owner": "tests",
        "task": "binary",
        "partition": partition,
        "sources": {
            "records": {
                "uri": f"s3://landing/{name}/records/{{partition}}/",
                "suite": "s",
                "labels": {"column": "bad"},
                **changes.pop("source", {}),
            },
            **changes.pop("sources", {}),
        },
        "features": {"function": "include.pipelines.loan_default:features", "suite": "f"},
        "training": {
            "window": 3,
            "holdout": 1 if has_time else 0.2,
            "candidates": {"logistic_regression": {}},
        },
        "promotion": {"require": {"roc_auc": 0.6}},
        **({"event_time": "at"} if has_time else {}),
        **changes,
    }
    return Pipeline.model_validate(document)


def parquet(folder: Path, table: pa.Table = ROWS) -> Path:
    pq.write_table(table, folder / "file.parquet")
    return folder / "file.parquet"


def held(store: ObjectStore, pipeline: Pipeline) -> dict[str, bytes]:
    """Read everything below the pipeline's landing folder, by the end of its address."""
    root = f"s3://landing/{pipeline.name}/"
    return {item.uri.removeprefix(root): store.read(item.uri) for item in store.list(root)}


class TestByTime:
    def test_every_row_lands_in_the_partition_of_its_time(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        pipeline = make()
        landed = land(store, pipeline, parquet(tmp_path))
        assert landed.rows == {"2005-Q1": 2, "2005-Q2": 1, "2005-Q4": 1}
        tables = {
            name: pq.read_table(io.BytesIO(data)) for name, data in held(store, pipeline).items()
        }
        assert {name: table["id"].to_pylist() for name, table in tables.items()} == {
            "records/2005-Q1/records.parquet": [2, 3],
            "records/2005-Q2/records.parquet": [1],
            "records/2005-Q4/records.parquet": [4],
        }
        assert {table.schema for table in tables.values()} == {ROWS.schema}

    def test_landing_twice_changes_nothing(self, store: ObjectStore, tmp_path: Path) -> None:
        pipeline = make()
        first = land(store, pipeline, parquet(tmp_path))
        second = land(store, pipeline, parquet(tmp_path))
        assert (second.written, second.skipped) == ((), first.written)

    def test_other_content_is_refused_before_anything_is_written(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        pipeline = make()
        land(store, pipeline, parquet(tmp_path))
        before = held(store, pipeline)
        more = pa.concat_tables([ROWS, pa.table({"id": [5, 6], "at": [datetime(2004, 1, 1)] * 2})])
        changed = more.set_column(0, "id", pa.array([1, 2, 9, 4, 5, 6]))
        with pytest.raises(
            SourceError, match=r"got other content in \S+2005-Q1/records\.parquet\."
        ):
            land(store, pipeline, parquet(tmp_path, changed))
        assert held(store, pipeline) == before
        landed = land(store, pipeline, parquet(tmp_path, changed), replace=True)
        assert [uri.split("/")[-2] for uri in landed.written] == ["2004-Q1", "2005-Q1"]
        assert len(landed.skipped) == 2

    @pytest.mark.parametrize("replace", [False, True])
    def test_nothing_lands_beside_a_file_that_another_client_delivered(
        self, store: ObjectStore, tmp_path: Path, replace: bool
    ) -> None:
        """Both would be read: rows twice, and a correction beside what it corrects."""
        pipeline = make()
        root = f"s3://landing/{pipeline.name}/records/2005-Q1"
        for name in ("a.parquet", "_SUCCESS", "read.me"):
            store.write(f"{root}/{name}", b"delivered", "application/octet-stream")
        before = held(store, pipeline)
        message = r"2005-Q1 must not hold the rows of two files, got \S+/2005-Q1/a\.parquet beside "
        with pytest.raises(SourceError, match=message):
            land(store, pipeline, parquet(tmp_path), replace=replace)
        assert held(store, pipeline) == before

    def test_what_is_there_already_may_have_company(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        """A history that grew lands where it grew."""
        pipeline = make()
        land(store, pipeline, parquet(tmp_path))
        beside = f"s3://landing/{pipeline.name}/records/2005-Q1/more.parquet"
        store.write(beside, b"delivered", "application/octet-stream")
        assert land(store, pipeline, parquet(tmp_path)).written == ()
        more = pa.concat_tables([ROWS, pa.table({"id": [5], "at": [datetime(2004, 1, 1)]})])
        landed = land(store, pipeline, parquet(tmp_path, more))
        assert [uri.split("/")[-2] for uri in landed.written] == ["2004-Q1"]

    def test_csv_cells_are_copied_as_they_stand_there(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        pipeline = make(source={"format": "csv", "csv": {"delimiter": ";", "encoding": "latin-1"}})
        (tmp_path / "file.csv").write_bytes(TEXT.replace("007", "007 ö").encode("latin-1"))
        assert land(store, pipeline, tmp_path / "file.csv").rows == {"2005-Q1": 2, "2005-Q2": 1}
        assert held(store, pipeline) == {
            "records/2005-Q1/records.csv": (
                "id;at; name\n2; 2005-01-31 ;007 ö\n3;2005-03-31;?\n".encode("latin-1")
            ),
            "records/2005-Q2/records.csv": b'id;at; name\n1;2005-04-01;"a;b"\n',
        }

    def test_json_lines_are_copied_as_they_stand_there(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        pipeline = make("yearly", source={"format": "json_lines"})
        lines = ['{"at": 2005, "x": 1.50}', '{"x":  "é", "at": 2004}']
        path = tmp_path / "file.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
        land(store, pipeline, path)
        assert held(store, pipeline) == {
            "records/2004/records.jsonl": f"{lines[1]}\n".encode(),
            "records/2005/records.jsonl": f"{lines[0]}\n".encode(),
        }

    def test_labels_of_their_own_land_when_they_became_known(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        pipeline = make(
            entity="id",
            source={"labels": None},
            sources={
                "outcomes": {
                    "uri": f"s3://landing/x{uuid.uuid4().hex[:12]}/outcomes/{{partition}}/",
                    "suite": "s",
                    "labels": {"column": "bad", "known_at": "known"},
                }
            },
        )
        outcomes = pa.table({"id": [1], "bad": [0], "known": [datetime(2007, 8, 1)]})
        landed = land(store, pipeline, parquet(tmp_path, outcomes), source="outcomes")
        assert landed.rows == {"2007-Q3": 1}

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (pa.table({"when": [1]}), "must have the column at, by which rows are landed"),
            (
                pa.table({"at": pa.array([datetime(2005, 1, 1), None])}),
                "column at: must hold a time in every row, got 1 of 2",
            ),
            (pa.table({"at": ["01/02/2005"]}), "column at: must hold times such as"),
        ],
    )
    def test_rows_that_have_no_place(
        self, store: ObjectStore, tmp_path: Path, table: pa.Table, message: str
    ) -> None:
        with pytest.raises(SourceError, match=message):
            land(store, make(), parquet(tmp_path, table))


class TestSnapshots:
    def test_the_file_lands_as_it_is_under_the_next_number(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        pipeline = make("none", source={"format": "csv", "csv": {"delimiter": ";"}})
        path = tmp_path / "file.csv"
        path.write_text(TEXT)
        assert land(store, pipeline, path).rows == {"snapshot-0001": 3}
        again = land(store, pipeline, path)
        assert (again.written, len(again.skipped)) == ((), 1)
        path.write_text(TEXT + "4;x;y\n")
        assert land(store, pipeline, path).rows == {"snapshot-0002": 4}
        assert held(store, pipeline) == {
            "records/snapshot-0001/records.csv": TEXT.encode(),
            "records/snapshot-0002/records.csv": f"{TEXT}4;x;y\n".encode(),
        }

    def test_a_number_that_is_taken(self, store: ObjectStore, tmp_path: Path) -> None:
        pipeline = make("none")
        land(store, pipeline, parquet(tmp_path), snapshot=7)
        other = parquet(tmp_path, ROWS.slice(1))
        with pytest.raises(SourceError, match=r"other content in \S+snapshot-0007"):
            land(store, pipeline, other, snapshot=7)
        assert land(store, pipeline, other).rows == {"snapshot-0008": 3}

    def test_compressed_files_keep_their_ending(self, store: ObjectStore, tmp_path: Path) -> None:
        pipeline = make("none", source={"format": "csv"})
        (tmp_path / "my.data.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
        land(store, pipeline, tmp_path / "my.data.csv.gz")
        assert list(held(store, pipeline)) == ["records/snapshot-0001/records.csv.gz"]


class TestRefused:
    @pytest.mark.parametrize(
        ("partition", "options", "message"),
        [
            ("quarterly", {"snapshot": 1}, "--snapshot is for `partition: none`"),
            ("quarterly", {"source": "record"}, "did you mean 'records'"),
        ],
    )
    def test_wrong_options(
        self,
        store: ObjectStore,
        tmp_path: Path,
        partition: str,
        options: dict[str, Any],
        message: str,
    ) -> None:
        with pytest.raises(SourceError, match=message):
            land(store, make(partition), parquet(tmp_path), **options)

    def test_a_source_without_folders_of_its_own(self, store: ObjectStore, tmp_path: Path) -> None:
        pipeline = make(source={"uri": "s3://landing/all/", "time": "at"})
        with pytest.raises(SourceError, match=r"must have \{partition\} in its uri"):
            land(store, pipeline, parquet(tmp_path))

    def test_a_file_of_another_format(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"must end in \.csv, \.tsv, \.txt"):
            land(store, make(source={"format": "csv"}), parquet(tmp_path))

    def test_a_file_that_is_not_there_or_not_readable(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        with pytest.raises(SourceError, match="must be an existing file"):
            land(store, make(), tmp_path / "none.parquet")
        (tmp_path / "broken.parquet").write_bytes(b"no")
        with pytest.raises(SourceError, match="must be readable as Parquet"):
            land(store, make(), tmp_path / "broken.parquet")


class TestEdges:
    @pytest.mark.parametrize("moment", [datetime(9999, 12, 31), datetime(1, 1, 1)])
    @pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
    def test_a_row_in_no_partition_is_refused_by_row_and_value_and_nothing_lands(
        self, store: ObjectStore, tmp_path: Path, moment: datetime, ending: str
    ) -> None:
        formats = {"parquet": "parquet", "csv": "csv", "jsonl": "json_lines"}
        pipeline = make(source={"format": formats[ending]})
        file = tmp_path / f"file.{ending}"
        times = [datetime(2005, 4, 1), moment]
        if ending == "parquet":
            pq.write_table(pa.table({"at": pa.array(times, pa.timestamp("us"))}), file)
        else:
            texts = [at.isoformat(" ") for at in times]
            lines = ["at", *texts] if ending == "csv" else [f'{{"at": "{at}"}}' for at in texts]
            file.write_text("\n".join(lines) + "\n")
        words = rf"column at: times by which .* years 1000 to 9998, got {moment} in row 2\."
        with pytest.raises(SourceError, match=words):
            land(store, pipeline, file)
        assert held(store, pipeline) == {}

    def test_old_times_of_spark_land_exactly(self, store: ObjectStore, tmp_path: Path) -> None:
        pipeline = make()
        known = [datetime(9999, 12, 31), datetime(1600, 1, 1)]
        table = pa.table(
            {
                "at": pa.array([datetime(2005, 4, 1)] * 2, pa.timestamp("us")),
                "known_at": pa.array(known, pa.timestamp("us")),
            }
        )
        file = tmp_path / "file.parquet"
        pq.write_table(table, file, use_deprecated_int96_timestamps=True)
        land(store, pipeline, file)
        (data,) = held(store, pipeline).values()
        assert pq.read_table(io.BytesIO(data))["known_at"].to_pylist() == known

    def test_views_of_text_land(self, store: ObjectStore, tmp_path: Path) -> None:
        pipeline = make()
        table = ROWS.append_column("c", pa.array(["a", None, "b", "c"], pa.string_view()))
        land(store, pipeline, parquet(tmp_path, table))
        data = held(store, pipeline)["records/2005-Q1/records.parquet"]
        assert pq.read_table(io.BytesIO(data))["c"].to_pylist() == [None, "b"]

    @pytest.mark.parametrize("partition", ["quarterly", "none"])
    def test_what_could_never_be_ingested_is_refused(
        self, store: ObjectStore, tmp_path: Path, partition: str
    ) -> None:
        pipeline = make(partition)
        for column in (pa.array([b"a"] * 4), pa.array([2**64 - 1] * 4, pa.uint64())):
            with pytest.raises(SourceError, match=r"file file\.parquet: column c must "):
                land(store, pipeline, parquet(tmp_path, ROWS.append_column("c", column)))
        assert held(store, pipeline) == {}

    @pytest.mark.parametrize("partition", ["quarterly", "none"])
    def test_names_that_are_there_twice_and_files_without_columns_are_refused(
        self, store: ObjectStore, tmp_path: Path, partition: str
    ) -> None:
        twice = ROWS.append_column("id", ROWS["id"])
        with pytest.raises(
            SourceError, match=r"must hold each column once, got .id. more than once"
        ):
            land(store, make(partition), parquet(tmp_path, twice))
        with pytest.raises(SourceError, match=r"file file\.parquet must have columns, got none"):
            land(store, make(partition), parquet(tmp_path, pa.table({})))

    def test_a_file_without_rows(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"file file\.parquet: must hold at least one row"):
            land(store, make(), parquet(tmp_path, ROWS.slice(0, 0)))

    @pytest.mark.parametrize("partition", ["quarterly", "none"])
    def test_nanoseconds_are_told(self, store: ObjectStore, tmp_path: Path, partition: str) -> None:
        pipeline = make(partition)
        at = ROWS["at"].cast(pa.timestamp("ns"))
        assert land(store, pipeline, parquet(tmp_path, ROWS.set_column(1, "at", at))).warnings == ()
        finer = pa.array([number + 1 for number in at.cast(pa.int64()).to_pylist()], at.type)
        file = parquet(tmp_path, ROWS.set_column(1, "at", finer))
        landed = land(store, pipeline, file, replace=True)
        (warning,) = landed.warnings
        assert warning.startswith("file file.parquet: at: times are kept to the microsecond;")

    def test_a_stray_folder_does_not_keep_a_snapshot_from_landing(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        pipeline = make("none")
        assert list(land(store, pipeline, parquet(tmp_path)).rows) == ["snapshot-0001"]
        for stray in ("snapshot-0001 copy", "snapshot-12", "other"):
            store.client.put_object(
                Bucket=store.settings.bucket("landing"),
                Key=f"{pipeline.name}/records/{stray}/a.parquet",
                Body=b"x",
            )
        landed = land(store, pipeline, parquet(tmp_path, ROWS.slice(1)))
        assert list(landed.rows) == ["snapshot-0002"]
        (warning,) = landed.warnings
        assert "/records/snapshot-0001 copy, " in warning
        assert "partitions of the source are named like 'snapshot-0001'" in warning

    @pytest.mark.parametrize("name", ["a.CSV", "a.csv.gz", "a.CSV.GZ", "a.txt"])
    def test_one_snapshot_never_holds_the_rows_of_two_files(
        self, store: ObjectStore, tmp_path: Path, name: str
    ) -> None:
        pipeline = make("none", source={"format": "csv"})
        file = tmp_path / name
        data = b"id,bad\n1,0\n2,1\n"
        file.write_bytes(gzip.compress(data, mtime=0) if name.lower().endswith(".gz") else data)
        landed = land(store, pipeline, file, snapshot=1)
        ending = name.lower().removeprefix("a")
        assert landed.written == (
            f"s3://landing/{pipeline.name}/records/snapshot-0001/records{ending}",
        )
        assert land(store, pipeline, file, snapshot=1).written == ()
        other = tmp_path / "b.tsv"
        other.write_bytes(data)
        with pytest.raises(SourceError, match=rf"two files, got \S+/records{ending} beside"):
            land(store, pipeline, other, snapshot=1, replace=True)

    def test_a_packed_file_that_is_broken_inside_is_named(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        packed = bytearray(gzip.compress("".join(f"{i},{i * i}\n" for i in range(999)).encode()))
        packed[200:220] = b"\xff" * 20
        (tmp_path / "a.csv.gz").write_bytes(packed)
        with pytest.raises(SourceError, match=r"file a\.csv\.gz: must be gzip, as its name says"):
            land(store, make(source={"format": "csv"}), tmp_path / "a.csv.gz")


class TestText:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
    def test_odd_characters_and_marks_survive(
        self, store: ObjectStore, tmp_path: Path, encoding: str
    ) -> None:
        name = encoding.removesuffix("-sig")
        pipeline = make(source={"format": "csv", "csv": {"encoding": name}})
        cells = '1,2005-01-01,"a\u2028b\x85c\x1cd"\n2,2005-02-01,"x\ry"\n'
        (tmp_path / "a.csv").write_bytes(f"id,at,c\n{cells}".encode(encoding))
        landed = land(store, pipeline, tmp_path / "a.csv")
        assert dict(landed.rows) == {"2005-Q1": 2}
        text = store.read(landed.written[0]).decode(name)
        assert text == 'id,at,c\n1,2005-01-01,a\u2028b\x85c\x1cd\n2,2005-02-01,"x\ry"\n'

    def test_a_quote_that_is_never_closed_loses_no_row(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").write_text('id,at,c\n1,2005-01-01,"x\n2,2005-02-01,y\n')
        with pytest.raises(SourceError, match=r"file a\.csv: every quote must be closed"):
            land(store, make(source={"format": "csv"}), tmp_path / "a.csv")

    def test_a_long_cell(self, store: ObjectStore, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text(f'id,at,c\n1,2005-01-01,"{"w" * 140_000}\nx"\n')
        landed = land(store, make(source={"format": "csv"}), tmp_path / "a.csv")
        assert dict(landed.rows) == {"2005-Q1": 1}

    def test_lines_of_json_end_at_line_feeds(self, store: ObjectStore, tmp_path: Path) -> None:
        text = '{"at": "2005-01-01", "c": "a\u2028b"}\r\n\n{"at": "2005-02-01", "c": "\x85"}\n'
        (tmp_path / "a.jsonl").write_bytes(text.encode())
        landed = land(store, make(source={"format": "json_lines"}), tmp_path / "a.jsonl")
        assert dict(landed.rows) == {"2005-Q1": 2}
        (tmp_path / "a.jsonl").write_bytes(f"{text}[1]\n".encode())
        with pytest.raises(SourceError, match="line 4 must be one JSON object"):
            land(store, make(source={"format": "json_lines"}), tmp_path / "a.jsonl")

    def test_a_time_that_is_spelt_missing_is_missing(
        self, store: ObjectStore, tmp_path: Path
    ) -> None:
        (tmp_path / "a.csv").write_text("id,at\n1,2005-01-01\n2,NULL\n")
        with pytest.raises(SourceError, match="column at: must hold a time in every row, got 1"):
            land(store, make(source={"format": "csv"}), tmp_path / "a.csv")
