"""Landed files on a real store: what is read, and what is refused with which words."""

from __future__ import annotations

import gzip
import io
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.calendar.partitions import Frequency, parse
from include.errors import SourceError
from include.ingestion.landed_batch import LandedBatch, read_landed
from include.specification.sections.sources import Source
from include.storage.object_store import ObjectStore

PARTITION = parse("2005-Q3", Frequency.QUARTERLY)


class Landing:
    """One source folder of its own for one test."""

    def __init__(self, settings, name):
        self.settings = settings
        self.source = Source(uri=f"s3://landing/{name}/{{partition}}/", suite="loans")
        self.folder = self.source.location(str(PARTITION))
        self.store = ObjectStore(settings)

    def put(self, name: str, content: pa.Table | bytes) -> None:
        if isinstance(content, pa.Table):
            buffer = io.BytesIO()
            pq.write_table(content, buffer)
            content = buffer.getvalue()
        self.store.write(f"{self.folder.rstrip('/')}/{name}", content)

    def put_any(self, name: str, content: pa.Table | bytes) -> None:
        """Write under any key that a store takes."""
        if isinstance(content, pa.Table):
            buffer = io.BytesIO()
            pq.write_table(content, buffer)
            content = buffer.getvalue()
        key = f"{self.folder.removeprefix('s3://landing/')}{name}"
        bucket = self.settings.bucket("landing")
        self.store.client.put_object(Bucket=bucket, Key=key, Body=content)

    def read(self, expected: pa.Schema | None = None) -> LandedBatch:
        return read_landed(self.settings, "loans", self.source, PARTITION, expected)


@pytest.fixture
def landing(store_settings):
    return Landing(store_settings, uuid.uuid4().hex)


def loans(**columns) -> pa.Table:
    return pa.table({"loan_id": pa.array(["a", "b"]), "amount": pa.array([1, 2]), **columns})


SCHEMA = pa.schema([("loan_id", pa.string()), ("amount", pa.int64())])


def test_rows_of_all_files_carry_their_file_and_position(landing):
    landing.put("b.parquet", loans())
    landing.put("a.parquet", loans().slice(0, 1))
    landing.put("more/c.parquet", loans().slice(1, 1))
    landing.put("_SUCCESS", b"")

    batch = landing.read()

    assert batch.table.column_names == ["loan_id", "amount", "_file", "_row"]
    assert batch.table["_file"].to_pylist() == [
        "a.parquet",
        "b.parquet",
        "b.parquet",
        "more/c.parquet",
    ]
    assert batch.table["_row"].to_pylist() == [0, 0, 1, 0]
    assert batch.table.schema.field("_row").type == pa.int64()
    assert [item.name for item in batch.files] == ["a.parquet", "b.parquet", "c.parquet"]
    assert batch.warnings == ()


def test_no_file(landing):
    with pytest.raises(SourceError, match=r"source loans 2005-Q3: .*/2005-Q3/, got none\. Land"):
        landing.read()


def test_an_empty_file_is_named(landing):
    landing.put("a.parquet", loans())
    landing.put("b.parquet", b"")
    with pytest.raises(SourceError, match=r"got 0 bytes in b\.parquet\. Land them again"):
        landing.read()


@pytest.mark.parametrize("damage", ["no Parquet", "cut off", "bad page"])
def test_a_corrupt_file_is_named(landing, damage):
    buffer = io.BytesIO()
    pq.write_table(loans(), buffer, compression="zstd")
    good = bytearray(buffer.getvalue())
    if damage == "no Parquet":
        good = bytearray(b"loan_id,amount\na,1\n")
    elif damage == "cut off":
        good = good[: len(good) // 2]
    else:
        good[4:60] = b"\xff" * 56
    landing.put("a.parquet", bytes(good))
    with pytest.raises(
        SourceError, match=r"source loans 2005-Q3: file a\.parquet must be readable as Parquet, got"
    ):
        landing.read()


def test_another_type_of_file(landing):
    landing.put("a.csv", b"loan_id\n1\n")
    with pytest.raises(SourceError, match=r"must be Parquet and end in \.parquet, got a\.csv\."):
        landing.read()


def test_an_empty_batch(landing):
    landing.put("a.parquet", loans().slice(0, 0))
    landing.put("b.parquet", loans().slice(0, 0))
    with pytest.raises(SourceError, match=r"at least one row, got an empty batch in s3://"):
        landing.read()


def test_one_file_without_rows_is_fine(landing):
    landing.put("a.parquet", loans().slice(0, 0))
    landing.put("b.parquet", loans())
    assert landing.read(SCHEMA).table.num_rows == 2


def test_a_missing_column_is_named_with_the_file(landing):
    landing.put("a.parquet", loans().drop_columns("amount"))
    with pytest.raises(
        SourceError,
        match=r"file a\.parquet must have every .*1 missing: amount; it holds loan_id\.",
    ):
        landing.read(SCHEMA)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array(["1", "2"]), "must be int64 as in the table, got string. Land"),
        (pa.array([1.5, 2.0]), "must be int64 as in the table, got double with values that int64"),
        (pa.array([True, False]), "must be int64 as in the table, got bool. Land"),
        (pa.array([2**63, 1], pa.uint64()), "up to 2**63 - 1, got 9223372036854775808 in row 1."),
    ],
)
def test_a_wrong_type_is_named_with_file_and_column(landing, column, words):
    landing.put("a.parquet", loans(amount=column))
    with pytest.raises(SourceError, match=r"file a\.parquet: column amount") as caught:
        landing.read(SCHEMA)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "found", "values"),
    [
        (pa.int64(), pa.array([1, None], pa.int32()), [1, None]),
        (pa.int64(), pa.array([1.0, None]), [1, None]),
        (pa.float64(), pa.array([1, 2]), [1.0, 2.0]),
        (pa.float64(), pa.array([1, 2], pa.float32()), [1.0, 2.0]),
        (pa.string(), pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.string(), pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.string(), pa.nulls(2), [None, None]),
        (pa.timestamp("us"), pa.array([date(2005, 7, 1)] * 2), [datetime(2005, 7, 1)] * 2),
        (
            pa.timestamp("us"),
            pa.array([datetime(2005, 7, 1)] * 2, pa.timestamp("ns")),
            [datetime(2005, 7, 1)] * 2,
        ),
        (
            pa.timestamp("us"),
            pa.array([datetime(2005, 7, 1, 12)] * 2, pa.timestamp("ms", "America/New_York")),
            [datetime(2005, 7, 1, 12)] * 2,
        ),
        (
            pa.decimal128(12, 2),
            pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
            [Decimal("1.50"), None],
        ),
        (pa.decimal128(12, 2), pa.array([10**9, None]), [Decimal(10**9), None]),
        (pa.int64(), pa.array([Decimal(10**18 + 1), None]), [10**18 + 1, None]),
        (pa.int64(), pa.array([Decimal("1.00"), None]), [1, None]),
        (pa.int64(), pa.array([2.0**53 - 1, None]), [2**53 - 1, None]),
        (pa.float64(), pa.array([Decimal("0.10"), Decimal("8123456.91")]), [0.1, 8123456.91]),
    ],
)
def test_lossless_differences_are_cast_silently(landing, wanted, found, values):
    landing.put("a.parquet", loans(x=found))
    batch = landing.read(SCHEMA.append(pa.field("x", wanted)))
    assert batch.table.schema.field("x").type == wanted
    assert batch.table["x"].to_pylist() == values
    assert batch.warnings == ()


@pytest.mark.parametrize("old_times", [False, True])
def test_what_is_finer_than_a_microsecond_is_cut_off_and_told(landing, old_times):
    table = loans(x=pa.array([-1, 1_999], pa.timestamp("ns")))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, use_deprecated_int96_timestamps=old_times)
    landing.put("a.parquet", buffer.getvalue())
    for expected in (None, SCHEMA.append(pa.field("x", pa.timestamp("us")))):
        batch = landing.read(expected)
        assert batch.table["x"].to_pylist() == [
            datetime(1969, 12, 31, 23, 59, 59, 999_999),
            datetime(1970, 1, 1, 0, 0, 0, 1),
        ]
        assert batch.warnings == (
            "source loans 2005-Q3: file a.parquet: x: times are kept to the microsecond; what is "
            "finer is cut off. Land it as a whole number of nanoseconds if it matters.",
        )


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (pa.int64(), pa.array([2.0**53, None])),  # may have been another whole number
        (pa.int64(), pa.array([2.0**24, None], pa.float32())),
        (pa.int64(), pa.array([1.5, None])),
        (pa.int64(), pa.array([Decimal("1.5"), None])),
        (pa.int64(), pa.array([Decimal(10**19), None])),
        (pa.float64(), pa.array([2**53 + 1, None])),
        (pa.float64(), pa.array([Decimal(10**17 + 1), None])),
        (pa.float64(), pa.array([Decimal("0.12345678901234567"), None])),
        (pa.decimal128(5, 0), pa.array([Decimal("1.5"), None])),
        (pa.decimal128(12, 2), pa.array([10**10, None])),
        (pa.decimal128(38, 38), pa.array([10**10, None])),  # Arrow wraps around at 128 bits
        (pa.decimal128(38, 10), pa.array([Decimal(3 * 10**28), None], pa.decimal128(38, 2))),
    ],
)
def test_no_number_is_rounded(landing, wanted, found):
    landing.put("a.parquet", loans(x=found))
    with pytest.raises(SourceError, match=r"column x must be .* with values that .* cannot hold"):
        landing.read(SCHEMA.append(pa.field("x", wanted)))


def test_an_extra_column_is_left_out_with_a_warning(landing):
    landing.put("a.parquet", loans(surprise=pa.array([1, 2])))
    batch = landing.read(SCHEMA)
    assert "surprise" not in batch.table.column_names
    assert batch.warnings == (
        "source loans 2005-Q3: file a.parquet: column surprise (int64) is not in the table and is "
        "left out. It stays where it landed.",
    )


def test_columns_of_the_platform_are_not_expected_but_reserved(landing):
    own = [pa.field("partition", pa.string()), pa.field("_row", pa.int64())]
    landing.put("a.parquet", loans())
    assert landing.read(pa.schema([*SCHEMA, *own])).table.num_rows == 2
    landing.put("a.parquet", loans(_row=pa.array([1, 2])))
    with pytest.raises(SourceError, match=r"got '_row'\. Rename"):
        landing.read()


def test_files_with_other_columns_are_refused(landing):
    landing.put("a.parquet", loans())
    landing.put("b.parquet", loans().rename_columns(["loan_id", "sum"]))
    with pytest.raises(
        SourceError, match=r"file b\.parquet without amount and with sum next to file a\.parquet"
    ):
        landing.read()


def test_files_with_other_types_are_refused_unless_nothing_is_lost(landing):
    landing.put("a.parquet", loans())
    landing.put("b.parquet", loans(amount=pa.array([1, 2], pa.int16())))
    assert landing.read().table.schema.field("amount").type == pa.int64()
    landing.put("c.parquet", loans(amount=pa.array(["1", "2"])))
    with pytest.raises(
        SourceError,
        match=r"column amount must have one type in all files, got int64 in file a\.parquet, int16 "
        r"in file b\.parquet, string in file c\.parquet\. Land",
    ):
        landing.read()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], [2]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([b"a", b"b"]),
        pa.array([1, 2], pa.time64("us")),
    ],
)
def test_types_that_cannot_be_stored_are_refused(landing, column):
    landing.put("a.parquet", loans(x=column))
    with pytest.raises(SourceError, match=r"file a\.parquet: column x must be a number, .*Flatten"):
        landing.read()


def test_an_all_null_column_takes_its_type_from_a_later_file_or_is_refused(landing):
    landing.put("a.parquet", loans(x=pa.nulls(2)))
    with pytest.raises(SourceError, match=r"column x must have a type .*, got only nulls"):
        landing.read()
    landing.put("b.parquet", loans(x=pa.array(["v", None])))
    assert landing.read().table["x"].to_pylist() == [None, None, "v", None]


def test_a_column_without_values_takes_the_type_of_the_pipeline_file(landing):
    landing.put("a.parquet", loans(promo=pa.nulls(2)))
    landing.source = landing.source.model_copy(update={"types": {"promo": "string"}})
    assert landing.read().table.schema.field("promo").type == pa.string()


def test_a_column_that_is_there_twice_is_refused(landing):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    landing.put("a.parquet", table)
    with pytest.raises(SourceError, match="each column once, got 'x' more than once"):
        landing.read()


class TestOnePlaceForAllPartitions:
    """An address without a partition: its rows are picked by their time, or taken whole."""

    @pytest.fixture
    def uri(self, store_settings):
        return f"s3://landing/{uuid.uuid4().hex}/loans.parquet"

    def put(self, settings, uri, content, **how):
        if isinstance(content, pa.Table):
            buffer = io.BytesIO()
            pq.write_table(content, buffer, **how)
            content = buffer.getvalue()
        ObjectStore(settings).write(uri, content)

    def read(self, settings, uri, expected=None, **source):
        described = Source(**{"uri": uri, "suite": "loans", **source})
        return read_landed(settings, "loans", described, PARTITION, expected)

    DAYS = (date(2005, 6, 30), date(2005, 7, 1), date(2005, 9, 30), date(2005, 10, 1))

    @pytest.mark.parametrize("type_", [pa.date32(), pa.timestamp("ns"), pa.timestamp("us", "UTC")])
    @pytest.mark.parametrize("row_group_size", [1, 3, 100])
    def test_rows_of_the_partition_keep_their_position(
        self, store_settings, uri, type_, row_group_size
    ):
        at = pa.array(self.DAYS).cast(pa.timestamp("us")).cast(type_)
        rows = pa.table({"id": pa.array([0, 1, 2, 3]), "at": at})
        self.put(store_settings, uri, rows, row_group_size=row_group_size)
        table = self.read(store_settings, uri, time="at").table
        assert table["id"].to_pylist() == [1, 2] == table["_row"].to_pylist()
        assert set(table["_file"].to_pylist()) == {"loans.parquet"}

    def test_row_groups_of_other_partitions_are_not_read(self, store_settings, uri):
        at = pa.array([datetime(2005, month, 1) for month in range(1, 13)])
        rows = pa.table({"at": at, "id": pa.array([f"loan-{n:02}" * 50 for n in range(12)])})
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, row_group_size=3, compression="none", use_dictionary=False)
        content = bytearray(buffer.getvalue())
        first = content.index(b"loan-00")
        content[first - 30 : first + 500] = b"\xff" * 530  # whoever reads it, fails
        self.put(store_settings, uri, bytes(content))
        assert self.read(store_settings, uri, time="at").table["_row"].to_pylist() == [6, 7, 8]
        with pytest.raises(SourceError, match=r"file loans\.parquet must be readable"):
            self.read(store_settings, uri)

    def test_without_a_time_all_rows_are_taken(self, store_settings, uri):
        self.put(store_settings, uri, loans())
        assert self.read(store_settings, uri).table["loan_id"].to_pylist() == ["a", "b"]
        assert self.read(store_settings, uri.rpartition("/")[0]).table.num_rows == 2

    def test_a_csv_file_and_years(self, store_settings, uri):
        uri = uri.replace(".parquet", ".csv.gz")
        rows = (
            "id,year,note\n" + "".join(f"{i},{2004 + i % 3},x\n" for i in range(9)) + "9,2005,7\n"
        )
        self.put(store_settings, uri, gzip.compress(rows.encode()))
        source = Source(uri=uri, suite="loans", format="csv", time="year")
        year = parse("2005", Frequency.YEARLY)
        table = read_landed(store_settings, "loans", source, year).table
        assert table["id"].to_pylist() == [1, 4, 7, 9] == table["_row"].to_pylist()
        assert table.schema.field("note").type == pa.string()

    def test_rows_without_a_time_are_counted(self, store_settings, uri):
        self.put(store_settings, uri, loans(at=pa.array([None, self.DAYS[1]])))
        with pytest.raises(
            SourceError,
            match=r"file loans\.parquet: column at: must hold a time in every row, got 1 of 2",
        ):
            self.read(store_settings, uri, time="at")

    def test_a_time_column_that_is_not_there(self, store_settings, uri):
        self.put(store_settings, uri, loans())
        with pytest.raises(SourceError, match="must have the time column at, got loan_id, amount"):
            self.read(store_settings, uri, time="at")

    def test_no_row_of_the_partition(self, store_settings, uri):
        self.put(store_settings, uri, loans(at=pa.array(self.DAYS[:1] * 2)))
        with pytest.raises(SourceError, match="at least one row with at in 2005-Q3, got an empty"):
            self.read(store_settings, uri, time="at")
        expected = SCHEMA.append(pa.field("at", pa.date32()))
        batch = self.read(store_settings, uri, expected, time="at", allow_empty=True)
        assert batch.table.num_rows == 0
        assert batch.table.column_names == ["loan_id", "amount", "at", "_file", "_row"]

    def test_no_object(self, store_settings, uri):
        with pytest.raises(SourceError, match=r"at least one Parquet file in s3://.*, got none"):
            self.read(store_settings, uri)

    def test_a_partitioned_source_is_not_picked_by_its_time(self, landing):
        landing.put("a.parquet", loans(at=pa.array([date(2004, 1, 1), date(2005, 7, 1)])))
        landing.source = landing.source.model_copy(update={"time": "at"})
        assert landing.read().table.num_rows == 2


class TestEmptyBatches:
    def test_it_has_the_columns_of_the_table(self, landing):
        landing.source = landing.source.model_copy(update={"allow_empty": True})
        landing.put("a.parquet", loans().slice(0, 0))
        batch = landing.read(SCHEMA)
        assert batch.table.num_rows == 0
        assert batch.table.schema == pa.schema(
            [*SCHEMA, ("_file", pa.string()), ("_row", pa.int64())]
        )
        assert len(batch.files) == 1

    def test_the_first_must_have_rows(self, landing):
        landing.source = landing.source.model_copy(update={"allow_empty": True})
        landing.put("a.parquet", loans().slice(0, 0))
        with pytest.raises(SourceError, match="the first batch must have rows"):
            landing.read()

    def test_a_file_must_be_there_still(self, landing):
        landing.source = landing.source.model_copy(update={"allow_empty": True})
        with pytest.raises(SourceError, match="must have at least one Parquet file"):
            landing.read(SCHEMA)

    @pytest.mark.parametrize(("name", "text"), [("a.csv", b"loan_id,amount\n"), ("a.jsonl", b"\n")])
    def test_of_text_files(self, landing, name, text):
        form = "csv" if name.endswith("csv") else "json_lines"
        landing.source = landing.source.model_copy(update={"allow_empty": True, "format": form})
        landing.put(name, text)
        table = landing.read(SCHEMA).table
        assert (table.num_rows, table.column_names[-1]) == (0, "_unparsed")


class TestRowId:
    def read(self, landing, expected=None):
        return read_landed(
            landing.settings, "loans", landing.source, PARTITION, expected, row_id=True
        ).table

    def test_rows_are_numbered_by_partition_file_and_position(self, landing):
        landing.put("a.parquet", loans())
        landing.put("more/b.parquet", loans().slice(0, 1))
        table = self.read(landing)
        assert table["row_id"].to_pylist() == [
            "2005-Q3/a.parquet#0",
            "2005-Q3/a.parquet#1",
            "2005-Q3/more/b.parquet#0",
        ]
        again = self.read(landing, table.schema)
        assert again.equals(table)

    def test_their_own_column_stays(self, landing):
        landing.put("a.parquet", loans(row_id=pa.array(["x", "y"])))
        assert self.read(landing)["row_id"].to_pylist() == ["x", "y"]


class TestLeftovers:
    LEFTOVERS = (
        "_temporary/0/_temporary/attempt_1/a.parquet",
        ".ipynb_checkpoints/a.parquet",
        "_a.parquet",
        ".a.parquet.crc",
        ".hidden/a.parquet",
        "~$a.parquet",
        "#a.parquet#",
        "a.parquet~",
        "a.parquet.tmp",
        "a.parquet.crdownload",
        "a.parquet.part",
        "a.parquet.filepart",
        "a.parquet.inprogress",
        "a.parquet._COPYING_",
        ".a.parquet.swp",
        "more/Thumbs.db",
        "desktop.ini",
        "Icon\r",
        "$RECYCLE.BIN/$R0.parquet",
        "lost+found/#1.parquet",
        "@eaDir/a.parquet",
        ".DS_Store",
        "unfinished.tmp/a.parquet",
    )

    @pytest.mark.parametrize("name", LEFTOVERS)
    def test_each_is_left_aside_and_told(self, landing, name):
        landing.put("a.parquet", loans())
        landing.put_any(name, loans())
        batch = landing.read()
        assert batch.table.num_rows == 2
        assert batch.warnings == (
            f"source loans 2005-Q3: left aside in {landing.folder} as leftovers of writers or "
            f"editors: {name}. Rename what holds rows of the source, and delete the rest.",
        )

    @pytest.mark.parametrize("name", ["more/", "_SUCCESS", "READY", "more_$folder$", "x/_started"])
    def test_an_object_of_0_bytes_that_only_marks_something_is_not_told(self, landing, name):
        landing.put("a.parquet", loans())
        landing.put_any(name, b"")
        batch = landing.read()
        assert (batch.table.num_rows, batch.warnings) == (2, ())

    @pytest.mark.parametrize(
        "name", ["a_b.parquet", "a.b/c#1.parquet", "a~b.parquet", "_day=1/a.parquet", "A.PARQUET"]
    )
    def test_other_names_hold_rows(self, landing, name):
        landing.put_any(name, loans(_day=pa.array([1, 1])).drop_columns("_day"))
        assert landing.read().table.num_rows == 2

    def test_nothing_but_leftovers_is_no_file(self, landing):
        landing.put("_temporary/0/a.parquet", loans())
        with pytest.raises(SourceError, match=r"got none \(.*_temporary/0/a\.parquet\)\. Land"):
            landing.read()

    @pytest.mark.parametrize("log", ["_delta_log/0.json", ".hoodie/0.commit"])
    def test_the_log_of_a_table_says_that_deleted_rows_are_read(self, landing, log):
        landing.put("a.parquet", loans())
        landing.put_any(log, b"{}")
        first, second = landing.read().warnings
        assert f"leftovers of writers or editors: {log}. Rename" in first
        assert (
            "is a table of Delta Lake or Hudi, whose files may also hold rows that it has deleted"
            in second
        )

    def test_copies_are_read_and_told_unless_they_have_no_rows(self, landing):
        for name in ("a.parquet", "a (1).parquet"):
            landing.put_any(name, loans())
            landing.put_any(f"empty {name}", loans().slice(0, 0))
        landing.put("b.parquet", loans(amount=[3, 4]))
        batch = landing.read()
        assert batch.table.num_rows == 6
        assert batch.warnings == (
            f"source loans 2005-Q3: a (1).parquet, a.parquet in {landing.folder} are the same to "
            "the byte, and the rows of each are read. Delete all but one, if they are copies.",
        )

    def test_an_object_that_the_source_names_itself_is_read(self, landing):
        landing.put("_export.parquet", loans())
        landing.source = Source(uri=f"{landing.folder}_export.parquet", suite="loans")
        assert landing.read().table.num_rows == 2

    def test_a_value_in_the_name_of_a_folder_is_told_unless_it_is_a_column(self, landing):
        landing.put("country=DE/loan_id=a/1.parquet", loans())
        landing.put("country=FR/loan_id=b/1.parquet", loans().slice(1))
        assert landing.read().warnings == (
            "source loans 2005-Q3: folder country=DE names a value that is no column of its "
            "files, and is not read. Write it into the files as a column if it matters.",
        )


class TestParquet:
    def test_files_that_differ_in_what_holds_the_same_values(self, landing):
        first = {
            "whole": pa.array([1, None], pa.int32()),
            "share": pa.array([1, 2]),
            "text": pa.array(["a", "b"], pa.string_view()),
            "at": pa.array([date(2005, 7, 1)] * 2),
            "promo": pa.nulls(2),
            "price": pa.array([Decimal("1.5"), None], pa.decimal128(5, 1)),
        }
        second = {
            "price": pa.array([Decimal("1.255"), None], pa.decimal128(9, 3)),
            "promo": pa.array(["spring", None]).dictionary_encode(),
            "at": pa.array([datetime(2005, 7, 2, 3)] * 2, pa.timestamp("ns")),
            "text": pa.array(["c", "d"]).dictionary_encode(),
            "share": pa.array([0.5, None]),
            "whole": pa.array([2**40, 3]),
        }
        landing.put("a.parquet", pa.table(first))
        landing.put("b.parquet", pa.table(second))
        rows = landing.read().table.drop_columns(["_file", "_row"])
        assert rows.schema == pa.schema(
            [
                ("whole", pa.int64()),
                ("share", pa.float64()),
                ("text", pa.string()),
                ("at", pa.timestamp("us")),
                ("promo", pa.string()),
                ("price", pa.decimal128(9, 3)),
            ]
        )
        assert rows.to_pydict() == {
            "whole": [1, None, 2**40, 3],
            "share": [1.0, 2.0, 0.5, None],
            "text": ["a", "b", "c", "d"],
            "at": [datetime(2005, 7, 1)] * 2 + [datetime(2005, 7, 2, 3)] * 2,
            "promo": [None, None, "spring", None],
            "price": [Decimal("1.500"), None, Decimal("1.255"), None],
        }

    def test_whole_numbers_that_no_float_holds_stay_whole_or_stop(self, landing):
        landing.put("a.parquet", loans(x=pa.array([2**53 + 1, 1])))
        landing.put("b.parquet", loans(x=pa.array([0.5, 1.5])))
        with pytest.raises(SourceError, match=r"file a\.parquet: column x must be double .*int64"):
            landing.read()

    def test_a_column_of_nulls_has_the_type_that_the_pipeline_file_names(self, landing):
        landing.put("a.parquet", loans(promo=pa.nulls(2)))
        with pytest.raises(SourceError, match=r"column promo must have a type .* Name its type u"):
            landing.read()
        landing.source = landing.source.model_copy(update={"types": {"promo": "string"}})
        first = landing.read()
        assert first.table.schema.field("promo").type == pa.string()
        landing.put("a.parquet", loans(promo=pa.array(["spring", None])))
        assert landing.read(first.table.schema).table["promo"].to_pylist() == ["spring", None]

    def test_no_first_file_decides_a_type_that_the_pipeline_file_names(self, landing):
        types = {"x": "number", "n": "integer", "at": "timestamp"}
        landing.source = landing.source.model_copy(update={"types": types})
        early = {"x": [1, 2], "n": pa.array([1, 2], pa.int32()), "at": [date(2005, 7, 1)] * 2}
        later = {"x": [0.5, None], "n": [2**40, 1], "at": [datetime(2005, 7, 1, 2)] * 2}
        landing.put("a.parquet", pa.table(early))
        first = landing.read().table
        landing.put("a.parquet", pa.table(later))
        rows = pa.concat_tables([first, landing.read(first.schema).table])
        assert rows["x"].to_pylist() == [1.0, 2.0, 0.5, None]
        assert rows["n"].to_pylist() == [1, 2, 2**40, 1]
        assert rows["at"].to_pylist() == [datetime(2005, 7, 1)] * 2 + later["at"]
        landing.put("a.parquet", pa.table({**early, "n": [0.5, 1]}))
        with pytest.raises(SourceError, match=r"column n must be int64 as in the pipeline file"):
            landing.read()

    def test_a_type_for_a_column_that_is_not_there_is_refused(self, landing):
        landing.source = landing.source.model_copy(update={"types": {"promo": "string"}})
        landing.put("a.parquet", loans())
        with pytest.raises(SourceError, match="got none called promo among loan_id, amount"):
            landing.read()

    def test_a_file_without_columns(self, landing):
        landing.put("a.parquet", loans())
        landing.put("b.parquet", pa.table({}))
        with pytest.raises(SourceError, match=r"file b\.parquet must have columns, got none"):
            landing.read()

    @pytest.mark.parametrize("cut", [4, 40, -1])
    def test_a_file_that_is_cut_off(self, landing, cut):
        buffer = io.BytesIO()
        pq.write_table(loans(), buffer)
        landing.put("a.parquet", buffer.getvalue()[:cut])
        with pytest.raises(SourceError, match=r"file a\.parquet must be readable as Parquet, got"):
            landing.read()

    def test_an_encrypted_file(self, landing):
        landing.put("a.parquet", b"PARE" + bytes(100) + (50).to_bytes(4, "little") + b"PARE")
        with pytest.raises(SourceError, match=r"file a\.parquet must be readable as Par.*ncrypt"):
            landing.read()

    @pytest.mark.parametrize(
        "options",
        [
            {"use_deprecated_int96_timestamps": True},
            {"use_deprecated_int96_timestamps": True, "store_schema": False},
            {"coerce_timestamps": "ms"},
            {},
        ],
    )
    def test_rows_are_picked_by_times_of_any_year_and_unit(self, store_settings, options):
        times = [datetime(1, 1, 1), datetime(2005, 7, 1), datetime(2005, 9, 30, 23), datetime.max]
        times = [moment.replace(microsecond=0) for moment in times]
        buffer = io.BytesIO()
        table = pa.table({"id": pa.array(list("abcd"), pa.string_view()), "at": times})
        pq.write_table(table, buffer, row_group_size=1, **options)
        uri = f"s3://landing/{uuid.uuid4().hex}/all.parquet"
        ObjectStore(store_settings).write(uri, buffer.getvalue())
        source = Source(uri=uri, time="at", suite="loans")
        batch = read_landed(store_settings, "loans", source, PARTITION)
        assert batch.table["id"].to_pylist() == ["b", "c"]
        assert batch.table["at"].to_pylist() == times[1:3]

    def test_nanoseconds_are_picked_by_row_group(self, store_settings):
        end = int(datetime(2005, 10, 1, tzinfo=UTC).timestamp()) * 10**9
        buffer = io.BytesIO()
        at = pa.array([end - 1, end, end + 1], pa.timestamp("ns"))
        pq.write_table(pa.table({"at": at}), buffer, row_group_size=1)
        uri = f"s3://landing/{uuid.uuid4().hex}/all.parquet"
        ObjectStore(store_settings).write(uri, buffer.getvalue())
        batch = read_landed(
            store_settings, "loans", Source(uri=uri, time="at", suite="loans"), PARTITION
        )
        assert batch.table["at"].to_pylist() == [datetime(2005, 9, 30, 23, 59, 59, 999_999)]
        assert len(batch.warnings) == 1
